"""Dollars: what `$(NAME)` the author leaves open where a value follows.

The kubelet, or a bootstrap, expands some fields after they were rendered. The `$` of a value is doubled there, and that
is not enough: in `$${{ params.x }}` the author's own `$` would make a reference of the value `(TOKEN)`.

The rules are those of Kubernetes' third_party/forked/golang/expansion: `$$` is a dollar, `$(` opens a reference that
the next `)` closes, any other `$` is text.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What a `$` is."""

    PAIR = "$$"
    REFERENCE = "$(NAME)"
    OPEN = "$( without its ), or $ at the end"
    TEXT = "any other"


class Dollar(NamedTuple):
    """A `$` with what belongs to it: offsets of its start and end."""

    kind: Kind
    start: int
    end: int


def dollars(text: str) -> Iterator[Dollar]:
    """Yield each `$` of a string, from left to right."""
    position, last_closing = 0, text.rfind(")")
    while (start := text.find("$", position)) >= 0:
        following = text[start + 1 : start + 2]
        position = start + 2
        if following == "$":
            kind = Kind.PAIR
        elif following == "(" and start < last_closing:
            kind, position = Kind.REFERENCE, text.find(")", start) + 1
        else:
            kind = Kind.OPEN if following in ("(", "") else Kind.TEXT
        yield Dollar(kind, start, min(position, len(text)))


def first_open(literal: str) -> int | None:
    """Return the offset of the `$` that a value behind `literal` could make a reference of, None without one."""
    return next((dollar.start for dollar in dollars(literal) if dollar.kind is Kind.OPEN), None)


def names(text: str) -> Iterator[str]:
    """Yield the NAME of each `$(NAME)` in a string."""
    return (text[dollar.start + 2 : dollar.end - 1] for dollar in dollars(text) if dollar.kind is Kind.REFERENCE)


def closed(literal: str) -> str:
    """Return `literal` with every `$` doubled that a value behind it could make a reference of."""
    parts, position = list[str](), 0
    for dollar in dollars(literal):
        if dollar.kind is Kind.OPEN:
            parts += [literal[position : dollar.start], "$"]
            position = dollar.start
    return "".join([*parts, literal[position:]])
