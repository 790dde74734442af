"""python: code, or a function of the image."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nexus.api.codes import Code
from nexus.api.reasons import Mechanism
from nexus.api.tasks import Python
from nexus.core.task_types.record import (
    Bootstrap,
    CodeField,
    Container,
    Finding,
    Seen,
    Shorthand,
    TaskType,
    Text,
)
from nexus.core.task_types.texts import deep

if TYPE_CHECKING:
    from nexus.core.expressions.render import Renderer


def _templated(spec: Python) -> Iterator[Text]:
    yield from deep(("with",), spec.with_)


def _values(spec: Python, renderer: Renderer) -> dict[str, Any]:
    if spec.call is None:
        return {"code": spec.code}
    return {"call": spec.call, "with": renderer.deep(spec.with_ or {}, "python.with")}


def _container(spec: Python, _renderer: Renderer, _seen: Seen) -> Container:
    return Container(image=spec.image)


def _problems(spec: Python, _now: datetime | None) -> Iterator[Finding]:
    if (spec.code is None) == (spec.call is None):
        yield Finding((), Code.EXCLUSIVE_FIELDS, "set exactly one of code and call")
    if spec.with_ is not None and spec.call is None:
        yield Finding(
            ("with",), Code.NO_EFFECT, "with has no effect without call; code gets its values from params and input"
        )


TYPE = TaskType(
    name="python",
    model=Python,
    mechanism=Mechanism.JOB,
    bootstrap=Bootstrap(name="python", keeps_output=True, runs_python=True, tells_attempt=True),
    image="python",
    shorthand=Shorthand("code", "..."),
    templated=_templated,
    code=(
        CodeField("code", 'code reads params["day"] and input["task"]; give everything else in env', syntax="python"),
        CodeField("call", "give values in python.with"),
        CodeField("image"),
    ),
    values=_values,
    container=_container,
    problems=_problems,
)
