"""Sets of indexes in the Job controller's notation: 0-4,7,8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from nexus.api.fanout import MAX_ITEMS

CUT = "…"


# The longest set of indexes of a fan-out, each written out: what follows cannot be a Job's.
LONGEST = 5 * MAX_ITEMS


# A status is read again with each pod that ends. 32 sets of a thousand, with their texts, are about 2 MiB.
@lru_cache(maxsize=32)
def parse(text: str, total: int = MAX_ITEMS) -> frozenset[int]:
    """Return the indexes below `total` that a string names; an empty one names none.

    Whoever may write the status of a Job may write anything here: what is neither an index of `total` items nor a range
    of them is skipped, in time linear in the length of the string.
    """
    found: set[int] = set()
    for part in text[:LONGEST].split(","):
        first, dash, last = part.partition("-")
        if len(part) < 24 and first.isdecimal() and (last if dash else first).isdecimal():
            found.update(range(int(first), min(int(last or first), total - 1) + 1))
    return frozenset(found)


def shown(text: str, total: int) -> frozenset[int]:
    """Return the indexes below `total` that are left in a string that `text` may have cut."""
    return parse(text.removesuffix(CUT).removesuffix(","), total)


def text(indexes: Iterable[int], limit: int = 1_000) -> str:
    """Return the notation for some indexes, cut with … after `limit` characters."""
    parts: list[str] = []
    room = limit
    for first, last in _ranges(indexes):
        # Two in a row do not make a range, as in batch/v1's own statuses.
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
