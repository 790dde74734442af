"""The time the fake cluster lives in. No wall clock: time moves when a test says so, or with the event loop's."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass(order=True)
class Timer:
    """Something due at `when`; equal times run in the order they were asked for."""

    when: datetime
    order: int
    action: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)
    handle: asyncio.TimerHandle | None = field(default=None, compare=False)

    def cancel(self) -> None:
        """Never run it; harmless when it ran already."""
        self.cancelled = True
        if self.handle:
            self.handle.cancel()


class Clock:
    """A clock that stays at one time until `advance()` or `step()`; what is due runs on the way, in order."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._timers: list[Timer] = []
        self._orders = itertools.count()

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return self._now

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Run `action` after `seconds` (0: at the next step)."""
        return self.at(self.now() + timedelta(seconds=seconds), action)

    def at(self, when: datetime, action: Callable[[], None]) -> Timer:
        """Run `action` at `when`, or at the next step where that is past."""
        timer = Timer(max(when, self.now()), next(self._orders), action)
        heapq.heappush(self._timers, timer)
        return timer

    def next_due(self) -> datetime | None:
        """Return when the next timer is due, None without any."""
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0].when if self._timers else None

    def step(self, until: datetime | None = None) -> bool:
        """Move to the next timer due by `until` and run it; False (and no move) where there is none."""
        due = self.next_due()
        if due is None or (until is not None and due > until):
            return False
        timer = heapq.heappop(self._timers)
        self._now = max(self._now, due)
        timer.action()
        return True

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`, running everything due on the way."""
        until = self._now + timedelta(seconds=seconds)
        while self.step(until):
            pass
        self._now = until

    def run_due(self) -> None:
        """Run what is due now, and what that makes due now."""
        self.advance(0)


class LoopClock(Clock):
    """A clock that follows the running event loop: `await asyncio.sleep(5)` moves it. With looptime no time is lost."""

    def __init__(self, start: datetime = START) -> None:
        super().__init__(start)
        self._zero = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        """Return the loop's time, aware, in UTC."""
        return self._now + timedelta(seconds=asyncio.get_running_loop().time() - self._zero)

    def at(self, when: datetime, action: Callable[[], None]) -> Timer:
        """Run `action` from the loop at `when`."""
        timer = Timer(when, next(self._orders), action)
        delay = max(0.0, (when - self.now()).total_seconds())
        timer.handle = asyncio.get_running_loop().call_later(delay, action)
        return timer

    def run_due(self) -> None:
        """Nothing to do: the event loop runs what is due."""

    def step(self, until: datetime | None = None) -> bool:
        """Refused: the event loop moves this clock."""
        del until
        raise RuntimeError(
            "a LoopClock moves with its event loop: await asyncio.sleep() instead of advance() or step()"
        )
