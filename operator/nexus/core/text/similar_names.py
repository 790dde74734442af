"""Likeness: which of the known names was meant by one that is not known, at a cost that its author cannot raise.

A file may hold thousands of unknown names, each held against hundreds of known ones, and difflib's exact measure takes
as long as the product of two names. So it measures only the few names that have the most characters in the same places.
"""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import islice
from operator import eq

LONGEST = 80
"""Characters of a name that is looked for, and of those it is compared with; Kubernetes' own labels have up to 63."""

MOST_NAMES = 1_000
"""Names that are looked at, the first of them: a definition has up to 500 tasks, and items any number of fields."""

MEASURED = 32
"""Names that are compared exactly."""


def closest(word: str, names: Iterable[str], most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the names that are like a word, the most alike first, at most `most`; each at least `cutoff` alike (0 to
    1, as difflib measures it)."""
    return list(_closest(word, tuple(islice(names, MOST_NAMES)), most, cutoff)) if len(word) <= LONGEST else []


@lru_cache(maxsize=512)  # one mistake is made in many tasks, and a definition's expressions are gone through twice
def _closest(word: str, names: tuple[str, ...], most: int, cutoff: float) -> tuple[str, ...]:
    known: Sequence[str] = [name for name in names if len(name) <= LONGEST]
    if len(known) > MEASURED:
        backwards = word[::-1]
        known = heapq.nlargest(
            MEASURED, known, key=lambda name: sum(map(eq, word, name)) + sum(map(eq, backwards, name[::-1]))
        )
    return tuple(difflib.get_close_matches(word, known, n=most, cutoff=cutoff))


def did_you_mean(names: Sequence[str]) -> str:
    """Return the question that ends a message about an unknown name: `did you mean "a"?`, `did you mean "a", "b" or
    "c"?`."""
    *before, last = [f'"{name}"' for name in names]
    return f"did you mean {', '.join(before)} or {last}?" if before else f"did you mean {last}?"


def listed(names: Collection[str], most: int = 20) -> str:
    """Return the first of the names, and how many more there are; empty where there are none."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(islice(names, most)) + more
