"""How much the tests do: `make test` tries all there is, `make test-fast` a part of it, and `make test-long` more.

No test is left out in any of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

FAST = bool(os.environ.get("NEXUS_FAST"))
LONG = bool(os.environ.get("NEXUS_LONG"))


def effort(fast: int, normal: int, long: int) -> int:
    """Return the number for the present effort."""
    return fast if FAST else long if LONG else normal


def sample(of: Sequence[int]) -> list[int]:
    """Return all, or for `make test-fast` the first, the last and a fifth of all, other ones in each session."""
    if not FAST:
        return list(of)
    chance = random.Random(int(os.environ["NEXUS_SEED"]))
    return sorted({of[0], of[-1], *chance.sample(of, len(of) // 5)})
