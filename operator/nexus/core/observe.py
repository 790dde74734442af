"""Observe: what the evidence does to the tasks that were started."""

from __future__ import annotations

from datetime import datetime, timedelta

from nexus.api.base import format_time
from nexus.api.reasons import Reason, TaskPhase
from nexus.api.run import JobRef, TaskStatus
from nexus.api.tasks import Disruptions
from nexus.core import outputs
from nexus.core.board import Board
from nexus.core.definition import Node
from nexus.core.evidence import Active, Backoff, Failed, Succeeded, Waiting, judge
from nexus.core.facts import JobFact, PodFact
from nexus.core.plan import ReadFrame, RunEvent
from nexus.core.retry import MAX_REPLACEMENTS_OF_LOST_OUTPUT


def ordinal(status: TaskStatus) -> int:
    """The number of the last Job-worthy attempt, replaced ones included; 0 before the first."""
    return (status.attempts or 0) + (status.replacements or 0)


def observe(board: Board, node: Node) -> None:
    """Move one task on as far as its Job and pods prove."""
    status = board.tasks[node.name]
    if status.phase.ended:
        return
    job = board.job(node.name)
    if job is not None and job.ordinal > ordinal(status):
        _adopt(board, node, job)
    elif status.job is None or status.next_attempt_time is not None:
        return
    else:
        recorded = status.job.name
        job = next((job for job in board.facts.jobs.get(node.name, ()) if job.name == recorded), None)
    if job is None:
        gone = Failed(Reason.JOB_DELETED, f"the Job {board.tasks[node.name].job.name} was deleted", at=board.now)  # type: ignore[union-attr]
        _failed(board, node, None, gone)
    else:
        _apply(board, node, job)
    _task_deadline(board, node)


def _adopt(board: Board, node: Node, job: JobFact) -> None:
    """A Job that no status knows: the operator died after making it, or another copy was first."""
    status = board.tasks[node.name]
    board.move(
        node.name,
        phase=TaskPhase.RUNNING,
        reason=None,
        message=None,
        job=JobRef(name=job.name, uid=job.uid),
        attempts=job.ordinal - (status.replacements or 0),
        start_time=status.start_time or job.created_at,
        next_attempt_time=None,
    )


def _apply(board: Board, node: Node, job: JobFact) -> None:
    name = node.name
    match judge(job):
        case Active():
            _count(board, node, job)
            board.move(name, phase=TaskPhase.RUNNING, reason=None, message=None)
        case Backoff():
            _count(board, node, job)
            board.move(name, phase=TaskPhase.RUNNING)
            board.wait(name, Reason.RETRY_DELAY, "the last attempt failed; the Job starts the next one after its delay")
        case Waiting() as waiting:
            _count(board, node, job)
            _waiting(board, node, waiting)
        case Succeeded(pod):
            _count(board, node, job)
            _succeeded(board, node, job, pod)
        case Failed() as failure:
            _failed(board, node, job, failure)


def _count(board: Board, node: Node, job: JobFact) -> None:
    """Attempts within one Job: each pod that the Job controller counted as failed was followed by another."""
    status = board.tasks[node.name]
    attempts = job.ordinal - (status.replacements or 0) + min(job.failed, node.retry.limit)
    if attempts > (status.attempts or 0):
        last = [pod for pod in job.pods if pod.terminated is not None and pod.terminated.exit_code != 0]
        code = last[-1].terminated.exit_code if last and last[-1].terminated else None
        words = f"task {node.name}: attempt {attempts - 1} failed" + (f" with exit code {code}" if code else "")
        board.events.append(RunEvent("TaskRetried", words, warning=True, task=node.name))
        board.move(node.name, attempts=attempts, exit_code=code)


