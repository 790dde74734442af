"""The pods that the watches have shown, by the UID of the Job that each says it is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from nexus.adapters.kube.cache.parse import pod_fact
from nexus.core.model.facts import Forged, JobFact, PodFact
from nexus.core.tasks.identity import forged_pod


class Pods:
    """Pods by Job. A pod may be seen before its Job."""

    def __init__(self) -> None:
        self._by_job: dict[str, dict[str, PodFact]] = {}

    def see(self, body: Mapping[str, Any], job_uid: str, job_namespace: str | None, *, gone: bool) -> bool:
        """Take in a pod that was listed, changed or deleted; return whether that is news. `job_namespace` is None where
        its Job is not known (yet)."""
        fact = pod_fact(body)
        pods = self._by_job.setdefault(job_uid, {})
        known = pods.get(fact.uid)
        if known is not None and known.terminated is not None and fact.terminated is None:
            return False  # older news than the answer to a question of ours: no container runs twice
        if known is not None:
            fact = _with_known(known, fact)
        if not gone:
            pods[fact.uid] = fact
            return fact != known
        # A pod that ended is kept as evidence of how its Job's attempt went, until its run is gone: that the pod object
        # was deleted does not unmake what it proved.
        if job_namespace == fact.namespace and (fact.terminated is not None or (known and known.terminated)):
            pods[fact.uid] = fact
        else:
            pods.pop(fact.uid, None)
        return True

    def of(self, job: JobFact) -> tuple[PodFact, ...]:
        """Return the pods of a Job, in the order of their creation."""
        pods = [pod for pod in self.claimed(job.uid) if forged_pod(job, pod) is None]
        return tuple(sorted(pods, key=lambda pod: (pod.created_at is not None, pod.created_at)))

    def forged(self, job: JobFact) -> list[Forged]:
        """Return the pods that say they are of a Job, and are not."""
        return [forged for pod in self.claimed(job.uid) if (forged := forged_pod(job, pod)) is not None]

    def claimed(self, job_uid: str) -> Iterable[PodFact]:
        """Yield all that say they are of a Job."""
        return self._by_job.get(job_uid, {}).values()

    def all(self) -> Iterable[PodFact]:
        """Yield all pods of all Jobs."""
        return (pod for pods in self._by_job.values() for pod in pods.values())

    def note_unmounted(self, job_uid: str, pod_uid: str, why: str) -> None:
        """Remember why a volume of a pod cannot be mounted."""
        pod = self._by_job.get(job_uid, {}).get(pod_uid)
        if pod is not None:
            self._by_job[job_uid][pod_uid] = replace(pod, unmounted=why)

    def forget(self, job_uid: str) -> None:
        """Drop a Job that is gone."""
        self._by_job.pop(job_uid, None)

    def sweep(self, gone: frozenset[str], jobs: Mapping[str, Any]) -> list[str]:
        """Drop the pods that are `gone` and prove nothing, and those of unknown Jobs; return the UIDs of the
        Jobs that lost one."""
        for job_uid in [uid for uid in self._by_job if uid not in jobs]:
            del self._by_job[job_uid]
        touched = []
        for job_uid, pods in self._by_job.items():
            for pod in [pod for pod in pods.values() if pod.uid in gone and pod.terminated is None]:
                del pods[pod.uid]
                touched.append(job_uid)
        return touched


def _with_known(known: PodFact, fact: PodFact) -> PodFact:
    """Return the pod with what its status does not say, and with the deletion that counts: one asked for after its
    container had ended proves nothing against it, and of two the first one stopped it. What was withdrawn once stays
    so."""
    if fact.waiting_reason == known.waiting_reason:
        fact = replace(fact, unmounted=known.unmounted)
    if known.withdrawn:
        fact = replace(fact, withdrawn=True)
    if known.terminated is not None or known.deleted_at is not None:
        return replace(fact, deleted_at=known.deleted_at)
    return fact
