"""Heap: what is kept for long is not searched for cycles again and again.

Python's collector searches all that is alive whenever that has grown by a quarter. With 5,000 live runs in the caches
those are some million objects, and every run waits for it: 0.4 s on an idle core, more on a busy one. But caches are
freed by their reference counts; cycles are made, and end, with what is under way. So what survives a full collection is
set aside (gc.freeze), and the next one searches what came since then: some ten thousand objects.

What is set aside and becomes part of a dead cycle later stays. It was under way at one of the collections, so it is
little, and it goes when all is searched. That happens when what is set aside has doubled, so that memory is bounded
and a search of everything is rare.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

FEW = 500_000
"""Objects that are searched in 0.1 s or so: for fewer than these more, a search of everything is not due."""
LOOK_SECONDS = 30.0
PATIENCE = 20
"""Looks, 10 minutes, after which a search of everything that is due does not wait for an idle moment any more."""


class Heap:
    """Sets aside what survives full collections."""

    def __init__(self, few: int = FEW) -> None:
        self._few = few
        self._left = 0
        """Objects that were left when everything was searched."""

    def watch(self) -> None:
        """Search everything there is, set it aside, and do the like from now on."""
        self.search()
        gc.callbacks.append(self._collected)

    def leave(self) -> None:
        """Leave the collector as it was found."""
        gc.callbacks.remove(self._collected)
        gc.unfreeze()

    @property
    def due(self) -> bool:
        """Return whether enough objects are set aside that all of them should be searched."""
        return gc.get_freeze_count() > self._left + max(self._left, self._few)

    def search(self) -> None:
        """Search everything for cycles, which takes a while."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        # The collector waits until a quarter of what it found last has been added: it should have found nothing.
        gc.collect()
        self._left = gc.get_freeze_count()

    async def keep(self, idle: Callable[[], bool]) -> None:
        """Search everything when that is due and `idle`, for ever."""
        waited = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            waited = waited + 1 if self.due else 0
            if waited and (idle() or waited > PATIENCE):
                self.search()
                waited = 0

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()
