"""Start: which tasks may run now, and why the others may not yet."""

from __future__ import annotations

from nexus.api.reasons import Reason, TaskPhase
from nexus.core import kinds, pod_policy, trigger_rule
from nexus.core.board import Board, Unread
from nexus.core.definition import Node
from nexus.core.expressions import ExpressionError, TemplateError, parse
from nexus.core.slots import Slots, has_slot
from nexus.core.stop import fail_fast
from nexus.core.suspend import held_back


def start(board: Board) -> None:
    """Look at every task that is not running, dependencies first, so that a skip travels on in one pass. The tasks of
    `finally` come last, when all others have ended."""
    slots = Slots.of(board)
    for node in board.definition.nodes.values():
        status = board.tasks[node.name]
        if status.phase.ended:
            continue
        if node.final and (open_ := _open(board)):
            board.wait(node.name, Reason.DEPENDENCIES, f"runs when all tasks have ended: waits for {open_}")
            continue
        if status.next_attempt_time is not None:
            _retry(board, node, slots)
        elif status.start_time is None:
            _first(board, node, slots)
        else:
            kinds.of(node).proceed(board, node, slots)
        if board.tasks[node.name].phase is TaskPhase.FAILED and fail_fast(board):
            slots = Slots.of(board)


def _open(board: Board) -> str:
    """The first tasks that `finally` still waits for, empty where there are none."""
    waits_for = [
        name for name, node in board.definition.nodes.items() if not (node.final or board.tasks[name].phase.ended)
    ]
    return f"{', '.join(waits_for[:5])}{_more(waits_for)}"


def _first(board: Board, node: Node, slots: Slots) -> None:
    waits_for = [name for name in node.depends_on if not board.tasks[name].phase.ended]
    if waits_for:
        board.wait(node.name, Reason.DEPENDENCIES, f"waits for {', '.join(waits_for[:5])}{_more(waits_for)}")
        return
    unmet = trigger_rule.judge(node.rule, [(name, board.counted(name)) for name in node.depends_on])
    if unmet is not None:
        board.end(node.name, unmet.phase, unmet.reason, unmet.message)
        return
    if not _may_start(board, node, slots):
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
    elif _may_start(board, node, slots):
        _launch(board, node, slots)


def _launch(board: Board, node: Node, slots: Slots) -> None:
    kind = kinds.of(node)
    # Of a task without pods, `pod` is the defaults' and asks for nothing.
    refused = pod_policy.judge(node.task.pod, board.facts.pod_policy) if kind.takes_slot else None
    if refused is not None:
        board.end(node.name, TaskPhase.FAILED, refused.reason, refused.message)
    else:
        kind.launch(board, node, slots)


def _may_start(board: Board, node: Node, slots: Slots) -> bool:
    """Whether anything keeps a task from starting that is not its own; where so, its status says what."""
    return not held_back(board, node) and (not kinds.of(node).takes_slot or has_slot(board, node, slots))


def _more(names: list[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""
