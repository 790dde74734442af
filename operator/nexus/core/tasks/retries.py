"""Retries: whether an attempt follows a failed one, and when. The engines of Jobs, child runs and items all ask here.

What the Job controller decides by itself, while no operator looks, comes from the same record: see
`RetryPolicy.pod_rules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nexus.api.reasons import Reason
from nexus.core.model.retry import MAX_REPLACEMENTS_OF_LOST_OUTPUT, OnFailure, RetryPolicy
from nexus.core.tasks.evidence import Failed


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The attempt that follows a failed one."""

    at: datetime | None
    """When it is due; None for at once."""
    replaces: bool = False
    """Whether it takes the place of the failed one, which does not count as an attempt."""


def next_attempt_after(
    failure: Failed,
    policy: RetryPolicy,
    attempts: int,
    *,
    whose: str,
    replacements: int = 0,
    now: datetime | None = None,
) -> NextAttempt | None:
    """Return the attempt that follows `failure`, None where the task, or item, has failed for good.

    `attempts` is the number of failed attempts, this one included; `replacements` the number of attempts replaced so
    far; `whose` tells the task, or item, from all others of all runs (for jitter). The delay of a failure without a
    time counts from `now`; where there is no `now` either, the attempt is due at once, since a delay from a time that
    moves would never be over.
    """
    if failure.free and _is_replaced(failure, policy, replacements):
        return NextAttempt(now, replaces=True)
    if failure.final or failure.exit_code in policy.fail_on_exit_codes or attempts > policy.limit:
        return None
    failed_at = failure.at or now
    return NextAttempt(policy.due(attempts, failed_at, whose, failure.retry_after) if failed_at is not None else None)


def _is_replaced(failure: Failed, policy: RetryPolicy, replacements: int) -> bool:
    if failure.reason is Reason.OUTPUT_LOST:
        # Bounded: a task whose output is lost every time must not run for ever.
        return replacements < MAX_REPLACEMENTS_OF_LOST_OUTPUT
    return any(rule.disrupted and rule.action is OnFailure.REPLACE for rule in policy.pod_rules)
