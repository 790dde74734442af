"""Start: which tasks may run now, and why the others may not yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from nexus.api.reasons import Reason, TaskPhase
from nexus.api.run import JobRef, TaskStatus
from nexus.core import scope, trigger_rule
from nexus.core.board import Board, Unread
from nexus.core.definition import Node
from nexus.core.expressions import ExpressionError, TemplateError, parse
from nexus.core.names import job_name
from nexus.core.observe import ordinal
from nexus.core.payload import Context, PayloadError, build
from nexus.core.plan import Payload, StartTask
from nexus.core.stop import fail_fast

# How soon a refusal that may pass (a quota on Jobs) is tried again.
REFUSAL_DELAY = timedelta(seconds=10)


def start(board: Board) -> None:
    """Look at every task that is not running, dependencies first, so that a skip travels on in one pass."""
    slots = Slots.of(board)
    for node in board.definition.nodes.values():
        status = board.tasks[node.name]
        if status.phase.ended:
            continue
        if status.next_attempt_time is not None:
            _retry(board, node, slots)
        elif status.job is None:
            _first(board, node, slots)
        if board.tasks[node.name].phase is TaskPhase.FAILED and fail_fast(board):
            return


@dataclass
class Slots:
    """How many more pods the run may have. One is taken by every task with a pod, or with one on its way, and by a
    pod that is still to be stopped; a delay between attempts takes none."""

    limit: int
    free: int

    @classmethod
    def of(cls, board: Board) -> Slots:
        """The slots as the facts say."""
        limit = board.definition.max_parallel_tasks
        return cls(limit, limit - sum(_takes_slot(board, task) for task in board.tasks.values()))


def _takes_slot(board: Board, task: TaskStatus) -> bool:
    if task.job is None:
        return False
    if not task.phase.ended and task.next_attempt_time is None:
        return True
    return any(pod.live for job in board.facts.jobs.get(task.name, ()) for pod in job.pods)


def _first(board: Board, node: Node, slots: Slots) -> None:
    waits_for = [name for name in node.depends_on if not board.tasks[name].phase.ended]
    if waits_for:
        board.wait(node.name, Reason.DEPENDENCIES, f"waits for {', '.join(waits_for[:5])}{_more(waits_for)}")
        return
    unmet = trigger_rule.judge(node.rule, [(name, board.tasks[name].phase) for name in node.depends_on])
    if unmet is not None:
        board.end(node.name, unmet.phase, unmet.reason, unmet.message)
        return
    if not _slot(board, node, slots):
        return  # before `when`: it costs a call of the evaluator, and would be asked again at every look
    try:
        if node.task.when is not None and not _when(board, node):
            board.end(node.name, TaskPhase.SKIPPED, Reason.WHEN_FALSE, f"when is false: {node.task.when[:200]}")
        else:
            _launch(board, node, slots)
    except Unread:
        return
    except (ExpressionError, TemplateError) as error:
        board.end(node.name, TaskPhase.FAILED, Reason.EXPRESSION_ERROR, f"when: {error}")


def _slot(board: Board, node: Node, slots: Slots) -> bool:
    if slots.free > 0:
        return True
    board.wait(node.name, Reason.PARALLELISM, f"{slots.limit} tasks of the run are running (maxParallelTasks)")
    return False


def _when(board: Board, node: Node) -> bool:
    template = parse(node.task.when or "")
    if template.whole is None:
        raise ExpressionError("write it as one ${{ }}", None)
    value = board.renderer(node).value(template.whole)
    if not isinstance(value, bool):
        raise ExpressionError(f"gives {value!r}, not true or false: compare it with something", None)
    return value


def _retry(board: Board, node: Node, slots: Slots) -> None:
    due = board.tasks[node.name].next_attempt_time
    assert due is not None
    if board.now < due:
        board.wakes.append(due)
    elif _slot(board, node, slots):
        _launch(board, node, slots)


def _launch(board: Board, node: Node, slots: Slots) -> None:
    """Plan the Job of the next attempt."""
    status = board.tasks[node.name]
    number = ordinal(status) + 1
    name = job_name(board.facts.run.name, board.facts.run.uid, node.name, number)
    refusal = board.facts.refusals.get(name)
    if refusal is not None and refusal.final:
        board.end(node.name, TaskPhase.FAILED, refusal.reason, refusal.message)
        return
    if refusal is not None:
        board.wait(node.name, refusal.reason, refusal.message)
        board.wakes.append(board.now + REFUSAL_DELAY)
        return
    try:
        payload = _payload(board, node)
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
            deadline_seconds=_remaining(node, int((board.now - started_at).total_seconds())),
            labels=dict(board.definition.spec.labels or {}),
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
    )
    if node.task.deadline_seconds is not None:
        board.wakes.append(started_at + timedelta(seconds=node.task.deadline_seconds))


def _native(board: Board, node: Node) -> bool:
    """Whether the Job controller does the retries. It asks for no slot before it starts a pod, so it may only where
    the slots are enough for all tasks at once."""
    enough = len(board.tasks) <= board.definition.max_parallel_tasks
    return board.facts.native_backoff and node.retry.native and enough


def _remaining(node: Node, spent: int) -> int | None:
    """Seconds left of the task's deadline, at least 1: Kubernetes refuses a Job with 0."""
    if node.task.deadline_seconds is None:
        return None
    return max(node.task.deadline_seconds - spent, 1)


def _payload(board: Board, node: Node) -> Payload:
    inputs: dict[str, Any] = {}
    stored: dict[str, str] = {}
    for dependency in node.depends_on:
        reference = board.tasks[dependency].output_ref
        if reference is not None and board.tasks[dependency].phase is TaskPhase.SUCCEEDED:
            stored[dependency] = reference.config_map
        else:
            inputs[dependency] = board.output(dependency)
    context = Context(board.params, scope.run_values(board.facts.run, "Running"), inputs, stored)
    return build(node, board.renderer(node), context)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""
