"""decide_workflow: what to do about a Workflow as a whole, and its status once that is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from nexus.api.reasons import Reason
from nexus.api.schedule_status import ScheduleStatus
from nexus.api.workflow import ActiveRun, Condition, DefinitionProblem, WorkflowStatus
from nexus.core.manifest.problem import Problem, field_name
from nexus.core.workflow.facts import RunSummary, WorkflowFacts
from nexus.core.workflow.history import prune
from nexus.core.workflow.ticks import Count, CreateRun, Ticks, WorkflowEvent, ticks

ACTIVE_SHOWN = 10
# Problems in the status: with their texts cut they take at most 20 KB of the object, whatever the definition has.
PROBLEMS_SHOWN = 20
DID_NOT_RUN = "DidNotRun"
# Runs that are woken at once since their turn may have come: one begins, and those behind it learn behind whom they
# wait.
WOKEN = 10


@dataclass(frozen=True, slots=True)
class Validation:
    """The result of checking a definition."""

    tasks: int
    reason: Reason = Reason.VALID
    message: str = ""
    problems: tuple[Problem, ...] = ()
    """What is wrong, where the definition is not valid."""

    @property
    def ready(self) -> bool:
        """Whether it can run."""
        return self.reason is Reason.VALID


@dataclass(frozen=True, slots=True)
class WorkflowPlan:
    """With `confirm`: look at the API server itself, and decide again; nothing else was decided. With `creates`: make
    these runs, and decide again. Else, in order: the status, one write; `deletes`; `events` and `counts`; then `wakes`,
    the runs whose turn may have come. `wake_at` is when to decide again though nothing happened."""

    status: WorkflowStatus
    confirm: bool = False
    creates: tuple[CreateRun, ...] = ()
    events: tuple[WorkflowEvent, ...] = ()
    counts: tuple[Count, ...] = ()
    deletes: tuple[RunSummary, ...] = ()
    wakes: tuple[RunSummary, ...] = ()
    wake_at: datetime | None = None


def decide_workflow(facts: WorkflowFacts, verdict: Validation | None, now: datetime) -> WorkflowPlan:
    """Return what to do. `verdict` is that on this generation, None where the status has it already.

    A function of its arguments alone; called again with the facts that result from its plan, it plans nothing more.
    """
    recorded = facts.status or WorkflowStatus()
    ready = verdict.ready if verdict is not None else _holds(recorded, "Ready")
    planned = ticks(facts, now) if ready else Ticks(schedules=recorded.schedules or [])
    if planned.confirm or planned.creates:
        return WorkflowPlan(recorded, planned.confirm, () if planned.confirm else tuple(planned.creates))
    live = sorted((run for run in facts.runs if not run.ended), key=lambda run: run.place)
    pruned = prune(facts.runs, facts.policy, now)
    # Of Workflows with schedules only: of the others, whose runs people make and list, it would be two writes a run.
    status = recorded.model_copy(update=_active(live) if facts.schedules else {"active": None, "active_count": None})
    if verdict is not None:
        status = status.model_copy(update=_judged(recorded, verdict, facts.generation, now))
    status = status.model_copy(update=_scheduled(status, planned.schedules, facts.generation, now))
    wakes = [*planned.wakes, *([pruned.next_at] if pruned.next_at is not None else [])]
    return WorkflowPlan(
        status,
        events=tuple(planned.events),
        counts=tuple(planned.counts),
        deletes=pruned.runs,
        wakes=_woken(live, facts),
        wake_at=min(wakes, default=None),
    )


def _woken(live: Sequence[RunSummary], facts: WorkflowFacts) -> tuple[RunSummary, ...]:
    """Return the waiting runs whose turn may have come: those for whose key there is room, and the first of all."""
    room: dict[str, int] = defaultdict(lambda: facts.policy.limit)
    for run in live:
        room[run.key or ""] -= not (run.waits or run.child)
    waiting = [run for run in live if run.waits]
    woken = waiting[:WOKEN]
    for run in waiting:
        if room[run.key or ""] > 0:
            room[run.key or ""] -= 1
            woken.append(run)
    return tuple(dict.fromkeys(woken))


def _holds(status: WorkflowStatus, condition: str) -> bool:
    return any(entry.type == condition and entry.status == "True" for entry in status.conditions or ())


def _scheduled(
    status: WorkflowStatus, schedules: Sequence[ScheduleStatus], generation: int, now: datetime
) -> dict[str, object]:
    """Return what the schedules add to the status. The condition DidNotRun is there once it was True."""
    lasts = [entry.last_schedule_time for entry in schedules if entry.last_schedule_time]
    comings = [tick.time for entry in schedules for tick in entry.next_schedule_times or () if not tick.skipped]
    failing = next((entry for entry in schedules if entry.failing), None)
    conditions = {condition.type: condition for condition in status.conditions or ()}
    before = conditions.get(DID_NOT_RUN)
    if failing is not None or before is not None:
        value: Literal["True", "False"] = "True" if failing is not None else "False"
        changed = before is None or before.status != value
        conditions[DID_NOT_RUN] = Condition(
            type=DID_NOT_RUN,
            status=value,
            observed_generation=generation if changed or before is None else before.observed_generation,
            last_transition_time=now if changed or before is None else before.last_transition_time,
            reason=(failing.failing_reason or Reason.TICK_MISSED if failing is not None else Reason.ON_TIME).value,
            message=f"schedule {failing.name}: {failing.failing}" if failing is not None else "",
        )
    return {
        "conditions": [*conditions.values()] or None,
        "schedules": list(schedules) or None,
        "last_schedule_time": max(lasts, default=None),
        "next_schedule_time": min(comings, default=None),
    }


def _active(live: Iterable[RunSummary]) -> dict[str, object]:
    shown = [ActiveRun(name=run.name, uid=run.uid) for run in live]
    return {"active": shown[:ACTIVE_SHOWN] or None, "active_count": len(shown)}


def _judged(recorded: WorkflowStatus, verdict: Validation, generation: int, now: datetime) -> dict[str, object]:
    conditions = {condition.type: condition for condition in recorded.conditions or ()}
    before = conditions.get("Ready")
    value = "True" if verdict.ready else "False"
    conditions["Ready"] = Condition(
        type="Ready",
        status="True" if verdict.ready else "False",
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and before.status == value else now,
        reason=verdict.reason.value,
        message=verdict.message[:2_000],
    )
    return {
        "observed_generation": generation,
        "conditions": [*conditions.values()],
        "problems": [_told(problem) for problem in verdict.problems[:PROBLEMS_SHOWN]] or None,
        "problems_omitted": max(len(verdict.problems) - PROBLEMS_SHOWN, 0) or None,
        "task_count": verdict.tasks,
    }


def _told(problem: Problem) -> DefinitionProblem:
    """Return a problem as the status has it. What belongs to no task is found by its path in the spec."""
    field = field_name(problem.field if problem.task else problem.path)
    return DefinitionProblem(
        code=problem.code.value,
        task=problem.task[:63] if problem.task else None,
        field=_cut(field, 256) or None,
        message=_cut(problem.message, 512),
    )


def _cut(text: str, limit: int) -> str:
    """Return a string of at most `limit` characters, as the CRD counts; an ellipsis shows where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
