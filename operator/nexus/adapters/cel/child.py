"""One child process of the evaluator, seen from its parent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from enum import Enum
from typing import Any

# With two children and the one in reserve the operator stays within the 768 MiB of the chart.
MEMORY_MIB = 160

# Wall-clock seconds for a child that does not start.
_START_SECONDS = 30.0
# The child limits itself by CPU time, which a busy machine does not stretch; for one that neither answers nor computes
# this is the multiple of those seconds by the clock.
_STRETCHED = 3.0
_CHUNK = 256 * 1024

# A process without these may not find its libraries; everything else of the operator's environment stays out.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class Death(Enum):
    """Why a child is gone."""

    CPU = "cpu"
    MEMORY = "memory"
    SILENCE = "silence"
    CRASH = "crash"


class Died(Exception):
    """The child ended, or was ended, before it answered."""

    def __init__(self, cause: Death, status: int) -> None:
        self.cause = cause
        self.status = status
        super().__init__(f"{cause.value}, exit status {status}")


class Child:
    """A started child. One request at a time; whoever uses it sees to that.

    It gets ready by itself while its parent does other things; the first `ask` waits for that, and raises RuntimeError
    where it does not start: a fault of the installation, not of an expression. `seconds` of CPU time are the end of it;
    `nice` is added to its niceness.
    """

    def __init__(self, seconds: float, nice: int = 0) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._patience = _STRETCHED * seconds
        with theirs:
            self._process = subprocess.Popen(
                _command(seconds, nice),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in a terminal is for the parent, which then closes us in its own order
            )
        self._received = bytearray()
        self._ready = False

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one request. After any exception (Died, or Ctrl-C) the child is gone for good."""
        try:
            self._get_ready()
            self._socket.settimeout(self._patience)
            self._socket.sendall(line)
            answer: dict[str, Any] = json.loads(self._read_line(self._patience))
        except OSError:
            # It is dead or deaf: nothing reads the request.
            raise self._died() from None
        except BaseException:
            # Its answer may still come, and would be taken for that of the next request.
            self.end()
            raise
        return answer

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._socket.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _get_ready(self) -> None:
        if self._ready:
            return
        try:
            self._read_line(_START_SECONDS)
        except Died as death:
            raise RuntimeError(
                f"the CEL worker does not start (exit status {death.status}): run "
                f"`{sys.executable} -m nexus.adapters.cel.worker 1 {MEMORY_MIB} 0` to see why"
            ) from None
        self._ready = True

    def _read_line(self, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        while not self._received.endswith(b"\n"):
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                chunk = self._socket.recv(_CHUNK)
            except OSError:
                raise self._died() from None
            if not chunk:
                raise self._died()
            self._received += chunk
        line = bytes(self._received)
        self._received.clear()
        return line

    def _died(self) -> Died:
        try:
            # A moment for a process that has closed its end to be gone; a silent one stays.
            status = self._process.wait(timeout=0.5)
            cause = _cause(status)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status, cause = self._process.wait(), Death.SILENCE
        self._socket.close()
        return Died(cause, status)


def _cause(status: int) -> Death:
    if status == -signal.SIGPROF:
        return Death.CPU
    # A refused allocation ends C++ code with abort or a null pointer; SIGKILL is the kernel's out-of-memory killer.
    if status in (os.EX_UNAVAILABLE, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGKILL):
        return Death.MEMORY
    return Death.CRASH


def _command(seconds: float, nice: int) -> list[str]:
    # -S and -P: no site-packages scan, nothing from the working directory; the parent's path says where everything is.
    return [sys.executable, "-S", "-P", "-m", "nexus.adapters.cel.worker", str(seconds), str(MEMORY_MIB), str(nice)]


def _environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed_on, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "LC_ALL": "C.UTF-8"}
