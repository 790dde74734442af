"""decide_workflow: what to do about a Workflow as a whole, and its status once that is done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from nexus.api.reasons import Reason
from nexus.api.workflow import ActiveRun, Condition, WorkflowStatus
from nexus.core.workflow.facts import Sibling, WorkflowFacts
from nexus.core.workflow.history import prune

ACTIVE_SHOWN = 10
# Runs that are told at once that their turn may have come: one begins, and those behind it learn behind whom they wait.
WOKEN = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checking a definition came to."""

    tasks: int
    reason: Reason = Reason.VALID
    message: str = ""

    @property
    def ready(self) -> bool:
        """Whether it can run."""
        return self.reason is Reason.VALID


@dataclass(frozen=True, slots=True)
class WorkflowPlan:
    """In order: the status, one write; `deletes`; then `wakes`, the runs whose turn may have come. `wake_at` is when to
    decide again though nothing happened."""

    status: WorkflowStatus
    deletes: tuple[Sibling, ...] = ()
    wakes: tuple[Sibling, ...] = ()
    wake_at: datetime | None = None


def decide_workflow(facts: WorkflowFacts, verdict: Verdict | None, now: datetime) -> WorkflowPlan:
    """What to do. `verdict` is that on this generation, None where the status has it already.

    A function of its arguments alone; called again with the facts that result from its plan, it plans nothing more.
    """
    recorded = facts.status or WorkflowStatus()
    live = sorted((run for run in facts.runs if not run.ended), key=lambda run: run.place)
    pruned = prune(facts.runs, facts.policy, now)
    status = recorded.model_copy(update=_active(live))
    if verdict is not None:
        status = status.model_copy(update=_judged(recorded, verdict, facts.generation, now))
    waiting = [run for run in live if run.waits and not run.child]
    return WorkflowPlan(status, pruned.runs, tuple(waiting[:WOKEN]), pruned.next_at)


def _active(live: Iterable[Sibling]) -> dict[str, object]:
    shown = [ActiveRun(name=run.name, uid=run.uid) for run in live]
    return {"active": shown[:ACTIVE_SHOWN] or None, "active_count": len(shown)}


def _judged(recorded: WorkflowStatus, verdict: Verdict, generation: int, now: datetime) -> dict[str, object]:
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
        "task_count": verdict.tasks,
    }
