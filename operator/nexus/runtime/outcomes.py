"""Outcomes: what a status write adds to the metrics.

Notified of each write that went through, with the status before it: what had ended before is not counted again, however
often a run is looked at, by however many operators, after however many restarts. A write whose answer was lost on the
way is counted when the run turns out to be as it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from nexus.api.reasons import RunPhase, TaskPhase
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.core.model.definition import Definition
from nexus.runtime.ports import RunKey, View
from nexus.runtime.stats import Stats


@dataclass
class Unanswered:
    """Writes of a status whose answer was lost: the last one of each run."""

    _writes: dict[RunKey, tuple[View, WorkflowRunStatus]] = field(default_factory=dict)

    def note(self, view: View, written: WorkflowRunStatus) -> None:
        """Note that this write may have been carried out."""
        self._writes[view.key] = view, written

    def settle(self, stats: Stats, key: RunKey, view: View | None) -> None:
        """Take note of the run as it is looked at; None where it is gone."""
        before, written = self._writes.pop(key, (None, None))
        if before is None or written is None or view is None or view.recorded is None:
            return
        # Times have milliseconds: what another client wrote is not the same.
        if view.facts.run.uid == before.facts.run.uid and _essence(view.recorded) == _essence(written):
            count_write(stats, before, written)


def _essence(status: WorkflowRunStatus) -> object:
    """Return what is known of a run that has ended, too, and all that is counted."""
    tasks = [(task.name, task.phase, task.attempts, task.completion_time) for task in status.tasks or ()]
    return status.phase, status.start_time, tasks


def count_write(stats: Stats, view: View, written: WorkflowRunStatus) -> None:
    """Count what ended, or was tried again, with this write."""
    before = view.recorded
    whose = {"workflow": view.facts.run.workflow, "namespace": view.key.namespace}
    if written.start_time is not None and (before is None or before.start_time is None):
        # A series that is born with its first count has no increase, which alerts ask for.
        for phase in RunPhase:
            if phase.ended:
                stats.count("workflow_executions", 0, **whose, status=phase.value)
    known = {task.name: task for task in before.tasks or ()} if before is not None else {}
    for task in written.tasks or ():
        # Most tasks of most writes: a decision takes over what does not change.
        if (last := known.get(task.name)) is not task:
            _count_task(stats, view, task, last, whose)
    if written.phase.ended and not (before is not None and before.phase.ended):
        status = {"status": written.phase.value}
        stats.count("workflow_executions", 1, **whose, **status)
        taken = _seconds(written.start_time, written.completion_time)
        if taken is not None:
            stats.observe("workflow_execution_duration_seconds", taken, **whose, **status)


def _count_task(stats: Stats, view: View, task: TaskStatus, last: TaskStatus | None, whose: dict[str, str]) -> None:
    labels = {**whose, "task": task.name, "type": _type(view, task.name)}
    retries = _retries(task) - _retries(last)
    if retries > 0:
        stats.count("task_retries", retries, **labels)
    if not task.phase.ended or (last is not None and last.phase.ended):
        return
    stats.count("task_executions", 1, **labels, status=task.phase.value)
    taken = _seconds(task.start_time, task.completion_time)
    if taken is not None:
        stats.observe("task_execution_duration_seconds", taken, **labels)
    if task.phase is TaskPhase.FAILED and task.reason is not None:
        stats.count("task_failures", namespace=view.key.namespace, reason=task.reason.value)


def _type(view: View, task: str) -> str:
    node = view.definition.nodes.get(task) if isinstance(view.definition, Definition) else None
    return node.type if node is not None else ""


def _retries(task: TaskStatus | None) -> int:
    return max((task.attempts or 1) - 1, 0) if task is not None else 0


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return max((end - start).total_seconds(), 0.0) if start is not None and end is not None else None
