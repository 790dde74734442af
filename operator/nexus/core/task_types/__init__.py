"""The types of tasks, one module each. docs/extending.md shows how another one is added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nexus.api.tasks import MODELS, Task
from nexus.core.task_types import approval, bash, container, http, python, sql, wait, workflow
from nexus.core.task_types.record import TaskType

_RECORDS = (python.TYPE, http.TYPE, bash.TYPE, sql.TYPE, container.TYPE, workflow.TYPE, approval.TYPE, wait.TYPE)

TYPES: Mapping[str, TaskType] = {record.name: record for record in _RECORDS}
"""Every type by its name."""

if list(TYPES) != list(MODELS):
    raise TypeError(f"nexus.api.tasks.Task has the types {list(MODELS)}, and nexus.core.task_types has {list(TYPES)}")


def types_in(task: Task) -> Iterator[TaskType]:
    """Return the types that a task has fields of; a valid task has exactly one."""
    return (record for record in TYPES.values() if record.of(task) is not None)


def images() -> tuple[str, ...]:
    """Return the folders of task-images that tasks without `image` run in."""
    named = (record.image for record in TYPES.values() if record.image is not None)
    return tuple(dict.fromkeys(named))


__all__ = ["TYPES", "TaskType", "images", "types_in"]
