"""Indexed Jobs of the fake cluster, after Kubernetes 1.34 `pkg/controller/job/indexed_job_utils.go`.

Each index has failures and a backoff of its own. A failed pod of an index that is to be tried again keeps its
finalizer, and is not counted, until the next one is made: the controller reads the index's failures from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus.adapters.fake.objects import copied
from nexus.adapters.fake.pod_failure_policy import verdict
from nexus.adapters.kube.client.api import Object
from nexus.api.fanout import MAX_ITEMS
from nexus.core.model import indexes

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
FIRST_BACKOFF = 10.0
LONGEST_BACKOFF = 600.0


@dataclass
class Indexes:
    """The indexes of a Job by state."""

    succeeded: set[int]
    failed: set[int]
    delayed: dict[int, Object]
    """Index to the failed pod that its next one is made after."""

    def total(self) -> int:
        """Return the indexes that have ended."""
        return len(self.succeeded | self.failed)


def index_of(pod: Object) -> int:
    """Return the completion index of a pod."""
    return int(pod["metadata"]["annotations"][INDEX])


def _indexes(status: Object, field: str) -> set[int]:
    return set(indexes.parse(status.get(field, ""), MAX_ITEMS))


def look(
    spec: Object, status: Object, fresh: Iterable[Object], failed: Iterable[Object], active: Iterable[Object]
) -> Indexes:
    """Return the indexes by state. `fresh` pods have their finalizer still, `failed` are those of them that
    failed."""
    found = Indexes(_indexes(status, "completedIndexes"), _indexes(status, "failedIndexes"), {})
    found.succeeded |= {index_of(pod) for pod in fresh if pod["status"].get("phase") == "Succeeded"}
    per_index = spec.get("backoffLimitPerIndex")
    if per_index is None:
        return found
    policy = spec.get("podFailurePolicy")
    for pod in failed:
        said = verdict(policy, pod)
        if said.fails_index or (said.counts and _count(pod, FAILURES) >= per_index):
            found.failed.add(index_of(pod))
    busy = found.succeeded | found.failed | {index_of(pod) for pod in active}
    for pod in failed:
        index, known = index_of(pod), found.delayed.get(index_of(pod))
        if index not in busy and (known is None or _absolute(pod) > _absolute(known)):
            found.delayed[index] = pod
    return found


def pending(found: Indexes, spec: Object, taken: Iterable[Object], count: int) -> list[int]:
    """Return the first `count` indexes that want a pod; those in their backoff are among them, and hold their place."""
    busy = found.succeeded | found.failed | {index_of(pod) for pod in taken}
    return [index for index in range(spec["completions"]) if index not in busy][:count]


def remaining(found: Indexes, index: int, now: datetime, finished_at: Callable[[Object], datetime]) -> float:
    """Return the seconds until an index may have its next pod."""
    last = found.delayed.get(index)
    if last is None:
        return 0.0
    delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(_absolute(last), 10))
    return max(0.0, (finished_at(last) + timedelta(seconds=delay) - now).total_seconds())


def pod_for(job: Object, index: int, found: Indexes) -> tuple[str, Object, Object]:
    """Return the generateName, metadata and spec of the pod of one index."""
    template, name = job["spec"]["template"], job["metadata"]["name"]
    metadata = {key: dict(value) for key, value in template["metadata"].items() if key in ("labels", "annotations")}
    metadata.setdefault("labels", {})[INDEX] = str(index)
    annotations = metadata.setdefault("annotations", {})
    annotations[INDEX] = str(index)
    if "backoffLimitPerIndex" in job["spec"]:
        last = found.delayed.get(index)
        counted = last is not None and verdict(job["spec"].get("podFailurePolicy"), last).counts
        annotations[FAILURES] = str((_count(last, FAILURES) if last else 0) + counted)
        ignored = (_count(last, IGNORED) if last else 0) + (last is not None and not counted)
        if ignored:
            annotations[IGNORED] = str(ignored)
    spec = copied(template["spec"])
    for container in spec["containers"]:
        source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
        container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})
    spec["hostname"] = f"{name}-{index}"
    return f"{name}-{index}-", metadata, spec


def notation(found: Iterable[int]) -> str:
    """Return the indexes as the status has them."""
    return indexes.text(found, limit=100_000)


def _count(pod: Object, annotation: str) -> int:
    return int(pod["metadata"]["annotations"].get(annotation, 0))


def _absolute(pod: Object) -> int:
    return _count(pod, FAILURES) + _count(pod, IGNORED)
