"""Questions: approval tasks of a local run, put to whoever sits there, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from nexus.api.run import Approval, TaskStatus, WorkflowRunStatus
from nexus.core.model.facts import RunFact
from nexus.core.tasks.approval import asks

Ask = Callable[[TaskStatus], Awaitable[Approval]]
"""Puts the question of a task that waits for approval. It is cancelled where the task does not wait any more."""


class Asked(Protocol):
    """A run whose approval tasks are asked about."""

    run: RunFact
    """With what was answered."""
    recorded: WorkflowRunStatus | None
    """Its status."""


class Questions:
    """Sees to it that each task that waits is asked about. `changed` is called when one was answered."""

    def __init__(self, backend: Asked, ask: Ask, changed: Callable[[], None]) -> None:
        self._backend = backend
        self._ask = ask
        self._changed = changed
        self._task: str | None = None
        self._asking: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Ask what is to be asked now. Raises what asking raised."""
        answered = {approval.task for approval in self._backend.run.approvals}
        status = self._backend.recorded
        waiting = [task for task in (status.tasks or () if status else ()) if asks(task)]
        if self._asking is not None and not self._asking.done():
            if self._task not in {task.name for task in waiting}:
                self._asking.cancel()  # its end has this looked at again
            return
        if self._asking is not None and not self._asking.cancelled():
            self._asking.result()
        self._asking = None
        for task in waiting:
            if task.name not in answered:
                self._task = task.name
                self._asking = asyncio.create_task(self._put(task))
                self._asking.add_done_callback(lambda _: self._changed())
                return

    async def _put(self, task: TaskStatus) -> None:
        approval = await self._ask(task)
        self._backend.run = replace(self._backend.run, approvals=(*self._backend.run.approvals, approval))

    async def close(self) -> None:
        """Ask nothing more."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking
