"""Observe: what the evidence does to a fan-out that was started.

The task Succeeds when at most maxFailedItems failed. Once more have, failurePolicy Continue lets the remaining items
run, FailFast stops them; the outputs of those that succeeded stay readable either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from nexus.api.fanout import ItemsStatus
from nexus.api.reasons import Mechanism, Reason, TaskPhase
from nexus.api.run import JobRef
from nexus.core.data.scope import Item
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model import indexes
from nexus.core.model.definition import Node
from nexus.core.model.facts import ChildFact, JobFact
from nexus.core.tasks.child_run import is_same
from nexus.core.tasks.draft import PlanDraft
from nexus.core.tasks.evidence import Waiting
from nexus.core.tasks.fanout.collect import checkpoint, close, first_failure, gather, tally_of
from nexus.core.tasks.item_tally import Tally
from nexus.core.tasks.mechanism import next_mechanism
from nexus.core.tasks.observe import delay_words


def observe(draft: PlanDraft, node: Node) -> None:
    """Move a fan-out on as far as its Jobs and pods prove."""
    if draft.tasks[node.name].phase.ended:
        return
    if draft.tasks[node.name].start_time is None:
        return
    tally = tally_of(draft, node)
    if tally is None:
        return
    _record_job(draft, node, tally)
    if _is_late(draft, node, tally) or _cannot_start(draft, node, tally):
        return
    if tally.over or stops_early(draft, node, tally):
        conclude(draft, node, tally)
    else:
        checkpoint(draft, node, tally)


def take_over(draft: PlanDraft, node: Node, items: Sequence[Any]) -> bool:
    """Return whether Jobs or child runs of a fan-out that is due are there already: the operator died after making
    them, or another copy was first. Those that it makes first are first attempts. Raises Unread."""
    jobs = [job for job in draft.facts.jobs.get(node.name, ()) if job.index is None or job.index < len(items)]
    children = [child for child in draft.facts.children.get(node.name, ()) if _is_same(draft, node, child, items)]
    found: list[JobFact | ChildFact] = [*jobs, *children]
    made = [one for one in found if one.attempt_number == 1]
    if not made:
        return False
    draft.move(
        node.name,
        phase=TaskPhase.RUNNING,
        reason=None,
        message=None,
        mechanism=Mechanism.INDEXED_JOB if any(job.index is None for job in jobs) else next_mechanism(node),
        attempts=1,
        start_time=min(one.created_at for one in made),
        items=draft.tasks[node.name].items or ItemsStatus(total=len(items)),
    )
    observe(draft, node)
    return True


def _is_same(draft: PlanDraft, node: Node, child: ChildFact, items: Sequence[Any]) -> bool:
    if child.index is None or child.index >= len(items):
        return False
    try:
        return is_same(draft, node, child, Item(child.index, items[child.index]))
    except (ExpressionError, TemplateError):
        return False


def _record_job(draft: PlanDraft, node: Node, tally: Tally) -> None:
    if tally.whole is not None:
        draft.move(node.name, job=JobRef(name=tally.whole.name, uid=tally.whole.uid))


def _is_late(draft: PlanDraft, node: Node, tally: Tally) -> bool:
    """Return whether the whole fan-out took too long, by our clock or, while no operator ran, by the Job's."""
    seconds, started_at = node.task.deadline_seconds, draft.tasks[node.name].start_time
    if seconds is None or started_at is None:
        return False
    deadline = started_at + timedelta(seconds=seconds)
    stopped = tally.whole is not None and tally.whole.failure == "DeadlineExceeded"
    if draft.now < deadline and not stopped:
        draft.wakes.append(deadline)
        return False
    if tally.over and not tally.running:
        return False  # all was done in time
    close(draft, node, TaskPhase.FAILED, Reason.DEADLINE_EXCEEDED, _late_words(node), broken_off=True)
    return True


def _late_words(node: Node) -> str:
    return f"the task exceeded deadlineSeconds ({node.task.deadline_seconds})"


