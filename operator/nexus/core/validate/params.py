"""Checks of a definition's params: patterns, enums and defaults that fit their types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nexus.api.codes import Code
from nexus.api.workflow import Param, ParamType, WorkflowSpec
from nexus.core.data import scope
from nexus.core.data.params import mismatch, mistyped, number_text
from nexus.core.expressions.templates import Evaluator, ExpressionError, parse
from nexus.core.manifest.problem import Path, Problem, duplicates, first
from nexus.core.pods import templated_fields
from nexus.core.validate.expressions import Sight, template


def params(spec: WorkflowSpec, evaluator: Evaluator) -> Iterator[Problem]:
    """Yield what is wrong with the declared params."""
    yield from duplicates(("params",), [param.name for param in spec.params or ()], "param")
    for position, param in enumerate(spec.params or ()):
        for problem in _of_param(("params", position), param, evaluator):
            yield replace(problem, subject=f"param {param.name}")


def _of_param(path: Path, param: Param, evaluator: Evaluator) -> Iterator[Problem]:
    if param.pattern is not None:
        if param.type not in (None, ParamType.STRING):
            yield Problem(
                (*path, "pattern"), Code.NO_EFFECT, "pattern is supported for strings only; remove pattern or type"
            )
        try:
            evaluator.evaluate("''.matches(pattern)", {"pattern": "string"}, {"pattern": param.pattern})
        except ExpressionError as error:
            yield Problem((*path, "pattern"), Code.INVALID_VALUE, f"invalid RE2 pattern: {error}")
            return
    unbound = list(_bounds(path, param))
    yield from unbound
    if unbound:
        return
    for index, value in enumerate(param.enum or ()):
        wrong = mismatch(param.model_copy(update={"enum": None}), value, evaluator)
        if wrong:
            yield Problem((*path, "enum", index), Code.INVALID_PARAM, wrong)
    if param.has_default and param.required:
        message = "default has no effect on a required param; remove default or required"
        yield Problem((*path, "default"), Code.NO_EFFECT, message)
    if param.has_default:
        yield from _default(path, param, evaluator)


def rendered(path: Path, param: Param, value: Any, sight: Sight, evaluator: Evaluator) -> Iterator[Problem]:
    """Yield what is wrong with a value for a param that has expressions in it: they are checked for what they name,
    and, where the value is one text, for its type."""
    texts = [(at, text) for at, text in templated_fields.deep(path, value) if "${{" in text]
    found = first(problem for at, text in texts for problem in template(at, text, sight, evaluator))
    yield from found
    if not found and isinstance(value, str) and "${{" in value:
        whole = parse(value).whole
        kind = evaluator.check(whole.source, sight.declared(whole)) if whole is not None else None
        wrong = mistyped(param, value, kind)
        if wrong:
            yield Problem(path, Code.INVALID_PARAM, wrong, sight.task, whole.offset if whole is not None else None)


def _bounds(path: Path, param: Param) -> Iterator[Problem]:
    for field in ("minimum", "maximum"):
        if getattr(param, field) is not None and param.type not in (ParamType.INTEGER, ParamType.NUMBER):
            kind = (param.type or ParamType.STRING).value
            message = f"{field} is supported for integers and numbers only, the type is {kind}; "
            yield Problem((*path, field), Code.NO_EFFECT, message + f"change type, or remove {field}")
    if param.minimum is not None and param.maximum is not None and param.minimum > param.maximum:
        bounds = f"minimum {number_text(param.minimum)} exceeds maximum {number_text(param.maximum)}"
        yield Problem((*path, "minimum"), Code.OUT_OF_RANGE, f"{bounds}; swap them")


def _default(path: Path, param: Param, evaluator: Evaluator) -> Iterator[Problem]:
    """Yield the problems of a default that is rendered: its value is known at run time only, its expressions are
    checked for what they name."""
    texts = [(at, text) for at, text in templated_fields.deep((*path, "default"), param.default) if "${{" in text]
    yield from rendered((*path, "default"), param, param.default, Sight(scope.RUN_VARIABLES), evaluator)
    if not texts:
        wrong = mismatch(param, param.default, evaluator)
        if wrong:
            yield Problem((*path, "default"), Code.INVALID_PARAM, wrong)
