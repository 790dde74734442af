"""Capacity: the pods that an operator lets all its runs have together, besides what each run may have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nexus.core.model import indexes
from nexus.core.model.facts import Capacity, JobFact
from nexus.core.tasks.evidence import Succeeded, judge


def held(job: JobFact) -> int:
    """Return how many pods of a Job are live, or may be at any moment."""
    if job.finished:
        return 0
    live = sum(pod.live for pod in job.pods)
    if job.items is not None and job.index is None:
        ended = indexes.parse(job.completed_indexes, job.items) | indexes.parse(job.failed_indexes, job.items)
        left = 0 if job.deleting else job.items - len(ended)
        return min(job.parallelism, max(left, live))
    if live or isinstance(judge(job), Succeeded):
        return live
    return 0 if job.deleting else 1


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of it for one run, now."""

    limit: int
    free: int


def room(capacity: Capacity | None, jobs: Iterable[JobFact]) -> Room | None:
    """Return what a run may still start: the capacity on record, less the Jobs that it has made since."""
    if capacity is None:
        return None
    made = sum(job.parallelism for job in jobs if job.name not in capacity.known)
    return Room(capacity.limit, capacity.free - made)
