"""One attempt of a task as a subprocess, seen as a Job with one pod."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from nexus.adapters.local.child import Child, Written
from nexus.core.data.log_lines import LogLines
from nexus.core.data.outputs import FRAME_LIMIT, MESSAGE_LIMIT, message_text
from nexus.core.model.facts import JobFact, PodFact, Terminated

# What Kubernetes gives a pod between SIGTERM and SIGKILL is 30 s; a user waits at a terminal here.
GRACE_SECONDS = 5.0
# docker and podman: the runtime itself failed, as on an image that cannot be had; the container did not start.
_RUNTIME_FAILED = 125
_REMOVAL_SECONDS = 10.0
TRANSFER_LOG = "transfer-log"
"""What the transfer around an attempt tells; see nexus.bootstrap.transfer."""

Line = Callable[[str, str], None]


@dataclass(frozen=True)
class Command:
    """What an attempt executes. `removal` is for containers: it ends one that may live on after its client."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    removal: Sequence[str] | None = None
    start: Callable[[Written], Child | None] | None = None
    """Something quicker than starting `argv`; None from it where it does not serve this time."""


@dataclass
class Attempt:
    """A subprocess in a folder of its own; `changed` is called when it has ended."""

    job: JobFact
    folder: Path
    command: Command
    timeout_seconds: int | None
    line: Line
    changed: Callable[[], None]
    _child: Child | None = None
    _overdue: bool = False
    _stopped: bool = False
    _watching: asyncio.Task[None] | None = None
    _lines: LogLines = field(default_factory=LogLines)
    _log: BinaryIO = field(init=False)

    def __post_init__(self) -> None:
        self.message = self.folder / "termination-log"
        self._transferred = self.folder / TRANSFER_LOG
        self._log_file = self.folder / "log"

    @property
    def label(self) -> str:
        """What its lines are shown under: its task, and the item that it works on."""
        return self.job.task if self.job.index is None else f"{self.job.task}[{self.job.index}]"

    @property
    def over(self) -> bool:
        """Whether its subprocess has ended."""
        return bool(self.job.pods) and not any(pod.live for pod in self.job.pods)

    async def start(self) -> None:
        """Start the subprocess; a command that cannot be started is an attempt that failed."""
        self.message.touch()
        # A container may run as another user, and writes it all the same.
        self.message.chmod(0o666)
        self._log = self._log_file.open("wb")
        try:
            self._child = self._started()
        except (OSError, ValueError) as error:
            self._log.close()
            why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
            message = f"{self.command.argv[0]}: {why}"
            self._end(Terminated(128, "StartError", message, datetime.now(UTC)))
            return
        self._pod(running=True)
        self._watching = asyncio.create_task(self._watch(self._child))

    def _started(self) -> Child:
        if self.command.start is not None and (child := self.command.start(self._written)) is not None:
            return child
        return Child.start(self.command.argv, self.folder, self.command.environment, self._written)

    async def _watch(self, child: Child) -> None:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await child.exited()
        except TimeoutError:
            self._overdue = True
            await self._terminate(child)
        ended_at = datetime.now(UTC)
        code = await child.end()
        for line in self._lines.end():
            self.line(self.label, line)
        self._log.close()
        if self._stopped and self.command.removal is not None:
            await self._remove(self.command.removal)
        self._end(self._terminated(code, ended_at))

    def _terminated(self, code: int, ended_at: datetime) -> Terminated:
        if self.command.removal is not None and code == _RUNTIME_FAILED:
            message = self.tail(MESSAGE_LIMIT).decode(errors="replace").strip()
            return Terminated(code, "ContainerCannotRun", message, ended_at)
        message = message_text(self.message.read_bytes())
        return Terminated(code, "Error" if code else "Completed", message, ended_at)

    def _written(self, chunk: bytes) -> None:
        self._log.write(chunk)
        for line in self._lines.feed(chunk):
            self.line(self.label, line)

    def tail(self, size: int = 2 * FRAME_LIMIT) -> bytes:
        """Return the end of its log, by default as much as a framed output may take."""
        with self._log_file.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(log.tell() - size, 0))
            return log.read()

    def _end(self, ended: Terminated) -> None:
        ended = replace(ended, started_at=self.job.created_at)
        told = self._transferred.read_text("utf-8") if self._transferred.exists() else ""
        # It is the process around the task's: where it tells something, the exit code is its own.
        moved = replace(ended, message=told) if told else None
        reason = "DeadlineExceeded" if self._overdue else ""
        good = ended.exit_code == 0 and not self._overdue
        phase = "Succeeded" if good else "Failed"
        own = replace(ended, exit_code=0) if moved is not None else ended
        self._pod(running=False, phase=phase, terminated=own, transfer=moved, reason=reason)
        self.job = replace(
            self.job,
            complete=good,
            failure="" if good else "BackoffLimitExceeded",
            failed=0 if good else 1,
            finished_at=ended.finished_at,
        )
        self.changed()

    def _pod(self, **changes: Any) -> None:
        pod = self.job.pods[0] if self.job.pods else PodFact(name=self.job.name, uid=self.job.uid)
        self.job = replace(self.job, pods=(replace(pod, **changes),))

    async def stop(self, *, now: bool = False) -> None:
        """Stop it as a pod is stopped: SIGTERM, then SIGKILL after the grace period; with `now`, at once."""
        child = self._child
        if child is None or self.job.finished:
            return
        if not self.job.deleting:
            self._pod(deleted_at=datetime.now(UTC))
            self.job = replace(self.job, deleting=True)
        if now:
            self._kill(child)
        else:
            await self._terminate(child)

    async def _terminate(self, child: Child) -> None:
        self._stopped = True
        child.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(child.exited(), GRACE_SECONDS)
        except TimeoutError:
            self._kill(child)
            await child.exited()

    def _kill(self, child: Child) -> None:
        self._stopped = True
        child.signal(signal.SIGKILL)

    async def _remove(self, argv: Sequence[str]) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            child = Child.start(argv, self.folder, self.command.environment, lambda _: None)
            try:
                await asyncio.wait_for(child.exited(), _REMOVAL_SECONDS)
            finally:
                child.signal(signal.SIGKILL)
                await child.exited()
                await child.end()

    async def ended(self) -> None:
        """Wait until its last fact is there."""
        if self._watching is not None:
            await self._watching
