"""The operator's own limit: how many task pods of all runs together are live, or on their way, and who waits for room.

Counted from what the watches tell, Job by Job, so that nothing has to be given back. Between a Job's creation and its
being known it counts as reserved. Another operator would count by itself: where two are at work, each has the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from nexus.core.model.facts import Capacity, JobFact
from nexus.core.tasks.capacity import held
from nexus.runtime.ports import RunKey, Stale


class LivePods:
    """The count, and the line of runs that found no room. `limit` 0: there is none, and nothing is counted."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.wake: Callable[[RunKey], None] = lambda _: None
        self._held: dict[str, int] = {}
        self._total = 0
        self._reserved = 0
        self._waiting: dict[RunKey, None] = {}

    def note(self, job: JobFact) -> None:
        """Count a Job, with its pods, as it is now."""
        self._set(job.uid, held(job))

    def drop(self, uid: str) -> None:
        """Drop a Job that is gone, or no run's any more."""
        self._set(uid, 0)

    def _set(self, uid: str, count: int) -> None:
        change = count - self._held.pop(uid, 0)
        if count:
            self._held[uid] = count
        self._total += change
        if change < 0:
            self._wake_first()

    def _wake_first(self) -> None:
        for key in list(self._waiting)[: max(self._free(), 0)]:
            del self._waiting[key]
            self.wake(key)

    def _free(self) -> int:
        return self.limit - self._total - self._reserved

    def capacity(self, key: RunKey, jobs: Iterable[JobFact]) -> Capacity | None:
        """Return what a run may start, None for as much as it likes. One that finds no room is woken when there is."""
        if not self.limit:
            return None
        free = max(self._free(), 0)
        if not free:
            self._waiting[key] = None
        return Capacity(self.limit, free, frozenset(job.name for job in jobs))

    def forget(self, key: RunKey) -> None:
        """Drop a run that has ended: it waits for nothing."""
        self._waiting.pop(key, None)

    @contextmanager
    def reserved(self, count: int = 1) -> Iterator[None]:
        """Room for pods whose Job is being made. Raises Stale where others took it meanwhile."""
        if self.limit and count > self._free():
            raise Stale(f"{self.limit} task pods are live")
        self._reserved += count
        try:
            yield
        finally:
            self._reserved -= count
            self._wake_first()
