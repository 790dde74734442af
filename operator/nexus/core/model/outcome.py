"""Outcome: what a run ends with, as far as its tasks have ended. It is what `finally` sees as run.phase."""

from __future__ import annotations

from collections.abc import Mapping

from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import TaskStatus
from nexus.core.model.allow_failure import counted
from nexus.core.model.definition import Definition

Stopped = tuple[Reason, str]
"""Why everything that had not ended was ended, and the same in words."""

STOP_REASONS = frozenset({Reason.CANCELLED, Reason.DEADLINE_EXCEEDED, Reason.FAIL_FAST})


def outcome(
    definition: Definition, tasks: Mapping[str, TaskStatus], stopped: Stopped | None
) -> tuple[RunPhase, Reason | None, str]:
    """Return the phase, reason and message. A cancel and the run's deadline say more than the tasks that they ended."""
    match stopped:
        case (Reason.CANCELLED as reason, message):
            return RunPhase.CANCELLED, reason, message
        case (Reason.DEADLINE_EXCEEDED as reason, message):
            return RunPhase.FAILED, reason, message
    failed = [
        task for task in tasks.values() if counted(definition.nodes[task.name].task, task.phase) is TaskPhase.FAILED
    ]
    if failed:
        # Told apart from other failures, or every run above would try again what can only end the same; and in the
        # words of the deepest run, to which none on the way up has anything to add.
        deep = next((task for task in failed if task.reason is Reason.TOO_DEEP), None)
        if deep is not None:
            return RunPhase.FAILED, Reason.TOO_DEEP, deep.message or ""
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        words = f"task {failed[0].name}{others}: {failed[0].message or failed[0].reason}"
        return RunPhase.FAILED, Reason.TASK_FAILED, words
    return RunPhase.SUCCEEDED, None, ""
