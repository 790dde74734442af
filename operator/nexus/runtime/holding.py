"""Holding: the first status of a run need not be stored at once while many other runs wait.

It says that the run has begun and which Jobs it made. An operator that dies right after it made the Jobs leaves just
this unsaid, and whoever comes next finds the Jobs by their names. So while more runs wait than can be looked at soon,
such a status is held, and the next one of the run, which may be its last, is written in its place. It is written itself
where none comes within HOLD, and before anything further is made.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from nexus.api.reasons import RunPhase, TaskPhase
from nexus.api.run import TaskStatus
from nexus.core.model.definition import Definition
from nexus.core.model.plan import Plan
from nexus.runtime.ports import View

HOLD = timedelta(seconds=5)


def held_until(view: View, plan: Plan, now: datetime) -> datetime | None:
    """Until when the status of a plan may be held; None where it has to be written now."""
    until = (view.held_since or now) + HOLD
    due = plan.wake_at is not None and plan.wake_at <= now  # something is to be made once this is stored
    return until if now < until and not due and _is_first(view, plan) else None


def _is_first(view: View, plan: Plan) -> bool:
    """Whether a status is a run's first, and tells of nothing but Jobs that were just made; and nobody waits for it."""
    status, run = plan.status, view.facts.run
    others_wait = view.counted or run.depth or status.concurrency_key or status.rerun_of
    acts = plan.events or plan.stores or plan.stops or plan.cancels or plan.returns
    return (
        (view.recorded is None or view.held_since is not None)
        and not (others_wait or acts)
        and isinstance(view.definition, Definition)
        and not any(node.task.pool for node in view.definition.nodes.values())
        and status.phase is RunPhase.RUNNING
        and not (status.reason or status.conditions)
        and any(task.job is not None for task in status.tasks or ())
        and all(map(_is_new, status.tasks or ()))
    )


def _is_new(task: TaskStatus) -> bool:
    """Whether a task waits for others, or is in its first attempt."""
    if task.start_time is None:
        return task.phase is TaskPhase.PENDING
    first = task.job is not None and task.attempts == 1 and task.items is None and task.next_attempt_time is None
    return first and task.phase in (TaskPhase.PENDING, TaskPhase.RUNNING)
