"""Observe: what the evidence does to the tasks that were started."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from nexus.api.base import format_time
from nexus.api.reasons import Mechanism, Reason, TaskPhase
from nexus.api.run import JobRef, TaskStatus
from nexus.core.data import outputs
from nexus.core.model.definition import Node
from nexus.core.model.facts import JobFact, PodFact
from nexus.core.model.plan import ReadFrame, RunEvent
from nexus.core.tasks import attempt_records as records
from nexus.core.tasks import transfers
from nexus.core.tasks.draft import PlanDraft
from nexus.core.tasks.evidence import Active, Backoff, Failed, Succeeded, Waiting, judge, of_pod, with_number
from nexus.core.tasks.retries import NextAttempt, next_attempt_after


def attempt_number(status: TaskStatus) -> int:
    """Return the number of the last Job-worthy attempt, replaced ones included; 0 before the first."""
    return (status.attempts or 0) + (status.replacements or 0)


def observe(draft: PlanDraft, node: Node) -> None:
    """Move one task on as far as its Job and pods prove."""
    status = draft.tasks[node.name]
    if status.phase.ended:
        return
    if status.job is not None and status.next_attempt_time is None:
        _recorded(draft, node, status.job.name)
    # Only then Jobs that no status knows: whether one is due, and its number, says how the one before it ended.
    while draft.tasks[node.name].next_attempt_time is not None and take_over(draft, node):
        pass
    task_deadline(draft, node)


def take_over(draft: PlanDraft, node: Node) -> bool:
    """Return whether the Job of the attempt that is due is there already: the operator died after making it, or another
    copy was first."""
    status = draft.tasks[node.name]
    job = draft.job(node.name, _due(draft, node, status)) if draft.is_due(node.name) else None
    if job is not None:
        _adopt(draft, node, job)
        _apply(draft, node, job)
    return job is not None


def _due(draft: PlanDraft, node: Node, status: TaskStatus) -> range:
    """Return the numbers that the next attempt may have: the one after the last. Where the Job that is recorded was
    deleted, the number of attempts that the Job controller had made of it is unknown."""
    following = attempt_number(status) + 1
    gone = status.job is not None and all(job.name != status.job.name for job in draft.facts.jobs.get(node.name, ()))
    last = node.retry.limit + (status.replacements or 0) + 2 if gone else following
    return range(following, max(last, following) + 1)


def _recorded(draft: PlanDraft, node: Node, name: str) -> None:
    job = next((job for job in draft.facts.jobs.get(node.name, ()) if job.name == name), None)
    if job is None:
        _failed(draft, node, None, Failed(Reason.JOB_DELETED, f"the Job {name} was deleted", at=draft.now))
    else:
        _apply(draft, node, job)


def _adopt(draft: PlanDraft, node: Node, job: JobFact) -> None:
    status = draft.tasks[node.name]
    draft.move(
        node.name,
        phase=TaskPhase.RUNNING,
        reason=None,
        message=None,
        mechanism=Mechanism.JOB,
        job=JobRef(name=job.name, uid=job.uid),
        attempts=job.attempt_number - (status.replacements or 0),
        start_time=status.start_time or job.created_at,
        next_attempt_time=None,
        refused_time=None,
    )


def _apply(draft: PlanDraft, node: Node, job: JobFact) -> None:
    name, job = node.name, records.with_failures(node, job)
    seen = judge(job, node.task.timeout_seconds, stores=transfers.awaited(node))
    if not isinstance(seen, Succeeded):  # whose output may have been refused before
        draft.move(name, refused_time=None)
    match seen:
        case Active():
            # The pods of a Job that is about to fail are counted before it has: no attempt follows the last of them.
            _count(draft, node, job, 0 if job.failing else 1)
            draft.move(name, phase=TaskPhase.RUNNING, reason=None, message=None)
        case Backoff(last) if _is_last(draft, node, job, last):  # the Job controller has not said so yet
            if (ended := records.forgotten(node, job)) is not None:
                _failed(draft, node, job, of_pod(ended))
                return
            _count(draft, node, job, 0)
            draft.move(name, phase=TaskPhase.RUNNING, reason=None, message=None)
        case Backoff(last):
            _backoff(draft, node, job, last)
        case Waiting() as waiting:
            _count(draft, node, job, 1)
            _waiting(draft, node, waiting)
        case Succeeded(pod):
            _count(draft, node, job, 1)
            _succeeded(draft, node, job, pod)
        case Failed() as failure:
            _failed(draft, node, job, with_number(failure, node.task.timeout_seconds))


def _is_last(draft: PlanDraft, node: Node, job: JobFact, last: Failed | None) -> bool:
    """Whether no attempt of the Job follows. Of a pod that carries its number the Job controller counts the failure
    only when it makes the next one."""
    if not job.numbered:
        return False
    if last is None:  # what failed was disrupted, and counts
        pod = records.last_failed_pod(node, job)
        if pod is None:
            return False
        last = replace(of_pod(pod), free=False)
    attempts = _attempts(node, draft.tasks[node.name], job, 0)
    return next_attempt_after(last, node.retry, attempts, whose=draft.whose(node.name), now=draft.now) is None


def _attempts(node: Node, status: TaskStatus, job: JobFact, current: int) -> int:
    """Return the number of attempts so far: those before this Job, its failed pods, and `current` (1 or 0) that is not
    among these."""
    failed = min(job.failed, node.retry.limit + 1 - current)
    return job.attempt_number - (status.replacements or 0) + max(failed + current - 1, 0)


def _count(draft: PlanDraft, node: Node, job: JobFact, current: int) -> None:
    """Record the attempts within one Job: each pod that the Job controller counted as failed was one."""
    status = draft.tasks[node.name]
    attempts = _attempts(node, status, job, current)
    records.earlier(draft, node, job, attempts - current)
    if attempts > (status.attempts or 0):
        draft.move(node.name, attempts=attempts)
        if current and status.reason is not Reason.RETRY_DELAY:
            # Its delay was not seen: it was shorter than a look, or no operator was there.
            before = records.last_failed_pod(node, job)
            words = f"attempt {attempts - 1} failed" if before is None else f"attempt failed: {_why(of_pod(before))}"
            _tell_retry(draft, node, words)


def _backoff(draft: PlanDraft, node: Node, job: JobFact, last: Failed | None) -> None:
    """Report a retry in the same words as one that the operator starts: users see no difference."""
    _count(draft, node, job, 0)
    words = "the last attempt failed"
    if last is not None:
        words = _why(last)
        draft.move(node.name, exit_code=last.exit_code)
    if draft.tasks[node.name].reason is not Reason.RETRY_DELAY:
        _tell_retry(draft, node, f"attempt failed: {words}")
    at = last.at if last is not None else None
    due = node.retry.due(max(job.failed, 1), at) if at is not None else None
    draft.move(node.name, phase=TaskPhase.RUNNING)
    draft.wait(node.name, Reason.RETRY_DELAY, delay_words(due, words))


def _why(failure: Failed) -> str:
    return f"{failure.reason.value}: {failure.message}"


def _tell_retry(draft: PlanDraft, node: Node, words: str) -> None:
    draft.events.append(RunEvent("TaskRetried", f"task {node.name}: {words}", warning=True, task=node.name))


def delay_words(due: datetime | None, why: str, retry_after: int | None = None) -> str:
    """Return when the next attempt is due, because a server asked for it where it did, and why there is one."""
    when = f" at {format_time(due)}" if due is not None else ""
    asked = f" (Retry-After: {retry_after} s)" if retry_after is not None else ""
    return f"waiting for the next attempt{when}{asked}; the last one failed: {why}"


def _waiting(draft: PlanDraft, node: Node, waiting: Waiting) -> None:
    name, status = node.name, draft.tasks[node.name]
    limit = timedelta(seconds=node.start_timeout_seconds)
    message = waiting.message
    if waiting.reason is Reason.IMAGE_PULL and status.reason is Reason.IMAGE_PULL:
        # ErrImagePull and ImagePullBackOff take turns; the first message is the one with the cause.
        message = status.message or message
    if waiting.since is not None and draft.now >= waiting.since + limit and not waiting.hopeless:
        reason = Reason.START_TIMEOUT if waiting.reason is Reason.STARTING else waiting.reason
        words = f"the container did not start within startTimeoutSeconds ({node.start_timeout_seconds}): {message}"
        draft.end(name, TaskPhase.FAILED, reason, words)
        return
    if waiting.hopeless:
        draft.end(name, TaskPhase.FAILED, waiting.reason, message)
        return
    if waiting.since is not None:
        draft.wakes.append(waiting.since + limit)
    if waiting.reason is Reason.STARTING and status.phase is not TaskPhase.PENDING:
        # Every pod passes through here within a second or two: not worth a write of its own.
        draft.move(name, reason=None, message=None)
        return
    draft.move(name, phase=TaskPhase.PENDING)
    draft.wait(name, waiting.reason, message)


def _succeeded(draft: PlanDraft, node: Node, job: JobFact, pod: PodFact) -> None:
    assert pod.terminated is not None
    message = pod.terminated.message
    read = outputs.of_container(message) if node.record.is_bare else outputs.of_bootstrap(message)
    if isinstance(read, outputs.Frame):
        if draft.cannot_store(node.name, job.name):
            return  # before it is read: it may be half a megabyte of a log
        if pod.uid not in draft.facts.frames:
            draft.reads.append(ReadFrame(node.name, pod.name, pod.uid, read.size, read.sha256))
            return
        text = draft.facts.frames[pod.uid]
        if text is None:
            lost = Failed(Reason.OUTPUT_LOST, "the pod's log no longer has the output", at=draft.now, free=True)
            _failed(draft, node, job, lost)
            return
        read = outputs.of_frame(read, text)
    stored: dict[str, Any] | None = {}
    kept = read if isinstance(read, outputs.Kept) else None
    if kept is not None or transfers.awaited(node):
        told = transfers.report(pod.transfer)
        stored = (
            transfers.stored_fields(node, draft.facts.run, job.attempt_number, told, kept) if told is not None else None
        )
    if stored is None:
        words = (
            "the stored output does not match the output of the task: the records of the task and of the transfer "
            "differ"
        )
        _failed(draft, node, job, Failed(Reason.STORE_FAILED, words, 0, at=draft.now))
        return
    if isinstance(read, outputs.Rejected):
        number = _attempts(node, draft.tasks[node.name], job, 1)
        records.last(draft, node, number, Failed(read.reason, read.message, 0, pod.terminated.finished_at), pod)
        draft.end(node.name, TaskPhase.FAILED, read.reason, read.message, exit_code=0)
    else:
        records.success(draft, node, _attempts(node, draft.tasks[node.name], job, 1), pod)
        value = read.value if isinstance(read, outputs.Output) else {}
        draft.succeed(node.name, job.name, value, exit_code=0, job=JobRef(name=job.name, uid=job.uid), **stored)


def _failed(draft: PlanDraft, node: Node, job: JobFact | None, failure: Failed) -> None:
    status = draft.tasks[node.name]
    # Of a Job's failed pods the last one is the failure at hand, the others were followed by another attempt.
    attempts = _attempts(node, status, job, 0) if job is not None else status.attempts or 1
    replacements, whose = status.replacements or 0, draft.whose(node.name)
    following = next_attempt_after(failure, node.retry, attempts, whose=whose, replacements=replacements, now=draft.now)
    if following is not None and following.replaces:
        draft.move(node.name, attempts=attempts - 1, replacements=replacements + 1)
        await_next_attempt(draft, node, failure, following)
        return
    records.failure(draft, node, job, attempts, failure)
    if following is not None:
        draft.move(node.name, attempts=attempts, exit_code=failure.exit_code)
        await_next_attempt(draft, node, failure, following)
    else:
        message = failure.message
        if failure.reason is Reason.DEADLINE_EXCEEDED:
            message = _deadline_words(node)
        draft.end(node.name, TaskPhase.FAILED, failure.reason, message, attempts=attempts, exit_code=failure.exit_code)


def await_next_attempt(draft: PlanDraft, node: Node, failure: Failed, following: NextAttempt) -> None:
    """Have another attempt follow a failed one when it is due."""
    due = following.at or draft.now
    words = _why(failure)
    _tell_retry(draft, node, f"attempt failed: {words}")
    draft.move(node.name, phase=TaskPhase.RUNNING, next_attempt_time=due)
    retry_after = failure.retry_after if node.retry.retry_on else None
    draft.wait(node.name, Reason.RETRY_DELAY, delay_words(due, words, retry_after))


def task_deadline(draft: PlanDraft, node: Node) -> None:
    """End a task that has taken longer than its deadlineSeconds."""
    status, seconds = draft.tasks[node.name], node.task.deadline_seconds
    if seconds is None or status.phase.ended or status.start_time is None or node.name in draft.unstored:
        return
    deadline = status.start_time + timedelta(seconds=seconds)
    if draft.now >= deadline:
        draft.end(node.name, TaskPhase.FAILED, Reason.DEADLINE_EXCEEDED, _deadline_words(node))
    else:
        draft.wakes.append(deadline)


def _deadline_words(node: Node) -> str:
    return f"the task exceeded deadlineSeconds ({node.task.deadline_seconds})"
