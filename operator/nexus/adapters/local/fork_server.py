"""A Python that has done what every python task begins with, and forks for each of them.

To start Python, import what the bootstrap needs and compile it takes 25 ms of computing: half of what a chain of small
tasks may take. A fork takes 1 ms. What a task sees is the same: its variables, its folder, its group, `__main__`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from nexus import bootstrap
from nexus.adapters.local.child import Child, Written

# What Python or its libraries read when they start, and not again: a task that sets one gets a Python of its own.
_READ_AT_START = ("PYTHON", "LD_", "DYLD_", "LC_", "LANG", "TZ", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL_")
# The server answers at once; where it does not, it is stuck or stopped, and tasks start without it.
_ANSWER_SECONDS = 5.0
_HEADER = 8
_SUBREAPER = 36
_LOST = -9

# Runs in `__main__`, as the text of `python -c BOOTSTRAP` does, so that the bootstrap knows its own frames. Requests
# come over the socket that is its standard input: 8 bytes of length, JSON, and for a task the pipe to write to.
_SERVER = """\
import json, linecache, os, socket, sys
code = compile({script!r}, "<string>", "exec")
def become_a_task():
    server = socket.socket(fileno=0)
    while True:
        header, pipes, _, _ = socket.recv_fds(server, 8, 1)
        size, text = int.from_bytes(header, "big"), b""
        while header and len(text) < size and (chunk := server.recv(min(size - len(text), 1 << 20))):
            text += chunk
        if not text:
            os._exit(0)
        given = json.loads(text)
        if "reap" in given:
            answer = os.waitstatus_to_exitcode(os.waitpid(given["reap"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                break
            os.setpgid(answer, answer)
            os.close(pipes[0])
        server.sendall(json.dumps(answer).encode() + b"\\n")
    os.setpgid(0, 0)
    server.detach()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for there, here in ((nothing, 0), (pipes[0], 1), (pipes[0], 2)):
        os.dup2(there, here)
    os.close(nothing)
    os.close(pipes[0])
    os.chdir(given["folder"])
    os.environ.clear()
    os.environ.update(given["environment"])
become_a_task()
del become_a_task
exec(code)
"""


class ForkServer:
    """Starts python tasks. Where it cannot start one (another system, a server that was killed), it says so and the
    task is started as any other program is."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """`environment` is that of every task which sets no variables of its own."""
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        if not _has_pidfd():
            return  # only this says when a process ends that is not our own child
        _take_orphans()
        ours, theirs = socket.socketpair()
        with theirs, contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVER.format(script=bootstrap.text("python")).encode()],
                cwd=folder,
                env=dict(environment),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._socket = ours
            ours.settimeout(_ANSWER_SECONDS)
        if self._process is None:
            ours.close()

    def start(
        self, folder: Path, environment: Mapping[str, str], own: Mapping[str, str], written: Written
    ) -> Child | None:
        """Return a child that executes a python task in `folder`, None where it cannot be had from here.

        `own` is the part of its environment that the task sets itself.
        """
        if any(name.startswith(_READ_AT_START) for name in own) or not _is_text(environment):
            return None
        ours, theirs = os.pipe()
        try:
            pid = self._ask({"folder": str(folder), "environment": dict(environment)}, theirs)
        finally:
            os.close(theirs)
        if pid is None:
            os.close(ours)
            return None
        return Child(pid, ours, written, lambda: self._reap(pid))

    def _reap(self, pid: int) -> int:
        code = self._ask({"reap": pid})
        if code is not None:
            return code
        try:
            # The server is gone, and its children are ours.
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:
            return _LOST

    def _ask(self, request: object, *pipes: int) -> int | None:
        """Return the server's answer, None where it gives none; it is not asked again then."""
        if self._socket is None:
            return None
        text = json.dumps(request).encode()
        answer = b""
        try:
            socket.send_fds(self._socket, [len(text).to_bytes(_HEADER, "big")], pipes)
            self._socket.sendall(text)
            while not answer.endswith(b"\n"):
                chunk = self._socket.recv(64)
                if not chunk:
                    raise ConnectionError
                answer += chunk
        except OSError:
            self.close()
            return None
        return int(answer)

    def close(self) -> None:
        """End the server; the tasks that it started go on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _take_orphans() -> None:
    """Become the parent of what a dead child leaves behind, with its exit status: of tasks, where the server is killed.

    PR_SET_CHILD_SUBREAPER of prctl(2), which Linux has from 3.4 on and Python has no name for.
    """
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _has_pidfd() -> bool:
    """Linux from 5.3 on."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _is_text(environment: Mapping[str, str]) -> bool:
    """Return whether the variables can be given to a process at all; if not, starting one says what is wrong."""
    try:
        return not any(b"\0" in text.encode() for text in environment.values())
    except UnicodeEncodeError:
        return False
