"""wait: a timer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from nexus.api.codes import Code
from nexus.api.reasons import Mechanism
from nexus.api.tasks import Wait
from nexus.core.task_types.record import Finding, Shorthand, TaskType, Text, Wanted
from nexus.core.task_types.wait_time import WaitInvalid, instant
from nexus.core.text.yaml_values import flow, in_seconds


def _templated(spec: Wait) -> Iterator[Text]:
    for field, value in (("seconds", spec.seconds), ("until", spec.until)):
        if isinstance(value, str):
            yield (field,), value


def _meant(given: Any) -> tuple[str, str]:
    if isinstance(given, str) and "T" in given:
        return "until", flow(given)
    is_number = isinstance(given, int) and not isinstance(given, bool)
    return "seconds", str(given if is_number else in_seconds(given) or 60)


def _problems(spec: Wait, now: datetime | None) -> Iterator[Finding]:
    if (spec.seconds is None) == (spec.until is None):
        yield Finding((), Code.EXCLUSIVE_FIELDS, "set exactly one of seconds and until")
    elif spec.until is not None and "${{" not in spec.until:
        try:
            instant(spec.until, now)
        except WaitInvalid as error:
            yield Finding(("until",), Code.INVALID_TIME, str(error))


TYPE = TaskType(
    name="wait",
    model=Wait,
    mechanism=Mechanism.NONE,
    bootstrap=None,
    image=None,
    shorthand=Shorthand("seconds", "60", _meant),
    templated=_templated,
    code=(),
    values=None,
    container=None,
    wanted={
        "seconds": Wanted(("int", "uint", "double"), "an integer", "convert it with int(...)"),
        "until": Wanted(("string", "timestamp"), "a time", "write one such as ${{ run.scheduledTime }}"),
    },
    problems=_problems,
    stand_ins={"seconds": lambda _now: 1, "until": lambda now: now},
)
