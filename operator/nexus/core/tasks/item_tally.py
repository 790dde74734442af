"""Tally: the state of each item of a fan-out, from its Jobs, their pods and what is stored already.

The newest evidence of an item decides. A Job of its own, where it has one, is newer than the Indexed Job: it was made
because its delay was over, because its output was lost, or because there is no Indexed Job. Attempts are counted from
the Jobs, which stay until the run goes; the status has no entry for an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nexus.api.reasons import Reason
from nexus.core.model import indexes
from nexus.core.model.definition import Node
from nexus.core.model.facts import ChildFact, JobFact, PodFact
from nexus.core.model.refusal import Refusal
from nexus.core.model.retry import MAX_REPLACEMENTS_OF_LOST_OUTPUT
from nexus.core.tasks import evidence
from nexus.core.tasks.evidence import Failed, Waiting
from nexus.core.tasks.retries import next_attempt_after


@dataclass(frozen=True, slots=True)
class Due:
    """The next attempt of an item is one to start."""

    attempt_number: int
    at: datetime | None
    """When; None for at once."""
    last: Failed | None = field(default=None, compare=False)
    """Why the attempt before it failed, where it has to wait for its delay."""


@dataclass
class Tally:
    """The items by state; each is in one of `done`, `failed`, `due` and `running`."""

    total: int
    done: dict[int, PodFact | ChildFact | None] = field(default_factory=dict)
    """The pod, or child run, that proves it; None where the output is stored already."""
    failed: dict[int, Failed] = field(default_factory=dict)
    due: dict[int, Due] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    """Items that the cluster works on, in an Indexed Job those too whose turn is still to come."""
    waiting: list[Waiting] = field(default_factory=list)
    """Why pods have not started their containers."""
    started: bool = False
    """Whether a container has run."""
    whole: JobFact | None = None
    """The Indexed Job."""
    held: int = 0
    """Slots of maxParallelTasks that are taken, or may be at any moment."""
    held_by_whole: int = 0
    refused: dict[int, Refusal] = field(default_factory=dict)
    """Items that are due, and whose starts are refused."""
    unproven: set[str] = field(default_factory=set)
    """UIDs of Jobs that say an item is done of which no pod is known: their pods are to be listed."""

    @property
    def over(self) -> bool:
        """Whether every item has ended, or will never run."""
        if self.due:
            return False
        return not self.running or (self.whole is not None and self.whole.finished and self.held == 0)


@dataclass
class TallyInput:
    """What a tally is made from. `recorded` is the name of the Indexed Job where the status knows one, `whose` tells
    the task from all others, for the jitter of its items."""

    node: Node
    total: int
    jobs: tuple[JobFact, ...]
    recorded: str | None
    stored: Sequence[Any] | None
    """The outputs that are stored, one an item, None where there is none yet."""
    listed: frozenset[str]
    frames: Mapping[str, str | None]
    whose: str = ""
    refused: Mapping[int, Failed] = field(default_factory=dict)
    """Items that are on record as failed: of those whose next Job was never made, since their own values cannot be had
    or the API server refuses it, nothing else tells."""


def take(known: TallyInput) -> Tally:
    """Return the tally of a fan-out."""
    own: dict[int, list[JobFact]] = {}
    whole: JobFact | None = None
    for job in known.jobs:
        if job.index is None:
            whole = job
        else:
            own.setdefault(job.index, []).append(job)
    tally = Tally(known.total, whole=whole)
    pods = _by_index(whole)
    completed = indexes.parse(whole.completed_indexes, known.total) if whole else frozenset()
    given_up = indexes.parse(whole.failed_indexes, known.total) if whole else frozenset()
    alone: set[int] = set()  # items that Jobs of their own work on
    for index in range(known.total):
        if known.stored is not None and known.stored[index] is not None:
            tally.done[index] = None
            continue
        of_whole = _OfWhole(whole, pods.get(index, ()), index in completed, index in given_up)
        jobs = _counting(known, own[index], of_whole) if index in own else []
        if jobs:
            alone.add(index)
            _own(tally, known, index, jobs, index in completed)
            if index in tally.due and index in known.refused:
                del tally.due[index]  # its next attempt could not be started, and never will be
                tally.failed[index] = known.refused[index]
        elif whole is not None:
            _in_whole(tally, known, whole, index, pods.get(index, ()), completed, given_up)
        elif known.recorded is not None:
            gone = Failed(Reason.JOB_DELETED, f"the Job {known.recorded} was deleted")
            _again(tally, known, index, gone, 1, 2)
        elif index in known.refused:
            tally.failed[index] = known.refused[index]
        else:
            tally.due[index] = Due(1, None)
    if whole is not None and not whole.finished:
        live = sum(pod.live for pod in whole.pods)
        unfinished = 0 if whole.deleting else len(tally.running - alone)
        tally.held_by_whole = min(whole.parallelism, max(unfinished, live))
        tally.held += tally.held_by_whole
        if whole.suspended or not whole.pods:
            tally.waiting.append(evidence.no_pod(whole))
    return tally


def is_idle(job: JobFact) -> bool:
    """Return whether a Job of a fan-out that has ended runs nothing and will not: its logs may stay."""
    if any(pod.live for pod in job.pods):
        return False
    if job.index is not None:
        return any(pod.terminated is not None and pod.terminated.exit_code == 0 for pod in job.pods)
    total = job.items or 0
    ended = indexes.parse(job.completed_indexes, total) | indexes.parse(job.failed_indexes, total)
    well = {pod.index for pod in job.pods if pod.terminated is not None and pod.terminated.exit_code == 0}
    return job.failing or len(ended | well) >= total


def _by_index(whole: JobFact | None) -> dict[int, list[PodFact]]:
    found: dict[int, list[PodFact]] = {}
    for pod in whole.pods if whole else ():
        if pod.index is not None:
            found.setdefault(pod.index, []).append(pod)
    return found


@dataclass(frozen=True, slots=True)
class _OfWhole:
    """What the Indexed Job, where there is one, has done of an item."""

    job: JobFact | None
    pods: Sequence[PodFact]
    completed: bool
    given_up: bool

    def leaves_it(self, known: TallyInput) -> bool:
        """Return whether the item is left to Jobs of its own."""
        if self.job is None:
            return True
        timeout = known.node.task.timeout_seconds
        well = next((pod for pod in self.pods if evidence.finished_well(pod, self.job, timeout)), None)
        if well is not None:
            return _is_lost(known, well)
        return self.completed or ((self.job.finished or self.job.deleting) and not self.given_up)


def _counting(known: TallyInput, own: list[JobFact], of_whole: _OfWhole) -> list[JobFact]:
    """Return the Jobs of its own that count for an item, oldest first: each after what came before it has ended. A Job
    before it that is not there was deleted."""
    if not of_whole.leaves_it(known):
        return []
    timeout = known.node.task.timeout_seconds
    counting: list[JobFact] = []
    for job in sorted(own, key=lambda job: job.attempt_number):
        if counting:
            seen = evidence.judge(counting[-1], timeout)
            well = seen.pod if isinstance(seen, evidence.Succeeded) else None
            if not (_is_lost(known, well) if well is not None else isinstance(seen, Failed)):
                break
        counting.append(job)
    return counting


def _is_lost(known: TallyInput, pod: PodFact) -> bool:
    """Return whether the log of a pod that ended well does not hold its output."""
    return pod.uid in known.frames and known.frames[pod.uid] is None


def _in_whole(
    tally: Tally,
    known: TallyInput,
    whole: JobFact,
    index: int,
    pods: list[PodFact] | tuple[PodFact, ...],
    completed: frozenset[int],
    given_up: frozenset[int],
) -> None:
    """Count an item that only the Indexed Job has worked on."""
    timeout = known.node.task.timeout_seconds
    well = next((pod for pod in pods if evidence.finished_well(pod, whole, timeout)), None)
    if well is not None:
        tally.started = True
        if well.uid in known.frames and known.frames[well.uid] is None:
            _lost(tally, index, "the pod's log no longer has the output", 1, 2)
        else:
            tally.done[index] = well
    elif index in completed:
        _unproven(tally, known, whole, index, 1, 2)
    elif index in given_up:
        ended = [pod for pod in pods if not (pod.live or pod.withdrawn)]
        unknown = Failed(Reason.POD_DELETED, "unknown cause: the pod is gone")
        why = evidence.of_pod(max(ended, key=evidence.end_of)) if ended else unknown
        tally.failed[index] = evidence.with_number(why, timeout)
    else:
        tally.running.add(index)
        for pod in pods:
            if pod.live and pod.deleted_at is None:
                _look(tally, pod)
            tally.started = tally.started or pod.terminated is not None


def _look(tally: Tally, pod: PodFact) -> None:
    seen = evidence.liveness(pod)
    if isinstance(seen, Waiting):
        tally.waiting.append(seen)
    else:
        tally.started = True


def _own(tally: Tally, known: TallyInput, index: int, jobs: list[JobFact], was_lost: bool) -> None:
    """Count an item with Jobs of its own: the last of them decides."""
    job, following = jobs[-1], jobs[-1].attempt_number + 1
    seen = evidence.judge(job, known.node.task.timeout_seconds)
    replaced = sum(before.complete for before in jobs[:-1]) + was_lost
    if isinstance(seen, evidence.Succeeded):
        tally.started = True
        if seen.pod.uid in known.frames and known.frames[seen.pod.uid] is None:
            _lost(tally, index, "the pod's log no longer has the output", replaced + 1, following)
        else:
            tally.done[index] = seen.pod
        return
    if isinstance(seen, Failed):
        tally.started = True
        if job.complete:
            _unproven(tally, known, job, index, replaced + 1, following)
        else:
            before = jobs[0].attempt_number - 1 - was_lost
            seen = evidence.with_number(seen, known.node.task.timeout_seconds)
            _again(tally, known, index, seen, sum(bool(one.failure) for one in jobs) + before, following)
        return
    tally.running.add(index)
    tally.held += 1
    if isinstance(seen, Waiting):
        tally.waiting.append(seen)
    else:
        tally.started = True


def _again(tally: Tally, known: TallyInput, index: int, failure: Failed, attempts: int, following: int) -> None:
    """Another attempt of a failed item, where its retries allow one."""
    then = next_attempt_after(failure, known.node.retry, attempts, whose=f"{known.whose}/{index}")
    if then is None:
        tally.failed[index] = failure
    else:
        tally.due[index] = Due(following, then.at, failure)


def _unproven(tally: Tally, known: TallyInput, job: JobFact, index: int, times: int, following: int) -> None:
    """Count an item that is done by the Job's word, while no known pod shows its output."""
    if job.uid in known.listed:
        _lost(tally, index, "the pod was removed before its output was recorded", times, following)
    else:
        tally.unproven.add(job.uid)
        tally.running.add(index)


def _lost(tally: Tally, index: int, message: str, times: int, following: int) -> None:
    """Its code ran to its end, for nothing: it runs again, free, but not for ever."""
    if times > MAX_REPLACEMENTS_OF_LOST_OUTPUT:
        tally.failed[index] = Failed(Reason.OUTPUT_LOST, message)
    else:
        tally.due[index] = Due(following, None)
