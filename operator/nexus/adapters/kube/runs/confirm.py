"""Confirm: before something irreversible is decided from what the watches did not tell, the API server is asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, Kind, KubeApi, NotFound, Object
from nexus.api.run import TaskStatus
from nexus.core.model.facts import JobFact
from nexus.core.names import LABEL_RUN

# No watch tells of a Job that lost our label: how soon it is asked about again.
ASK_AGAIN = timedelta(seconds=10)


class Confirmations:
    """Asks the API server, and updates the cache. `saw_run` is called with the runs that were read."""

    def __init__(self, api: KubeApi, cache: Cache) -> None:
        self._api = api
        self._cache = cache
        self._asked: dict[str, datetime] = {}

    async def gone(self, record: RunRecord, saw_run: Callable[[Object], None]) -> None:
        """Ask for the recorded Jobs and child runs that are not known: one that is not there either is gone."""
        for task in record.status.tasks or () if record.status else ():
            if not _goes_on(task):
                continue
            if task.job is not None and self._cache.job(record.uid, task.job.name) is None:
                body = await self._get(JOBS, record, task.job.name)
                if body is not None:
                    self._cache.see_job(body)
            if task.child_run is not None and self._cache.child(record.uid, task.child_run.name) is None:
                body = await self._get(WORKFLOW_RUNS, record, task.child_run.name)
                if body is not None:
                    saw_run(body)

    async def unwatched(self, record: RunRecord, now: datetime) -> datetime | None:
        """Ask for the Jobs that no watch tells of; returns when to ask again, None where there is none."""
        known = [job for jobs in self._cache.jobs(record.uid).values() for job in jobs]
        jobs = [job for job in known if job.unwatched and not job.finished]
        for job in jobs:
            due = self._asked.get(job.uid)
            if due is not None and due > now:
                continue
            self._asked[job.uid] = now + ASK_AGAIN
            body = await self._get(JOBS, record, job.name)
            if body is not None:
                self._cache.see_job(body)
            else:
                self._cache.drop_job(job.uid)
        self._asked = {uid: due for uid, due in self._asked.items() if due > now}
        return min((self._asked.get(job.uid, now + ASK_AGAIN) for job in jobs), default=None)

    async def _get(self, kind: Kind, record: RunRecord, name: str) -> Object | None:
        try:
            return await self._api.get(kind, record.key.namespace, name)
        except NotFound:
            return None

    async def pods(self, record: RunRecord) -> None:
        """List the pods of Jobs that ended in a way that no known pod explains. The watches of Jobs and pods are not in
        step, least of all when an operator starts: a Job that is known to be Complete before its pod is would be an
        output lost, and the task would run again."""
        recorded = {task.name: task for task in record.status.tasks or ()} if record.status else {}
        for name, jobs in self._cache.jobs(record.uid).items():
            task = recorded.get(name, TaskStatus(name=name))
            # The recorded one, and those after it: whether these count, it says.
            known = next((job.attempt_number for job in jobs if task.job is not None and job.name == task.job.name), 0)
            for job in jobs if not task.phase.ended else ():
                if job.attempt_number >= known and not (job.of_items or _explained(job)):
                    await self.list_pods(record.key.namespace, job)

    async def list_pods(self, namespace: str, job: JobFact) -> None:
        """List the pods of a Job."""
        # With the label by which the watch, and the policy on who makes such pods, know them.
        selector = f"batch.kubernetes.io/controller-uid={job.uid},{LABEL_RUN}"
        for body in await self._api.list(PODS, namespace, selector, in_brief=True):
            self._cache.see_pod(body)


def _goes_on(task: TaskStatus) -> bool:
    return not task.phase.ended and task.next_attempt_time is None


def _explained(job: JobFact) -> bool:
    """Return whether the known pods account for how the Job ended, if it did."""
    ended = [pod for pod in job.pods if not pod.live]
    if job.complete:
        return any(pod.terminated is not None and pod.terminated.exit_code == 0 for pod in ended)
    return not job.failure or len(ended) >= max(job.failed, 1)
