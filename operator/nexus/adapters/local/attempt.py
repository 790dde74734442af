"""One attempt of a task as a subprocess, seen as a Job with one pod."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from nexus.core.facts import JobFact, PodFact, Terminated
from nexus.core.outputs import FRAME_PREFIX, MESSAGE_LIMIT

# What Kubernetes gives a pod between SIGTERM and SIGKILL is 30 s; somebody waits at a terminal here.
GRACE_SECONDS = 5.0
# One line of a log may be long (a framed output is one line); beyond this it is passed on in pieces.
LINE_LIMIT = 4 * 1024 * 1024

Line = Callable[[str, str], None]


@dataclass
class Attempt:
    """A subprocess in a folder of its own; `changed` is called when its facts did."""

    job: JobFact
    folder: Path
    argv: Sequence[str]
    environment: Mapping[str, str]
    timeout_seconds: int | None
    line: Line
    changed: Callable[[], None]
    _child: asyncio.subprocess.Process | None = None
    _overdue: bool = False
    _task: asyncio.Task[None] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "log"
        self.message = self.folder / "termination-log"

    async def start(self) -> None:
        """Start the subprocess; a command that cannot be started is an attempt that failed."""
        self.message.touch()
        try:
            self._child = await asyncio.create_subprocess_exec(
                *self.argv,
                cwd=self.folder,
                env=dict(self.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=LINE_LIMIT,
                start_new_session=True,  # so that what it started can be stopped with it
            )
        except OSError as error:
            self._end(Terminated(128, "StartError", f"{self.argv[0]}: {error.strerror}", datetime.now(UTC)))
            return
        self._pod(running=True)
        self._task = asyncio.create_task(self._watch(self._child))

    async def _watch(self, child: asyncio.subprocess.Process) -> None:
        reader = asyncio.create_task(self._read(child))
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await child.wait()
        except TimeoutError:
            self._overdue = True
            await self._terminate(child)
        # A background process of the task may hold the pipe open; its task is over all the same.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reader), 0.5)
        self._kill_group(child, signal.SIGKILL)
        await reader
        code = child.returncode or 0
        self._end(
            Terminated(
                exit_code=128 - code if code < 0 else code,
                reason="Error" if code else "Completed",
                message=self.message.read_bytes()[:MESSAGE_LIMIT].decode(errors="replace"),
                finished_at=datetime.now(UTC),
            )
        )

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        with self.log.open("wb") as log:
            while True:
                try:
                    line = await child.stdout.readline()
                except ValueError:  # longer than LINE_LIMIT: asyncio dropped it from its buffer
                    continue
                if not line:
                    return
                log.write(line)
                log.flush()
                if not line.startswith(FRAME_PREFIX.encode()):
                    self.line(self.job.task, line.decode(errors="replace").rstrip("\n"))

    def _end(self, ended: Terminated) -> None:
        reason = "DeadlineExceeded" if self._overdue else ""
        good = ended.exit_code == 0 and not self._overdue
        self._pod(running=False, phase="Succeeded" if good else "Failed", terminated=ended, reason=reason)
        self.job = replace(
            self.job,
            complete=good,
            failure="" if good else "BackoffLimitExceeded",
            failed=0 if good else 1,
            finished_at=ended.finished_at,
        )
        self.changed()

    def _pod(self, **changes: object) -> None:
        pod = self.job.pods[0] if self.job.pods else PodFact(name=self.job.name, uid=self.job.uid)
        self.job = replace(self.job, pods=(replace(pod, **changes),))  # type: ignore[arg-type]

    async def stop(self, *, now: bool = False) -> None:
        """Stop it as a pod is stopped: SIGTERM, then SIGKILL after the grace period; with `now`, at once."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        if not self.job.deleting:
            self._pod(deleted_at=datetime.now(UTC))
            self.job = replace(self.job, deleting=True)
        if now:
            self._kill_group(child, signal.SIGKILL)
        else:
            await self._terminate(child)

    async def _terminate(self, child: asyncio.subprocess.Process) -> None:
        self._kill_group(child, signal.SIGTERM)
        try:
            await asyncio.wait_for(child.wait(), GRACE_SECONDS)
        except TimeoutError:
            self._kill_group(child, signal.SIGKILL)
            await child.wait()

    def _kill_group(self, child: asyncio.subprocess.Process, number: signal.Signals) -> None:
        # The group's id is the child's: start_new_session. It lives as long as any process in it does.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)

    async def ended(self) -> None:
        """Wait until its last fact is there."""
        if self._task is not None:
            await self._task
