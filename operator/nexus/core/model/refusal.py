"""Refusals: what the API server answered to a write that it did not carry out, and what that does to a task.

Whoever makes the write turns the answer into a Refusal; it is a fact like any other, and the status that says so is
written regardless. How long a task waits depends on who has to act:

- `final`: nothing will change by itself (another one's object has the name); the task fails at once.
- `limited`: an admission rule or the API server's own checks refuse the Job or child run; the task fails after
  startTimeoutSeconds, in the API server's words.
- all others (missing rights, quota, a namespace that is going, no answer) are waited out, and so is every store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from nexus.api.base import format_time
from nexus.api.reasons import Reason
from nexus.api.run import WorkflowRunStatus
from nexus.api.workflow import Condition, WorkflowStatus

CONDITION = "WriteRefused"
"""The condition of a run or Workflow that has a refused write."""

TRY_AGAIN = timedelta(seconds=10)
"""Delay before a write is retried if the API server names none."""


Status = TypeVar("Status", WorkflowRunStatus, WorkflowStatus)


class Code(StrEnum):
    """Why a write was not carried out."""

    RIGHTS = "rights"
    """RBAC, or another authorizer."""
    QUOTA = "quota"
    ADMISSION = "admission"
    """An admission webhook or policy, or the API server's own validation."""
    TOO_LARGE = "too-large"
    NAMESPACE = "namespace"
    """The namespace is being deleted, or gone."""
    NAME_TAKEN = "name-taken"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    """The API server is overloaded, failed, or did not answer; nothing was done."""
    UNKNOWN = "unknown"
    """No answer came, and the write may have been done all the same."""

    @property
    def passing(self) -> bool:
        """Whether it most often passes within a second or two, so that it need not be reported at once."""
        return self in (Code.CONFLICT, Code.UNAVAILABLE, Code.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that was not carried out, or not for certain."""

    reason: Reason
    message: str
    final: bool = True
    limited: bool = False
    """Whether startTimeoutSeconds bounds how often it is tried."""
    code: Code = Code.ADMISSION
    write: str = "create"
    """What was tried: create, patch, update or delete."""
    resource: str = "jobs"
    """Plural name of the kind."""
    since: datetime | None = None
    """When it was refused first, as far as this operator knows."""
    again_at: datetime | None = None
    """When it is tried again."""
    told: bool = True
    """Whether it is reported already: not while it may pass by itself."""
    pods: int = 0
    """Pods that there may be all the same: the outcome of the write is not known."""


REASONS = frozenset(
    {
        Reason.MISSING_RIGHTS,
        Reason.QUOTA_EXCEEDED,
        Reason.WRITE_REFUSED,
        Reason.NAMESPACE_TERMINATING,
        Reason.API_UNAVAILABLE,
        Reason.JOB_REFUSED,
        Reason.CHILD_REFUSED,
        Reason.NAME_TAKEN,
    }
)
"""What a task that has not ended has for its reason while a write of its is refused."""


def again_at(refusal: Refusal, now: datetime) -> datetime:
    """Return when the write is tried again."""
    return refusal.again_at or now + TRY_AGAIN


def over_since(refusal: Refusal, since: datetime, seconds: int, now: datetime) -> str | None:
    """Return why a start that has been refused `since` is given up after `seconds`; None if it is not yet."""
    if not refusal.limited or now < since + timedelta(seconds=seconds):
        return None
    return f"{refusal.message}; not accepted within startTimeoutSeconds ({seconds})"


def limit_words(refusal: Refusal, since: datetime, seconds: int) -> str:
    """Return the message of a task that waits for its start to be accepted."""
    if not refusal.limited:
        return refusal.message
    return f"{refusal.message}; retried until {format_time(since + timedelta(seconds=seconds))} (startTimeoutSeconds)"


def parallelism_of(job_name: str) -> str:
    """Return what a refusal to raise the parallelism of an Indexed Job goes by."""
    return f"{job_name}/parallelism"


def job_of(name: str) -> str:
    """Return the Job that a refusal is about, of its making or of its parallelism."""
    return name.partition("/")[0]


def is_refused(conditions: Iterable[Condition]) -> bool:
    """Return whether WriteRefused is true among conditions."""
    return any(entry.type == CONDITION and entry.status == "True" for entry in conditions)


def with_conditions(status: Status, conditions: Sequence[Condition]) -> Status:
    """Return the status of a run, or of a Workflow, with these in place of its condition WriteRefused."""
    others: list[Condition] = [entry for entry in status.conditions or () if entry.type != CONDITION]
    return status.model_copy(update={"conditions": [*others, *conditions] or None})


def refusal_condition(
    known: Sequence[Condition], refused: Iterable[Refusal], generation: int, now: datetime
) -> list[Condition]:
    """Return the condition WriteRefused of what has a refused write, or once had one; else nothing. `known` are the
    conditions on record; the first of the refusals is the one that is reported. One that is final has ended its
    task."""
    before = next((entry for entry in known if entry.type == CONDITION), None)
    told = [refusal for refusal in refused if refusal.told and not refusal.final]
    if before is None and not told:
        return []
    status = "True" if told else "False"
    changed = before is None or before.status != status
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    return [
        Condition(
            type=CONDITION,
            status="True" if told else "False",
            observed_generation=generation if before is None or changed else before.observed_generation,
            last_transition_time=now if before is None or changed else before.last_transition_time,
            reason=told[0].reason.value if told else "Accepted",
            message=f"{told[0].message}{more}"[:1_024] if told else "",
        )
    ]
