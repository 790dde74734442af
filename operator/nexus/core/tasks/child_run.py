"""Child runs: the attempts of `workflow` tasks. The task ends as its child does, and its output is the child's outputs.

A child is a run like any other, with its own slots, deadline and `finally`; the two know of each other by its name and
owner alone. Whatever ends the task before its child (a cancel, a deadline, FailFast, a timeout) has the child cancelled
after the status that says why is written, and does not wait for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from nexus.api.numbers import as_stored
from nexus.api.packed import unpacked
from nexus.api.reasons import Mechanism, Reason, RunPhase, TaskPhase
from nexus.api.run import Cancel, RunRef, TaskStatus
from nexus.core.data.limits import PARAMS_LIMIT
from nexus.core.data.scope import Item
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model.definition import Node
from nexus.core.model.facts import Changed, ChildFact, Facts
from nexus.core.model.plan import CancelRun, LoadOutput, StartChild
from nexus.core.model.status_limits import cut
from nexus.core.names import child_name
from nexus.core.tasks import attempt_records as records
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.evidence import Failed
from nexus.core.tasks.identity import child_content
from nexus.core.tasks.launch import refused
from nexus.core.tasks.observe import attempt_number, await_next_attempt, task_deadline
from nexus.core.tasks.retries import next_attempt_after
from nexus.core.tasks.slots import Slots
from nexus.core.text.json_text import dump

# How deep child runs may be nested: cycles of calls end here.
MAX_DEPTH = 5
# How deep the params of one may nest: the 100 levels of an object that is read, less the object's own and its spec's.
PARAM_LEVELS = 98

# The child never started, and would not the next time: they are the task's own reasons.
_FINAL = (Reason.WORKFLOW_NOT_FOUND, Reason.WORKFLOW_INVALID, Reason.PARAMS_INVALID, Reason.TOO_DEEP)


def launch(draft: PlanDraft, node: Node, slots: Slots) -> None:  # noqa: ARG001 - a child run takes no slot
    """Plan the child run of the next attempt, or take over the one that is there."""
    status, run = draft.tasks[node.name], draft.facts.run
    call = node.task.workflow
    assert call is not None
    number = attempt_number(status) + 1
    name = child_name(run.name, run.uid, node.name, number)
    if too_deep(draft, node):
        return
    try:
        if take_over(draft, node) or refused(draft, node, name):
            return
        params = params_of(draft, node)
    except Unread:
        return
    except (ExpressionError, TemplateError) as error:
        draft.end(node.name, TaskPhase.FAILED, Reason.EXPRESSION_ERROR, str(error))
        return
    if not draft.may_start:
        draft.wakes.append(draft.now)
        return
    draft.starts.append(StartChild(node.name, name, number, call.name, params, run.depth + 1))
    draft.planned[node.name] = status
    _running(draft, node, RunRef(name=name), number, draft.now)


def params_of(draft: PlanDraft, node: Node, item: Item | None = None) -> dict[str, Any]:
    """Return the params of a child run. Raises Unread, ExpressionError, TemplateError."""
    assert node.task.workflow is not None
    rendered: dict[str, Any] = draft.renderer(node, item).deep(node.task.workflow.params or {}, "workflow.params")
    # It could not be read. After a crash nothing would show that it is this task's own.
    if _nests_deeper(rendered, PARAM_LEVELS):
        raise ExpressionError(f"workflow.params: nested deeper than {PARAM_LEVELS} levels; flatten it")
    if len(dump(rendered).encode(errors="replace")) > PARAMS_LIMIT:
        words = f"exceeds {PARAMS_LIMIT:,} bytes of JSON; pass large data through a task's output"
        raise ExpressionError(f"workflow.params: {words}")
    return rendered


def _nests_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_nests_deeper(entry, levels - 1) for entry in inner)


def take_over(draft: PlanDraft, node: Node) -> bool:
    """Return whether the child run of the attempt that is due is there already: the operator died after making it, or
    another copy was first. Raises Unread, ExpressionError, TemplateError."""
    number = attempt_number(draft.tasks[node.name]) + 1
    child = draft.child(node.name, number) if draft.is_due(node.name) else None
    if child is None or not is_same(draft, node, child):
        return False
    _running(draft, node, RunRef(name=child.name, uid=child.uid), number, child.created_at)
    _apply(draft, node, child)
    return True


def is_same(draft: PlanDraft, node: Node, child: ChildFact, item: Item | None = None) -> bool:
    """Return whether a child run that no status names is the one that the task would start. Whoever may create runs may
    have made another one of its name. Raises Unread, ExpressionError, TemplateError."""
    if child.uid in draft.facts.vouched:
        return True
    assert node.task.workflow is not None
    same = child.content == child_content(node.task.workflow.name, params_of(draft, node, item))
    if same:
        draft.vouched.append(child.uid)
    else:
        draft.disown(child)
    return same


def too_deep(draft: PlanDraft, node: Node) -> bool:
    """Return whether a child run would be nested too deep, which ends the task."""
    if draft.facts.run.depth < MAX_DEPTH:
        return False
    assert node.task.workflow is not None
    # Every run above this one shows the message unchanged: so it names the run that it is about.
    words = (
        f"{draft.facts.run.name} is at child run depth {MAX_DEPTH}, the maximum, and calls {node.task.workflow.name}"
    )
    draft.end(node.name, TaskPhase.FAILED, Reason.TOO_DEEP, f"{words}; check for a cycle of workflow calls")
    return True


def observe(draft: PlanDraft, node: Node) -> None:
    """Move a task on as far as its child run proves."""
    status = draft.tasks[node.name]
    if status.phase.ended:
        return
    if status.child_run is not None and status.next_attempt_time is None:
        _recorded(draft, node, status.child_run.name)
    # Only then those that no status knows: whether one is due, says how the one before it ended. One that cannot be
    # compared is reported when it would be started.
    with contextlib.suppress(Unread, ExpressionError, TemplateError):
        while draft.tasks[node.name].next_attempt_time is not None and take_over(draft, node):
            pass
    task_deadline(draft, node)


def _running(draft: PlanDraft, node: Node, child: RunRef, number: int, began: datetime) -> None:
    draft.move(
        node.name,
        phase=TaskPhase.RUNNING,
        reason=None,
        message=None,
        mechanism=Mechanism.CHILD_RUN,
        attempts=number,
        child_run=child,
        approval=None,
        start_time=draft.tasks[node.name].start_time or began,
        next_attempt_time=None,
        refused_time=None,
    )


def _recorded(draft: PlanDraft, node: Node, name: str) -> None:
    child = next((child for child in draft.facts.children.get(node.name, ()) if child.name == name), None)
    if child is None or (child.deleting and not child.phase.ended):
        _failed(draft, node, Failed(Reason.CHILD_DELETED, f"the child run {name} was deleted", at=draft.now))
    else:
        _apply(draft, node, child)


def _apply(draft: PlanDraft, node: Node, child: ChildFact) -> None:
    match child.phase:
        case RunPhase.SUCCEEDED:
            _succeeded(draft, node, child)
        case RunPhase.FAILED | RunPhase.CANCELLED:
            _failed(draft, node, failure_of(child))
        case _:
            reason, words = stands(child)
            draft.move(
                node.name,
                phase=TaskPhase.RUNNING,
                reason=reason,
                message=cut(f"child run {child.name}{words}", draft.message_limit),
                child_run=RunRef(name=child.name, uid=child.uid),
                approval=child.approval,
            )
            _timeout(draft, node, child)


def stands(child: ChildFact) -> tuple[Reason | None, str]:
    """Return what a child that is under way waits for, and the same in words behind its name."""
    if child.phase is RunPhase.SUSPENDED:
        return Reason.SUSPENDED, " is suspended"
    if child.reason is Reason.AWAITING_APPROVAL:
        return child.reason, f": {child.message}"
    return None, ""


def failure_of(child: ChildFact) -> Failed:
    """Return why a child that has ended has failed: its own words, behind its name."""
    if child.reason is Reason.TOO_DEEP:
        return Failed(child.reason, child.message, at=child.ended_at, final=True)
    if child.reason in _FINAL:
        words = f"child run {child.name}: {child.message}"
        return Failed(child.reason, words, at=child.ended_at, final=True)
    words = f"child run {child.name} " + ("was cancelled" if child.phase is RunPhase.CANCELLED else "failed")
    if child.message:
        words += f": {child.message}"
    return Failed(Reason.CHILD_FAILED, words, at=child.ended_at)


def _succeeded(draft: PlanDraft, node: Node, child: ChildFact) -> None:
    outputs: Mapping[str, Any] | Changed | None = as_stored(unpacked(child.outputs))
    if child.outputs_ref is not None:
        if node.name not in draft.facts.outputs:
            draft.reads.append(LoadOutput(node.name, child.outputs_ref.config_map, child.outputs_ref.sha256))
            return
        outputs = draft.facts.outputs[node.name]
    if outputs is None or isinstance(outputs, Changed):
        _failed(draft, node, lost_outputs(child, outputs, at=draft.now))
    else:
        draft.succeed(node.name, child.name, outputs, child_run=RunRef(name=child.name, uid=child.uid))


def lost_outputs(child: ChildFact, stored: Changed | None, at: datetime | None = None) -> Failed:
    """Return why a child that succeeded counts for nothing: its outputs cannot be had."""
    if stored is None:
        words = f"the outputs of child run {child.name} are gone: their ConfigMap was deleted"
        return Failed(Reason.OUTPUT_LOST, words, at=at)
    return Failed(Reason.CONTENT_CHANGED, f"the outputs of child run {child.name} cannot be used: {stored}", at=at)


def timeout_of(node: Node, child: ChildFact) -> tuple[datetime, Failed] | None:
    """Return when an attempt is over its timeoutSeconds, and what it has failed of then."""
    seconds = node.task.timeout_seconds
    if seconds is None:
        return None
    # Kubernetes' creation time has whole seconds, cut off: a child that has just been seen is given them.
    at = (child.started_at or child.created_at) + timedelta(seconds=seconds)
    words = f"the child run {child.name} exceeded timeoutSeconds ({seconds})"
    return at, Failed(Reason.TIMEOUT, words, at=at)


def _timeout(draft: PlanDraft, node: Node, child: ChildFact) -> None:
    limit = timeout_of(node, child)
    if limit is not None and draft.now >= limit[0]:
        _failed(draft, node, limit[1])
    elif limit is not None:
        draft.wakes.append(limit[0])


def _failed(draft: PlanDraft, node: Node, failure: Failed) -> None:
    attempts = draft.tasks[node.name].attempts or 1
    records.last(draft, node, attempts, failure, None)
    whose = draft.whose(node.name)
    following = next_attempt_after(failure, node.retry, attempts, whose=whose, now=draft.now)
    if following is not None:
        await_next_attempt(draft, node, failure, following)
    else:
        draft.end(node.name, TaskPhase.FAILED, failure.reason, failure.message)


def stray_children(
    tasks: Iterable[TaskStatus], facts: Facts, abandoned: Collection[str] = (), forged: Collection[str] = ()
) -> tuple[CancelRun, ...]:
    """Child runs that go on although their attempt is over. They are cancelled as the run was, Gracefully where it was
    not: their `finally` runs. `abandoned` are those of fan-outs that go on, which have no entry for an item, `forged`
    the UIDs of those that are none."""
    mode = facts.run.cancel or Cancel.GRACEFUL
    return tuple(
        CancelRun(task.name, child.name, child.uid, mode)
        for task in tasks
        for child in facts.children.get(task.name, ())
        if _is_over(task, child, abandoned)
        and not (child.phase.ended or child.deleting or child.uid in forged)
        and child.cancel not in (mode, Cancel.IMMEDIATE)
    )


def _is_over(task: TaskStatus, child: ChildFact, abandoned: Collection[str]) -> bool:
    """Return whether no task waits for a child run any more. One that is not due yet concerns none."""
    if task.phase.ended:
        return True
    if task.items is not None:
        return child.name in abandoned
    last = attempt_number(task)
    return child.attempt_number < last or (child.attempt_number == last and task.next_attempt_time is not None)
