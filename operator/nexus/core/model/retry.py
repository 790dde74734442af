"""Retries: how many, after which delay, and which of two mechanisms does them.

With the Job controller's own delays a task is one Job with a backoffLimit, and no operator is needed for a retry.
With other delays each attempt is a Job of its own that the operator starts when it is due. Users see no difference.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from nexus.api.tasks import Disruptions, Retry

# The Job controller's delays: 10 s, doubled for each failure, at most 600 s (Kubernetes 1.34, job_controller.go).
NATIVE_DELAY_SECONDS = 10
NATIVE_FACTOR = 2.0
NATIVE_MAX_DELAY_SECONDS = 600

# The longest delay that a manifest can ask for, and a server by Retry-After.
MAX_RETRY_AFTER_SECONDS = 86_400

MAX_REPLACEMENTS_OF_LOST_OUTPUT = 3


class OnFailure(Enum):
    """What a failure of a certain kind leads to, whatever the limit of retries."""

    REPLACE = "replace"
    """Another attempt, and this one does not count."""
    END = "end"
    """No other attempt."""


@dataclass(frozen=True, slots=True)
class PodRule:
    """A rule on how a pod ended: that it was disrupted, or that its container exited with one of these codes."""

    action: OnFailure
    disrupted: bool = False
    exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The `retry` of a task with its defaults filled in."""

    limit: int = 0
    delay_seconds: int = NATIVE_DELAY_SECONDS
    factor: float = NATIVE_FACTOR
    max_delay_seconds: int = NATIVE_MAX_DELAY_SECONDS
    jitter: float = 0.0
    fail_on_exit_codes: tuple[int, ...] = ()
    retry_on: tuple[int | str, ...] = ()
    """Of an http task: statuses, classes of them and `network`; empty where every failure is retried."""
    disruptions: Disruptions = Disruptions.IGNORE

    @classmethod
    def of(cls, retry: Retry | None, limit: int = 0, final: tuple[int, ...] = ()) -> RetryPolicy:
        """Return the policy of a task's `retry` (defaults applied), with the limit where it has none;
        `final` are the exit codes that its type never retries."""
        base = cls(limit=limit, fail_on_exit_codes=final)
        if retry is None:
            return base
        given = retry
        return cls(
            limit=base.limit if given.limit is None else given.limit,
            delay_seconds=base.delay_seconds if given.delay_seconds is None else given.delay_seconds,
            factor=base.factor if given.factor is None else given.factor,
            max_delay_seconds=base.max_delay_seconds if given.max_delay_seconds is None else given.max_delay_seconds,
            jitter=given.jitter or base.jitter,
            fail_on_exit_codes=tuple(sorted({*final, *(given.fail_on_exit_codes or ())})),
            retry_on=tuple(given.retry_on or ()),
            disruptions=given.disruptions or base.disruptions,
        )

    @property
    def native(self) -> bool:
        """True where the Job controller's own delays are the ones asked for; it knows of no server that asks for a
        longer one."""
        if self.retry_on:
            return False
        asked = (self.delay_seconds, self.factor, self.max_delay_seconds, self.jitter)
        return asked == (NATIVE_DELAY_SECONDS, NATIVE_FACTOR, NATIVE_MAX_DELAY_SECONDS, 0)

    def delay(self, attempts: int, whose: str = "") -> timedelta:
        """Return the pause after `attempts` (1 or more) failed attempts; `whose` tells the task from all others of all
        runs, for jitter."""
        # The exponent is capped: 10.0 ** 400 would overflow, and max_delay_seconds is reached long before.
        seconds = self.delay_seconds * self.factor ** min(attempts - 1, 60)
        # Jitter comes last: delays that have all grown to the longest are the ones that need to be spread.
        spread = 1 + self.jitter * _chance(f"{whose}/{attempts}") if self.jitter else 1
        return timedelta(seconds=min(seconds, self.max_delay_seconds) * spread)

    @property
    def pod_rules(self) -> tuple[PodRule, ...]:
        """The rules on how a pod ended, the first that fits decides. The podFailurePolicy of a Job is made of them."""
        # Disruption first: the exit code of a process that was asked to stop says nothing about its task.
        replaced = [PodRule(OnFailure.REPLACE, disrupted=True)] if self.disruptions is Disruptions.IGNORE else []
        ended = [PodRule(OnFailure.END, exit_codes=self.fail_on_exit_codes)] if self.fail_on_exit_codes else []
        return (*replaced, *ended)

    def due(self, attempts: int, failed_at: datetime, whose: str = "", retry_after: int | None = None) -> datetime:
        """Return when the next attempt starts after `attempts` failed ones; `whose` as for `delay`, `retry_after` are
        seconds that the server asked to wait."""
        asked = timedelta(seconds=min(retry_after or 0, MAX_RETRY_AFTER_SECONDS)) if self.retry_on else timedelta()
        return failed_at + max(self.delay(attempts, whose), asked)


def _chance(text: str) -> float:
    """Return a number from -1 up to 1 that is as good as drawn by lot, and the same for every operator that asks."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**47 - 1
