"""The examples run in the cluster as they stand, with the outputs that they have locally."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, phases

from nexus.adapters.kube.client.api import Kind

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
SERVICES = Kind("", "v1", "services", "Service")
# File and params; examples/sales.yaml gets the address of its orders besides. Each file is in it at least once.
CASES: dict[str, tuple[str, Object]] = {
    "hello": ("hello", {}),
    "hello-you": ("hello", {"name": "you & 'me' $(HOME)"}),
    "beats": ("heartbeat", {}),
    "beats-not": ("heartbeat", {"rows": 0}),
    "by-hand": ("conditions", {}),
    "in-bulk": ("conditions", {"size": 2_000, "notify": False}),
    "tidy": ("finally", {}),
    "tidy-failed": ("finally", {"rows": 0}),
    "release": ("release", {"ask": False}),
    "params": ("params", {"customer": "acme"}),
    "params-few": ("params", {"customer": "acme", "regions": ["eu"], "limit": 1, "percent": 12}),
    "nightly": ("nightly", {"from": "2026-11-27", "to": "2026-11-30"}),
    "fan-out": ("fan-out", {}),
    "fan-out-none": ("fan-out", {"count": 0}),
    "pod": ("pod", {"memory": "96Mi"}),
    "lucky": ("retries", {"chance": 0}),
    "unlucky": ("retries", {"chance": 1}),
    "hopeless": ("retries", {"chance": 1, "exit_code": 42}),
    "child-runs": ("child-runs", {"days": 2}),
    "turn-one": ("one-at-a-time", {}),
    "turn-two": ("one-at-a-time", {}),
    "turn-other": ("one-at-a-time", {"database": "customers"}),
    "pool-one": ("pools", {}),
    "pool-two": ("pools", {"tables": ["stock"]}),
    "rerun": ("rerun", {}),
    "artifacts": ("artifacts", {}),
    "sales": ("sales", {}),
    "sales-two": ("sales", {"regions": ["us", "none"], "target": 1}),
}


@pytest.fixture(scope="module")
def orders(space: Space) -> str:
    """The address of the Service that examples/sales.yaml is written for. There are no names in this cluster."""
    files = [f"--from-file={path}" for path in sorted((EXAMPLES / "orders").glob("*.json"))]
    space.kubectl("create", "configmap", "orders", *files)
    space.kubectl("apply", "-f", str(EXAMPLES / "orders" / "service.yaml"))
    space.kubectl("rollout", "status", "deployment/orders", "--timeout=60s")
    service = space.get(SERVICES, "orders")
    assert service is not None
    return f"http://{service['spec']['clusterIP']}"


@pytest.fixture(scope="module")
def claim(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The volume that examples/artifacts.yaml is written for: a folder of the node where nothing else makes volumes."""
    text = (EXAMPLES / "artifacts" / "claim.yaml").read_text()
    if space.kubectl("get", "storageclasses", "-o", "name", "--namespace=").strip():
        text = text.replace("ReadWriteMany", "ReadWriteOnce")  # what those of one node can do
    folder = tmp_path_factory.mktemp("volume")
    folder.chmod(0o777)
    volume = {
        "metadata": {"name": f"volume-{space.namespace}"},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteMany"],
            "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
            "claimRef": {"namespace": space.namespace, "name": "nexus-outputs"},
        },
    }
    for name, body in (
        ("volume", json.dumps({"apiVersion": "v1", "kind": "PersistentVolume", **volume})),
        ("claim", text),
    ):
        file = folder.parent / f"{name}-{space.namespace}"
        file.write_text(body)
        space.kubectl("apply", "-f", str(file))
    yield "nexus-outputs"
    space.kubectl("delete", "persistentvolume", f"volume-{space.namespace}", "--wait=false", "--namespace=")


@pytest.fixture(scope="module", autouse=True)
def started(space: Space, operator: OperatorProcess, orders: str, claim: str) -> None:
    """All runs of this module, at once."""
    assert operator.running
    assert claim
    for path in EXAMPLES.glob("*.yaml"):
        space.kubectl("apply", "-f", str(path))
    for name, (workflow, params) in CASES.items():
        space.run_of(workflow, name, params | ({"orders": orders} if workflow == "sales" else {}))


@pytest.fixture(scope="module")
def local() -> Iterator[Callable[[str], Object]]:
    """The same runs on this machine; two at a time, while the cluster does the others."""
    with ThreadPoolExecutor(2) as pool:
        runs = {name: pool.submit(locally, name) for name in CASES}
        yield lambda name: runs[name].result(120)
        for run in runs.values():
            run.cancel()


def locally(name: str) -> Object:
    """One run as `nexus run --local -o json` prints it."""
    workflow, params = CASES[name]
    words = [
        sys.executable,
        "-m",
        "nexus.cli",
        "run",
        "--local",
        "-o",
        "json",
        "-f",
        str(EXAMPLES / f"{workflow}.yaml"),
    ]
    for key, value in params.items():
        words += ["--param", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    if workflow == "sales":
        words = [sys.executable, str(EXAMPLES / "orders" / "serve.py"), *words, "--param", "orders={url}"]
    if workflow == "release":
        words += ["--approve", "go-ahead"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "operator")}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    return dict(json.loads(done.stdout))


def steady(value: Any) -> Any:
    """An output without what differs between two answers of a web server."""
    if isinstance(value, dict):
        return {key: steady(one) for key, one in value.items() if key != "headers"}
    return value


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {workflow for workflow, _ in CASES.values()}


@pytest.mark.parametrize("name", CASES)
def test_an_example_does_in_the_cluster_what_it_does_locally(
    space: Space, local: Callable[[str], Object], name: str
) -> None:
    there, here = space.finished(name), local(name)
    assert phases(here) == phases(there), json.dumps(there["status"], indent=1)
    for field in ("phase", "reason", "message", "tasksDone"):
        assert here["status"].get(field) == there["status"].get(field), field
    for one, other in zip(here["status"]["tasks"], there["status"]["tasks"], strict=True):
        assert {field: one.get(field) for field in ("reason", "message", "attempts", "exitCode")} == {
            field: other.get(field) for field in ("reason", "message", "attempts", "exitCode")
        }
        if "outputRef" in other:
            assert one["outputRef"]["size"] > 1_000
        else:
            assert steady(one.get("output")) == steady(other.get("output"))
    assert here["status"].get("outputs") == there["status"].get("outputs")


def test_the_sales_report_of_the_cluster_adds_up(space: Space) -> None:
    run = space.finished("sales")
    rows = space.output(run, "by-region")["rows"]
    total = space.output(run, "price")["total"]
    assert [row["region"] for row in rows] == ["eu", "us", "apac"]
    assert sum(row["euros"] for row in rows) == pytest.approx(total)
    assert len(yaml.safe_load(space.kubectl("get", "nwr", "sales", "-o", "yaml"))["status"]["tasks"]) == len(
        phases(run)
    )
