"""The reconcile of a Workflow: decide, make the runs that are due, write the status, once, and do what follows.

The order is what makes death at any instruction harmless. Before the status: runs, whose names are the locks on their
ticks. After it: what only follows (deletions of what is over its stay, Events).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from nexus.api.reasons import Reason
from nexus.api.workflow import WorkflowStatus
from nexus.core.model.refusal import CONDITION, Refusal, is_refused, refusal_condition, with_conditions
from nexus.core.workflow.decide import Validation, WorkflowPlan, decide_workflow
from nexus.core.workflow.facts import RunRefused, RunSummary, WorkflowFacts
from nexus.core.workflow.ticks import CreateRun, WorkflowEvent
from nexus.runtime.away import away
from nexus.runtime.ports import Refused, RunKey, Stale
from nexus.runtime.refused import CALL, STATUS, NotWritten, RefusedWrites, refusal_of
from nexus.runtime.stats import Counters, Stats


@dataclass(frozen=True, slots=True)
class WorkflowKey:
    """Which Workflow: a unit of work of the queue beside runs."""

    key: RunKey

    def __str__(self) -> str:
        return f"Workflow {self.key}"


class WorkflowBackend(Protocol):
    """Where Workflows live."""

    def now(self) -> datetime:
        """Return the time, aware and in UTC."""

    def view(self, key: RunKey) -> WorkflowFacts | None:
        """Return the Workflow with its runs, None where it is gone."""

    async def check(self, facts: WorkflowFacts) -> Validation:
        """Return whether the definition can run. Raises Stale where it is another one by now."""

    async def confirm(self, facts: WorkflowFacts) -> WorkflowFacts:
        """Return the same Workflow and its runs, as of now and not from a cache. Raises Stale where its definition
        changed."""

    async def create_run(self, facts: WorkflowFacts, run: CreateRun) -> RunSummary | RunRefused:
        """Make the run of a tick, or find it there. Doing it twice is doing it once."""

    async def write_status(self, facts: WorkflowFacts, status: WorkflowStatus) -> None:
        """Store the status. Raises Stale if another client stored one since `facts`."""

    async def delete_runs(self, facts: WorkflowFacts, runs: tuple[RunSummary, ...]) -> None:
        """Delete ended runs with all that is theirs; one that is gone already is fine."""

    async def delete_revisions(self, facts: WorkflowFacts) -> None:
        """Delete versions of the definition that are no longer needed."""

    async def record(self, facts: WorkflowFacts, events: tuple[WorkflowEvent, ...]) -> None:
        """Publish Events. Losing one does not count as a failure."""

    def wake(self, key: RunKey) -> None:
        """Have a run looked at."""


RUNS, REVISIONS = "runs", "revisions"
"""What refused deletions go by."""


@dataclass
class WorkflowReconciler:
    """Brings Workflows up to date, as often as it is called."""

    backend: WorkflowBackend
    stats: Stats = field(default_factory=Counters)
    _refused: RefusedWrites[WorkflowKey] = field(init=False)

    def __post_init__(self) -> None:
        self._refused = RefusedWrites(self.stats)

    async def reconcile(self, key: RunKey) -> datetime | None:
        """Work on one Workflow; returns when to work on it again though nothing happened, None for never.

        Raises Stale, and whatever the place raises, with nothing half-done that a further call would not complete.
        What the place refuses ends up on the status of the Workflow, that of the status itself aside.
        """
        whose, began = WorkflowKey(key), self.backend.now()
        was_told = self._refused.is_told(whose)
        held = self._refused.held(whose, began).get(CALL)
        if held is not None and held.told:
            return held.again_at
        facts = self.backend.view(key)
        if facts is None:
            self._refused.forget(whose)
            return None
        try:
            wake_at = await self._reconcile(whose, facts)
        except NotWritten as error:
            raise error.cause from error
        except (Refused, Stale) as error:
            return await self._blocked(whose, error)
        self._refused.drop_due(whose, began)
        if was_told and not self._refused.is_told(whose):
            return self.backend.now()  # what was accepted after the status was written is reported by another one
        return min((when for when in (wake_at, self._refused.next_at(whose)) if when is not None), default=None)

    async def _reconcile(self, whose: WorkflowKey, facts: WorkflowFacts) -> datetime | None:
        known = facts.status is not None and facts.status.observed_generation == facts.generation
        verdict = None if known else await self.backend.check(facts)
        facts, plan = await self._settle(whose, facts, verdict)
        self._refused.accept(whose, CALL)
        if plan.creates:
            return self.backend.now()
        await self._write_status(whose, facts, plan.status)
        if plan.deletes:
            await self._tried(whose, RUNS, partial(self.backend.delete_runs, facts, plan.deletes))
        if plan.deletes or verdict is not None or self._refused.get(whose, REVISIONS) is not None:
            await self._tried(whose, REVISIONS, partial(self.backend.delete_revisions, facts))
        if plan.events:
            await self.backend.record(facts, plan.events)
        self._count(facts, plan)
        for run in plan.wakes:
            self.backend.wake(RunKey(facts.namespace, run.name))
        return plan.wake_at

    async def _blocked(self, whose: WorkflowKey, error: Refused | Stale) -> datetime | None:
        """Handle the refusal of a call on which everything else depends: the status reports it once it lasts."""
        refusal = self._refused.note(whose, CALL, refusal_of(error), self.backend.now())
        if not refusal.told:
            raise error
        facts = self.backend.view(whose.key)
        if facts is not None:
            try:
                await self._write_status(whose, facts, facts.status or WorkflowStatus())
            except NotWritten as status:
                raise status.cause from status
        return refusal.again_at

    async def _write_status(self, whose: WorkflowKey, facts: WorkflowFacts, status: WorkflowStatus) -> None:
        """Store a status that is new, with the condition WriteRefused as it is now. Raises NotWritten."""
        known = (facts.status.conditions if facts.status is not None else None) or []
        # The run of a tick that is refused has a condition of its own, DidNotRun.
        refused = [found for name in (CALL, RUNS, REVISIONS) if (found := self._refused.get(whose, name)) is not None]
        conditions = refusal_condition(known, refused, facts.generation, self.backend.now())
        status = with_conditions(status, conditions)
        if status == (facts.status or WorkflowStatus()):
            return
        try:
            await self.backend.write_status(facts, status)
        except (Refused, Stale) as error:
            await self._tell_unwritten(whose, facts, refusal_of(error))
            raise NotWritten(error) from error
        self._refused.accept(whose, STATUS)
        if is_refused(conditions) and not is_refused(known):
            words = f"a write for Workflow {facts.name} is refused ({conditions[0].reason}): {conditions[0].message}"
            await self.backend.record(facts, (WorkflowEvent(CONDITION, words[:1_000], warning=True),))

    async def _tell_unwritten(self, whose: WorkflowKey, facts: WorkflowFacts, refusal: Refusal) -> None:
        """Report by an Event, the metric and the log that the status was not written: it cannot say so itself."""
        before = self._refused.get(whose, STATUS)
        noted = self._refused.note(whose, STATUS, refusal, self.backend.now())
        if noted.told and not (before is not None and before.told):
            words = f"the status of Workflow {facts.name} cannot be written: {refusal.message}"
            await self.backend.record(facts, (WorkflowEvent("StatusNotWritten", words[:1_000], warning=True),))

    async def _tried(self, whose: WorkflowKey, name: str, call: Callable[[], Awaitable[None]]) -> None:
        """Do what comes after the status, unless it was refused a moment ago."""
        if name in self._refused.held(whose, self.backend.now()):
            return
        try:
            await call()
        except (Refused, Stale) as error:
            self._refused.note(whose, name, refusal_of(error), self.backend.now())
        else:
            self._refused.accept(whose, name)

    async def _settle(
        self, whose: WorkflowKey, facts: WorkflowFacts, verdict: Validation | None
    ) -> tuple[WorkflowFacts, WorkflowPlan]:
        """Decide and act until only the status is left. Or less, with `creates` in the plan that is returned: those
        runs were made, and their record can wait until it is this Workflow's turn again. Hundreds may be due at the
        same minute, and of all of them the runs come first."""
        held = self._refused.held(whose, self.backend.now())
        facts = replace(facts, refused={name: _not_made(name, refusal) for name, refusal in held.items()})
        while True:
            decision = partial(decide_workflow, facts, verdict, self.backend.now())
            # With a key the value for a tick may need an expression.
            plan = await away(decision) if facts.policy.key is not None else decision()
            if plan.confirm:
                facts = await self.backend.confirm(facts)
            elif plan.creates:
                facts = await self._create(whose, facts, plan.creates)
                if verdict is None and not facts.refused:
                    return facts, plan
            else:
                return facts, plan

    async def _create(self, whose: WorkflowKey, facts: WorkflowFacts, creates: tuple[CreateRun, ...]) -> WorkflowFacts:
        made, refused = dict[str, RunSummary](), dict(facts.refused)
        for run in creates:
            try:
                result = await self.backend.create_run(facts, run)
            except Refused as error:
                noted = self._refused.note(whose, run.name, error.refusal, self.backend.now())
                where = {"namespace": facts.namespace, "workflow": facts.name, "schedule": run.as_of.schedule or ""}
                self.stats.count("ticks_refused", 1, **where, reason=noted.reason.value)
                if not noted.told:
                    raise
                result = _not_made(run.name, noted)
            if isinstance(result, RunRefused):
                refused[run.name] = result
            else:
                self._refused.accept(whose, run.name)
                made[run.name] = result
                late = (self.backend.now() - run.due).total_seconds()
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


def _not_made(name: str, refusal: Refusal) -> RunRefused:
    """Return why the run of a tick could not be made."""
    reason = Reason.RUN_REFUSED if refusal.reason is Reason.WRITE_REFUSED else refusal.reason
    return RunRefused(reason, f"run {name} was not created: {refusal.message}")
