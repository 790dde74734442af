"""container: any image, which knows nothing of NEXUS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nexus.api import tasks
from nexus.api.reasons import Mechanism
from nexus.core.task_types.limits import check_string
from nexus.core.task_types.record import Container, Seen, Shorthand, TaskType, Text
from nexus.core.task_types.texts import listed

if TYPE_CHECKING:
    from nexus.core.expressions.render import Renderer


def _templated(spec: tasks.Container) -> Iterator[Text]:
    yield ("image",), spec.image
    yield from listed(("command",), spec.command)
    yield from listed(("args",), spec.args)


def _container(spec: tasks.Container, renderer: Renderer, _seen: Seen) -> Container:
    return Container(
        image=renderer.text(spec.image, "container.image"),
        command=_strings("container.command", spec.command, renderer),
        args=_strings("container.args", spec.args, renderer),
    )


def _strings(field: str, texts: list[str] | None, renderer: Renderer) -> tuple[str, ...] | None:
    if texts is None:
        return None
    rendered = []
    for position, text in enumerate(texts):
        value = renderer.text(text, f"{field}[{position}]", kubernetes=True)
        check_string(f"{field}[{position}]", value)
        rendered.append(value)
    return tuple(rendered)


TYPE = TaskType(
    name="container",
    model=tasks.Container,
    mechanism=Mechanism.JOB,
    bootstrap=None,
    image=None,
    shorthand=Shorthand("image", "alpine:3.22"),
    templated=_templated,
    code=(),
    values=None,
    container=_container,
    expanded=frozenset({"command", "args"}),
)
