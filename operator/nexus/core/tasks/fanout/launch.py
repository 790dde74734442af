"""Launch: the Jobs of a fan-out. First the Indexed Job, or the Jobs of as many items as may run; then, as slots free
up, more pods for the former or the Jobs of further items, and the next attempts of items with Jobs of their own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from nexus.api.fanout import ItemsStatus
from nexus.api.reasons import Mechanism, Reason, TaskPhase
from nexus.api.run import JobRef
from nexus.core.data.scope import Item
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model.definition import Node
from nexus.core.model.plan import Indexed, Payload, RaiseParallelism, Start, StartTask
from nexus.core.model.refusal import again_at, limit_words, over_since, parallelism_of
from nexus.core.names import item_child_name, item_job_name, job_name
from nexus.core.task_types.limits import PayloadError
from nexus.core.tasks.child_run import too_deep
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.evidence import Failed
from nexus.core.tasks.fanout import payload
from nexus.core.tasks.fanout.children import start_of
from nexus.core.tasks.fanout.collect import close, must_know_stored, note_failed, stored
from nexus.core.tasks.fanout.items import ItemsInvalid, resolve
from nexus.core.tasks.fanout.observe import conclude, max_failed, stops_early, take_over
from nexus.core.tasks.item_mechanism import is_indexed
from nexus.core.tasks.item_tally import Due, Tally
from nexus.core.tasks.launch import refused, remaining
from nexus.core.tasks.mechanism import mechanism_of, next_mechanism
from nexus.core.tasks.pool_slots import has_turn
from nexus.core.tasks.slots import Slots
from nexus.core.tasks.suspend import held_back

# Items whose starts are refused do not keep the others back. Of so many it is no matter of the items any more (a quota,
# a missing right), and the rest is not tried.
MOST_REFUSED = 20

_IMPOSSIBLE = (Unread, ExpressionError, TemplateError, PayloadError, ItemsInvalid)


def launch(draft: PlanDraft, node: Node, slots: Slots) -> None:
    """Start a fan-out, or take over what is there of it: its rule is met, its `when` is true, and there is a slot where
    it takes one."""
    if node.record.mechanism is Mechanism.CHILD_RUN and too_deep(draft, node):
        return
    items = _items(draft, node)
    if items is None:
        return
    if not items:
        _nothing_to_do(draft, node)
        return
    before = draft.tasks[node.name]
    if must_know_stored(draft, node):
        return
    if take_over(draft, node, items):
        return
    known = (stored(draft, node) or []) if before.items is not None and before.items.total == len(items) else []
    due = {index: Due(1, None) for index in range(len(items)) if index >= len(known) or known[index] is None}
    tally = Tally(len(items), due=due)
    try:
        indexed = is_indexed(node, draft.facts.native_backoff) and len(due) == len(items)
        started = (_launch_whole if indexed else _launch_items)(draft, node, slots, items, tally)
        mechanism = Mechanism.INDEXED_JOB if indexed else next_mechanism(node)
    except payload.ItemUnrendered:
        # One Indexed Job runs all its items or none.
        started = _launch_items(draft, node, slots, items, tally)
        mechanism = next_mechanism(node)
    if not started:
        if tally.refused:
            _tell_refused(draft, node, tally)
        if not (tally.due or draft.tasks[node.name].phase.ended):
            _all_failed(draft, node, tally)
        return
    draft.planned[node.name] = before
    draft.move(
        node.name,
        phase=TaskPhase.RUNNING,
        reason=None,
        message=None,
        mechanism=mechanism,
        attempts=1,
        start_time=draft.now,
        items=before.items if known else ItemsStatus(total=len(items)),
        **({} if known else {"output": None, "output_ref": None}),
    )
    _tell_refused(draft, node, tally)
    if tally.failed:
        _note(draft, node, tally)


def proceed(draft: PlanDraft, node: Node, slots: Slots) -> None:
    """Start what is due of a fan-out that runs, as far as there are slots."""
    tally = draft.tallies[node.name]
    now = {index: due for index, due in tally.due.items() if due.at is None or due.at <= draft.now}
    draft.wakes += [due.at for due in tally.due.values() if due.at is not None and due.at > draft.now]
    whole = tally.whole
    refusal = draft.facts.refusals.get(parallelism_of(whole.name)) if whole is not None else None
    if refusal is not None:
        draft.refuse(node.name, refusal, f"the parallelism of its Job cannot be raised: {refusal.message}")
    room = _room(draft, node, slots, tally)
    if room <= 0:
        return
    if now and not held_back(draft, node):
        items = _items(draft, node)
        if items is not None:
            failed = len(tally.failed)
            _launch_items(draft, node, slots, items, tally, dict(sorted(now.items())))
            _tell_refused(draft, node, tally)
            if len(tally.failed) > failed and not draft.tasks[node.name].phase.ended:
                _note(draft, node, tally)
    elif not now and refusal is None and not draft.facts.run.suspended:
        _raise(draft, node, slots, tally)


def _room(draft: PlanDraft, node: Node, slots: Slots, tally: Tally) -> int:
    """Return how many more items may run now. Child runs take no slots; a thousand at once without a limit set would be
    too many all the same."""
    if mechanism_of(node, draft.tasks[node.name]) is Mechanism.CHILD_RUN:
        assert node.task.for_each is not None
        return (node.task.for_each.parallelism or draft.definition.max_parallel_tasks) - len(tally.running)
    return min(slots.free, _parallelism(node, tally.total) - tally.held)


def _tell_refused(draft: PlanDraft, node: Node, tally: Tally) -> None:
    """Say that starts of items are refused, while others run."""
    if not tally.refused:
        if node.name not in draft.refused:
            draft.move(node.name, refused_time=None)
        return
    index, refusal = min(tally.refused.items())
    more = f" (and {len(tally.refused) - 1} more)" if len(tally.refused) > 1 else ""
    words = refusal.message
    if refusal.since is not None:
        words = limit_words(refusal, refusal.since, node.start_timeout_seconds)
    draft.refuse(node.name, refusal, f"item {index}{more}: {words}")


def _is_refused(draft: PlanDraft, node: Node, tally: Tally, index: int, name: str) -> bool:
    """Return whether the Job, or child run, of an item is not made now. What is refused for good fails the item
    alone."""
    refusal = draft.facts.refusals.get(name)
    if refusal is None:
        return False
    over = refusal.message if refusal.final else None
    if refusal.limited:
        # By this operator's memory: the status has no entry for an item.
        over = over_since(refusal, refusal.since or draft.now, node.start_timeout_seconds, draft.now)
        draft.wakes.append((refusal.since or draft.now) + timedelta(seconds=node.start_timeout_seconds))
    if over is None:
        draft.wakes.append(again_at(refusal, draft.now))
        tally.refused[index] = refusal
    else:
        del tally.due[index]
        tally.failed[index] = Failed(refusal.reason, over, final=True)
    return True


def _note(draft: PlanDraft, node: Node, tally: Tally) -> None:
    """Items failed that were never started. They are put on record, and only what is on record ends the task: how many
    are found depends on the slots there are, and a decision that ends the task may have to be made once more, by an
    operator that finds fewer."""
    noted = note_failed(draft, node, tally)
    if stops_early(draft, node, tally):
        _drop_starts(draft, node)
    if noted:
        draft.wakes.append(draft.now)
    elif tally.over or stops_early(draft, node, tally):
        # More than the record has room for are found again each time.
        draft.tallies[node.name] = tally
        conclude(draft, node, tally)


def _all_failed(draft: PlanDraft, node: Node, tally: Tally) -> None:
    """No item can be started, however many slots there are."""
    draft.tallies[node.name] = tally
    draft.move(node.name, start_time=draft.now, items=ItemsStatus(total=tally.total))
    conclude(draft, node, tally)


def _nothing_to_do(draft: PlanDraft, node: Node) -> None:
    output: dict[str, list[Any]] = {"items": []}
    draft.keep(node.name, output)
    draft.end(
        node.name,
        TaskPhase.SUCCEEDED,
        start_time=draft.now,
        items=ItemsStatus(total=0),
        output=output,
    )


def _items(draft: PlanDraft, node: Node) -> list[Any] | None:
    """Return the items, or None where they have to wait for a read or cannot be had, which ends the task."""
    assert node.task.for_each is not None
    try:
        return resolve(node.task.for_each, draft.renderer(node))
    except _IMPOSSIBLE as error:
        _end(draft, node, error)
    return None


def _parallelism(node: Node, total: int) -> int:
    assert node.task.for_each is not None
    return min(node.task.for_each.parallelism or total, total)


def _launch_whole(draft: PlanDraft, node: Node, slots: Slots, items: list[Any], _: Tally) -> bool:
    """Return whether the Indexed Job is on its way. Raises ItemUnrendered."""
    run = draft.facts.run
    name = job_name(run.name, run.uid, node.name, 1)
    if refused(draft, node, name):
        return False
    try:
        rendered = payload.for_all(draft, node, items)
    except _IMPOSSIBLE as error:
        _end(draft, node, error)
        return False
    if not draft.may_start:
        draft.wakes.append(draft.now)
        return False
    width = min(_parallelism(node, len(items)), slots.free)
    slots.free -= width
    fail_fast = max_failed(node) if draft.definition.fail_fast else None
    draft.starts.append(
        StartTask(
            attempt_number=1,
            backoff_limit=node.retry.limit,
            indexed=Indexed(width, fail_fast),
            **_common(draft, node, name, rendered, len(items), draft.now),
        )
    )
    draft.move(node.name, job=JobRef(name=name))
    return True


def _launch_items(
    draft: PlanDraft, node: Node, slots: Slots, items: list[Any], tally: Tally, due: dict[int, Due] | None = None
) -> bool:
    """Return whether any Job, or child run, is planned, of as many of the items that are due (all, where it is not said
    which) as there is room for. Items whose own values cannot be rendered are moved to the failed ones, and take no
    room."""
    run, status = draft.facts.run, draft.tasks[node.name]
    children = mechanism_of(node, status) is Mechanism.CHILD_RUN
    room = _room(draft, node, slots, tally)
    started = 0
    for index, attempt in list((tally.due if due is None else due).items()):
        if started and started >= room:
            break
        name = (item_child_name if children else item_job_name)(
            run.name, run.uid, node.name, index, attempt.attempt_number
        )
        if len(tally.refused) >= MOST_REFUSED:
            break
        if _is_refused(draft, node, tally, index, name):
            continue
        start: Start
        try:
            if children:
                start = start_of(draft, node, index, items, attempt.attempt_number)
            else:
                began = status.start_time or draft.now
                start = _start_of(
                    draft, node, name, Item(index, items[index]), attempt.attempt_number, len(items), began
                )
        except _IMPOSSIBLE as error:
            to_blame = _to_blame(draft, node, error, attempt)
            if to_blame is not None:
                _end(draft, node, to_blame)
                return False
            del tally.due[index]
            tally.failed[index] = Failed(Reason.EXPRESSION_ERROR, str(error), final=True)
            continue
        if not draft.may_start:
            draft.wakes.append(draft.now)
        if not draft.may_start or started >= room or not (children or has_turn(draft, node, name)):
            break
        draft.starts.append(start)
        slots.free -= 0 if children else 1
        started += 1
    return started > 0


def _to_blame(draft: PlanDraft, node: Node, error: Exception, attempt: Due) -> Exception | None:
    """Return what keeps all items from being rendered, None where it is the one item's own values. Those of one that
    ran before could be had: what they were made of is gone."""
    if attempt.attempt_number > 1 or not isinstance(error, ExpressionError | TemplateError):
        return error
    try:
        return payload.shared_fault(draft, node)
    except Unread as unread:
        return unread


def _start_of(
    draft: PlanDraft, node: Node, name: str, item: Item, attempt_number: int, total: int, began: datetime
) -> StartTask:
    rendered = payload.for_item(draft, node, item, attempt_number)
    return StartTask(
        attempt_number=attempt_number, index=item.index, **_common(draft, node, name, rendered, total, began)
    )


def _end(draft: PlanDraft, node: Node, error: Exception) -> None:
    """Items or a payload that cannot be had end the task; those that wait for a read do not."""
    if isinstance(error, Unread):
        return
    _drop_starts(draft, node)
    reason, message = Reason.EXPRESSION_ERROR, str(error)
    if isinstance(error, PayloadError | ItemsInvalid):
        reason, message = error.reason, error.message
    if draft.tasks[node.name].start_time is None:
        draft.end(node.name, TaskPhase.FAILED, reason, message)
    else:
        close(draft, node, TaskPhase.FAILED, reason, message)


def _drop_starts(draft: PlanDraft, node: Node) -> None:
    draft.starts[:] = [start for start in draft.starts if start.task != node.name]


def _common(
    draft: PlanDraft, node: Node, name: str, rendered: Payload, total: int, started_at: datetime
) -> dict[str, Any]:
    return {
        "task": node.name,
        "job_name": name,
        "payload": rendered,
        "retry": node.retry,
        "timeout_seconds": node.task.timeout_seconds,
        "deadline_seconds": remaining(node, int((draft.now - started_at).total_seconds())),
        "labels": dict(draft.definition.spec.labels or {}),
        "items": total,
        "pool": node.task.pool,
    }


def _raise(draft: PlanDraft, node: Node, slots: Slots, tally: Tally) -> None:
    """More pods for the Indexed Job. Never fewer: Kubernetes would delete running ones."""
    whole = tally.whole
    if whole is None or whole.finished or whole.failing or whole.deleting:
        return
    wanted = _parallelism(node, tally.total)
    if tally.held_by_whole < whole.parallelism or whole.parallelism >= wanted:
        return  # it does not use what it has, or has all it may
    waiting = len(tally.running) - whole.parallelism
    more = min(slots.free, wanted - whole.parallelism, waiting)
    if more > 0:
        slots.free -= more
        draft.raises.append(RaiseParallelism(node.name, whole.name, whole.uid, whole.parallelism + more, more))
