"""Namespaces of the cluster for the end-to-end tests, and operators at work there."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.audit import AuditLog
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.rights import ACCOUNT, granted, granted_lease
from tests.e2e.space import Space
from tests.scheduling import assert_whole_cluster

from nexus.adapters.kube.client.api import PODS, Kind

REPOSITORY = Path(__file__).parents[2]
SERVICES = Kind("", "v1", "services", "Service")


@pytest.fixture(scope="session")
def new_space(kubeconfig: Path) -> Iterator[Callable[[str], Space]]:
    """Makes namespaces that enforce Pod Security `restricted`; they go at the end of the session."""
    made: list[Space] = []

    def make(purpose: str) -> Space:
        space = Space(kubeconfig, f"e2e-{purpose}-{secrets.token_hex(3)}")
        made.append(space)
        space.kubectl("create", "namespace", space.namespace)
        space.kubectl("label", "namespace", space.namespace, "pod-security.kubernetes.io/enforce=restricted")
        return space

    yield make
    for space in made:
        space.kubectl("delete", "namespace", space.namespace, "--wait=false")
        space.http.close()


@contextmanager
def operator_for(
    directory: Path,
    space: Space,
    *others: Space,
    everywhere: bool = False,
    start: bool = True,
    settings: Mapping[str, str] | None = None,
    loses_rights: bool = False,
) -> Iterator[OperatorProcess]:
    """An operator with the rights for these namespaces, or for all, and nothing more. Fails on a log of trouble, and
    where it asked for what it has no right to, unless it is to lose some."""
    if everywhere:
        assert_whole_cluster()
    # A cluster that somebody else has brought up may keep its log to itself.
    audit = AuditLog() if "NEXUS_AUDIT_LOG" in os.environ else None
    roles = granted(space.namespace, None) if everywhere else []
    for each in () if everywhere else (space, *others):
        roles += granted(space.namespace, each.namespace)
    roles += granted_lease(space.namespace)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": ACCOUNT, "namespace": space.namespace},
    }
    manifest = directory / f"rights-{space.namespace}.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [account, *roles]}))
    space.kubectl("apply", "-f", str(manifest), "--namespace=")
    names = [each.namespace for each in (space, *others)]
    log = directory / f"operator-{space.namespace}.log"
    namespaces = [] if everywhere else names
    process = OperatorProcess(_account_kubeconfig(directory, space), log, *namespaces, settings=settings)
    for each in (space, *others):
        each.operator = process
    if start:
        process.start()
    try:
        yield process
        assert process.running or not start, f"the operator died\n{process.tail(60)}"
        assert process.stop() in (0, None), f"the operator ended with an error\n{process.tail()}"
        assert not process.alarms(), "\n".join(process.alarms())
        asked = audit.by_operator(space.namespace) if audit is not None else []
        assert loses_rights or [str(request) for request in asked if not request.allowed] == []
    finally:
        process.stop()
        if everywhere:
            space.kubectl("delete", "-f", str(manifest), "--namespace=", "--wait=false")


def _account_kubeconfig(directory: Path, space: Space) -> Path:
    """The administrator's kubeconfig with the token of the operator's account in place of his certificate."""
    config: dict[str, Any] = yaml.safe_load(space.kubeconfig.read_text())
    token = space.kubectl("create", "token", ACCOUNT, "--duration=1h").strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path = directory / f"kubeconfig-{space.namespace}"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def space(request: pytest.FixtureRequest, new_space: Callable[[str], Space]) -> Space:
    """A namespace for the tests of one module."""
    return new_space(request.module.__name__.rpartition("test_")[2].replace("_", "-"))


@pytest.fixture(scope="module")
def operator(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator for the module's namespace."""
    with operator_for(tmp_path_factory.mktemp("operator"), space) as process:
        yield process


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the end of the operator's log with a failed test."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    process = getattr(item, "funcargs", {}).get("operator")
    if report.failed and isinstance(process, OperatorProcess):
        report.sections.append(("operator log", process.tail()))


@pytest.fixture(scope="session")
def server(new_space: Callable[[str], Space]) -> str:
    """The address, for pods, of a web server that tells what it was asked and serves examples/orders."""
    space = new_space("server")
    files = [Path(__file__).parent / "web_server.py", *sorted((REPOSITORY / "examples" / "orders").glob("*.json"))]
    space.kubectl("create", "configmap", "web", *(f"--from-file={path}" for path in files))
    space.post(
        SERVICES,
        {
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    space.post(PODS, {"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": _web_pod()})
    space.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    service = space.get(SERVICES, "web")
    assert service is not None
    return f"http://{service['spec']['clusterIP']}"


def _web_pod() -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "web", "configMap": {"name": "web"}}],
        "containers": [
            {
                "name": "web",
                "image": "nexus/task-python:dev",
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-B", "/web/web_server.py"],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "web", "mountPath": "/web"}],
                "readinessProbe": {"httpGet": {"path": "/text", "port": 8080}, "periodSeconds": 1},
            }
        ],
    }
