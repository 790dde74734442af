"""Paced questions: what only Events say is asked of a run when it has waited for a while, and then now and then.

An Event is looked for among all of its namespace: the API server reads them from etcd, thousands where thousands of
runs are at work. So the runs of a namespace share one answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nexus.adapters.kube.client.api import EVENTS, KubeApi, Object

ASK_AGAIN_AFTER = timedelta(seconds=10)
FRESH = timedelta(seconds=3)
"""For so long an answer serves the other runs of its namespace, at least."""
SHARE = 10
"""Pause as a multiple of the time that the last question took, so that these never keep the API server busy."""
SOON = timedelta(seconds=1)
"""Delay after which a run looks again that finds the question asked by another one."""


class ProbeSchedule:
    """When a run's question may be asked: `after` what it is about began, and at most every ten seconds."""

    def __init__(self, after: timedelta) -> None:
        self._after = after
        self._next: dict[str, datetime] = {}

    def wait(self, run_uid: str, since: Iterable[datetime], now: datetime) -> datetime | None:
        """Return when to ask, where that is later than now; None where it is to be asked now, which counts as asked."""
        due = max(min(since) + self._after, self._next.get(run_uid, now))
        if now < due:
            return due
        self._next[run_uid] = now + ASK_AGAIN_AFTER
        return None

    def soon(self, run_uid: str, now: datetime) -> datetime:
        """There was no answer yet: when to ask again."""
        self._next[run_uid] = now + SOON
        return now + SOON

    def forget(self, run_uid: str) -> None:
        """There is nothing to ask, or the run has ended."""
        self._next.pop(run_uid, None)


@dataclass(frozen=True, slots=True)
class _Answer:
    reasons: dict[str, str]
    good_until: datetime


@dataclass
class EventLookup:
    """What the Events of one selector say, by namespace: UIDs of what they are about, and the words that `read` finds
    in them. One LIST at a time for each namespace, and whoever finds one under way does not wait for it."""

    api: KubeApi
    selector: str
    read: Callable[[Iterable[Object]], dict[str, str]]
    _known: dict[str, _Answer] = field(default_factory=dict)
    _asking: set[str] = field(default_factory=set)

    async def ask(self, namespace: str, now: datetime) -> dict[str, str] | None:
        """Return the words, None where another run has just asked."""
        if namespace in self._asking:
            return None
        known = self._known.get(namespace)
        if known is not None and now < known.good_until:
            return known.reasons
        self._asking.add(namespace)
        began = time.monotonic()
        try:
            reasons = self.read(await self.api.list(EVENTS, namespace, field_selector=self.selector))
        finally:
            self._asking.discard(namespace)
        took = timedelta(seconds=time.monotonic() - began)
        # Nothing is kept of namespaces without further questions.
        self._known = {name: answer for name, answer in self._known.items() if now < answer.good_until}
        self._known[namespace] = _Answer(reasons, now + max(FRESH, SHARE * took))
        return reasons
