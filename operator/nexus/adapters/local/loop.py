"""The loop of the operator, for one run on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Protocol

from nexus.adapters.local.family import Family
from nexus.adapters.local.questions import Asked, Questions
from nexus.api.run import Cancel
from nexus.runtime.ports import Backend, RunKey
from nexus.runtime.queue import seconds_until
from nexus.runtime.reconcile import Reconciler


class Descendants(Protocol):
    """The child runs of a run."""

    async def ended(self) -> None:
        """Wait until all of them have ended."""


class LocalRun(Backend, Asked, Protocol):
    """The backend of one run on this machine, as its loop and its parent use it."""

    @property
    def key(self) -> RunKey:
        """Which run it is."""

    @property
    def children(self) -> Descendants:
        """Its child runs."""

    def cancel(self, mode: Cancel) -> None:
        """Cancel the run."""

    async def kill(self) -> None:
        """End every attempt at once."""

    async def close(self) -> None:
        """Leave nothing behind."""


async def until_ended(backend: LocalRun, family: Family, changed: asyncio.Event) -> None:
    """Run the loop of the operator for one run, until it has ended."""
    reconciler = Reconciler(backend, family.evaluator, in_thread=False)
    questions = Questions(backend, family.put, changed.set) if family.ask is not None else None
    try:
        while backend.recorded is None or not backend.recorded.phase.ended:
            changed.clear()
            wake_at = await reconciler.reconcile(backend.key)
            if backend.recorded is not None and backend.recorded.phase.ended:
                return
            if questions is not None:
                questions.look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), seconds_until(wake_at, datetime.now(UTC)))
    finally:
        if questions is not None:
            await questions.close()
