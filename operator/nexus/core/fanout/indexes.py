"""Sets of indexes in the Job controller's notation: 0-4,7,8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

CUT = "…"


@lru_cache(maxsize=1_024)
def parse(text: str) -> frozenset[int]:
    """The indexes that a text names; an empty text names none. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def shown(text: str) -> frozenset[int]:
    """The indexes that are left in a text that `text` may have cut."""
    return parse(text.removesuffix(CUT).removesuffix(","))


def text(indexes: Iterable[int], limit: int = 1_000) -> str:
    """The notation for some indexes, cut with … after `limit` characters."""
    parts: list[str] = []
    room = limit
    for first, last in _ranges(indexes):
        # Two in a row are no range, as in batch/v1's own statuses.
        part = str(first) if first == last else f"{first}{',' if last == first + 1 else '-'}{last}"
        room -= len(part) + 1
        if room < 0:
            parts.append(CUT)
            break
        parts.append(part)
    return ",".join(parts)


def _ranges(indexes: Iterable[int]) -> Iterator[tuple[int, int]]:
    start = end = None
    for index in sorted(indexes):
        if start is None or end is None:
            start = end = index
        elif index == end + 1:
            end = index
        else:
            yield start, end
            start = end = index
    if start is not None and end is not None:
        yield start, end
