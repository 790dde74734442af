"""Admission: whose turn it is, where the runs of a Workflow take turns.

In line are all runs that have not ended, by creation, then name; child runs are part of their parent and in no line.
With a key each of its values has a line. A run begins when fewer than `limit` are under way or before it. Under Replace
a scheduled run first cancels as many of the scheduled ones before it as its place takes, the oldest first. In a
suspended Workflow no run begins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nexus.api.policies import ConcurrencyPolicy
from nexus.api.reasons import Reason
from nexus.api.run import Trigger
from nexus.core.workflow.facts import RunPolicy, RunSummary


@dataclass(frozen=True, slots=True)
class Admit:
    """It may begin. `exclusive` where not all others may begin with it, so that the operators have to agree."""

    exclusive: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """It waits, and why; `replaces` are the runs to cancel so that its turn comes."""

    reason: Reason
    message: str
    replaces: tuple[RunSummary, ...] = ()


def admit(
    run: RunSummary, others: Iterable[RunSummary], policy: RunPolicy, workflow: str, beginning: Collection[str] = ()
) -> Admit | Wait:
    """Return whether a run that has not begun may. `beginning` are the UIDs of runs that were let in: though their own
    statuses may not say so yet, they have begun, those that have ended aside."""
    if policy.suspend:
        return Wait(Reason.SUSPENDED, f"Workflow {workflow} is suspended; set its spec.suspend to false")
    if not policy.concurrency.takes_turns or run.child:
        return Admit(exclusive=False)
    if run.uid in beginning:
        return Admit(exclusive=True)
    ahead = [
        other
        for other in others
        if other.uid != run.uid
        and not (other.ended or other.child)
        and (other.key or "") == (run.key or "")
        and (not other.waits or other.uid in beginning or other.place < run.place)
    ]
    if len(ahead) < policy.limit:
        return Admit(exclusive=True)
    # The one right before it: its place in the line, and so this message, then changes once.
    last = max(ahead, key=lambda other: (other.waits and other.uid not in beginning, other.place))
    does = "is queued ahead of it" if last.waits and last.uid not in beginning else "is in progress"
    limit = f", limit {policy.limit}" if policy.limit > 1 else ""
    key = f", for key {run.key}" if run.key else ""
    message = (
        f"waiting for run {last.name}, which {does}; "
        f"concurrency of Workflow {workflow} is {policy.concurrency}{limit}{key}"
    )
    return Wait(Reason.CONCURRENCY, message, _replaced(run, ahead, policy))


def _replaced(run: RunSummary, ahead: list[RunSummary], policy: RunPolicy) -> tuple[RunSummary, ...]:
    if policy.concurrency is not ConcurrencyPolicy.REPLACE or run.trigger is not Trigger.SCHEDULE:
        return ()
    too_many = len(ahead) - policy.limit + 1 - sum(other.cancelled for other in ahead)
    scheduled = [other for other in ahead if other.trigger is Trigger.SCHEDULE and not other.cancelled]
    return tuple(sorted(scheduled, key=lambda other: other.place)[: max(too_many, 0)])
