"""Children: the state of each item of a fan-out over `workflow`, from the child runs that were made for it.

The last child of an item decides, and its number is that of the attempt. They stay until the run goes, as the Jobs of
other fan-outs do, so that the status needs no entry for an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nexus.api.reasons import Reason, RunPhase
from nexus.core.data.scope import Item
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model.definition import Node
from nexus.core.model.facts import ChildFact
from nexus.core.model.plan import StartChild
from nexus.core.names import item_child_name
from nexus.core.tasks.child_run import failure_of, is_same, params_of, stands, timeout_of
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.evidence import Failed, Waiting
from nexus.core.tasks.fanout.checkpoint import proven
from nexus.core.tasks.fanout.items import ItemsInvalid, resolve
from nexus.core.tasks.item_tally import Due, Tally
from nexus.core.tasks.retries import next_attempt_after


def take(draft: PlanDraft, node: Node, total: int, refused: Mapping[int, Failed]) -> Tally:
    """Return the tally of a fan-out over child runs; `refused` are the items on record as failed. Notes on the draft
    which children are past their time, and when others will be. Raises Unread where a child cannot be compared yet."""
    by_index: dict[int, list[ChildFact]] = {}
    for child in draft.facts.children.get(node.name, ()):
        if child.index is not None:
            by_index.setdefault(child.index, []).append(child)
    stored = proven(draft, node)
    tally, items = Tally(total, started=True), _Items(draft, node)
    for index in range(total):
        if index < len(stored) and stored[index] is not None:
            tally.done[index] = None
            continue
        children = _counting(draft, node, index, by_index.get(index, []), items)
        draft.abandoned.update(child.name for child in children[:-1])
        if not children and index in refused:
            tally.failed[index] = refused[index]
        elif not children:
            # Also if it was deleted: that looks the same as one that was never made.
            tally.due[index] = Due(1, None)
        else:
            _last(draft, node, tally, index, children[-1])
            if index in tally.due and index in refused:
                del tally.due[index]
                tally.failed[index] = refused[index]
    return tally


class _Items:
    """The items, resolved where one is asked for."""

    def __init__(self, draft: PlanDraft, node: Node) -> None:
        self._board, self._node = draft, node
        self._known: list[Any] | None = None

    def at(self, index: int) -> Item:
        """Return one item. Raises Unread, ExpressionError, TemplateError, ItemsInvalid, IndexError."""
        if self._known is None:
            assert self._node.task.for_each is not None
            self._known = resolve(self._node.task.for_each, self._board.renderer(self._node))
        return Item(index, self._known[index])


def _counting(draft: PlanDraft, node: Node, index: int, children: list[ChildFact], items: _Items) -> list[ChildFact]:
    """Return the children of an item that count, oldest first: each that is what the task would start, after the one
    before it has ended. One before it that is not there was deleted."""
    counting: list[ChildFact] = []
    for child in sorted(children, key=lambda child: child.attempt_number):
        if counting and not _is_over(draft, node, counting[-1]):
            break
        try:
            same = child.uid in draft.facts.vouched or is_same(draft, node, child, items.at(index))
        except Unread:
            raise
        except (ExpressionError, TemplateError, ItemsInvalid, IndexError):
            draft.disown(child)  # no task starts a child run of an item that it cannot render
            same = False
        if not same:
            break
        counting.append(child)
    return counting


def _is_over(draft: PlanDraft, node: Node, child: ChildFact) -> bool:
    limit = timeout_of(node, child)
    return child.phase.ended or (limit is not None and draft.now >= limit[0])


def _last(draft: PlanDraft, node: Node, tally: Tally, index: int, child: ChildFact) -> None:
    if child.phase is RunPhase.SUCCEEDED:
        tally.done[index] = child
        return
    failure = _failure(draft, node, child)
    if failure is None:
        tally.running.add(index)
        reason, words = stands(child)
        if reason is Reason.AWAITING_APPROVAL:
            told = f"item {index}: child run {child.name}{words}"
            tally.waiting.append(Waiting(reason, told, since=None, approval=child.approval))
        return
    whose = f"{draft.whose(node.name)}/{index}"
    following = next_attempt_after(failure, node.retry, child.attempt_number, whose=whose)
    if following is None:
        tally.failed[index] = failure
    else:
        tally.due[index] = Due(child.attempt_number + 1, following.at, failure)


def _failure(draft: PlanDraft, node: Node, child: ChildFact) -> Failed | None:
    """Return why an attempt has failed, None while it runs. One that took too long is cancelled, and has failed of
    that."""
    limit = timeout_of(node, child)
    until = child.ended_at or draft.now
    if limit is not None and until >= limit[0] and child.phase in (RunPhase.CANCELLED, *_UNDER_WAY):
        draft.abandoned.add(child.name)
        return limit[1]
    if child.phase in _UNDER_WAY:
        if limit is not None:
            draft.wakes.append(limit[0])
        return None
    return failure_of(child)


_UNDER_WAY = tuple(phase for phase in RunPhase if not phase.ended)


def start_of(draft: PlanDraft, node: Node, index: int, items: Sequence[Any], attempt_number: int) -> StartChild:
    """Return the child run of one item. Raises Unread, ExpressionError, TemplateError."""
    call, run = node.task.workflow, draft.facts.run
    assert call is not None
    params = params_of(draft, node, Item(index, items[index]))
    name = item_child_name(run.name, run.uid, node.name, index, attempt_number)
    return StartChild(node.name, name, attempt_number, call.name, params, run.depth + 1, items=len(items), index=index)
