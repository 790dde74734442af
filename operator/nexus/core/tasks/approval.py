"""approval: a person decides. No pod runs and no slot is taken; the decision is an entry in the run's spec.approvals.

A decision that is there counts, also one that came before the task waited for it, or that is seen only when its time is
over: what a person did is never overruled by how late an operator looks.
"""

from __future__ import annotations

import re
from datetime import timedelta

from nexus.api import run
from nexus.api.base import format_time
from nexus.api.reasons import Reason, TaskPhase
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model.definition import Node
from nexus.core.model.plan import RunEvent
from nexus.core.names import job_name
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.slots import Slots

_ASKS = " [--reject]: "
_COMMAND = re.compile(r"nexus approve \S+ [^\s:]+")


def question(message: str) -> str:
    """What is asked, out of the message of a task that waits; empty where it asks nothing in particular."""
    return message.partition(_ASKS)[2]


def asks(task: run.TaskStatus) -> bool:
    """Whether a task waits for a decision of its own, and not for one in a child run."""
    return task.reason is Reason.AWAITING_APPROVAL and task.child_run is None and task.items is None


def command(task: run.TaskStatus) -> str | None:
    """What to type, where a task waits for a decision, be it in a child run."""
    found = _COMMAND.search(task.message or "") if task.reason is Reason.AWAITING_APPROVAL else None
    return found[0] if found else None


def launch(draft: PlanDraft, node: Node, _: Slots) -> None:
    """Begin to wait for the decision."""
    assert node.task.approval is not None
    try:
        asked = draft.renderer(node).text(node.task.approval.message or "", "approval.message")
    except Unread:
        return
    except (ExpressionError, TemplateError) as error:
        draft.end(node.name, TaskPhase.FAILED, Reason.EXPRESSION_ERROR, str(error))
        return
    draft.move(node.name, phase=TaskPhase.RUNNING, start_time=draft.now)
    # What is asked comes last: it may be long, and is cut.
    words = f"waits for a person: nexus approve {draft.facts.run.name} {node.name}{_ASKS}{asked}"
    words = words if asked else words.removesuffix(": ")
    draft.wait(node.name, Reason.AWAITING_APPROVAL, words)
    observe(draft, node)
    if not draft.tasks[node.name].phase.ended:
        draft.events.append(RunEvent("ApprovalRequested", f"task {node.name} {words}"[:1_000], task=node.name))


def observe(draft: PlanDraft, node: Node) -> None:
    """End a task that waits, where it was decided or its time is over."""
    status = draft.tasks[node.name]
    if status.phase.ended or status.start_time is None:
        return
    decided = next((entry for entry in draft.facts.run.approvals if entry.task == node.name), None)
    if decided is not None:
        _decide(draft, node, decided)
        return
    for field, seconds, reason in (
        ("timeoutSeconds", node.task.timeout_seconds, Reason.REJECTED),
        ("deadlineSeconds", node.task.deadline_seconds, Reason.DEADLINE_EXCEEDED),
    ):
        due = status.start_time + timedelta(seconds=seconds) if seconds is not None else None
        if due is not None and draft.now >= due:
            words = f"nobody decided within {field} ({seconds}), which rejects it"
            draft.end(node.name, TaskPhase.FAILED, reason, words)
            return
        if due is not None:
            draft.wakes.append(due)


def _decide(draft: PlanDraft, node: Node, decided: run.Approval) -> None:
    when = format_time(decided.time or draft.now)
    approved = decided.decision is run.Decision.APPROVED
    words = f"{decided.decision.value.lower()} by {decided.by} at {when}"
    message = f"{words}: {decided.comment}" if decided.comment else words
    if not approved:
        draft.end(node.name, TaskPhase.FAILED, Reason.REJECTED, message)
        return
    output = {"by": decided.by, "comment": decided.comment or "", "time": when}
    # There is no Job; the name is that of the first attempt all the same, unique in the namespace.
    name = job_name(draft.facts.run.name, draft.facts.run.uid, node.name, 1)
    draft.succeed(node.name, name, output, message=message)
