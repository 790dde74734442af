"""Dollars: what `$(NAME)` the author leaves open where a value follows.

The kubelet, or a bootstrap, expands some fields after they were rendered. The `$` of a value is doubled there, and that
is not enough: in `$${{ params.x }}` the author's own `$` would make a reference of the value `(TOKEN)`.

The rules are those of Kubernetes' third_party/forked/golang/expansion: `$$` is a dollar, `$(` opens a reference that
the next `)` closes, any other `$` is text.
"""

from __future__ import annotations

from collections.abc import Iterator


def first_open(literal: str) -> int | None:
    """Return the offset of the `$` that a value behind `literal` could make a reference of, None without one."""
    position = 0
    while (start := literal.find("$", position)) >= 0:
        following = literal[start + 1 : start + 2]
        if following == "(":
            end = literal.find(")", start + 2)
            if end < 0:
                return start
            position = end + 1
        elif following:
            position = start + 2
        else:
            return start
    return None


def names(text: str) -> Iterator[str]:
    """Yield the NAME of each `$(NAME)` in a text."""
    position = 0
    while (start := text.find("$", position)) >= 0:
        end = text.find(")", start + 2) if text.startswith("(", start + 1) else -1
        if end >= 0:
            yield text[start + 2 : end]
        position = end + 1 if end >= 0 else start + 2


def closed(literal: str) -> str:
    """Return `literal` with every `$` doubled that a value behind it could make a reference of."""
    start = first_open(literal)
    if start is None:
        return literal
    # Nothing from here on closes a reference: each `$(` is one of those, and so is a last `$`.
    parts, position = [literal[:start]], start
    while (dollar := literal.find("$", position)) >= 0:
        following = literal[dollar + 1 : dollar + 2]
        opens = following in ("(", "")
        parts += [literal[position:dollar], "$$" if opens else f"${following}"]
        position = dollar + (1 if opens else 2)
    return "".join([*parts, literal[position:]])
