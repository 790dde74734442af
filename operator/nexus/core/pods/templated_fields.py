"""The fields of a task in which `${{ }}` is rendered, and those that hold code, in which it is refused."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.api.tasks import Task
from nexus.core.manifest.problem import Path
from nexus.core.pods import render
from nexus.core.task_types import TYPES, types_in
from nexus.core.task_types.record import CodeField
from nexus.core.task_types.texts import deep

__all__ = ["code", "deep", "expands", "is_url", "sources", "templated"]


def templated(task: Task) -> Iterator[tuple[Path, str]]:
    """Yield (path below the task, text) of every field that is rendered before the task starts; `when` is not among
    them."""
    for position, variable in enumerate(task.env or ()):
        if variable.value is not None:
            yield ("env", position, "value"), variable.value
    if task.pod is not None:
        yield from ((("pod", *field), text) for field, text in render.templated(task.pod))
    for record in types_in(task):
        yield from (((record.name, *field), text) for field, text in record.templated(record.of(task)))


def expands(path: Path) -> bool:
    """Return whether `$(NAME)` is resolved in the field at `path` below a task, after it was rendered."""
    match path:
        case ("env", _, "value"):
            return True
        case (str(kind), field, *_) if kind in TYPES:
            return field in TYPES[kind].expanded
    return False


def is_url(path: Path) -> bool:
    """Return whether the field at `path` below a task is rendered as a URL, see nexus.core.expressions.urls."""
    match path:
        case (str(kind), field) if kind in TYPES:
            return field in TYPES[kind].urls
    return False


def sources(task: Task) -> Iterator[tuple[Path, str]]:
    """Yield (path below the task, text) of the fields that say which items a fan-out has; none of them sees an item."""
    if task.for_each is not None:
        yield from deep(("forEach", "items"), task.for_each.items)
        for name, values in (task.for_each.matrix or {}).items():
            yield from deep(("forEach", "matrix", name), values)


def code(task: Task) -> Iterator[tuple[Path, str, CodeField]]:
    """Yield (path below the task, text, what is known of the field) of the fields that are programs: a value that
    became part of one would be code."""
    for record in types_in(task):
        for field in record.code:
            text = getattr(record.of(task), field.name)
            if text is not None:
                yield (record.name, field.name), text, field
