"""Runs definitions on this machine, as `nexus run --local` does below its command line."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.local.bindings import Bindings
from nexus.adapters.local.questions import Ask
from nexus.adapters.local.run import run
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.core.model.definition import Definition
from nexus.core.model.facts import RunFact


@dataclass
class Watcher:
    """An observer that keeps what it is told; `act` is called with each status."""

    act: Callable[[WorkflowRunStatus], None] | None = None
    written: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    statuses: list[WorkflowRunStatus] = field(default_factory=list)
    children: dict[str, list[WorkflowRunStatus]] = field(default_factory=dict)

    def status(self, status: WorkflowRunStatus) -> None:
        self.statuses.append(status)
        if self.act is not None:
            self.act(status)

    def child(self, path: str, status: WorkflowRunStatus) -> None:
        self.children.setdefault(path, []).append(status)
        if self.act is not None:
            self.act(status)

    def line(self, task: str, line: str) -> None:
        self.written.append((task, line))

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Ran:
    """A run that has ended."""

    status: WorkflowRunStatus
    outputs: Mapping[str, Mapping[str, Any]]
    watcher: Watcher
    interrupted: bool

    @property
    def phase(self) -> RunPhase:
        return self.status.phase

    def task(self, name: str) -> TaskStatus:
        return next(task for task in self.status.tasks or () if task.name == name)

    def ending(self, name: str) -> tuple[TaskPhase, Reason | None]:
        task = self.task(name)
        return task.phase, task.reason

    def seconds(self, name: str) -> float:
        task = self.task(name)
        assert task.start_time is not None
        assert task.completion_time is not None
        return (task.completion_time - task.start_time).total_seconds()

    def lines(self, name: str) -> list[str]:
        return [line for task, line in self.watcher.written if task == name]


def run_here(
    definition: Definition,
    *,
    params: Mapping[str, Any] | None = None,
    bindings: Bindings | None = None,
    search_path: Path = Path("/nonexistent"),
    watcher: Watcher | None = None,
    workflows: Mapping[str, Definition] | None = None,
    ask: Ask | None = None,
    store: Path | None = None,
) -> Ran:
    """Run a definition to its end; `ask` answers its approval tasks."""
    watcher = watcher or Watcher()
    fact = RunFact("default", "test-x7k2p", str(uuid4()), datetime.now(UTC), workflow="test", params=params or {})
    with CelEvaluator() as evaluator:
        bindings = bindings or Bindings()
        at_work = run(
            fact, definition, bindings, search_path, watcher, evaluator, workflows, ask, answers=None, store=store
        )
        ended = asyncio.run(at_work)
    return Ran(ended.status, ended.outputs, watcher, ended.interrupted)


@dataclass(frozen=True)
class Request:
    """What a server got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def recording_server() -> Iterator[tuple[str, list[Request]]]:
    """An HTTP server that answers everything with `{"ok": true}`; its address, and what it got."""
    got: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            got.append(Request(self.command, self.path, dict(self.headers), body))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"ok": true}')

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
