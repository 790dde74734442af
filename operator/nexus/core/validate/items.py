"""Items: what the type of `item` is, and which fields it has, if forEach has literal values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nexus.api.fanout import ForEach
from nexus.core.data.scope import ITEM_VARIABLES
from nexus.core.expressions.templates import Expression
from nexus.core.expressions.tokens import Kind, tokens_of
from nexus.core.text.similar_names import closest, did_you_mean, listed


@dataclass(frozen=True, slots=True)
class ItemShape:
    """The type of the items, and of each field that all of them have; `names` are fields that any of them has, None
    where that is not known."""

    type: str = "dyn"
    fields: Mapping[str, str] = field(default_factory=dict)
    names: Collection[str] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """`item` and `index` with their CEL types."""
        return {**ITEM_VARIABLES, "item": self.type}

    def declared(self, expression: Expression) -> dict[str, str]:
        """Return the fields of the item that an expression reads, as variables of their own. Not those that it passes
        to has(), which requires a field, and a variable is not one."""
        uses = list(_selected(expression))
        if any(use.asked for use in uses):
            return {}
        return {f"item.{use.name}": self.fields[use.name] for use in uses if use.name in self.fields}

    def missing(self, expression: Expression) -> Iterator[tuple[str, int]]:
        """Yield fields that an expression reads and no item has: (why, place in its source)."""
        if self.names is None:
            return
        for use in _selected(expression):
            if use.name in self.names or use.asked:
                continue
            close = closest(use.name, self.names)
            hint = did_you_mean(close) if close else f"they have {listed(self.names) or 'none'}"
            yield f'unknown field "{use.name}" of item; {hint}', use.offset


@dataclass(frozen=True, slots=True)
class _Use:
    """`item.name`; `asked` where has() asks for it."""

    name: str
    offset: int
    asked: bool


def item_shape(spec: ForEach | None) -> ItemShape:
    """Return what can be known of the items before a run."""
    if spec is None:
        return ItemShape()
    if spec.matrix is not None:
        types = {name: _common(values) for name, values in spec.matrix.items()}
        return ItemShape("map", types, dict.fromkeys(sorted(types)))
    if not isinstance(spec.items, list) or not spec.items:
        return ItemShape()
    kind = _common(spec.items)
    if kind != "map":
        return ItemShape(kind)
    names = dict.fromkeys(name for item in spec.items for name in item)  # in order, and each use of one is looked up
    everywhere = [name for name in names if all(name in item for item in spec.items)]
    return ItemShape("map", {name: _common([item[name] for item in spec.items]) for name in everywhere}, names)


def _common(values: Any) -> str:
    """Return the CEL type that all values of a literal list have, else dyn."""
    kinds = {_kind(value) for value in values} if isinstance(values, list) else set()
    return kinds.pop() if len(kinds) == 1 else "dyn"


def _kind(value: Any) -> str:
    match value:
        case str():
            return "dyn" if "${{" in value else "string"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "int" if value.is_integer() else "double"
        case list():
            return "list"
        case dict():
            return "map"
    return "dyn"


def _selected(expression: Expression) -> Iterator[_Use]:
    roots = {reference.offset for reference in expression.references if reference.root == "item"}
    tokens = tokens_of(expression.source) if roots else []
    for index, name in enumerate(tokens[2:], start=2):
        root, opening = tokens[index - 2], tokens[index - 1]
        if root.start not in roots:
            continue
        following = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if opening.text == "." and name.kind is Kind.IDENTIFIER and following != "(":
            asked = [token.text for token in tokens[max(index - 4, 0) : index - 2]] == ["has", "("] and following == ")"
            yield _Use(name.text, name.start, asked)
