"""Election: a candidate's way to the lead, and a leader's way to keep it. The decisions are those of `core/lease.py`.

election = Election(store, identity)
await election.acquire()                   # waits for as long as another one leads
... await election.keep() ...              # beside the work; raises LeaseLost
await election.release()                   # the next one need not wait
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nexus.core.lease import LeaseRecord, Sighting, Step, Terms, leads, look_again, sighted, step

log = logging.getLogger("nexus")

RELEASE_SECONDS = 1.0
"""For giving the Lease back; the next leader waits a dozen seconds where that fails, and that is all."""


class LeaseLost(Exception):
    """This process leads no more, or cannot know whether it does: it has to stop."""


class Taken(Exception):
    """The Lease is not what it was when it was read."""


class LeaseUnavailable(Exception):
    """No answer, or a refusal."""


@dataclass(frozen=True, slots=True)
class Held:
    """A Lease as it was read."""

    record: LeaseRecord
    version: str


class LeaseStore(Protocol):
    """Where the Lease is. Each method may raise LeaseUnavailable."""

    async def read(self) -> Held | None:
        """Return the Lease, None where there is none."""

    async def create(self, holder: str, seconds: int) -> Held:
        """Make it. Raises Taken where it is there."""

    async def replace(self, held: Held, holder: str, seconds: int) -> Held:
        """Write it anew, with the time of now. Raises Taken where it is not the one that was read."""


class Election:
    """One candidate."""

    def __init__(
        self, store: LeaseStore, me: str, terms: Terms | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        """`me` tells this candidate from all others, its own earlier lives included; `clock` gives seconds that only
        grow, the event loop's unless said otherwise."""
        self._store = store
        self.me = me
        self.terms = terms or Terms()
        self._clock = clock or asyncio.get_running_loop().time
        self._sighting: Sighting | None = None
        self._held: Held | None = None
        self._renewed_at: float | None = None
        self._wrote = False
        self._trouble = ""

    @property
    def leading(self) -> bool:
        """Whether this candidate leads at this moment."""
        return leads(self._renewed_at, self._clock(), self.terms)

    @property
    def holder(self) -> str:
        """The leader when the Lease was last seen; empty if there was none."""
        record = self._sighting.record if self._sighting is not None else None
        return record.holder if record is not None else ""

    async def acquire(self) -> None:
        """Wait until this candidate leads."""
        shown = ""
        while not await self._attempt(self.terms.try_for):
            news = self._trouble or f"{self.holder} leads"
            if news != shown:
                log.info("standing by: %s", news)
                shown = news
            await asyncio.sleep(look_again(self._sighting, self._clock(), self.terms))
        log.info("leading as %s", self.me)

    async def keep(self) -> None:
        """Renew for ever. Raises LeaseLost."""
        pause = self.terms.retry_every
        while True:
            await asyncio.sleep(pause)
            left = self._left()
            if left > 0 and await self._attempt(min(left, self.terms.try_for)):
                pause = self.terms.retry_every
                continue
            pause = self.terms.retry_after_failure
            if self.holder not in ("", self.me):
                self._renewed_at = None
                raise LeaseLost(f"{self.holder} took over the Lease")
            if not self.leading:
                why = self._trouble or "this process was suspended"
                raise LeaseLost(f"the Lease could not be renewed for {self.terms.renew_within:g} s: {why}")

    async def release(self) -> None:
        """Give the Lease back, if it is this candidate's. Stop the work first."""
        self._renewed_at = None
        if not self._wrote:
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._give_back()
        except Exception as error:  # noqa: BLE001  the Lease runs out by itself
            log.info("could not release the Lease: %s", error)

    async def _give_back(self) -> None:
        # Read and not remembered: a renewal may have been broken off, and done all the same.
        held = await self._store.read()
        if held is not None and held.record.holder == self.me:
            await self._store.replace(held, "", 1)
            log.info("released the Lease")

    def _left(self) -> float:
        """Return the seconds for which this candidate leads without another renewal."""
        return (self._renewed_at or 0.0) + self.terms.renew_within - self._clock() if self.leading else 0.0

    async def _attempt(self, seconds: float) -> bool:
        """Look at the Lease and do what is to be done; whether it is this candidate's now."""
        began, self._trouble = self._clock(), ""
        try:
            async with asyncio.timeout(seconds):
                written = await self._written()
        except Taken:
            self._held = None
            return False  # another one was faster; the next look tells who
        except (LeaseUnavailable, TimeoutError) as error:
            self._held = None
            self._trouble = str(error) or "no response in time"
            return False
        except Exception as error:  # noqa: BLE001
            # An unforeseen answer ends a lead only as any other lost renewal does: when its time is over.
            self._held = None
            self._trouble = f"{type(error).__name__}: {error}"
            log.warning("the Lease could not be read or written: %r", error)
            return False
        if written is None:
            return False
        self._held = written
        self._sighting = sighted(self._sighting, written.record, self._clock())
        self._renewed_at = began
        return True

    async def _written(self) -> Held | None:
        """Create, take or renew; None where another one leads."""
        if self._held is not None:
            with contextlib.suppress(Taken):
                return await self._store.replace(self._held, self.me, self.terms.seconds)
        held = await self._store.read()
        now = self._clock()
        self._sighting = sighted(self._sighting, held.record if held is not None else None, now)
        match step(self._sighting, self.me, now):
            case Step.CREATE:
                self._wrote = True
                return await self._store.create(self.me, self.terms.seconds)
            case Step.TAKE | Step.RENEW:
                assert held is not None
                self._wrote = True
                return await self._store.replace(held, self.me, self.terms.seconds)
            case Step.WAIT:
                return None
