"""Suspend: nothing new is started, what is started goes on to its end, and deadlines go on counting.

A retry that the operator starts is something new; one that the Job controller starts within a Job is not. A cancelled
run is not suspended any more, whatever its spec says: it must be able to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from nexus.api.reasons import Reason
from nexus.api.workflow import Condition
from nexus.core.model.definition import Node
from nexus.core.model.facts import RunFact
from nexus.core.tasks.draft import PlanDraft

WORDS = "the run is suspended; nothing new starts until spec.suspend is false"


def held_back(draft: PlanDraft, node: Node) -> bool:
    """Return whether the task, or its next attempt, may not start because the run is suspended; its status says so
    then."""
    if draft.facts.run.suspended:
        draft.wait(node.name, Reason.SUSPENDED, f"{WORDS} (nexus resume {draft.facts.run.name})")
    return draft.facts.run.suspended


def conditions(known: Sequence[Condition], run: RunFact, now: datetime, *, ended: bool = False) -> list[Condition]:
    """Return the condition Suspended of a run that is or once was suspended, else nothing. `known` are those on
    record."""
    before = next((condition for condition in known if condition.type == Reason.SUSPENDED.value), None)
    suspended = run.suspended and not ended
    if before is None and not suspended:
        return []
    status: Literal["True", "False"] = "True" if suspended else "False"
    if before is not None and before.status == status:
        return [before]
    return [
        Condition(
            type=Reason.SUSPENDED.value,
            status=status,
            observed_generation=run.generation,
            last_transition_time=now,
            reason=Reason.SUSPENDED.value if suspended else "Ended" if ended else "Resumed",
            message=WORDS if suspended else "",
        )
    ]