def _waiting(board: Board, node: Node, waiting: Waiting) -> None:
    name = node.name
    limit = timedelta(seconds=node.start_timeout_seconds)
    overdue = waiting.since is not None and board.now >= waiting.since + limit
    if waiting.hopeless or overdue:
        reason = Reason.START_TIMEOUT if waiting.reason is Reason.STARTING else waiting.reason
        message = waiting.message
        if not waiting.hopeless:
            message = f"not started within startTimeoutSeconds ({node.start_timeout_seconds}): {message}"
        board.end(name, TaskPhase.FAILED, reason, message)
        return
    if waiting.since is not None:
        board.wakes.append(waiting.since + limit)
    if waiting.reason is Reason.STARTING:
        # Every pod passes through here within a second or two: not worth a write.
        return
    board.move(name, phase=TaskPhase.PENDING)
    board.wait(name, waiting.reason, waiting.message)


def _succeeded(board: Board, node: Node, job: JobFact, pod: PodFact) -> None:
    assert pod.terminated is not None
    message = pod.terminated.message
    read = outputs.of_container(message) if node.type == "container" else outputs.of_bootstrap(message)
    if isinstance(read, outputs.Frame):
        if pod.uid not in board.facts.frames:
            board.reads.append(ReadFrame(node.name, pod.name, pod.uid, read.size, read.sha256))
            return
        text = board.facts.frames[pod.uid]
        if text is None:
            lost = Failed(Reason.OUTPUT_LOST, "the pod's log does not hold its output", at=board.now, free=True)
            _failed(board, node, job, lost)
            return
        read = outputs.of_frame(read, text)
    if isinstance(read, outputs.Rejected):
        board.end(node.name, TaskPhase.FAILED, read.reason, read.message, exit_code=0)
    else:
        board.succeed(node.name, job.name, read.value, exit_code=0, job=JobRef(name=job.name, uid=job.uid))


def _failed(board: Board, node: Node, job: JobFact | None, failure: Failed) -> None:
    status = board.tasks[node.name]
    attempts = status.attempts or 1
    if job is not None:
        # Of a Job's failed pods the last one is the failure at hand, the others were followed by another attempt.
        attempts = job.ordinal - (status.replacements or 0) + max(min(job.failed, node.retry.limit + 1) - 1, 0)
    if _free(failure, node, status):
        board.move(node.name, attempts=attempts - 1, replacements=(status.replacements or 0) + 1)
        _next_attempt(board, node, failure, board.now)
    elif not failure.final and node.retry.allows(attempts, failure.exit_code):
        board.move(node.name, attempts=attempts, exit_code=failure.exit_code)
        _next_attempt(board, node, failure, node.retry.due(attempts, failure.at or board.now))
    else:
        board.end(
            node.name,
            TaskPhase.FAILED,
            failure.reason,
            failure.message,
            attempts=attempts,
            exit_code=failure.exit_code,
        )


def _free(failure: Failed, node: Node, status: TaskStatus) -> bool:
    """Whether the attempt is replaced without counting. Lost outputs have a bound: a task whose output is always
    lost must not run for ever."""
    if not failure.free:
        return False
    if failure.reason is Reason.OUTPUT_LOST:
        return (status.replacements or 0) < MAX_REPLACEMENTS_OF_LOST_OUTPUT
    return node.retry.disruptions is Disruptions.IGNORE


def _next_attempt(board: Board, node: Node, failure: Failed, due: datetime) -> None:
    words = f"{failure.reason.value}: {failure.message}"
    board.events.append(
        RunEvent("TaskRetried", f"task {node.name}: attempt failed: {words}", warning=True, task=node.name)
    )
    board.move(node.name, phase=TaskPhase.RUNNING, next_attempt_time=due)
    board.wait(
        node.name, Reason.RETRY_DELAY, f"the next attempt is due at {format_time(due)}; the last failed: {words}"
    )


def _task_deadline(board: Board, node: Node) -> None:
    status, seconds = board.tasks[node.name], node.task.deadline_seconds
    if seconds is None or status.phase.ended or status.start_time is None:
        return
    deadline = status.start_time + timedelta(seconds=seconds)
    if board.now >= deadline:
        board.end(
            node.name,
            TaskPhase.FAILED,
            Reason.DEADLINE_EXCEEDED,
            f"the task took longer than its deadlineSeconds ({seconds})",
        )
    else:
        board.wakes.append(deadline)
