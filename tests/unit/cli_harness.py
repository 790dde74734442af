"""The program as users start it: a process of its own, with files in a folder."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.forked import Forked

from nexus.api.base import API_VERSION

COMMAND = [sys.executable, "-m", "nexus.cli"]


@dataclass(frozen=True)
class Answer:
    """How it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def environment(**more: str) -> dict[str, str]:
    """This environment, without a way into a cluster."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "NEXUS", "NO_COLOR"))
    }
    return {**inherited, "HOME": "/nonexistent", **more}


def nexus(*arguments: str | Path, cwd: Path | None = None, stdin: str = "", **env: str) -> Answer:
    """Run the program in a process of its own and wait for its end, 60 s at most.

    That process is forked from one that has imported the program. With `env`, which Python may read when it starts, it
    is started as users start it; other tests do so with COMMAND.
    """
    words = list(map(str, arguments))
    if env:
        ended = subprocess.run(
            [*COMMAND, *words],
            cwd=cwd,
            env=environment(**env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Answer(ended.returncode, ended.stdout, ended.stderr)
    done = _forked().run(words, cwd or Path.cwd(), environment(), stdin.encode())
    return Answer(done.code, done.stdout.decode(), done.stderr.decode())


@functools.cache
def _forked() -> Forked:
    names = ", ".join(f"nexus.cli.{name}" for name in ("main", "lint", "local", "plan"))
    program = 'import runpy; runpy.run_module("nexus.cli", run_name="__main__", alter_sys=True)'
    return Forked(f"import {names}", program, environment())


def write(folder: Path, *bodies: dict[str, Any] | str, name: str = "flow.yaml") -> Path:
    """A file of these documents: objects as JSON, which is YAML too, texts as they stand."""
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    file = folder / name
    file.write_text("\n---\n".join(texts), encoding="utf-8")
    return file


def workflow(*tasks: dict[str, Any], name: str = "sales", **spec: Any) -> dict[str, Any]:
    """A Workflow's manifest."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {**spec, "tasks": list(tasks)},
    }


def workflow_run(name: str = "sales", **spec: Any) -> dict[str, Any]:
    """A WorkflowRun's manifest."""
    spec = spec if "workflowSpec" in spec else {"workflowRef": {"name": name}, **spec}
    return {"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": {"generateName": f"{name}-"}, "spec": spec}


def bash(name: str, command: str = "true", *depends_on: str, **fields: Any) -> dict[str, Any]:
    """A bash task's manifest."""
    task = {"name": name, "bash": {"command": command}, **fields}
    return {**task, "dependsOn": list(depends_on)} if depends_on else task
