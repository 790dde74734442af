"""The fields of a task in which `${{ }}` is rendered, and those that hold code, in which it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nexus.api.tasks import PODLESS, Container, Http, Task
from nexus.core.manifest.problem import Path
from nexus.core.pods import render

URL: Path = ("http", "url")
"""The field that is rendered as a URL, see nexus.core.expressions.urls."""


def templated(task: Task) -> Iterator[tuple[Path, str]]:
    """(path below the task, text) of every field that is rendered before the task starts; `when` is not among them."""
    for position, variable in enumerate(task.env or ()):
        if variable.value is not None:
            yield ("env", position, "value"), variable.value
    if task.pod is not None:
        yield from ((("pod", *field), text) for field, text in render.templated(task.pod))
    if task.python is not None and task.python.with_ is not None:
        yield from deep(("python", "with"), task.python.with_)
    if task.http is not None:
        yield from of_http(task.http)
    if task.sql is not None and task.sql.parameters is not None:
        yield from deep(("sql", "parameters"), task.sql.parameters)
    if task.workflow is not None:
        yield from deep(("workflow", "params"), task.workflow.params)
    for kind in PODLESS:
        if (fields := getattr(task, kind)) is not None:
            yield from deep((kind,), fields.to_json())
    if task.container is not None:
        yield from _container(task.container)


def _container(container: Container) -> Iterator[tuple[Path, str]]:
    yield ("container", "image"), container.image
    for field, texts in (("command", container.command), ("args", container.args)):
        for position, text in enumerate(texts or ()):
            yield ("container", field, position), text


def of_http(http: Http) -> Iterator[tuple[Path, str]]:
    """(path below the task, text) of the fields of an http task that are rendered."""
    yield URL, http.url
    for field, pairs in (("headers", http.headers), ("query", http.query)):
        for position, pair in enumerate(pairs or ()):
            yield ("http", field, position, "value"), pair.value
    yield from deep(("http", "json"), http.json_)
    if http.body is not None:
        yield ("http", "body"), http.body


def expands(path: Path) -> bool:
    """Whether `$(NAME)` is resolved in the field at `path` below a task, after it was rendered."""
    match path:
        case ("env", _, "value") | ("http", *_) | ("container", "command" | "args", *_):
            return True
    return False


def sources(task: Task) -> Iterator[tuple[Path, str]]:
    """(path below the task, text) of the fields that say which items a fan-out has; none of them sees an item."""
    if task.for_each is not None:
        yield from deep(("forEach", "items"), task.for_each.items)
        for name, values in (task.for_each.matrix or {}).items():
            yield from deep(("forEach", "matrix", name), values)


def deep(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    """Every string in a JSON value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from deep((*path, position), item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from deep((*path, str(key)), item)


def code(task: Task) -> Iterator[tuple[Path, str]]:
    """(path below the task, text) of the fields that are programs: a value that became part of one would be code."""
    if task.python is not None:
        yield from ((("python", field), text) for field, text in _set(code=task.python.code, call=task.python.call))
    if task.bash is not None:
        yield ("bash", "command"), task.bash.command
    if task.sql is not None:
        yield ("sql", "query"), task.sql.query
    for kind in ("python", "bash", "sql"):
        spec = getattr(task, kind)
        if spec is not None and spec.image is not None:
            yield (kind, "image"), spec.image


def _set(**fields: str | None) -> Iterator[tuple[str, str]]:
    return ((name, text) for name, text in fields.items() if text is not None)
