"""wait: a timer. No pod runs and no slot is taken; its due time is in the status, and so survives restarts of the
operator.

A time that has passed, and zero seconds that an expression gave, are due at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from nexus.api.base import format_time
from nexus.api.reasons import Mechanism, Reason, TaskPhase
from nexus.api.tasks import MOST_SECONDS, Wait
from nexus.core.expressions.render import Renderer
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model.definition import Node
from nexus.core.task_types.wait_time import TOO_LONG, WaitInvalid, instant
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.slots import Slots
from nexus.core.text.json_text import dump


def launch(draft: PlanDraft, node: Node, _: Slots) -> None:
    """Begin to wait."""
    assert node.task.wait is not None
    try:
        due = _due(node.task.wait, draft.renderer(node), draft.now)
    except Unread:
        return
    except (ExpressionError, TemplateError) as error:
        draft.end(node.name, TaskPhase.FAILED, Reason.EXPRESSION_ERROR, str(error))
        return
    except WaitInvalid as error:
        draft.end(node.name, TaskPhase.FAILED, Reason.INVALID_WAIT, str(error))
        return
    draft.move(node.name, phase=TaskPhase.RUNNING, mechanism=Mechanism.NONE, start_time=draft.now, due_time=due)
    draft.wait(node.name, Reason.WAITING, f"waiting until {format_time(due)}")
    observe(draft, node)


def observe(draft: PlanDraft, node: Node) -> None:
    """End a task whose time has come."""
    status = draft.tasks[node.name]
    if status.phase.ended or status.due_time is None:
        return
    if draft.now >= status.due_time:
        draft.end(node.name, TaskPhase.SUCCEEDED)
    else:
        draft.wakes.append(status.due_time)


def _due(wait: Wait, renderer: Renderer, now: datetime) -> datetime:
    """Return when the wait is over. Raises WaitInvalid, ExpressionError, TemplateError and Unread."""
    if wait.until is not None:
        try:
            return instant(renderer.field(wait.until, "wait.until"), now)
        except WaitInvalid as error:
            raise WaitInvalid(f"wait.until: {error}") from None
    value = renderer.field(wait.seconds, "wait.seconds") if isinstance(wait.seconds, str) else wait.seconds
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        raise WaitInvalid(f"wait.seconds must be at least 0, got {value}")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise WaitInvalid(f"wait.seconds must be an integer, got {dump(value)[:80]}")
    if value > MOST_SECONDS:
        raise WaitInvalid(f"wait.seconds is {value:,}; {TOO_LONG}")
    return now + timedelta(seconds=int(value))
