"""What only Events say of a run's Jobs and pods. If they cannot be read, the run continues without their words."""

from __future__ import annotations

import logging
from datetime import datetime

from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.client.api import ApiError, KubeApi, NotLeading
from nexus.adapters.kube.runs.event_lookup import ASK_AGAIN_AFTER
from nexus.adapters.kube.runs.podless import PodlessJobs
from nexus.adapters.kube.runs.unmounted import UnmountedPods

log = logging.getLogger("nexus")


class PodEvents:
    """Asks, at a bounded pace, why Jobs have no pod and why pods do not start."""

    def __init__(self, api: KubeApi, cache: Cache) -> None:
        self._questions = (PodlessJobs(api, cache), UnmountedPods(api, cache))
        self._unreadable: set[str] = set()
        """Namespaces of which it is known, and was logged, that their Events cannot be read."""

    async def ask(self, record: RunRecord, now: datetime) -> datetime | None:
        """Note the answers in the cache; returns when to ask again, None where there is nothing to ask."""
        namespace = record.key.namespace
        wakes: list[datetime | None] = []
        refused = False
        for question in self._questions:
            try:
                wakes.append(await question.ask(record, now))
            except NotLeading:
                raise
            except ApiError as error:
                wakes.append(now + ASK_AGAIN_AFTER)
                refused = True
                if namespace not in self._unreadable:
                    self._unreadable.add(namespace)
                    log.warning("cannot read the Events of namespace %s: %s", namespace, error)
        if not refused:
            self._unreadable.discard(namespace)
        return min((wake for wake in wakes if wake is not None), default=None)

    def forget(self, run_uid: str) -> None:
        """Drop a run that has ended."""
        for question in self._questions:
            question.forget(run_uid)
