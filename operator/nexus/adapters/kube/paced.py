"""Paced questions: what only Events say is asked of a run when it has waited for a while, and then now and then."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

ASK_AGAIN_AFTER = timedelta(seconds=10)


class Pace:
    """When a run's question may be asked: `after` what it is about began, and at most every ten seconds."""

    def __init__(self, after: timedelta) -> None:
        self._after = after
        self._next: dict[str, datetime] = {}

    def wait(self, run_uid: str, since: Iterable[datetime], now: datetime) -> datetime | None:
        """When to ask, where that is later than now; None where it is to be asked now, which counts as asked."""
        due = max(min(since) + self._after, self._next.get(run_uid, now))
        if now < due:
            return due
        self._next[run_uid] = now + ASK_AGAIN_AFTER
        return None

    def forget(self, run_uid: str) -> None:
        """There is nothing to ask, or the run has ended."""
        self._next.pop(run_uid, None)
