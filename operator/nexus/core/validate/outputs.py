"""Checks of a definition's outputs: their names, and what their expressions name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from nexus.api.codes import Code
from nexus.api.rules import OUTPUT_NAMES
from nexus.api.workflow import WorkflowSpec
from nexus.core.data.scope import output_variables
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.problem import Problem
from nexus.core.model.definition import Definition
from nexus.core.validate.expressions import Sight, template
from nexus.core.validate.literals import of_params

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def outputs(
    spec: WorkflowSpec, definition: Definition, evaluator: Evaluator, names: Collection[str]
) -> Iterator[Problem]:
    """Yield what is wrong with the outputs. `definition` has the tasks that could be read, `names` are those of all;
    the expressions are checked where both are the same."""
    known = (
        Sight(output_variables(definition), names=names, allowed=of_params(spec.params or ()))
        if len(definition.nodes) == len(names)
        else None
    )
    for name, text in (spec.outputs or {}).items():
        if not _NAME.fullmatch(name):
            yield Problem(("outputs", name), Code.INVALID_NAME, OUTPUT_NAMES.message)
        if known is not None:
            yield from template(("outputs", name), text, known, evaluator)
