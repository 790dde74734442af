"""Forged: what a run says of objects that claim to be its own and can never be (see nexus.core.tasks.identity).

They change nothing else, and nothing is done to them: whoever may create objects may create any number of these. So the
condition names a few, and a run tells of at most MOST_EVENTS by an Event in all its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nexus.api.reasons import Reason
from nexus.api.run import MOST_FORGED, WorkflowRunStatus
from nexus.api.workflow import Condition
from nexus.core.model.facts import Forged, RunFact
from nexus.core.model.plan import RunEvent
from nexus.core.tasks.draft import PlanDraft

# The last of the UIDs on record is that of the Event that says that there are more.
MOST_EVENTS = MOST_FORGED - 1
NAMED = 3
TYPE = Reason.FORGED.value
GONE = "Gone"


def report(draft: PlanDraft, status: WorkflowRunStatus) -> WorkflowRunStatus:
    """Return the status with the objects that were found forged; each has an Event, once."""
    found = found_by(draft)
    told = list(status.forged_uids or ())
    for one in found:
        if one.uid in told or len(told) > MOST_EVENTS:
            continue
        words = _words(one)
        if len(told) == MOST_EVENTS:
            words = f"more than {MOST_EVENTS} objects claim to belong to this run and are ignored; no more are reported"
        draft.events.append(RunEvent(TYPE, words, warning=True))
        told.append(one.uid)
    return status.model_copy(update={"forged_uids": told or None})


def found_by(draft: PlanDraft) -> list[Forged]:
    """Return those that are there now, in the order of their names."""
    found = {one.uid: one for one in (*draft.facts.forged, *draft.forged.values())}
    return sorted(found.values(), key=lambda one: (one.kind, one.namespace, one.name, one.uid))


def conditions(known: Sequence[Condition], found: Sequence[Forged], run: RunFact, now: datetime) -> list[Condition]:
    """Return the condition Forged of a run that has, or had, such objects, else nothing. `known` are those on
    record."""
    before = next((condition for condition in known if condition.type == TYPE), None)
    if before is None and not found:
        return []
    after = Condition(
        type=TYPE,
        status="True" if found else "False",
        observed_generation=run.generation,
        last_transition_time=now,
        reason=TYPE if found else GONE,
        message=_message(found)[:1_024],
    )
    if before is None or before.status != after.status:
        return [after]
    kept = after.model_copy(update={"last_transition_time": before.last_transition_time})
    # A new generation alone is no reason for a write.
    unchanged = kept.model_copy(update={"observed_generation": before.observed_generation}) == before
    return [before if unchanged else kept]


def _message(found: Sequence[Forged]) -> str:
    if not found:
        return ""
    more = len(found) - NAMED
    # Rounded: each object more would be a write of the status.
    rest = "" if more <= 0 else f"; and {_rounded(more)} more"
    return "; ".join(map(_words, found[:NAMED])) + rest


def _rounded(count: int) -> str:
    return str(count) if count <= MOST_EVENTS else f"at least {10 ** (len(str(count)) - 1)}"


def _words(one: Forged) -> str:
    return f"{one.kind} {one.namespace}/{one.name} claims to belong to this run and is ignored: it {one.why}"
