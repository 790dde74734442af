"""Launch: the Job of the next attempt, for tasks with one pod."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from nexus.api.reasons import Reason, TaskPhase
from nexus.api.run import JobRef, OutputRef
from nexus.core.data import scope
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model.definition import Node
from nexus.core.model.plan import Payload, StartTask
from nexus.core.model.refusal import limit_words, over_since
from nexus.core.names import job_name
from nexus.core.tasks import transfers
from nexus.core.tasks.decision import Board, Unread
from nexus.core.tasks.observe import ordinal, take_over
from nexus.core.tasks.payload import Context, PayloadError, build
from nexus.core.tasks.pool_slots import has_turn
from nexus.core.tasks.slots import Slots


def launch(board: Board, node: Node, slots: Slots) -> None:
    """Plan the Job of the next attempt of a task with one pod, or take over the one that is there."""
    if take_over(board, node):
        return
    status = board.tasks[node.name]
    number = ordinal(status) + 1
    name = job_name(board.facts.run.name, board.facts.run.uid, node.name, number)
    if refused(board, node, name):
        return
    try:
        payload = _payload(board, node, number)
    except Unread:
        return
    except (ExpressionError, TemplateError) as error:
        board.end(node.name, TaskPhase.FAILED, Reason.EXPRESSION_ERROR, str(error))
        return
    except PayloadError as error:
        board.end(node.name, TaskPhase.FAILED, error.reason, error.message)
        return
    if not board.may_start:
        board.wakes.append(board.now)
        return
    if not has_turn(board, node, name):
        return
    attempts = (status.attempts or 0) + 1
    started_at = status.start_time or board.now
    board.starts.append(
        StartTask(
            task=node.name,
            job_name=name,
            ordinal=number,
            payload=payload,
            retry=node.retry,
            backoff_limit=node.retry.limit + 1 - attempts if _native(board, node) else 0,
            timeout_seconds=node.task.timeout_seconds,
            deadline_seconds=remaining(node, int((board.now - started_at).total_seconds())),
            labels=dict(board.definition.spec.labels or {}),
            pool=node.task.pool,
        )
    )
    slots.free -= 1
    board.planned[node.name] = status
    board.move(
        node.name,
        phase=TaskPhase.RUNNING,
        reason=None,
        message=None,
        attempts=attempts,
        job=JobRef(name=name),
        start_time=started_at,
        next_attempt_time=None,
        refused_time=None,
    )
    if node.task.deadline_seconds is not None:
        board.wakes.append(started_at + timedelta(seconds=node.task.deadline_seconds))


def refused(board: Board, node: Node, name: str) -> bool:
    """Whether the API server does not make the Job, or the child run, of this name now; the task's status says so."""
    refusal = board.facts.refusals.get(name)
    if refusal is None:
        return False
    if refusal.final:
        board.end(node.name, TaskPhase.FAILED, refusal.reason, refusal.message)
        return True
    board.refuse(node.name, refusal)
    since, seconds = board.tasks[node.name].refused_time, node.start_timeout_seconds
    if refusal.limited and since is not None:
        over = over_since(refusal, since, seconds, board.now)
        if over is not None:
            board.end(node.name, TaskPhase.FAILED, refusal.reason, over)
            return True
        board.wait(node.name, refusal.reason, limit_words(refusal, since, seconds))
        board.wakes.append(since + timedelta(seconds=seconds))
    return True


def _native(board: Board, node: Node) -> bool:
    """Whether the Job controller does the retries. It asks for no slot before it starts a pod, so it may only where
    the slots are enough for all tasks at once, and no pool has a word in it."""
    enough = len(board.tasks) <= board.definition.max_parallel_tasks
    return board.facts.native_backoff and node.retry.native and enough and node.task.pool is None


def remaining(node: Node, spent: int) -> int | None:
    """Seconds left of the task's deadline, at least 1: Kubernetes refuses a Job with 0."""
    if node.task.deadline_seconds is None:
        return None
    return max(node.task.deadline_seconds - spent, 1)


def _payload(board: Board, node: Node, number: int) -> Payload:
    return build(node, board.renderer(node), context_of(board, node, number=number))


def context_of(board: Board, node: Node, item: scope.Item | None = None, number: int = 0) -> Context:
    """What the code of a task sees. `number` is that of the attempt, of a fan-out 0. Raises Unread, ExpressionError,
    PayloadError."""
    inputs: dict[str, Any] = {}
    stored: dict[str, OutputRef] = {}
    transfer = transfers.of_task(board, node, number)
    for dependency in node.depends_on:
        reference = board.tasks[dependency].output_ref
        if board.tasks[dependency].stored_output is not None and board.is_readable(dependency):
            continue  # the transfer brings it
        if reference is not None and board.is_readable(dependency):
            stored[dependency] = reference
        else:
            inputs[dependency] = board.output(dependency)
    return Context(
        board.params, scope.run_values(board.facts.run, board.run_phase(node)), inputs, stored, item, transfer
    )
