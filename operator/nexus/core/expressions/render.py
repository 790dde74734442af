"""Rendering: the `${{ }}` of a task's fields become values, once, and what comes out is never read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from nexus.api.numbers import as_stored
from nexus.core.expressions import urls
from nexus.core.expressions.templates import (
    Evaluator,
    Expression,
    ExpressionError,
    Template,
    as_text,
    parse,
    variables_of,
)


class Renderer:
    """Renders fields in one scope.

    `variables` maps the names in scope to their CEL types, `lookup` gives the value of one of them and is only
    called for the names that an expression uses.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        variables: Mapping[str, str],
        lookup: Callable[[str], Any],
        zone: str = "UTC",
    ) -> None:
        self._evaluator = evaluator
        self._variables = variables
        self._lookup = lookup
        self._zone = zone

    @classmethod
    def like(cls, other: Renderer) -> Self:
        """Return one of this class in the scope of another."""
        return cls(other._evaluator, other._variables, other._lookup, other._zone)

    def value(self, expression: Expression) -> Any:
        """Return the JSON value of an expression, its numbers as the API server gives them back. Raises
        ExpressionError."""
        names = variables_of(expression)
        unknown = [name for name in names if name not in self._variables]
        if unknown:
            raise ExpressionError(f'unknown reference "{unknown[0]}"', expression.offset)
        declared = {name: self._variables[name] for name in names}
        values = {name: self._lookup(name) for name in names}
        return as_stored(self._evaluator.evaluate(expression.source, declared, values, zone=self._zone))

    def field(self, text: str, where: str, *, kubernetes: bool = False) -> Any:
        """Return a field's value: of any type where the field is one whole `${{ }}`, else text. Raises ExpressionError,
        whose message starts with `where`, the field's name.

        `kubernetes` is for fields that the kubelet or a bootstrap expands afterwards: every `$` of a rendered value
        is doubled there, so that no value can become a reference.
        """
        template = parse(text)
        with _named(where):
            return template.render(self._values(template), double_dollars=kubernetes)

    def text(self, text: str, where: str, *, kubernetes: bool = False) -> str:
        """Return a field that must be text: values that are not become compact JSON."""
        return as_text(self.field(text, where, kubernetes=kubernetes))

    def url(self, text: str, where: str) -> str:
        """Return the URL of an http task: values are encoded behind its origin, see nexus.core.expressions.urls."""
        template = parse(text)
        with _named(where):
            return urls.rendered(template, self._values(template))

    def deep(self, value: Any, where: str, *, kubernetes: bool = False) -> Any:
        """Return a JSON value with every string in it rendered; keys stay as they are written."""
        if isinstance(value, str):
            return self.field(value, where, kubernetes=kubernetes)
        if isinstance(value, list):
            return [self.deep(item, f"{where}[{index}]", kubernetes=kubernetes) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.deep(item, f"{where}.{key}", kubernetes=kubernetes) for key, item in value.items()}
        return as_stored(value)

    def _values(self, template: Template) -> list[Any]:
        return [self.value(expression) for expression in template.expressions]


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Have the message of an ExpressionError start with the field's name."""
    try:
        yield
    except ExpressionError as error:
        raise ExpressionError(f"{where}: {error.message}", error.offset, budget=error.budget) from error
