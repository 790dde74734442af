"""Jobs without a pod: why, in the words of the Job controller's Events, the only place that says so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.client.api import KubeApi, Object
from nexus.adapters.kube.runs.event_lookup import ASK_AGAIN_AFTER, EventLookup, ProbeSchedule
from nexus.core.model.facts import JobFact

# The Job controller makes about ten pods a second on its default rates, so that on a busy cluster a Job is without
# one for seconds with nothing wrong.
PODLESS_AFTER = timedelta(seconds=3)


class PodlessJobs:
    """Asks for the reasons of a run's podless Jobs, all at once and at most every ten seconds."""

    def __init__(self, api: KubeApi, cache: Cache) -> None:
        self._told = EventLookup(api, "involvedObject.kind=Job,reason=FailedCreate", _reasons)
        self._cache = cache
        self._pace = ProbeSchedule(PODLESS_AFTER)

    async def ask(self, record: RunRecord, now: datetime) -> datetime | None:
        """Note in the cache why Jobs have no pod; returns when to look again, None where all have one."""
        podless = [job for jobs in self._cache.jobs(record.uid).values() for job in jobs if _podless(job)]
        if not podless:
            self._pace.forget(record.uid)
            return None
        if (due := self._pace.wait(record.uid, (job.created_at for job in podless), now)) is not None:
            return due
        reasons = await self._told.ask(record.key.namespace, now)
        if reasons is None:
            return self._pace.soon(record.uid, now)
        for job in podless:
            self._cache.note_refused_pods(record.uid, job.name, reasons.get(job.uid, ""))
        return now + ASK_AGAIN_AFTER

    def forget(self, run_uid: str) -> None:
        """Drop a run that has ended."""
        self._pace.forget(run_uid)


def _reasons(found: Iterable[Object]) -> dict[str, str]:
    # Each try has a pod name of its own, and a status that changed with it would be written again and again.
    return {
        str(item["involvedObject"].get("uid")): re.sub(r'\bpods "[^"]*"', "the pod", str(item.get("message") or ""))[
            :900
        ]
        for item in found
    }


def _podless(job: JobFact) -> bool:
    return not (job.pods or job.finished or job.deleting or job.failed or job.suspended)
