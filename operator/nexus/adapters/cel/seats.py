"""Seats: which thread may use a child process now, fair between namespaces."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nexus.adapters.cel.child import Child
from nexus.runtime.lines import Lines

# A namespace that had less than this of the last ten seconds or so need not wait for those that had more.
LIGHT_SECONDS = 1.0
_FORGETTING_SECONDS = 10.0


@dataclass
class Seat:
    """The right to compute, and a child to do it with: None where none was started yet, or it died."""

    child: Child | None = None
    reserve: bool = False


@dataclass(eq=False)
class _Waiter:
    given: threading.Event = field(default_factory=threading.Event)
    seat: Seat | None = None


@dataclass(frozen=True, slots=True)
class _Use:
    seconds: float
    at: float

    def left(self, now: float) -> float:
        """Return the seconds of it that still count: the older the fewer."""
        return self.seconds * math.exp((self.at - now) / _FORGETTING_SECONDS)


class Seats:
    """`size` seats, and one in reserve that only namespaces of little use get, where all others are taken.

    Without it, who needs a millisecond would wait for whoever is at it to finish, for each expression anew.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._lines: Lines[_Waiter] = Lines()
        # Last in, first out: a lone caller always meets the child that has its programs compiled.
        self._idle = [Seat() for _ in range(size)]
        self._reserve: Seat | None = Seat(reserve=True)
        self._size = size
        self._uses: dict[str, _Use] = {}
        self._closed = False

    def take(self, namespace: str = "") -> Seat:
        """Return a seat, once there is one for this namespace. Raises RuntimeError after `close`."""
        with self._lock:
            if self._idle and not self._lines and not self._closed:
                return self._idle.pop()
            waiter = _Waiter()
            self._lines.put(namespace, waiter)
            self._hand_out()
        waiter.given.wait()
        if waiter.seat is None:
            raise RuntimeError("this CelEvaluator is closed: make another one")
        return waiter.seat

    def give(self, seat: Seat, namespace: str, seconds: float) -> None:
        """Give a seat back after `seconds` of use."""
        with self._lock:
            self._lines.charge(namespace, seconds)
            self._note(namespace, seconds)
            if seat.reserve:
                self._reserve = seat
            else:
                self._idle.append(seat)
            if self._lines:
                self._hand_out()
            if self._closed:
                self._returned.notify_all()

    def close(self) -> list[Child]:
        """Refuse whoever waits or comes, wait for what is in use, and hand over the children."""
        with self._lock:
            self._closed = True
            self._hand_out()
            while len(self._idle) < self._size or self._reserve is None:
                self._returned.wait()
            seats = [*self._idle, self._reserve]
            children = [seat.child for seat in seats if seat.child is not None]
            for seat in seats:
                seat.child = None
            return children

    def _hand_out(self) -> None:
        while self._closed and (left := self._lines.next()) is not None:
            left[1].given.set()
        while self._idle and (found := self._lines.next()) is not None:
            found[1].seat = self._idle.pop()
            found[1].given.set()
        if self._reserve is not None and (found := self._lines.next(self._is_light)) is not None:
            found[1].seat, self._reserve = self._reserve, None
            found[1].given.set()

    def _is_light(self, namespace: str) -> bool:
        # What counts for no namespace is a command line: one process is enough for it.
        use = self._uses.get(namespace)
        return bool(namespace) and (use is None or use.left(self._clock()) < LIGHT_SECONDS)

    def _note(self, namespace: str, seconds: float) -> None:
        now = self._clock()
        before = self._uses.get(namespace)
        self._uses[namespace] = _Use(seconds + (before.left(now) if before is not None else 0.0), now)
        if len(self._uses) > 256:
            self._uses = {name: use for name, use in self._uses.items() if use.left(now) > LIGHT_SECONDS / 100}
