"""Params: the values a run gives, the defaults it does not, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nexus.api.codes import Code
from nexus.api.numbers import as_stored
from nexus.api.workflow import Param, ParamType
from nexus.core.data.limits import PARAMS_LIMIT
from nexus.core.data.scope import RUN_VARIABLES, run_values
from nexus.core.expressions.render import Renderer
from nexus.core.expressions.templates import Evaluator, ExpressionError, TemplateError
from nexus.core.manifest.problem import Problem
from nexus.core.manifest.suggestions import described
from nexus.core.text.json_text import dump
from nexus.core.text.similar_names import closest, did_you_mean, listed

if TYPE_CHECKING:
    from nexus.core.model.facts import RunFact


@dataclass(frozen=True, slots=True)
class ParamsInvalid(Exception):
    """The values of a run do not fit its definition; the paths of `problems` lead from the run's spec."""

    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


def resolve(
    params: Sequence[Param], given: Mapping[str, Any], run: RunFact, evaluator: Evaluator, *, begun: bool = False
) -> dict[str, Any]:
    """Return the value of every param: the given one, else its default rendered over `run`.

    Of a run that has `begun` no value is checked again: they were valid for the version that let it begin.

    Raises ParamsInvalid, naming every param that is unknown, missing or of a wrong value, or whose default fails.
    """
    known = {param.name for param in params}
    problems = [
        _problem(name, Code.UNKNOWN_PARAM, unknown(name, params)) for name in given if name not in known and not begun
    ]
    values: dict[str, Any] = {}
    for param in params:
        if param.name in given:
            value = given[param.name]
            try:
                value = as_stored(value)
            except (ValueError, RecursionError) as error:
                problems.append(_problem(param.name, Code.INVALID_PARAM, str(error)))
                continue
        elif param.has_default and param.required is not True:
            try:
                value = _default(param, run, evaluator)
            except (TemplateError, ExpressionError) as error:
                problems.append(_problem(param.name, Code.INVALID_EXPRESSION, f"its default fails: {error}"))
                continue
        elif param.nullable or begun:
            value = None
        else:
            lacks = "missing required value" if param.required else "missing value, and no default"
            fix = f"give one with --param {param.name}=... or in spec.params"
            problems.append(_problem(param.name, Code.MISSING_PARAM, f"{lacks}; {fix}"))
            continue
        values[param.name] = value
        problem = None if begun else mismatch(param, value, evaluator)
        if problem:
            problems.append(_problem(param.name, Code.INVALID_PARAM, problem))
    if not (problems or begun):
        problems += _unfit(values)
    if problems:
        raise ParamsInvalid(tuple(problems))
    return values


def _default(param: Param, run: RunFact, evaluator: Evaluator) -> Any:
    values = {f"run.{name}": value for name, value in run_values(run, "Running").items()}
    return Renderer(evaluator, RUN_VARIABLES, values.__getitem__, run.time_zone).deep(param.default, "default")


def _problem(name: str, code: Code, message: str) -> Problem:
    return Problem(("params", name), code, message)


