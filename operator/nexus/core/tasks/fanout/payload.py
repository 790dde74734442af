"""What the pods of a fan-out execute: one payload for all of them and a line for each item, or a payload for one item.

The lines lie in one file, mounted in every pod; the pod's JOB_COMPLETION_INDEX says which is its own. A line is the
item as compact JSON, a tab, and what belongs to that item alone:
- for a bootstrap in Python: a JSON list of values for the places in `task_json` that `item_fields` names;
- for one in bash: `=` and the item as text where it is a string, its backslashes and line breaks escaped as printf's
  %b reads them; nothing where the JSON is the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from nexus.core.data.scope import Item
from nexus.core.expressions.render import Renderer
from nexus.core.expressions.templates import Expression, ExpressionError, TemplateError, as_text
from nexus.core.manifest.problem import Path
from nexus.core.model.definition import Node
from nexus.core.model.plan import Payload
from nexus.core.pods import templated_fields
from nexus.core.task_types.limits import check_item_text
from nexus.core.tasks.draft import PlanDraft
from nexus.core.tasks.item_mechanism import uses_item
from nexus.core.tasks.launch import context_of
from nexus.core.tasks.payload import build, check_total, task_values
from nexus.core.text.json_text import dump

Place = tuple[str | int, ...]

_PATH = re.compile(r"index|item(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


class _Hole(str):
    """A field that each item has a value of its own for, which `fill` renders: empty in what all share."""

    __slots__ = ("fill",)

    fill: Callable[[Renderer], Any]


class _Shared(Renderer):
    """Renders what is the same for all items, and leaves holes where it is not."""

    def field(self, text: str, where: str, *, kubernetes: bool = False) -> Any:
        """See Renderer; a hole where the field names the item."""
        if uses_item(text):
            return _hole(lambda renderer: renderer.field(text, where, kubernetes=kubernetes))
        return super().field(text, where, kubernetes=kubernetes)

    def text(self, text: str, where: str, *, kubernetes: bool = False) -> str:
        """See Renderer; a hole where the field names the item."""
        if uses_item(text):
            return _hole(lambda renderer: renderer.text(text, where, kubernetes=kubernetes))
        return super().text(text, where, kubernetes=kubernetes)

    def url(self, text: str, where: str) -> str:
        """See Renderer; a hole where the field names the item."""
        if uses_item(text):
            return _hole(lambda renderer: renderer.url(text, where))
        return super().url(text, where)


def _hole(fill: Callable[[Renderer], Any]) -> _Hole:
    hole = _Hole()
    hole.fill = fill
    return hole


class _PerItem(Renderer):
    """Renders the fields of item after item. What merely names a part of the item needs no CEL: a thousand calls of
    the evaluator take a quarter of a second."""

    def value(self, expression: Expression) -> Any:
        """See Renderer."""
        if _PATH.fullmatch(expression.source) is not None:
            root, *steps = expression.source.split(".")
            value = self._lookup(root)
            for step in steps:
                value = value.get(step, _ABSENT) if isinstance(value, dict) else _ABSENT
            # Numbers that JSON and CEL write differently, and what is not there, are CEL's to judge.
            if value is None or isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**53):
                return value
        return super().value(expression)


_ABSENT = object()


class ItemUnrendered(Exception):
    """An item's own values cannot be rendered."""


def for_item(draft: PlanDraft, node: Node, item: Item, attempt: int) -> Payload:
    """Return the payload of one item's own Job. Raises Unread, ExpressionError, TemplateError, PayloadError."""
    return build(node, draft.renderer(node, item), context_of(draft, node, item, attempt=attempt))


def shared_fault(draft: PlanDraft, node: Node) -> ExpressionError | TemplateError | None:
    """Return why no item can be rendered: an expression that does not name it fails for all of them. Raises Unread."""
    renderer = draft.renderer(node)
    for path, text in templated_fields.templated(node.task):
        if not uses_item(text):
            try:
                render = renderer.url if templated_fields.is_url(path) else renderer.text
                render(text, _where(node, path))
            except (ExpressionError, TemplateError) as error:
                return error
    return None


def _where(node: Node, path: Path) -> str:
    if path[0] == "env":
        return f"env {(node.task.env or [])[int(path[1])].name}"
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def for_all(draft: PlanDraft, node: Node, items: list[Any]) -> Payload:
    """Return the payload of the Indexed Job. Raises Unread, ExpressionError, TemplateError, PayloadError, and
    ItemUnrendered where one item is to blame."""
    shared = draft.renderer(node)
    renderer = _Shared.like(shared)
    payload = build(node, renderer, context_of(draft, node))
    bootstrap = node.record.bootstrap
    if bootstrap is None:
        return payload
    holes = list(_holes(task_values(node, renderer), ()))
    size = len(payload.context_json.encode()) + len((payload.task_json or "").encode())
    lines: list[str] = []
    for line in _text_lines(items) if bootstrap.interpreter == "bash" else _value_lines(draft, node, items, holes):
        # At once: an expression may give 1 MiB for each of a thousand items.
        size += len(line.encode()) + 1
        check_total(size)
        lines.append(line)
    text = "\n".join([*lines, ""])
    return replace(payload, items=text, item_fields=dump([place for place, _ in holes]) if holes else None)


def _text_lines(items: list[Any]) -> Iterator[str]:
    for index, item in enumerate(items):
        check_item_text(index, as_text(item))
        escaped = "=" + item.replace("\\", "\\\\").replace("\n", "\\n") if isinstance(item, str) else ""
        yield f"{dump(item)}\t{escaped}"


def _value_lines(draft: PlanDraft, node: Node, items: list[Any], holes: list[tuple[Place, _Hole]]) -> Iterator[str]:
    item = Item(0, None)
    renderer = _PerItem.like(draft.renderer(node, item))
    for item.index, item.value in enumerate(items):
        try:
            values = [hole.fill(renderer) for _, hole in holes]
        except (ExpressionError, TemplateError) as error:
            raise ItemUnrendered from error
        yield f"{dump(item.value)}\t{dump(values) if holes else ''}"


def _holes(value: Any, place: Place) -> Iterator[tuple[Place, _Hole]]:
    if isinstance(value, _Hole):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _holes(inner, (*place, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _holes(inner, (*place, position))
