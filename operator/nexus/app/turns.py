"""Turns of the event loop: how much work handlers do in one.

All that is ready runs before the loop looks at its timers and sockets again. A page of a LIST makes two hundred
handlers ready at once, and some milliseconds for each large object add up to a stall.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SLICE = 0.02
"""Seconds of handlers' work in one turn."""


class Turns:
    """Spreads work over turns; what fits into one does not wait."""

    def __init__(self) -> None:
        self._spent = 0.0

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """Do some work that does not wait, in this turn or a later one."""
        while self._spent > SLICE:  # noqa: ASYNC110  the loop's next turn is all that is waited for
            await asyncio.sleep(0)
        began = time.perf_counter()
        try:
            yield
        finally:
            if not self._spent:
                asyncio.get_running_loop().call_soon(self._end)
            self._spent += time.perf_counter() - began

    def _end(self) -> None:
        self._spent = 0.0
