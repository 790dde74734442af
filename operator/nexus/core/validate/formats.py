"""Formats: a strftime() whose format is written out has codes that mean the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from nexus.core.expressions.functions import wrong_format
from nexus.core.expressions.templates import Expression
from nexus.core.expressions.tokens import Token, tokens_of


def formats(expression: Expression) -> Iterator[tuple[str, int]]:
    """Yield what is wrong with the formats in an expression: (why, place in its source). Those that are computed, or
    have escapes in them, are checked when it is evaluated."""
    if "strftime" not in expression.source:
        return
    tokens = tokens_of(expression.source)
    for index, (name, opening) in enumerate(pairwise(tokens)):
        text = _second(tokens, index + 2) if (name.text, opening.text) == ("strftime", "(") else None
        if text is not None and text.plain_text is not None and (wrong := wrong_format(text.plain_text)) is not None:
            yield wrong[0], text.start + 1 + wrong[1]


def _second(tokens: Sequence[Token], first: int) -> Token | None:
    """Return the second argument of the call whose first begins there, where it is one token."""
    depth = 0
    for index in range(first, len(tokens) - 2):
        depth += (tokens[index].text in ("(", "[", "{")) - (tokens[index].text in (")", "]", "}"))
        if depth < 0:
            return None
        if depth == 0 and tokens[index].text == ",":
            return tokens[index + 1] if tokens[index + 2].text in (",", ")") else None
    return None