def _cannot_start(draft: PlanDraft, node: Node, tally: Tally) -> bool:
    """End a fan-out of which a pod cannot start: no other could. Until that is certain, say what it waits for."""
    limit = timedelta(seconds=node.start_timeout_seconds)
    for waiting in tally.waiting:
        reason = Reason.START_TIMEOUT if waiting.reason is Reason.STARTING else waiting.reason
        if waiting.hopeless:
            close(draft, node, TaskPhase.FAILED, waiting.reason, waiting.message, broken_off=True)
            return True
        if waiting.since is not None and draft.now >= waiting.since + limit:
            words = (
                f"the container did not start within startTimeoutSeconds ({node.start_timeout_seconds}): "
                f"{waiting.message}"
            )
            close(draft, node, TaskPhase.FAILED, reason, words, broken_off=True)
            return True
        if waiting.since is not None:
            draft.wakes.append(waiting.since + limit)
    # One that is held back says so at any time: nothing of it runs. So does a child run that waits for approval.
    at_any_time = (Reason.QUEUED, Reason.AWAITING_APPROVAL)
    told = [one for one in tally.waiting if not tally.started or one.reason in at_any_time]
    _say(draft, node, (told[0] if told else None) or _delayed(draft, node, tally))
    return False


def _delayed(draft: PlanDraft, node: Node, tally: Tally) -> Waiting | None:
    """Return what it waits for where no item runs and each that is left has a delay: the first that will be over."""
    later = [(due.at, index, due) for index, due in tally.due.items() if due.at is not None and due.at > draft.now]
    if tally.running or not later or len(later) < len(tally.due):
        return None
    at, index, due = min(later, key=lambda one: one[:2])
    failure = due.last
    words = "unknown reason" if failure is None else f"item {index}: {failure.reason.value}: {failure.message}"
    asked = failure.retry_after if failure is not None and node.retry.retry_on else None
    return Waiting(Reason.RETRY_DELAY, delay_words(at, words, asked), since=None)


def _say(draft: PlanDraft, node: Node, waiting: Waiting | None) -> None:
    """Say what it waits for, until the first container runs."""
    status = draft.tasks[node.name]
    if waiting is None or (waiting.reason is Reason.STARTING and status.phase is not TaskPhase.PENDING):
        draft.move(node.name, phase=TaskPhase.RUNNING, reason=None, message=None, approval=None)
        return
    message = waiting.message
    if waiting.reason is Reason.IMAGE_PULL and status.reason is Reason.IMAGE_PULL:
        # ErrImagePull and ImagePullBackOff take turns; the first message is the one with the cause.
        message = status.message or message
    begun = waiting.reason in (Reason.AWAITING_APPROVAL, Reason.RETRY_DELAY)
    draft.move(node.name, phase=TaskPhase.RUNNING if begun else TaskPhase.PENDING, approval=waiting.approval)
    draft.wait(node.name, waiting.reason, message)


def stops_early(draft: PlanDraft, node: Node, tally: Tally) -> bool:
    """Return whether FailFast does not wait for the remaining items."""
    return draft.definition.fail_fast and len(tally.failed) > max_failed(node)


def conclude(draft: PlanDraft, node: Node, tally: Tally) -> None:
    """End a fan-out as its items did."""
    items = gather(draft, node, tally)
    if items is None:
        return
    if len(tally.failed) <= max_failed(node) and not tally.running:
        close(draft, node, TaskPhase.SUCCEEDED, items=items)
        return
    where = indexes.text(tally.failed, 60)
    words = (
        f"{len(tally.failed)} of {tally.total} items failed ({where}), which exceeds maxFailedItems "
        f"({max_failed(node)})"
    )
    if tally.failed:
        words = f"{words}; {first_failure(tally.failed.items())}"
    close(draft, node, TaskPhase.FAILED, Reason.ITEMS_FAILED, words, items)


def max_failed(node: Node) -> int:
    """Items that may fail while the task succeeds."""
    assert node.task.for_each is not None
    return node.task.for_each.max_failed_items or 0
