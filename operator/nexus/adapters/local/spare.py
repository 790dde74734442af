"""A spare Python: started ahead of time, with its imports and its bootstrap done, waiting for a task.

To start Python, import what every bootstrap needs and compile it takes 25 ms, which a chain would pay for each of its
tasks while everything else stands still. A spare pays it while the task before runs.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from nexus import bootstrap
from nexus.adapters.local.child import Child

# What Python or its libraries read when they start, and not again: a task that sets one gets a Python of its own.
_READ_AT_START = ("PYTHON", "LD_", "DYLD_", "LC_", "LANG", "TZ", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL_")

# Runs in `__main__`, as the text of `python -c BOOTSTRAP` does, so that the bootstrap knows its own frames.
_WAITING = """\
import json, linecache, os, sys
code = compile({script!r}, "<string>", "exec")
def prepare():
    with open(0, "rb", closefd=False) as pipe:
        text = pipe.read()
    if not text:
        os._exit(0)
    given = json.loads(text)
    os.environ.clear()
    os.environ.update(given["environment"])
    os.chdir(given["folder"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
prepare()
exec(code)
"""


class SparePython:
    """At most one process that waits to become a python task."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """`environment` is what every task has that sets no variables of its own."""
        self._folder = folder
        self._environment = environment
        self._child: Child | None = None
        self._dead: list[Child] = []

    def prepare(self) -> None:
        """Start one, where there is none. One that cannot be started is none: the task that wants it tells why."""
        if self._child is None:
            argv = [sys.executable, "-c", _WAITING.format(script=bootstrap.text("python"))]
            with contextlib.suppress(OSError):
                self._child = Child(argv, self._folder, self._environment, lambda _: None, waits=True)

    def take(
        self, folder: Path, environment: Mapping[str, str], own: Mapping[str, str], written: Callable[[bytes], None]
    ) -> Child | None:
        """The spare, now a task in `folder` with this environment, `own` being the task's part of it.

        None where there is no spare, or none that can be this task.
        """
        child = self._child
        if child is None or any(name.startswith(_READ_AT_START) for name in own):
            return None
        try:
            for text in environment.values():
                text.encode()
        except UnicodeEncodeError:
            return None
        if any("\0" in text for text in environment.values()):
            return None
        self._child = None
        task = json.dumps({"folder": str(folder), "environment": environment})
        if child.give(task.encode(), written):
            return child
        self._dead.append(child)
        return None

    async def close(self) -> None:
        """End the spare that nobody took."""
        left = [*self._dead, *([self._child] if self._child is not None else [])]
        self._child, self._dead = None, []
        for child in left:
            child.signal(signal.SIGKILL)
            await child.exited()
            await child.end()
