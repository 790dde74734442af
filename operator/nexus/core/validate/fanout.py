"""Checks of forEach: one source of items, literals that are lists of a fit length, expressions that are whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from nexus.api.codes import Code
from nexus.api.fanout import MAX_ITEMS, ForEach
from nexus.api.tasks import Task
from nexus.core.expressions.templates import TemplateError, parse
from nexus.core.manifest.problem import Path, Problem
from nexus.core.manifest.suggestions import described
from nexus.core.tasks.fanout.items import too_many

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"


def fan_out(path: Path, task: Task) -> Iterator[Problem]:
    """Yield what is wrong with a task's forEach, its expressions aside."""
    spec = task.for_each
    if spec is None:
        return

    def wrong(field: Path, code: Code, message: str) -> Problem:
        return Problem((*path, *field), code, message, task.name)

    podless = next((kind for kind in ("approval", "wait") if getattr(task, kind, None) is not None), None)
    if podless is not None:
        yield wrong(("forEach",), Code.NO_EFFECT, f"forEach is not supported for {podless} tasks; remove it")
    if ("items" in spec.model_fields_set) == (spec.matrix is not None):
        yield wrong(("forEach",), Code.EXCLUSIVE_FIELDS, "set exactly one of items and matrix")
        return
    for field, value in _sources(spec):
        problem = _literal(value)
        if problem:
            yield wrong(field, *problem)
    if spec.matrix is not None and (too_many := _too_many(spec.matrix)):
        yield wrong(("forEach", "matrix"), Code.TOO_MANY, too_many)
    if task.record_log_lines is not None:
        message = (
            "recordLogLines is not supported with forEach; remove it, and read logs with nexus logs RUN TASK --item N"
        )
        yield wrong(("recordLogLines",), Code.NO_EFFECT, message)
    for position, variable in enumerate(task.env or ()):
        if variable.name == INDEX_VARIABLE:
            message = f'"{INDEX_VARIABLE}" is reserved for the index of the item; choose another name'
            yield wrong(("env", position, "name"), Code.RESERVED_NAME, message)


def _sources(spec: ForEach) -> list[tuple[Path, Any]]:
    if spec.matrix is None:
        return [(("forEach", "items"), spec.items)]
    return [(("forEach", "matrix", name), values) for name, values in sorted(spec.matrix.items())]


def _too_many(matrix: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the number of combinations, where all lists are literals."""
    if not all(isinstance(values, list) for values in matrix.values()):
        return None
    count = prod(len(values) for values in matrix.values())
    if count <= MAX_ITEMS:
        return None
    lengths = " x ".join(str(len(matrix[name])) for name in sorted(matrix))
    return f"matrix ({lengths}) gives {too_many(count)}"


def _literal(value: Any) -> tuple[Code, str] | None:
    """Return what is wrong with a value that is to be a list, or one expression for it."""
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            return (
                Code.TOO_MANY,
                f"must have at most {MAX_ITEMS:,} items, got {len(value):,}; let each item cover several",
            )
        return None
    if isinstance(value, str) and "${{" in value:
        try:
            whole = parse(value).whole
        except TemplateError:
            return None  # reported where expressions are checked
        return (
            None
            if whole is not None
            else (Code.NOT_AN_EXPRESSION, "must be one whole ${{ }} that gives a list, without text around it")
        )
    return Code.WRONG_TYPE, f"must be a list, got {described(value)}; write a list, or one ${{{{ }}}} that gives one"
