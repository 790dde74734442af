"""allowFailure: the task ends Failed with the output {}, and counts as Succeeded for its dependents' rules, FailFast
and the run's phase."""

from __future__ import annotations

from nexus.api.reasons import TaskPhase
from nexus.api.tasks import Task


def counted(task: Task, phase: TaskPhase) -> TaskPhase:
    """Return the phase that an ended task counts as."""
    return TaskPhase.SUCCEEDED if phase is TaskPhase.FAILED and task.allow_failure else phase
