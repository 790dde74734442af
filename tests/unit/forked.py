"""Python programs that tests start by the hundred: each call is a process of its own, forked from one that has imported
what the program begins with."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "SSL_")
"""Beginnings of variables that Python or its libraries read when they start: a call with one needs a Python of its
own."""

SECONDS = 60

# Requests come over a socket of packets: JSON, with the files that become standard input, output and error.
_SERVER = """
import json, os, socket, sys
{imports}
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
{program}
"""


@dataclass(frozen=True)
class Ended:
    """How a call ended."""

    code: int
    stdout: bytes
    stderr: bytes


class Forked:
    """A Python that has run `imports`, and runs `program` in a fork for each call."""

    def __init__(self, imports: str, program: str, environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVER.format(imports=imports, program=program), str(theirs.fileno())],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._socket.settimeout(SECONDS)
        atexit.register(self._close)

    def run(self, arguments: list[str], folder: Path, environment: Mapping[str, str], stdin: bytes = b"") -> Ended:
        """Call the program and wait for its end.

        Raises TimeoutError if it has not ended after SECONDS; it is killed then.
        """
        call = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        with ExitStack() as files:
            given, stdout, stderr = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            given.write(stdin)
            given.seek(0)
            handles = [file.fileno() for file in (given, stdout, stderr)]
            socket.send_fds(self._socket, [json.dumps(call).encode()], handles)
            child = int(self._socket.recv(64))
            try:
                code = int(self._socket.recv(64))
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                self._socket.recv(64)
                raise
            for file in (stdout, stderr):
                file.seek(0)
            return Ended(code, stdout.read(), stderr.read())

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()
