"""Attempts: what the status keeps of those that have ended.

A task whose first attempt succeeded needs no record: its own fields say all. Of every other the last five attempts are
kept, so that they are there days later, when the pods are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from nexus.api.run import AttemptError, AttemptRecord
from nexus.api.tasks import Disruptions
from nexus.core.data.outputs import exception_of
from nexus.core.model.definition import Node
from nexus.core.model.facts import JobFact, PodFact
from nexus.core.model.plan import ReadLog
from nexus.core.model.status_limits import RECORD_TEXT_LIMIT, cut, records_limit
from nexus.core.tasks.draft import PlanDraft
from nexus.core.tasks.evidence import Failed, end_of, of_pod
from nexus.core.text.json_text import dump

KEPT = 5


def earlier(draft: PlanDraft, node: Node, job: JobFact, number: int) -> None:
    """Record the pods of a Job that failed before what it does now; `number` is that of the last of them."""
    if job.failed:
        _record_all(draft, node, _failed_pods(node, job)[: job.failed], number)


def failure(draft: PlanDraft, node: Node, job: JobFact | None, number: int, failed: Failed) -> None:
    """Record the attempt that failed with the Job, and before it those pods of the Job that are not recorded yet."""
    ended = [pod for pod in job.pods if not (pod.live or pod.withdrawn)] if job is not None else []
    pod = max(ended, key=end_of, default=None)
    if job is not None:
        _record_all(draft, node, [other for other in _failed_pods(node, job) if other is not pod], number - 1)
    last(draft, node, number, failed, pod)


def last(draft: PlanDraft, node: Node, number: int, failed: Failed, pod: PodFact | None) -> None:
    """Record one failed attempt, of which no pod may be left."""
    if not _is_new(draft, node, number, pod):
        return
    ended = pod.terminated if pod is not None else None
    told = exception_of(ended.message) if ended is not None and not node.record.is_bare else None
    exception = None
    if told is not None:
        kind, text, line = told
        exception = AttemptError(type=kind[:200], message=cut(text, RECORD_TEXT_LIMIT), line=line)
    record = AttemptRecord(
        attempt=number,
        pod=pod.name if pod is not None else None,
        start_time=_began(pod),
        completion_time=failed.at or draft.now,
        exit_code=failed.exit_code,
        reason=failed.reason,
        message=cut(failed.message, RECORD_TEXT_LIMIT),
        exception=exception,
    )
    _keep(draft, node, record, pod)


def success(draft: PlanDraft, node: Node, number: int, pod: PodFact) -> None:
    """Record the attempt that succeeded after others, or whose log is asked for."""
    status = draft.tasks[node.name]
    wanted = status.attempt_records or node.task.record_log_lines
    if not wanted or not _is_new(draft, node, number, pod):
        return
    ended = pod.terminated.finished_at if pod.terminated is not None else None
    record = AttemptRecord(
        attempt=number, pod=pod.name, start_time=_began(pod), completion_time=ended or draft.now, exit_code=0
    )
    _keep(draft, node, record, pod)


def with_failures(node: Node, job: JobFact) -> JobFact:
    """Return the Job with the failed attempts that its pods prove, which its status may not count yet."""
    if not job.numbered:
        return job
    return replace(job, failed=max(job.failed, _numbered(node, job), len(_failed_pods(node, job))))


def forgotten(node: Node, job: JobFact) -> PodFact | None:
    """Return the pod that failed last where the Job controller no longer counts all failures before it: the first pod
    after a suspension carries 0, since the pod that it takes the place of was not a failed one."""
    return last_failed_pod(node, job) if _numbered(node, job, live=False) < job.failed else None


def _numbered(node: Node, job: JobFact, *, live: bool = True) -> int:
    """Return the failures that the numbers of the pods prove; without `live` that of the last one alone."""
    failed = _failed_pods(node, job)
    pods = job.pods if live else failed[-1:]
    return max(((pod.failures or 0) + (pod in failed) for pod in pods), default=0)


def last_failed_pod(node: Node, job: JobFact) -> PodFact | None:
    """Return the pod of the Job's attempt that failed last, None if none failed or the pod was deleted."""
    return next(reversed(_failed_pods(node, job)), None)


def _failed_pods(node: Node, job: JobFact) -> list[PodFact]:
    """Return the pods that were attempts and failed, in the order of their ends. Disrupted ones are none unless they
    count."""
    counted = node.retry.disruptions is Disruptions.COUNT
    failed = [pod for pod in job.pods if pod.phase == "Failed" and not pod.withdrawn]
    failed = [pod for pod in failed if counted or pod.disrupted_at is None]
    return sorted(failed, key=end_of)


def _record_all(draft: PlanDraft, node: Node, pods: Sequence[PodFact], number: int) -> None:
    # Counted from the end: of deleted pods only the numbers are known.
    for attempt, pod in enumerate(pods, start=number - len(pods) + 1):
        last(draft, node, attempt, of_pod(pod), pod)


def _is_new(draft: PlanDraft, node: Node, number: int, pod: PodFact | None) -> bool:
    known = draft.tasks[node.name].attempt_records or []
    if number < 1 or (known and known[-1].attempt >= number):
        return False
    return pod is None or all(record.pod != pod.name for record in known)


def _keep(draft: PlanDraft, node: Node, record: AttemptRecord, pod: PodFact | None) -> None:
    """Add a record, with as much of its text as the run has room for: the log goes first, then the other text."""
    known = draft.tasks[node.name].attempt_records or []
    dropped = known[: max(len(known) + 1 - KEPT, 0)]
    room = records_limit(len(draft.tasks)) - draft.records_size + sum(map(_size, dropped))
    terse = record.model_copy(update={"message": None, "exception": None})
    if _size(terse) > room:
        return
    lines = node.task.record_log_lines
    shapes = [record, terse]
    if lines is not None and pod is not None and pod.terminated is not None:
        if pod.uid not in draft.facts.logs:
            draft.reads.append(ReadLog(node.name, pod.name, pod.uid, lines))
            return
        shapes.insert(0, record.model_copy(update={"log_tail": draft.facts.logs[pod.uid] or None}))
    kept = next(shape for shape in shapes if _size(shape) <= room)
    draft.records_size += _size(kept) - sum(map(_size, dropped))
    draft.move(node.name, attempt_records=[*known[len(dropped) :], kept])


def _size(record: AttemptRecord) -> int:
    return len(dump(record.to_json()).encode())


def _began(pod: PodFact | None) -> datetime | None:
    if pod is None:
        return None
    started = pod.terminated.started_at if pod.terminated is not None else None
    return started or pod.scheduled_at or pod.created_at
