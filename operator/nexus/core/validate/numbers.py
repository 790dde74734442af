"""Numbers: arithmetic with what is an integer in one run and has a fraction in the next.

CEL has integers and doubles and mixes them in no operator: 7 / 2 is 3, and 7 * 2.0 fails. A value of JSON is either, as
it is written, so that a param of type number makes `params.factor / 2` wrong for 7 and fail for 2.5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from nexus.api.fanout import ForEach
from nexus.api.workflow import Param, ParamType
from nexus.core.expressions.templates import Expression, TemplateError, parse
from nexus.core.expressions.tokens import Kind, Token, tokens_of

# How tightly CEL's operators bind; the ternary binds least.
_BINDING = {
    "||": 2, "&&": 3, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4, "in": 4, "+": 5, "-": 5, "*": 6, "/": 6,
    "%": 6,
}  # fmt: skip
_ARITHMETIC = "+-*/%"
# What hands the numbers that it is given on as they are.
_HANDED_ON = ("dyn", "math.abs", "math.greatest", "math.least")
# Levels of nesting; CEL itself reads no more than 32 of most.
_DEEPEST = 60


def number_params(params: Sequence[Param]) -> set[str]:
    """Return the params that may be either, as expressions name them."""
    return {f"params.{param.name}" for param in params if param.type is ParamType.NUMBER}


def number_items(spec: ForEach | None, params: Sequence[Param]) -> set[str]:
    """Return `item` where the items are such numbers, and those of its fields that are."""
    if spec is None:
        return set()
    if spec.matrix is not None:
        return {f"item.{name}" for name, values in spec.matrix.items() if _either(values, params)}
    if _either(spec.items, params):
        return {"item"}
    items = spec.items if isinstance(spec.items, list) else []
    fields: dict[str, list[Any]] = {}
    for item in items:
        for name, value in item.items() if isinstance(item, dict) else ():
            fields.setdefault(name, []).append(value)
    return {f"item.{name}" for name, values in fields.items() if _either(values, params)}


def _either(values: Any, params: Sequence[Param]) -> bool:
    """Return whether a list, as it is written or as the default of the array param that it is, has numbers of both
    kinds."""
    numbers = number_params(params)
    if isinstance(values, str):
        source = _source(values)
        values = next((param.default for param in params if f"params.{param.name}" == source), None)
        # Another run gives another list: one fraction shows that integers beside it are doubles.
        return _fractions(values) > 0
    if isinstance(values, list) and any(_source(value) in numbers for value in values if isinstance(value, str)):
        return True
    return 0 < _fractions(values) < len(values)


def _fractions(values: Any) -> int:
    """Return how many numbers of a list have a fraction; 0 where not all are numbers."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        return 0
    return sum(not float(value).is_integer() for value in values)


def _source(text: str) -> str | None:
    try:
        whole = parse(text).whole
    except TemplateError:
        return None
    return whole.source if whole is not None else None


def mixed(expression: Expression, numbers: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield (why, place in its source) of the first operator that computes with one of these as it is."""
    if not numbers or not any(operator in expression.source for operator in _ARITHMETIC):
        return
    reader = _Reader(expression, numbers)
    try:
        reader.expression()
    except _Unread:
        return
    if reader.found is not None:
        name, offset = reader.found
        why = f"{name} may be an integer or have a fraction, and CEL computes with each apart (7 / 2 is 3, 7 * 2.0 "
        yield f"{why}fails); write double({name}), and constants with a point, as 2.0", offset


class _Unread(Exception):
    """Nested too deeply, or not CEL, which is reported elsewhere."""


class _Reader:
    """Goes through an expression by CEL's grammar. A value is the number that it is made of, as (name, place), or None.

    `found` is the first number that an operator computes with.
    """

    def __init__(self, expression: Expression, numbers: Collection[str]) -> None:
        self._tokens = tokens_of(expression.source)
        self._roots = {reference.offset for reference in expression.references}
        self._numbers = numbers
        self._at = 0
        self._depth = 0
        self.found: tuple[str, int] | None = None

    def expression(self, least: int = 0) -> tuple[str, int] | None:
        """Parse operators that bind at least so tightly, and what they join; 0 is the ternary."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Unread
        left = self._unary()
        while (operator := self._operator()) is not None and _BINDING[operator] >= least:
            self._at += 1 if operator == "in" else len(operator)
            right = self.expression(_BINDING[operator] + 1)
            number = (left or right) if operator in _ARITHMETIC else None
            self.found = self.found or number
            left = number
        if least == 0 and self._text() == "?":
            self._at += 1
            left = self.expression()
            self._take(":")
            left = left or self.expression()
        self._depth -= 1
        return left

    def _unary(self) -> tuple[str, int] | None:
        while self._text() in ("!", "-"):
            self._at += 1
        return self._member()

    def _member(self) -> tuple[str, int] | None:
        """Return a value with what is selected from it."""
        token = self._next()
        value: tuple[str, int] | None = None
        names: str | None = None
        if token.kind is Kind.IDENTIFIER:
            names = token.text
        elif token.text == "(":
            value = self._within(")")
        elif token.text in ("[", "{"):
            self._within("]" if token.text == "[" else "}")
        elif token.kind is Kind.OPERATOR:
            raise _Unread
        while self._text() in (".", "[", "("):
            opening = self._next().text
            if opening == ".":
                selected = self._next().text
                names = f"{names}.{selected}" if names is not None else None
                value = None
                continue
            inside = self._within("]" if opening == "[" else ")")
            value = inside if opening == "(" and names in _HANDED_ON else None
            names = None
        if names is not None and names in self._numbers and token.start in self._roots:
            return names, token.start
        return value

    def _within(self, closing: str) -> tuple[str, int] | None:
        """Return what is between brackets, up to the closing one: expressions, and the first number among them."""
        number = None
        while self._text() != closing:
            inside = self.expression()
            number = number or inside
            if self._text() in (",", ":"):
                self._at += 1
        self._at += 1
        return number

    def _operator(self) -> str | None:
        """Return the operator that comes next; those of two characters are two tokens."""
        one, two = self._text(), self._text() + self._text(1)
        return two if two in _BINDING else one if one in _BINDING else None

    def _text(self, ahead: int = 0) -> str:
        """Return an operator or a word that comes; a literal is never mistaken for one."""
        at = self._at + ahead
        if at >= len(self._tokens) or self._tokens[at].kind not in (Kind.OPERATOR, Kind.IDENTIFIER):
            return ""
        return self._tokens[at].text

    def _next(self) -> Token:
        if self._at >= len(self._tokens):
            raise _Unread
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, text: str) -> None:
        if self._next().text != text:
            raise _Unread
