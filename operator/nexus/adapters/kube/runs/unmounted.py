"""Pods whose volumes cannot be mounted: why, in the words of the kubelet's Events, the only place that says so. The
pod itself is in ContainerCreating as any that pulls an image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.client.api import KubeApi, Object
from nexus.adapters.kube.runs.event_lookup import ASK_AGAIN_AFTER, EventLookup, ProbeSchedule
from nexus.core.model.facts import PodFact
from nexus.core.tasks.evidence import NO_CONFIG

# Most containers run a second or two after their pod has a node; a missing volume is reported in the first.
UNMOUNTED_AFTER = timedelta(seconds=5)
# What the kubelet says of a container until its volumes are mounted and its image is there.
CREATING = "ContainerCreating"


class UnmountedPods:
    """Asks for the reasons of a run's pods that do not start, all at once and at most every ten seconds."""

    def __init__(self, api: KubeApi, cache: Cache) -> None:
        self._told = EventLookup(api, "involvedObject.kind=Pod,reason=FailedMount", _reasons)
        self._cache = cache
        self._pace = ProbeSchedule(UNMOUNTED_AFTER)

    async def ask(self, record: RunRecord, now: datetime) -> datetime | None:
        """Note in the cache what pods wait for; returns when to look again, None where none of them waits."""
        jobs = [job for jobs in self._cache.jobs(record.uid).values() for job in jobs]
        waiting = {pod.uid: (job.uid, since) for job in jobs for pod in job.pods if (since := _since(pod)) is not None}
        if not waiting:
            self._pace.forget(record.uid)
            return None
        if (due := self._pace.wait(record.uid, (since for _, since in waiting.values()), now)) is not None:
            return due
        reasons = await self._told.ask(record.key.namespace, now)
        if reasons is None:
            return self._pace.soon(record.uid, now)
        for uid, (job, _) in waiting.items():
            self._cache.note_unmounted(job, uid, reasons.get(uid, ""))
        return now + ASK_AGAIN_AFTER

    def forget(self, run_uid: str) -> None:
        """Drop a run that has ended."""
        self._pace.forget(run_uid)


def _reasons(found: Iterable[Object]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    # A pod may have several. What is missing says most, else the first one stays: a status that went to and fro between
    # them would be written again and again.
    for item in sorted(found, key=lambda item: str(item["metadata"].get("name"))):
        uid, message = str(item["involvedObject"].get("uid")), str(item.get("message") or "")
        if uid not in reasons or (NO_CONFIG.search(message) and not NO_CONFIG.search(reasons[uid])):
            reasons[uid] = re.sub(r"/pods/[0-9a-f-]{36}/", "/pods/…/", message)[:900]
    return reasons


def _since(pod: PodFact) -> datetime | None:
    """Return since when a pod has been on a node without starting; None where it has none, or has started."""
    if not pod.live or pod.running or pod.deleted_at is not None or pod.waiting_reason != CREATING:
        return None
    return pod.scheduled_at
