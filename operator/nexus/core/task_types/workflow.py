"""workflow: a run of another Workflow."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.api.reasons import Mechanism
from nexus.api.tasks import ChildWorkflow
from nexus.core.task_types.record import Shorthand, TaskType, Text
from nexus.core.task_types.texts import deep


def _templated(spec: ChildWorkflow) -> Iterator[Text]:
    return deep(("params",), spec.params)


TYPE = TaskType(
    name="workflow",
    model=ChildWorkflow,
    mechanism=Mechanism.CHILD_RUN,
    bootstrap=None,
    image=None,
    shorthand=Shorthand("name", "report"),
    templated=_templated,
    code=(),
    values=None,
    container=None,
)
