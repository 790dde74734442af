"""A turnstile: a limited number at once, and namespaces in turn if there are more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nexus.runtime.lines import Lines


class Turnstile:
    """Places for coroutines of one event loop. Who starts a thousand calls at once has them wait in its own line."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._lines: Lines[asyncio.Future[None]] = Lines()

    @asynccontextmanager
    async def place(self, namespace: str) -> AsyncIterator[None]:
        """Wait for a place; it is held within this."""
        loop = asyncio.get_running_loop()
        if self._free > 0:
            self._free -= 1
        else:
            turn = loop.create_future()
            self._lines.put(namespace, turn)
            try:
                await turn
            except asyncio.CancelledError:
                # It may have been given a place at the same moment.
                if turn.done() and not turn.cancelled():
                    self._leave()
                raise
        began = loop.time()
        try:
            yield
        finally:
            self._lines.charge(namespace, loop.time() - began)
            self._leave()

    def _leave(self) -> None:
        while (found := self._lines.next()) is not None:
            if not found[1].done():
                found[1].set_result(None)
                return
        self._free += 1
