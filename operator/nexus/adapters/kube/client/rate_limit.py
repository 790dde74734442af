"""The pace of calls: a rate per second, and after a pause some at once. A token bucket; who comes first goes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class RateLimiter:
    """Holds calls up. No call is refused: they wait in the order in which they were made."""

    def __init__(self, qps: float, burst: int, clock: Callable[[], float] | None = None) -> None:
        """`qps` calls a second, above 0; `clock` is the event loop's unless said otherwise."""
        self._seconds = 1 / qps
        self._burst = max(burst, 1)
        self._clock = clock or asyncio.get_running_loop().time
        # When the bucket is full again: each call puts that off.
        self._full_at = self._clock()

    async def turn(self) -> None:
        """Wait until the next call may go."""
        now = self._clock()
        self._full_at = max(self._full_at, now) + self._seconds
        delay = self._full_at - now - self._burst * self._seconds
        if delay > 0:
            await asyncio.sleep(delay)
