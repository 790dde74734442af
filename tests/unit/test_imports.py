"""What a short command loads: nothing that it does not use, for loading is most of the time that it takes.

By name, and not by time: a machine may be busy. `make bench ONLY=engine` has the times.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_harness import bash, environment, workflow, write

HEAVY = (
    *("aiohttp", "croniter", "cel_expr_python", "holidays", "httpx", "kopf", "kubernetes", "networkx"),
    *("prometheus_client", "requests", "rich", "sqlalchemy"),
)
RUN: dict[str, Any] = {
    "apiVersion": "nexus.dev/v1alpha1",
    "kind": "WorkflowRun",
    "metadata": {"name": "sales-1", "namespace": "default", "creationTimestamp": "2026-11-23T09:00:00Z"},
    "spec": {"workflowRef": {"name": "sales"}},
    "status": {"phase": "Running", "startTime": "2026-11-23T09:00:00Z"},
}
_LOADED = """
import atexit, json, sys
from nexus.cli.main import main
sys.argv[0] = "nexus"
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
main()
"""


def loaded(*arguments: str | Path, **env: str) -> set[str]:
    """The modules that a command has loaded at its end."""
    command = [sys.executable, "-c", _LOADED, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(**env), timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stderr.splitlines()[-1]))


def of(names: tuple[str, ...], modules: set[str]) -> list[str]:
    """Those of the modules that are one of these, or within one."""
    return sorted(module for module in modules if any(f"{module}.".startswith(f"{name}.") for name in names))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[list[dict[str, Any]], str]]:
    """The runs that an API server lists, and a kubeconfig for it."""
    runs: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": runs}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{listening.server_port}"}}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        yield runs, str(path)
        listening.shutdown()


def test_the_version_loads_neither_models_nor_engine() -> None:
    assert not of((*HEAVY, "asyncio", "nexus.api.run", "nexus.core.model", "nexus.core.validate"), loaded("version"))


def test_get_asks_the_api_server_before_it_loads_a_model(server: tuple[list[dict[str, Any]], str]) -> None:
    _, kubeconfig = server
    unused = ("nexus.adapters.cel", "nexus.adapters.local", "nexus.api.run", "nexus.api.tasks", "nexus.core.model")
    assert not of((*HEAVY, *unused), loaded("get", KUBECONFIG=kubeconfig))


@pytest.mark.parametrize("arguments", [("get",), ("get", "-o", "json")], ids=" ".join)
def test_get_loads_neither_engine_nor_evaluator(
    server: tuple[list[dict[str, Any]], str], arguments: tuple[str, ...]
) -> None:
    runs, kubeconfig = server
    runs.append(RUN)
    unused = (
        *("nexus.adapters.cel", "nexus.adapters.local", "nexus.app", "nexus.cli.manifests", "nexus.cli.new_run"),
        *("nexus.core.engine", "nexus.core.tasks", "nexus.core.validate"),
    )
    assert not of((*HEAVY, *unused), loaded(*arguments, KUBECONFIG=kubeconfig))


def test_lint_loads_neither_engine_nor_cluster(tmp_path: Path) -> None:
    sales = workflow(bash("a", env=[{"name": "N", "value": "${{ run.name }}"}]), bash("b", "true", "a"))
    unused = (
        *("asyncio", "concurrent", "nexus.adapters.cel.cost", "nexus.adapters.kube", "nexus.adapters.local"),
        *("nexus.app", "nexus.core.engine", "nexus.core.model.facts", "nexus.core.model.plan", "nexus.core.schedule"),
        *("nexus.core.tasks.draft", "nexus.core.tasks.evidence", "nexus.runtime.reconcile"),
    )
    assert not of((*HEAVY, *unused), loaded("lint", write(tmp_path, sales)))


def test_a_local_run_that_nobody_looks_at_loads_no_table_and_no_task_types_of_others(tmp_path: Path) -> None:
    modules = loaded("run", "-f", write(tmp_path, workflow(bash("a"))), "--local", "-o", "json")
    assert not of(("aiohttp", "httpx", "kopf", "kubernetes", "prometheus_client", "rich", "sqlalchemy"), modules)
