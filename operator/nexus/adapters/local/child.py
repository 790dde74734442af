"""A child process with a group and a pipe of its own, for an event loop.

asyncio's own subprocesses do not do here: they reap a child the moment it ends, after which the number of its process
group may be another's, and on some versions wait() waits for whoever still holds the pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_CHUNK = 64 * 1024
# How long a process that the child left behind may hold the pipe open before it is ended.
_LINGER_SECONDS = 0.5

Written = Callable[[bytes], None]


class Child:
    """A started child that leads its process group.

    `pipe` is the end to read of its output, `written` gets that in chunks; `reap` waits for the child and gives its
    exit status, negative for a signal. Both belong to the child from here on.
    """

    def __init__(self, pid: int, pipe: int, written: Written, reap: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pid = pid
        self._pipe = pipe
        self._written = written
        self._reap = reap
        self._reaped = False
        self._exited = asyncio.Event()
        self._closed = asyncio.Event()
        os.set_blocking(self._pipe, False)
        self._loop.add_reader(self._pipe, self._read)
        self._wait_for_exit()

    @classmethod
    def start(cls, argv: Sequence[str], cwd: Path, environment: Mapping[str, str], written: Written) -> Child:
        """Start a program, without standard input, in a session of its own.

        Arguments and variables are UTF-8, as in a pod, whatever the locale; an inherited variable keeps its bytes.

        Raises OSError where it cannot be started, ValueError where an argument or variable holds a NUL or a character
        that has no bytes.
        """
        ours, theirs = os.pipe()
        try:
            process = subprocess.Popen(
                [os.fsencode(argv[0]), *map(_utf8, argv[1:])],
                cwd=cwd,
                env={_utf8(name): _variable(name, value) for name, value in environment.items()},
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to answer, and killpg reaches all of it
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return cls(process.pid, ours, written, process.wait)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child and all that it started. Nothing happens once `end` has returned."""
        # While the child is not reaped, and only then, the group's number is surely its own.
        if not self._reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    async def exited(self) -> None:
        """Wait until the child itself has ended; what it started may go on."""
        await self._exited.wait()

    async def end(self) -> int:
        """After `exited`: end what it left behind, take the last of its output; the exit code as a shell gives it."""
        await self._until_closed()
        self.signal(signal.SIGKILL)
        await self._until_closed()
        if not self._closed.is_set():
            self._close()
        self._reaped = True
        code = self._reap()
        self._reap_orphans()
        return 128 - code if code < 0 else code

    def _reap_orphans(self) -> None:
        """Reap what it left behind and what was ended: it is ours if this process takes orphans (see ForkServer)."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self._pid, os.WNOHANG)[0]:
                pass

    async def _until_closed(self) -> None:
        if not self._closed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), _LINGER_SECONDS)

    def _read(self) -> None:
        try:
            chunk = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return
        if chunk:
            self._written(chunk)
        else:
            self._close()

    def _close(self) -> None:
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)
        self._closed.set()

    def _wait_for_exit(self) -> None:
        try:
            handle = os.pidfd_open(self._pid)
        except (AttributeError, OSError):  # no Linux, or one before 5.3
            threading.Thread(target=self._wait_in_thread, daemon=True).start()
            return

        def exited() -> None:
            self._loop.remove_reader(handle)
            os.close(handle)
            self._exited.set()

        self._loop.add_reader(handle, exited)

    def _wait_in_thread(self) -> None:
        # WNOWAIT leaves it unreaped, see `signal`.
        os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        self._loop.call_soon_threadsafe(self._exited.set)


def _variable(name: str, value: str) -> bytes:
    return os.fsencode(value) if os.environ.get(name) == value else _utf8(value)


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
