"""The reconcile of a Workflow: decide, write the status, once, and carry out what follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nexus.api.workflow import WorkflowStatus
from nexus.core.workflow.decide import Verdict, decide_workflow
from nexus.core.workflow.facts import Sibling, WorkflowFacts
from nexus.runtime.ports import RunKey


@dataclass(frozen=True, slots=True)
class WorkflowKey:
    """Which Workflow: a unit of work of the queue beside runs."""

    key: RunKey

    def __str__(self) -> str:
        return f"Workflow {self.key}"


class WorkflowPlace(Protocol):
    """Where Workflows live."""

    def now(self) -> datetime:
        """The time, aware and in UTC."""

    def view(self, key: RunKey) -> WorkflowFacts | None:
        """The Workflow with its runs, None where it is gone."""

    async def check(self, facts: WorkflowFacts) -> Verdict:
        """Whether the definition can run. Raises Stale where it is another one by now."""

    async def write_status(self, facts: WorkflowFacts, status: WorkflowStatus) -> None:
        """Store the status. Raises Stale where somebody else stored another one since `facts`."""

    async def delete_runs(self, facts: WorkflowFacts, runs: tuple[Sibling, ...]) -> None:
        """Delete ended runs with all that is theirs; one that is gone already is fine."""

    async def delete_revisions(self, facts: WorkflowFacts) -> None:
        """Delete versions of the definition that nobody needs any more."""

    def wake(self, key: RunKey) -> None:
        """Have a run looked at."""


@dataclass
class WorkflowReconciler:
    """Brings Workflows up to date, as often as it is called."""

    place: WorkflowPlace

    async def reconcile(self, key: RunKey) -> datetime | None:
        """Work on one Workflow; returns when to work on it again though nothing happened, None for never.

        Raises Stale, and whatever the place raises, with nothing half-done that a further call would not complete.
        """
        facts = self.place.view(key)
        if facts is None:
            return None
        known = facts.status is not None and facts.status.observed_generation == facts.generation
        verdict = None if known else await self.place.check(facts)
        plan = decide_workflow(facts, verdict, self.place.now())
        if plan.status != facts.status:
            await self.place.write_status(facts, plan.status)
        if plan.deletes:
            await self.place.delete_runs(facts, plan.deletes)
        if plan.deletes or verdict is not None:
            await self.place.delete_revisions(facts)
        for run in plan.wakes:
            self.place.wake(RunKey(facts.namespace, run.name))
        return plan.wake_at
