"""Checks of tasks without a pod: approvals and waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from nexus.api.tasks import FIELDS_OF_PODS, PODLESS, Task
from nexus.core.manifest.problem import Path, Problem
from nexus.core.tasks.wait_time import WaitInvalid, instant


def podless(path: Path, task: Task, now: datetime | None) -> Iterator[Problem]:
    """What an approval or a wait says that it cannot mean; `now` is needed to tell that a time is too far away."""
    kind = next((kind for kind in PODLESS if getattr(task, kind) is not None), None)
    if kind is None:
        return
    set_ = {field.alias or name for name, field in Task.model_fields.items() if getattr(task, name) is not None}
    for field in FIELDS_OF_PODS:
        if field in set_:
            yield Problem(
                (*path, field), f"{field} is for tasks with a pod, and {kind} has none: take it out", task.name
            )
    if task.wait is None:
        return
    for field in ("timeoutSeconds", "deadlineSeconds"):
        if field in set_:
            yield Problem((*path, field), f"a wait takes as long as it says: take {field} out", task.name)
    if (task.wait.seconds is None) == (task.wait.until is None):
        yield Problem((*path, "wait"), "give exactly one of seconds and until", task.name)
    elif task.wait.until is not None and "${{" not in task.wait.until:
        try:
            instant(task.wait.until, now)
        except WaitInvalid as error:
            yield Problem((*path, "wait", "until"), str(error).removeprefix("wait.until: "), task.name)
