"""Child runs on this machine: each a run with a place and a loop of its own, in the process of its parent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from nexus.adapters.local.family import Family
from nexus.adapters.local.loop import LocalRun, until_ended
from nexus.adapters.local.observer import Observer
from nexus.api.reasons import Reason
from nexus.api.run import Cancel, Trigger, WorkflowRunStatus
from nexus.core.model.definition import Definition
from nexus.core.model.facts import ChildFact, RunFact
from nexus.core.model.plan import CancelRun, StartChild
from nexus.runtime.ports import StartRejected


@dataclass(frozen=True)
class Below:
    """The observer of a child run: it tells the parent's what is new, under the name of the task that made it."""

    observer: Observer
    task: str
    changed: Callable[[], None]

    def status(self, status: WorkflowRunStatus) -> None:
        """Handle a change of the child's status, which its parent must look at too."""
        self.observer.child(self.task, status)
        self.changed()

    def child(self, path: str, status: WorkflowRunStatus) -> None:
        """Handle a change of the status of a child's child."""
        self.observer.child(f"{self.task}/{path}", status)

    def line(self, task: str, line: str) -> None:
        """Handle a line that a task of the child wrote."""
        self.observer.line(f"{self.task}/{task}", line)

    def note(self, text: str) -> None:
        """There is something to say."""
        self.observer.note(text)


@dataclass(frozen=True)
class _Child:
    """One child run. `made` is what is known of it from its start."""

    made: ChildFact
    backend: LocalRun
    loop: asyncio.Task[None]

    def fact(self) -> ChildFact:
        """Return what its parent may know. Raises what broke its loop off."""
        if self.loop.done():
            self.loop.result()
        status = self.backend.recorded or WorkflowRunStatus()
        return replace(
            self.made,
            started_at=status.start_time,
            phase=status.phase,
            reason=status.reason,
            message=status.message or "",
            approval=status.approval,
            outputs=status.outputs,
            outputs_ref=status.outputs_ref,
            ended_at=status.completion_time,
            cancel=self.backend.run.cancel,
        )


Make = Callable[[RunFact, Definition | StartRejected, str, Callable[[], None]], LocalRun]


class ChildRuns:
    """The child runs of one run. `make` gives the place of one, from its fact, definition, the task that makes it and
    what to call when it has something new to decide."""

    def __init__(self, family: Family, make: Make, changed: Callable[[], None]) -> None:
        self._family = family
        self._make = make
        self._changed = changed
        self._children: dict[str, _Child] = {}

    def start(self, start: StartChild, parent: RunFact) -> ChildFact:
        """Start a child run."""
        made = ChildFact(
            name=start.run_name,
            uid=str(uuid4()),
            task=start.task,
            attempt_number=start.attempt_number,
            created_at=datetime.now(UTC),
            index=start.index,
        )
        fact = RunFact(
            namespace=parent.namespace,
            name=made.name,
            uid=made.uid,
            created_at=made.created_at,
            workflow=start.workflow,
            trigger=Trigger.WORKFLOW,
            params=start.params,
            depth=start.depth,
        )
        absent = StartRejected(Reason.WORKFLOW_NOT_FOUND, f'Workflow "{start.workflow}" not found in the file')
        new = asyncio.Event()
        below = start.task if start.index is None else f"{start.task}[{start.index}]"
        backend = self._make(fact, self._family.workflows.get(start.workflow, absent), below, new.set)
        loop = asyncio.create_task(until_ended(backend, self._family, new))
        loop.add_done_callback(lambda _: self._changed())
        self._children[start.run_name] = _Child(made, backend, loop)
        return made

    def facts(self) -> dict[str, tuple[ChildFact, ...]]:
        """Return what is known of them, by task."""
        found: dict[str, tuple[ChildFact, ...]] = {}
        for child in self._children.values():
            found[child.made.task] = (*found.get(child.made.task, ()), child.fact())
        return found

    def uids(self) -> frozenset[str]:
        """Return their UIDs."""
        return frozenset(child.made.uid for child in self._children.values())

    def cancel(self, cancel: CancelRun) -> None:
        """Have one cancelled."""
        self._children[cancel.run_name].backend.cancel(cancel.mode)

    async def ended(self) -> None:
        """Wait until all of them have ended: they may outlive the run that made them, for their `finally`."""
        await asyncio.gather(*(child.loop for child in self._children.values()))
        for child in self._children.values():
            await child.backend.children.ended()

    async def kill(self) -> None:
        """End everything below at once."""
        for child in self._children.values():
            child.backend.cancel(Cancel.IMMEDIATE)
            await child.backend.kill()

    async def close(self) -> None:
        """Break off what still runs, as after an error, and leave nothing behind."""
        for child in self._children.values():
            child.loop.cancel()
        await asyncio.gather(*(child.loop for child in self._children.values()), return_exceptions=True)
        for child in self._children.values():
            await child.backend.close()
