"""URLs of http tasks: where a value may be filled in, and how it is encoded there.

A value that brings the origin along (scheme, host, port) is kept as it is. One that begins behind the origin is data:
it is percent-encoded but for `/`, ends neither path nor query, and may not walk up by a segment `..`.
`$(NAME)` is not resolved yet: it counts as text without a slash, and at the start as the origin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from nexus.core.expressions.kubelet_variables import closed
from nexus.core.expressions.templates import Expression, ExpressionError, Template, as_text

# scheme://authority, or $(BASE), up to what follows it (RFC 3986, appendix B).
_ORIGIN = re.compile(r"(?:(?:[^/?#]*:)?//[^/?#]*|\$\([^()]*\)[^/?#:]*(?::[0-9]+)?)(?=[/?#])")
_PATH_END = re.compile(r"[?#]|$")
_DOTS = re.compile(r"(?:\.|%2[eE]){1,2}")
# RFC 3986, section 2.3: what never needs encoding, and the slash.
_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")


def reaches_host(template: Template) -> Expression | None:
    """Return the first expression whose value may decide which host is asked, or a part of it; None without one."""
    first = next(iter(template.expressions), None)
    before = template.parts[0] if template.parts else ""
    return None if isinstance(before, str) and _ORIGIN.match(before) else first


def rendered(template: Template, values: Sequence[Any]) -> str:
    """Return the URL with `values`, one JSON value for each expression, in it; every `$` of a value is doubled.

    Raises ExpressionError where a value makes a segment `.` or `..` of the path.
    """
    remaining = iter(values)
    text, origin = "", 0
    places: list[tuple[int, int]] = []
    for position, part in enumerate(template.parts):
        origin = origin or _end_of_origin(text)
        if isinstance(part, str):
            text += closed(part) if position + 1 < len(template.parts) else part
        elif origin:
            value = percent_encoded(as_text(next(remaining)))
            places.append((len(text), len(text) + len(value)))
            text += value
        else:
            text += as_text(next(remaining)).replace("$", "$$")
    _check_segments(text, origin, places)
    return text


def percent_encoded(text: str) -> str:
    """Return `text` as UTF-8 with every byte percent-encoded that is neither unreserved nor a slash."""
    return "".join(chr(byte) if byte in _KEPT else f"%{byte:02X}" for byte in text.encode(errors="surrogatepass"))


def _end_of_origin(text: str) -> int:
    found = _ORIGIN.match(text)
    return found.end() if found is not None else 0


def _check_segments(text: str, origin: int, places: Sequence[tuple[int, int]]) -> None:
    """Look at the segments of the path that hold a part of a value; those that the author wrote alone are his own."""
    ended = _PATH_END.search(text, origin)
    end = ended.start() if ended is not None else len(text)
    for start, stop in places:
        if start >= end:
            return
        first = text.rfind("/", origin, start) + 1
        last = text.find("/", stop, end)
        for segment in text[first : last if last >= 0 else end].split("/"):
            if _DOTS.fullmatch(segment):
                raise ExpressionError(
                    f'a value makes "{segment}" a segment of the path, which would name another place; '
                    'values in a path must not hold "." or ".." segments'
                )
