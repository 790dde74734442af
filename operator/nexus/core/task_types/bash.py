"""bash: a script, which reads variables and writes lines to $NEXUS_OUTPUT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nexus.api.codes import Code
from nexus.api.reasons import Mechanism
from nexus.api.tasks import Bash
from nexus.core.expressions.templates import as_text
from nexus.core.task_types.delimiters import fixed_delimiters
from nexus.core.task_types.limits import check_item_text
from nexus.core.task_types.record import (
    Bootstrap,
    CodeField,
    Container,
    Finding,
    Seen,
    SeenItem,
    Shorthand,
    TaskType,
    Text,
)

if TYPE_CHECKING:
    from nexus.core.expressions.render import Renderer


def _templated(_spec: Bash) -> Iterator[Text]:
    return iter(())


def _container(spec: Bash, _renderer: Renderer, seen: Seen) -> Container:
    variables = {f"PARAM_{name.upper()}": _param_text(value) for name, value in seen.params.items()}
    if "phase" in seen.run:
        variables["NEXUS_RUN_PHASE"] = str(seen.run["phase"])
    return Container(image=spec.image, script=spec.command, variables=variables | _item_variables(seen.item))


def _param_text(value: Any) -> str:
    """Return the value as an environment variable. A param that was not given is an empty one: `null` would be a value
    like any other to a shell."""
    return "" if value is None else as_text(value)


def _item_variables(item: SeenItem | None) -> dict[str, str]:
    if item is None:
        return {}
    text = as_text(item.value)
    check_item_text(item.index, text)
    return {"ITEM": text, "INDEX": str(item.index)}


def _warnings(spec: Bash) -> Iterator[Finding]:
    for message, offset in fixed_delimiters(spec.command):
        yield Finding(("command",), Code.FIXED_DELIMITER, message, offset)


TYPE = TaskType(
    name="bash",
    model=Bash,
    mechanism=Mechanism.JOB,
    # Its output is lines, which only the operator makes JSON of.
    bootstrap=Bootstrap(name="bash", interpreter="bash", keeps_output=False, tells_attempt=True),
    image="bash",
    shorthand=Shorthand("command", "echo hello"),
    templated=_templated,
    code=(
        CodeField("command", 'params are variables, as in "$PARAM_DAY"; give everything else in env', syntax="bash"),
        CodeField("image"),
    ),
    values=None,
    container=_container,
    warnings=_warnings,
)
