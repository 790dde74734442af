"""Checks of tasks without a pod: approvals and waits."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.api.codes import Code
from nexus.api.tasks import FIELDS_OF_PODS, PODLESS, Task
from nexus.core.manifest.problem import Path, Problem


def podless(path: Path, task: Task) -> Iterator[Problem]:
    """Yield what an approval or a wait says that it cannot mean."""
    kind = next((kind for kind in PODLESS if getattr(task, kind) is not None), None)
    if kind is None:
        return
    set_ = {field.alias or name for name, field in Task.model_fields.items() if getattr(task, name) is not None}
    for field in FIELDS_OF_PODS:
        if field in set_:
            yield Problem(
                (*path, field),
                Code.NO_EFFECT,
                f"{field} is not supported for {kind} tasks, which have no pod; remove it",
                task.name,
            )
    if task.wait is None:
        return
    for field in ("timeoutSeconds", "deadlineSeconds"):
        if field in set_:
            yield Problem(
                (*path, field), Code.NO_EFFECT, f"{field} is not supported for wait tasks; remove it", task.name
            )
