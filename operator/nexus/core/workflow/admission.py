"""Admission: whose turn it is, where the runs of a Workflow go one at a time.

In line stand all runs that have not ended, by creation, then name; child runs are part of their parent and stand in no
line. A run begins when none is before it. Under Replace a scheduled run first cancels the scheduled ones before it. In
a suspended Workflow nobody begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nexus.api.policies import ConcurrencyPolicy
from nexus.api.reasons import Reason
from nexus.api.run import Trigger
from nexus.core.workflow.facts import RunPolicy, Sibling


@dataclass(frozen=True, slots=True)
class Admit:
    """It may begin. `exclusive` where no other may begin with it, so that the operators have to agree."""

    exclusive: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """It waits, and why; `replaces` are the runs to cancel so that its turn comes."""

    reason: Reason
    message: str
    replaces: tuple[Sibling, ...] = ()


def admit(run: Sibling, others: Iterable[Sibling], policy: RunPolicy, workflow: str, holder: str = "") -> Admit | Wait:
    """Whether a run that has not begun may. `holder` is the UID of the run that was admitted last: though its own
    status may not say so yet, it has begun, if it has not ended."""
    if policy.suspend:
        return Wait(Reason.SUSPENDED, f"the Workflow {workflow} is suspended: its spec.suspend has to be false first")
    if not policy.concurrency.one_at_a_time or run.child:
        return Admit(exclusive=False)
    if holder == run.uid:
        return Admit(exclusive=True)
    ahead = [
        other
        for other in others
        if other.uid != run.uid
        and not (other.ended or other.child)
        and (not other.waits or other.uid == holder or other.place < run.place)
    ]
    if not ahead:
        return Admit(exclusive=True)
    # The one right before it: its place in the line, and so this message, then changes once.
    last = max(ahead, key=lambda other: (other.waits and other.uid != holder, other.place))
    does = "is before it in line" if last.waits and last.uid != holder else "is under way"
    message = f"waits for run {last.name}, which {does}; concurrency of Workflow {workflow} is {policy.concurrency}"
    return Wait(Reason.CONCURRENCY, message, _replaced(run, ahead, policy.concurrency))


def _replaced(run: Sibling, ahead: list[Sibling], policy: ConcurrencyPolicy) -> tuple[Sibling, ...]:
    if policy is not ConcurrencyPolicy.REPLACE or run.trigger is not Trigger.SCHEDULE:
        return ()
    return tuple(other for other in ahead if other.trigger is Trigger.SCHEDULE and not other.cancelled)
