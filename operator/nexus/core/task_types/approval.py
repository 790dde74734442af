"""approval: an approver decides."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.api.reasons import Mechanism
from nexus.api.tasks import Gate
from nexus.core.task_types.record import Shorthand, TaskType, Text


def _templated(spec: Gate) -> Iterator[Text]:
    if spec.message is not None:
        yield ("message",), spec.message


TYPE = TaskType(
    name="approval",
    model=Gate,
    mechanism=Mechanism.NONE,
    bootstrap=None,
    image=None,
    shorthand=Shorthand("message", '"Ship it?"'),
    templated=_templated,
    code=(),
    values=None,
    container=None,
    asks_person=True,
)
