"""The items of a fan-out: what `items` or `matrix` gives, once the tasks before it have ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from nexus.api.fanout import MAX_ITEMS, ForEach
from nexus.api.reasons import Reason
from nexus.core.data.limits import OUTPUT_LIMIT
from nexus.core.expressions.render import Renderer
from nexus.core.text.json_text import dump


@dataclass(frozen=True, slots=True)
class ItemsInvalid(Exception):
    """There is nothing to run a task for."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return self.message


def resolve(for_each: ForEach, renderer: Renderer) -> list[Any]:
    """Return the items, in order. Raises ItemsInvalid, ExpressionError, TemplateError."""
    if for_each.matrix is None:
        items = _list("forEach.items", renderer.deep(for_each.items, "forEach.items"))
        _check_count("forEach.items", len(items))
    else:
        axes = {
            name: _list(f"forEach.matrix.{name}", renderer.deep(values, f"forEach.matrix.{name}"))
            for name, values in sorted(for_each.matrix.items())
        }
        items = combine(axes)
    size = len(dump(items).encode())
    if size > OUTPUT_LIMIT:
        raise ItemsInvalid(
            Reason.INPUT_TOO_LARGE,
            f"forEach: the items exceed the limit ({size:,} bytes of JSON together, limit {OUTPUT_LIMIT:,}); use names "
            "as items, and let the task read the data",
        )
    return items


def combine(axes: Mapping[str, list[Any]]) -> list[Any]:
    """Return every combination of the values, the last name varying fastest. Raises ItemsInvalid before it builds too
    many."""
    count = prod(len(values) for values in axes.values())
    lengths = " x ".join(str(len(values)) for values in axes.values())
    _check_count(f"forEach.matrix ({lengths})", count)
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _list(field: str, value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ItemsInvalid(
        Reason.INVALID_ITEMS,
        f"{field} must be a list, got {_shown(value)}; write a list, or an expression that returns one",
    )


def _shown(value: Any) -> str:
    text = dump(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _check_count(field: str, count: int) -> None:
    if count > MAX_ITEMS:
        raise ItemsInvalid(
            Reason.INVALID_ITEMS,
            f"{field} gives {too_many(count)}",
        )


def too_many(count: int) -> str:
    """Return what is wrong with a number of items, and what to do."""
    fix = "let each item cover several, or split them over tasks"
    return f"{count:,} items, at most {MAX_ITEMS:,} are allowed: {fix}"