def _unfit(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what keeps the values together from travelling in an environment."""
    for name, value in values.items():
        if isinstance(value, str) and "\0" in value:
            yield _problem(name, Code.INVALID_PARAM, "must not contain a NUL character; pass bytes as base64")
        if any("\ud800" <= character <= "\udfff" for character in dump(value)):
            yield _problem(name, Code.INVALID_PARAM, "its text is not Unicode: pass bytes as base64")
    if len(dump(values).encode(errors="replace")) > PARAMS_LIMIT:
        message = f"params exceed {PARAMS_LIMIT:,} bytes of JSON together; pass large data through a task's output"
        yield Problem((), Code.OUT_OF_RANGE, message)


_NOUNS = {
    ParamType.STRING: "a string",
    ParamType.INTEGER: "an integer",
    ParamType.NUMBER: "a number",
    ParamType.BOOLEAN: "a boolean",
    ParamType.ARRAY: "a list",
    ParamType.OBJECT: "an object",
}


_UNQUOTED = {
    ParamType.INTEGER: r"-?\d+",
    ParamType.NUMBER: r"-?\d+(\.\d+)?",
    ParamType.BOOLEAN: "true|false",
    ParamType.ARRAY: r"\[.*\]",
    ParamType.OBJECT: r"\{.*\}",
}
"""What a value of each type looks like without quotes."""


def mismatch(param: Param, value: Any, evaluator: Evaluator) -> str | None:
    """Return what is wrong with a value, or None."""
    kind = param.type or ParamType.STRING
    if value is None and param.nullable:
        return None
    if not _is(kind, value):
        return f"must be {_NOUNS[kind]}, got {described(value)}{_type_hint(kind, value)}"
    if param.enum is not None and value not in param.enum:
        return f"must be one of {dump(param.enum)[:200]}, got {dump(value)[:80]}"
    if param.minimum is not None and value < param.minimum:
        return f"must be at least {number_text(param.minimum)}, got {dump(value)}"
    if param.maximum is not None and value > param.maximum:
        return f"must be at most {number_text(param.maximum)}, got {dump(value)}"
    if param.pattern is not None and isinstance(value, str):
        try:
            found = evaluator.evaluate(
                "value.matches(pattern)",
                {"value": "string", "pattern": "string"},
                {"value": value, "pattern": param.pattern},
            )
        except ExpressionError as error:
            return f"cannot be matched with the pattern {param.pattern}: {error}"
        if not found:
            return f"{dump(value)[:80]} does not match the pattern {param.pattern}"
    return None


_TYPES_IN_CEL = {
    ParamType.STRING: ("string", "timestamp", "duration"),
    ParamType.INTEGER: ("int", "uint", "double"),
    ParamType.NUMBER: ("int", "uint", "double"),
    ParamType.BOOLEAN: ("bool",),
    ParamType.ARRAY: ("list",),
    ParamType.OBJECT: ("map",),
}
_CONVERTED = {
    ParamType.STRING: "convert it with string(...)",
    ParamType.INTEGER: "convert it with int(...)",
    ParamType.NUMBER: "convert it with double(...)",
    ParamType.BOOLEAN: "compare it with something",
}


def mistyped(param: Param, text: str, kind: str | None) -> str | None:
    """Return what is wrong with a value that is rendered when the run is there: with the CEL type of one whole
    expression (`kind`), or with text around expressions (None)."""
    wanted = param.type or ParamType.STRING
    found = "string" if kind is None else kind
    if found in (*_TYPES_IN_CEL[wanted], "dyn") or (found == "null" and param.nullable):
        return None
    what = "string" if kind is None else found
    hint = _CONVERTED.get(wanted)
    return f"{text[:80]} gives {what}, expected type {wanted.value}" + (f"; {hint}" if hint else "")


def number_text(value: float) -> str:
    """Return a bound as its author wrote it: 10, not 10.0."""
    return dump(int(value) if value.is_integer() else value)


def _is(kind: ParamType, value: Any) -> bool:
    """Return whether a value has a type as JSON Schema defines it: true is not an integer, 3.0 is one."""
    match kind:
        case ParamType.STRING:
            return isinstance(value, str)
        case ParamType.BOOLEAN:
            return isinstance(value, bool)
        case ParamType.INTEGER:
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case ParamType.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ParamType.ARRAY:
            return isinstance(value, list)
        case ParamType.OBJECT:
            return isinstance(value, dict)


def _type_hint(kind: ParamType, value: Any) -> str:
    if kind is ParamType.STRING and not isinstance(value, str | list | dict) and value is not None:
        return "; quote it"
    written = _UNQUOTED.get(kind)
    if isinstance(value, str) and written is not None and re.fullmatch(written, value):
        return "; remove the quotes"
    if kind is ParamType.ARRAY and isinstance(value, str) and re.fullmatch(r"[\w.-]+", value):
        return f"; write it as [{value}]"
    return ""


def unknown(name: str, params: Sequence[Param]) -> str:
    """Return why there is no such param, and which one is meant."""
    known = [param.name for param in params]
    close = closest(name, known)
    hint = did_you_mean(close) if close else f"the workflow has {listed(known) or 'no params'}"
    return f'unknown param "{name}"; {hint}'
