"""The program as users start it: a process of its own, with files in a folder."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    return _server().run(words, cwd or Path.cwd(), stdin)


# To start Python and import the program takes a second of computing, for hundreds of tests. Requests come over a socket
# of packets: JSON, with the files that become standard input, output and error.
_SERVER = """
import importlib, json, os, runpy, socket, sys
for name in ("main", "lint", "local", "plan"):
    importlib.import_module(f"nexus.cli.{name}")
def next_call():
    server = socket.socket(fileno=int(sys.argv[1]))
    while True:
        text, files, _, _ = socket.recv_fds(server, 1 << 20, 3)
        if not text:
            os._exit(0)
        child = os.fork()
        if child == 0:
            break
        for file in files:
            os.close(file)
        server.send(str(child).encode())
        server.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    server.close()
    call = json.loads(text)
    for here, file in enumerate(files):
        os.dup2(file, here)
        os.close(file)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.argv[1:] = call["arguments"]
next_call()
del next_call
runpy.run_module("nexus.cli", run_name="__main__", alter_sys=True)
"""


class _Server:
    """A Python that has imported the program, and forks for each call."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(theirs.fileno())],
                env=environment(),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._socket.settimeout(60)
        atexit.register(self._close)

    def run(self, arguments: list[str], folder: Path, stdin: str) -> Answer:
        """Run the program."""
        call = {"arguments": arguments, "folder": str(folder), "environment": environment()}
        with ExitStack() as files:
            given, stdout, stderr = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            given.write(stdin.encode())
            given.seek(0)
            socket.send_fds(
                self._socket, [json.dumps(call).encode()], [file.fileno() for file in (given, stdout, stderr)]
            )
            child = int(self._socket.recv(64))
            try:
                code = int(self._socket.recv(64))
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                self._socket.recv(64)
                raise
            for file in (stdout, stderr):
                file.seek(0)
            return Answer(code, stdout.read().decode(), stderr.read().decode())

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()


@functools.cache
def _server() -> _Server:
    return _Server()


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
