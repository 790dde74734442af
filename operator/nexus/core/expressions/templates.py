"""Templates and the CEL expressions in them: text with `${{ }}`, read once and never again after rendering.

What evaluates an expression is behind the Evaluator port (nexus.adapters.cel is the one with CEL behind it).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from nexus.core.expressions import references
from nexus.core.expressions.kubelet_variables import closed
from nexus.core.expressions.references import Reference, ReferenceInvalid, task_identifier
from nexus.core.expressions.tokens import Kind, Token, UnclosedString, next_token
from nexus.core.text.similar_names import closest, did_you_mean

__all__ = [
    "MAX_EXPRESSION",
    "EvaluationLost",
    "Evaluator",
    "Expression",
    "ExpressionError",
    "Reference",
    "Template",
    "TemplateError",
    "UnknownName",
    "as_text",
    "explain_hyphen",
    "parse",
    "task_identifier",
    "unknown_name",
    "variables_of",
]

# Characters of one expression, the blanks at its ends not counted.
MAX_EXPRESSION = 1024
# Characters of an expression that are read: a field may hold 32 KiB behind one that is not closed.
_MOST_READ = 4 * MAX_EXPRESSION
_OPENING = "${{"


class TemplateError(ValueError):
    """A string that is not a valid template; `offset` counts characters from its start."""

    def __init__(self, message: str, offset: int) -> None:
        self.message = message
        self.offset = offset
        super().__init__(message)


class ExpressionError(Exception):
    """An expression that does not compile, fails, or (`budget`) is over a bound that is counted: of cost, of sizes, of
    memory. It is the same whenever and wherever it is evaluated; time has no part in it.

    `offset` counts characters from the start of the expression; None where the place is not known.
    """

    def __init__(self, message: str, offset: int | None = None, *, budget: bool = False) -> None:
        self.message = message
        self.offset = offset
        self.budget = budget
        super().__init__(message)


class EvaluationLost(RuntimeError):
    """No answer, and nothing said about the expression: what evaluates it was killed, crashed, or did not end within a
    time that no expression within its bounds needs. A second call may succeed."""


class UnknownName(ExpressionError):
    """An expression that names a variable which is not declared."""

    def __init__(self, name: str, known: Collection[str], offset: int | None = None) -> None:
        self.name = name
        super().__init__(unknown_name(name, known), offset)


class Evaluator(Protocol):
    """CEL, wherever it runs.

    `variables` maps each variable's name, dots included (`params.day`), to its type: string, int, double, bool, list,
    map, dyn, timestamp, duration or null. Only names that are declared exist.
    """

    def check(self, source: str, variables: Mapping[str, str]) -> str:
        """Return the type of the result: one of the names above, or bytes, uint, type. Raises ExpressionError."""

    def check_all(self, sources: Sequence[str], variables: Mapping[str, str]) -> list[str | ExpressionError]:
        """For each source what `check` gives or raises, asked all at once: many times faster for many of them."""

    def evaluate(
        self, source: str, variables: Mapping[str, str], values: Mapping[str, Any], *, zone: str = "UTC"
    ) -> Any:
        """Return the result as a JSON value: a timestamp as RFC 3339 text with Z, a duration as "3.5s".

        `values` holds a JSON value for each variable; for a timestamp an aware datetime or RFC 3339 text. `zone` is the
        time zone of date() and strftime() where the expression names none. Raises ExpressionError, EvaluationLost.
        """


@dataclass(frozen=True, slots=True)
class Expression:
    """The inside of one `${{ }}`.

    `offset` is where `source` starts in the template. In `source` tasks["per-region"] is written tasks.per_region,
    padded with blanks, so that an offset means the same place in what the user wrote.
    """

    source: str
    offset: int
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text and expressions, in order."""

    parts: tuple[str | Expression, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions in it, in order."""
        return tuple(part for part in self.parts if isinstance(part, Expression))

    @property
    def whole(self) -> Expression | None:
        """The one expression that is all of the text, whose value then keeps its type; else None."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Expression):
            return self.parts[0]
        return None

    def render(self, values: Sequence[Any], double_dollars: bool = False) -> Any:
        """Return the rendered field: `values` holds one JSON value for each of `expressions`.

        With `double_dollars` every `$` that comes from a value is doubled, deep inside lists and objects too, and so is
        one of the author's that a value would complete: for fields that the kubelet or a bootstrap expands later, so
        that no value can become a reference to a variable, or a part of one.
        """
        if len(values) != len(self.expressions):
            raise ValueError(f"{len(values)} values for {len(self.expressions)} expressions")
        parts = self.parts
        if double_dollars:
            values = [_doubled(value) for value in values]
            parts = self._without_open_dollars()
        if self.whole is not None:
            return values[0]
        remaining = iter(values)
        return "".join(part if isinstance(part, str) else as_text(next(remaining)) for part in parts)

    def _without_open_dollars(self) -> tuple[str | Expression, ...]:
        """Return the parts with an open `$` at their ends closed. Checks refuse one, but a run of an older version may
        have it."""
        return tuple(
            closed(part) if isinstance(part, str) and position + 1 < len(self.parts) else part
            for position, part in enumerate(self.parts)
        )


def parse(text: str) -> Template:
    """Read a field. Raises TemplateError, which names the place in `text`."""
    if _OPENING not in text:
        return Template((text,) if text else ())
    return _parse(text)


@lru_cache(maxsize=2048)
def _parse(text: str) -> Template:
    # Every reconcile of a run reads the same few fields again.
    parts: list[str | Expression] = []
    position = 0
    while (start := text.find(_OPENING, position)) >= 0:
        if start > position:
            parts.append(text[position:start])
        tokens, end = _inside(text, start)
        parts.append(_expression(text, start, end, tokens))
        position = end + 2
    if position < len(text):
        parts.append(text[position:])
    return Template(tuple(parts))


def _inside(text: str, start: int) -> tuple[list[Token], int]:
    """Return the tokens of the expression that opens at `start`, and the offset of its `}}`."""
    tokens: list[Token] = []
    position, depth = start + len(_OPENING), 0
    try:
        while (token := next_token(text, position)) is not None:
            if token.kind is Kind.OPERATOR and token.text == "}" and depth == 0 and text.startswith("}}", token.start):
                return tokens, token.start
            if token.kind is Kind.OPERATOR:
                depth = max(0, depth + (token.text == "{") - (token.text == "}"))
            tokens.append(token)
            position = token.end
            if position - tokens[0].start > _MOST_READ:
                raise TemplateError(
                    f"an expression must have at most {MAX_EXPRESSION:,} characters; put the missing }}}} after it, "
                    "or compute the value in a python task",
                    start,
                )
    except UnclosedString as error:
        raise TemplateError(str(error), error.start) from None
    raise TemplateError(
        'unclosed ${{; put }} after the expression, for the characters themselves write ${{ "${{" }}',
        start,
    )


def _expression(text: str, start: int, end: int, tokens: list[Token]) -> Expression:
    inside = text[start + len(_OPENING) : end]
    source = inside.strip()
    offset = start + len(_OPENING) + len(inside) - len(inside.lstrip())
    if not tokens:
        raise TemplateError("empty ${{ }}; write an expression in it, as in ${{ params.day }}", start)
    if len(source) > MAX_EXPRESSION:
        raise TemplateError(
            f"an expression must have at most {MAX_EXPRESSION:,} characters, got {len(source):,}; compute the value in "
            "a python task",
            start,
        )
    local = [Token(token.kind, token.text, token.start - offset, token.end - offset) for token in tokens]
    try:
        found = references.find(source, local)
    except ReferenceInvalid as error:
        raise TemplateError(str(error), offset + error.offset) from None
    return Expression(found.source, offset, found.references)


def variables_of(expression: Expression) -> list[str]:
    """Return the names of the variables that an expression needs, in order of first use, each once.

    Where the whole of `params` is used, or has() asks for one of them, that is the one variable for all of them.
    """
    names = dict.fromkeys(reference.variable for reference in expression.references)
    if "params" in names:
        return [name for name in names if not name.startswith("params.")]
    return list(names)


def explain_hyphen(expression: Expression, task_names: Collection[str]) -> str | None:
    """Return what to write in place of `tasks.per-region`, which CEL reads as a subtraction; None if the source has
    none."""
    return references.explain_hyphen(expression.source, task_names)


def unknown_name(name: str, known: Collection[str]) -> str:
    """Return why a variable is not there, and which one is meant, or which there are."""
    root, _, rest = name.partition(".")
    alike = [other for other in known if other.partition(".")[0] == root]
    # A long common part, as in tasks.a.output and tasks.b.output, is no likeness: what differs is compared.
    parts = name.split(".")
    varying = {
        other.split(".")[1]: other for other in alike if "." in other and other.split(".")[2:] in (parts[2:3], [])
    }
    close = closest(rest.partition(".")[0], varying) if rest else []
    if close:
        return f'unknown reference "{name}"; {did_you_mean([varying[close[0]]])}'
    if not alike and (close := closest(root, {other.partition(".")[0] for other in known})):
        return f'unknown reference "{name}"; {did_you_mean(close)}'
    if root == "params" and alike == ["params"] and rest:
        return f'unknown reference "{name}": the workflow has no params; add it to spec.params'
    listed = sorted(alike or known)
    if not listed:
        return f'unknown reference "{name}"; there are no variables here'
    more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
    return f'unknown reference "{name}"; known names: {", ".join(listed[:10])}{more}'


def as_text(value: Any) -> str:
    """Return a JSON value as part of a string: a string as it is, any other as compact JSON, non-ASCII characters
    kept."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _doubled(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_doubled(item) for item in value]
    if isinstance(value, dict):
        return {_doubled(key): _doubled(item) for key, item in value.items()}
    return value
