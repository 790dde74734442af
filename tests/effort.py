"""How much the tests do: `make test` tries all there is, `make test-fast` a part of it, and `make test-long` more.

A part is chosen anew in each session, by NEXUS_SEED. No test function is left out in any of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

FAST = bool(os.environ.get("NEXUS_FAST"))
LONG = bool(os.environ.get("NEXUS_LONG"))


def effort(fast: int, normal: int, long: int) -> int:
    """Return the number for the present effort."""
    return fast if FAST else long if LONG else normal


def sample(of: Sequence[int]) -> list[int]:
    """Return all, or for `make test-fast` the first, the last and a fifth of all, other ones in each session."""
    if not FAST:
        return list(of)
    return sorted({of[0], of[-1], *_chance().sample(of, len(of) // 5)})


def of_each_table(items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Divide tests into those to run and those not to: of a parametrized test, `make test-fast` runs a quarter of the
    rows, at least one."""
    if not FAST:
        return items, []
    tables: dict[str, list[pytest.Item]] = {}
    for item in items:
        tables.setdefault(item.nodeid.partition("[")[0], []).append(item)
    chance = _chance()
    chosen = {item for rows in tables.values() for item in chance.sample(rows, max(1, len(rows) // 4))}
    return [item for item in items if item in chosen], [item for item in items if item not in chosen]


def _chance() -> random.Random:
    return random.Random(int(os.environ["NEXUS_SEED"]))
