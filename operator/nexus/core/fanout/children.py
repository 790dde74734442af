"""Children: how each item of a fan-out over `workflow` stands, from the child runs that were made for it.

The last child of an item decides, and its number is that of the attempt. They stay until the run goes, as the Jobs of
other fan-outs do, so that the status needs no entry for an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nexus.api.reasons import Reason, RunPhase
from nexus.core.board import Board
from nexus.core.child_run import failure_of, stands, timeout_of
from nexus.core.definition import Node
from nexus.core.evidence import Failed, Waiting
from nexus.core.facts import ChildFact
from nexus.core.fanout.checkpoint import proven
from nexus.core.fanout.tally import Due, Tally
from nexus.core.names import item_child_name
from nexus.core.plan import StartChild
from nexus.core.scope import Item


def take(board: Board, node: Node, total: int, refused: Mapping[int, Failed]) -> Tally:
    """The tally of a fan-out over child runs; `refused` are the items on record as failed. Notes on the board which
    children are past their time, and when others will be."""
    by_index: dict[int, list[ChildFact]] = {}
    for child in board.facts.children.get(node.name, ()):
        if child.index is not None:
            by_index.setdefault(child.index, []).append(child)
    stored = proven(board, node)
    tally = Tally(total, started=True)
    for index in range(total):
        children = sorted(by_index.get(index, ()), key=lambda child: child.ordinal)
        board.abandoned.update(child.name for child in children[:-1])
        if index < len(stored) and stored[index] is not None:
            tally.done[index] = None
        elif not children and index in refused:
            tally.failed[index] = refused[index]
        elif not children:
            # Also where somebody deleted it: nothing tells that from one that was never made.
            tally.due[index] = Due(1, None)
        else:
            _last(board, node, tally, index, children[-1])
            if index in tally.due and index in refused:
                del tally.due[index]
                tally.failed[index] = refused[index]
    return tally


def _last(board: Board, node: Node, tally: Tally, index: int, child: ChildFact) -> None:
    if child.phase is RunPhase.SUCCEEDED:
        tally.done[index] = child
        return
    failure = _failure(board, node, child)
    if failure is None:
        tally.running.add(index)
        reason, words = stands(child)
        if reason is Reason.AWAITING_APPROVAL:
            tally.waiting.append(Waiting(reason, f"item {index}: child run {child.name}{words}", since=None))
    elif failure.final or not node.retry.allows(child.ordinal, None):
        tally.failed[index] = failure
    else:
        whose = f"{board.facts.run.uid}/{node.name}/{index}"
        at = node.retry.due(child.ordinal, failure.at, whose) if failure.at is not None else None
        tally.due[index] = Due(child.ordinal + 1, at)


def _failure(board: Board, node: Node, child: ChildFact) -> Failed | None:
    """Why an attempt has failed, None while it runs. One that took too long is cancelled, and has failed of that."""
    limit = timeout_of(node, child)
    until = child.ended_at or board.now
    if limit is not None and until >= limit[0] and child.phase in (RunPhase.CANCELLED, *_UNDER_WAY):
        board.abandoned.add(child.name)
        return limit[1]
    if child.phase in _UNDER_WAY:
        if limit is not None:
            board.wakes.append(limit[0])
        return None
    return failure_of(child)


_UNDER_WAY = tuple(phase for phase in RunPhase if not phase.ended)


def start_of(board: Board, node: Node, index: int, items: Sequence[Any], ordinal: int) -> StartChild:
    """The child run of one item. Raises Unread, ExpressionError, TemplateError."""
    call, run = node.task.workflow, board.facts.run
    assert call is not None
    params = board.renderer(node, Item(index, items[index])).deep(call.params or {}, "workflow.params")
    name = item_child_name(run.name, run.uid, node.name, index, ordinal)
    return StartChild(node.name, name, ordinal, call.name, params, run.depth + 1, items=len(items), index=index)
