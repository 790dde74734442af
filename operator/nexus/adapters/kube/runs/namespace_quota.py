"""Room in a namespace: a run does not begin where runs have filled it up already, so that they never fill etcd.

What a run has made is read from its status: the cache keeps no Jobs of runs that have ended. It is near enough.
"""

from __future__ import annotations

from datetime import timedelta

from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.runs import Cache
from nexus.api.reasons import Reason
from nexus.runtime.ports import Blocked, StartRejected

# Ended runs are deleted, by history and by hand, and no event wakes those that wait.
REQUEUE_AFTER_QUOTA = timedelta(seconds=30)


class NamespaceRoom:
    """The limit on objects of runs in each namespace; 0: there is none."""

    def __init__(self, cache: Cache, limit: int) -> None:
        self._cache = cache
        self._limit = limit

    def hold(self, record: RunRecord) -> Blocked | StartRejected | None:
        """Return why a run may not begin, None where it may or has. A child run is its parent's, which has begun."""
        begun = record.status is not None and record.status.start_time is not None
        if not self._limit or begun or record.parent:
            return None
        there = self._cache.objects[record.key.namespace]
        if there <= self._limit:
            return None
        if record.spec is not None and record.spec.cancel is not None:
            return StartRejected(Reason.CANCELLED, "the run was cancelled before it started")
        message = (
            f"namespace {record.key.namespace} exceeds the limit on objects of runs (about {round(there, -2):,}, limit "
            f"{self._limit:,}, NEXUS_MAX_NAMESPACE_OBJECTS); delete ended runs, or keep fewer (history, "
            "ttlSecondsAfterFinished)"
        )
        return Blocked(Reason.NAMESPACE_FULL, message)
