"""Large definitions are read one after the other: 1.4 MiB of one are 20 MiB as a tree and 60 as models, and sixteen
workers would have them sixteen times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LARGE = 256 * 1024
"""Bytes of JSON. A definition of five hundred plain tasks has fewer."""


class LargeReads:
    """Whose turn it is. Small ones, which take milliseconds, never wait."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """Hold while an object of `size` bytes is read and made use of. Not reentrant."""
        if size < LARGE:
            yield
            return
        async with self._lock:
            yield
