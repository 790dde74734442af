"""The reconcile of a Workflow: decide, make the runs that are due, write the status, once, and do what follows.

The order is what makes death at any instruction harmless. Before the status: runs, whose names are the locks on their
ticks. After it: what only follows (deletions of what is over its stay, Events).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from nexus.api.workflow import WorkflowStatus
from nexus.core.workflow.decide import Verdict, WorkflowPlan, decide_workflow
from nexus.core.workflow.facts import RunRefused, Sibling, WorkflowFacts
from nexus.core.workflow.ticks import CreateRun, WorkflowEvent
from nexus.runtime.away import away
from nexus.runtime.ports import RunKey
from nexus.runtime.stats import Counters, Stats


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

    async def confirm(self, facts: WorkflowFacts) -> WorkflowFacts:
        """The same Workflow and its runs, as of now and not from a cache. Raises Stale where its definition changed."""

    async def create_run(self, facts: WorkflowFacts, run: CreateRun) -> Sibling | RunRefused:
        """Make the run of a tick, or find it there. Doing it twice is doing it once."""

    async def write_status(self, facts: WorkflowFacts, status: WorkflowStatus) -> None:
        """Store the status. Raises Stale where somebody else stored another one since `facts`."""

    async def delete_runs(self, facts: WorkflowFacts, runs: tuple[Sibling, ...]) -> None:
        """Delete ended runs with all that is theirs; one that is gone already is fine."""

    async def delete_revisions(self, facts: WorkflowFacts) -> None:
        """Delete versions of the definition that nobody needs any more."""

    async def record(self, facts: WorkflowFacts, events: tuple[WorkflowEvent, ...]) -> None:
        """Publish Events. Losing one is no failure."""

    def wake(self, key: RunKey) -> None:
        """Have a run looked at."""


@dataclass
class WorkflowReconciler:
    """Brings Workflows up to date, as often as it is called."""

    place: WorkflowPlace
    stats: Stats = field(default_factory=Counters)

    async def reconcile(self, key: RunKey) -> datetime | None:
        """Work on one Workflow; returns when to work on it again though nothing happened, None for never.

        Raises Stale, and whatever the place raises, with nothing half-done that a further call would not complete.
        """
        facts = self.place.view(key)
        if facts is None:
            return None
        known = facts.status is not None and facts.status.observed_generation == facts.generation
        verdict = None if known else await self.place.check(facts)
        facts, plan = await self._settle(facts, verdict)
        if plan.creates:
            return self.place.now()
        if plan.status != facts.status:
            await self.place.write_status(facts, plan.status)
        if plan.deletes:
            await self.place.delete_runs(facts, plan.deletes)
        if plan.deletes or verdict is not None:
            await self.place.delete_revisions(facts)
        if plan.events:
            await self.place.record(facts, plan.events)
        self._count(facts, plan)
        for run in plan.wakes:
            self.place.wake(RunKey(facts.namespace, run.name))
        return plan.wake_at

    async def _settle(self, facts: WorkflowFacts, verdict: Verdict | None) -> tuple[WorkflowFacts, WorkflowPlan]:
        """Decide and act until only the status is left. Or less, with `creates` in the plan that is returned: those
        runs were made, and their record can wait until it is this Workflow's turn again. Hundreds may be due at the
        same minute, and of all of them the runs come first."""
        while True:
            decision = partial(decide_workflow, facts, verdict, self.place.now())
            # With a key the value for a tick may have to be told, by an expression.
            plan = await away(decision) if facts.policy.key is not None else decision()
            if plan.confirm:
                facts = await self.place.confirm(facts)
            elif plan.creates:
                facts = await self._create(facts, plan.creates)
                if verdict is None and not facts.refused:
                    return facts, plan
            else:
                return facts, plan

    async def _create(self, facts: WorkflowFacts, creates: tuple[CreateRun, ...]) -> WorkflowFacts:
        made, refused = dict[str, Sibling](), dict(facts.refused)
        for run in creates:
            result = await self.place.create_run(facts, run)
            if isinstance(result, RunRefused):
                refused[run.name] = result
            else:
                made[run.name] = result
                late = (self.place.now() - run.due).total_seconds()
                self.stats.observe("schedule_lag_seconds", max(late, 0.0), namespace=facts.namespace)
        others = tuple(run for run in facts.runs if run.name not in made)
        return replace(facts, runs=(*others, *made.values()), made=facts.made | made.keys(), refused=refused)

    def _count(self, facts: WorkflowFacts, plan: WorkflowPlan) -> None:
        where = {"namespace": facts.namespace, "workflow": facts.name}
        for count in plan.counts:
            reason = {"reason": count.reason} if count.reason else {}
            self.stats.count(count.name, count.amount, schedule=count.schedule, **where, **reason)
        if plan.deletes:
            self.stats.count("runs_pruned", len(plan.deletes), **where)
