"""approval: an approver decides. No pod runs and no slot is taken; the decision is an entry in the run's
spec.approvals.

A recorded decision counts, even if it was made before the task started to wait, or is seen only after the timeout: a
person's decision is never overruled because an operator looked late.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from nexus.api import run
from nexus.api.base import format_time
from nexus.api.reasons import Mechanism, Reason, TaskPhase
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model.definition import Node
from nexus.core.model.plan import RunEvent
from nexus.core.model.status_limits import cut
from nexus.core.names import job_name
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.slots import Slots


def asks(task: run.TaskStatus) -> bool:
    """Return whether a task is waiting for a decision of its own, and not for one in a child run."""
    return task.reason is Reason.AWAITING_APPROVAL and task.child_run is None and task.items is None


def requested(run_name: str, task: run.TaskStatus) -> run.ApprovalRequest | None:
    """Return the decision that a task of a run is waiting for, of its own or in a child run; None if there is none.

    A status written by 0.1 has no `approval`: what it says of a task's own approval is known all the same, but of a
    child run only the child's name, in `child_run`.
    """
    if task.reason is not Reason.AWAITING_APPROVAL:
        return None
    own = run.ApprovalRequest(run=run_name, task=task.name) if asks(task) else None
    return task.approval or own


def command(request: run.ApprovalRequest) -> str:
    """Return what to type to decide."""
    return f"nexus approve {request.run} {request.task}"


def launch(draft: PlanDraft, node: Node, _: Slots) -> None:
    """Begin to wait for the decision."""
    try:
        request = _request(draft, node)
    except Unread:
        return
    except (ExpressionError, TemplateError) as error:
        draft.end(node.name, TaskPhase.FAILED, Reason.EXPRESSION_ERROR, str(error))
        return
    # A CLI of 0.1 reads the command and the question from this phrase; it stays until 0.3. Ours reads `approval`.
    # The question comes last: it may be long, and is cut.
    words = f"waiting for approval: {command(request)} [--reject]"
    words = f"{words}: {request.message}" if request.message else words
    draft.move(node.name, phase=TaskPhase.RUNNING, mechanism=Mechanism.NONE, start_time=draft.now, approval=request)
    draft.wait(node.name, Reason.AWAITING_APPROVAL, words)
    observe(draft, node)
    if not draft.tasks[node.name].phase.ended:
        draft.events.append(RunEvent("ApprovalRequested", f"task {node.name} is {words}"[:1_000], task=node.name))


def _request(draft: PlanDraft, node: Node) -> run.ApprovalRequest:
    """Render what the approver is asked. Raises Unread, ExpressionError, TemplateError."""
    assert node.task.approval is not None
    asked = draft.renderer(node).text(node.task.approval.message or "", "approval.message")
    message = cut(asked, draft.message_limit) or None
    return run.ApprovalRequest(run=draft.facts.run.name, task=node.name, message=message)


def observe(draft: PlanDraft, node: Node) -> None:
    """End a task that waits, where it was decided or its time is over."""
    status = draft.tasks[node.name]
    if status.phase.ended or status.start_time is None:
        return
    decided = next((entry for entry in draft.facts.run.approvals if entry.task == node.name), None)
    if decided is not None:
        _decide(draft, node, decided)
        return
    if status.approval is None:
        # An operator of an earlier version has written the status.
        with suppress(Unread, ExpressionError, TemplateError):
            draft.move(node.name, approval=_request(draft, node))
    for field, seconds, reason in (
        ("timeoutSeconds", node.task.timeout_seconds, Reason.REJECTED),
        ("deadlineSeconds", node.task.deadline_seconds, Reason.DEADLINE_EXCEEDED),
    ):
        due = status.start_time + timedelta(seconds=seconds) if seconds is not None else None
        if due is not None and draft.now >= due:
            words = f"approval timed out after {seconds}s ({field})"
            draft.end(node.name, TaskPhase.FAILED, reason, words, approval=status.approval)
            return
        if due is not None:
            draft.wakes.append(due)


def _decide(draft: PlanDraft, node: Node, decided: run.Approval) -> None:
    when = format_time(decided.time or draft.now)
    approved = decided.decision is run.Decision.APPROVED
    words = f"{decided.decision.value.lower()} by {decided.by} at {when}"
    message = f"{words}: {decided.comment}" if decided.comment else words
    asked = draft.tasks[node.name].approval or run.ApprovalRequest(run=draft.facts.run.name, task=node.name)
    asked = asked.model_copy(update={"decision": decided.decision})
    if not approved:
        draft.end(node.name, TaskPhase.FAILED, Reason.REJECTED, message, approval=asked)
        return
    output = {"by": decided.by, "comment": decided.comment or "", "time": when}
    # There is no Job; the name is that of the first attempt all the same, unique in the namespace.
    name = job_name(draft.facts.run.name, draft.facts.run.uid, node.name, 1)
    draft.succeed(node.name, name, output, message=message, approval=asked)
