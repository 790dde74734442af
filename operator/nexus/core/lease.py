"""Leader election: what a candidate makes of the Lease that it sees, and how long a leader may trust its own.

A Lease says who leads, for how many seconds after a renewal, and by the holder's clock when that was. No candidate ever
compares that time with its own clock. What counts is when this candidate saw the Lease change last, by a clock of its
own that only grows: the holder has from then on as long as the Lease says. The holder in turn counts from the moment
before it sent its last renewal, which is earlier than anybody can have seen it, and gives up after two thirds of the
time. So a leader has stopped before another one starts, whatever their clocks show, as long as they run at about the
same speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

# What another one may write into a Lease; a week is a mistake, and would be one for a week.
LONGEST_SECONDS = 3_600
# No wait is shorter than this: sums of floats differ, and a loop would spin until its clock moves on.
SHORTEST_LOOK = 0.01


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a leader may be silent. The proportions are client-go's (15, 10 and 2 seconds)."""

    seconds: int = 12
    """Seconds without a renewal after which another candidate takes over."""

    @property
    def renew_within(self) -> float:
        """Seconds after which a leader that could not renew stops."""
        return self.seconds * 2 / 3

    @property
    def retry_every(self) -> float:
        """Seconds between two renewals, and between two looks of a candidate."""
        return self.seconds / 6

    @property
    def retry_after_failure(self) -> float:
        """Seconds until a leader tries again after a renewal that failed: an API server that is away for half of
        `renew_within` then does not cost the leader its Lease."""
        return self.retry_every / 4

    @property
    def try_for(self) -> float:
        """Seconds that one renewal may take: a connection that hangs leaves time for another one."""
        return self.renew_within / 2


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says."""

    holder: str
    """Who leads; empty where the last one gave it back."""
    seconds: int
    renewed: str
    """When, by the holder's clock: a string, since it is never calculated with."""
    transitions: int = 0
    """How often it has changed hands."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A Lease (None: there is none) and since when it looks like this, by the clock of who looks."""

    record: LeaseRecord | None
    since: float


class Step(Enum):
    """What a candidate does next."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


def sighted(before: Sighting | None, record: LeaseRecord | None, now: float) -> Sighting:
    """Return what a candidate knows after another look. A Lease that says the same as before is as old as it was."""
    if before is not None and before.record == record:
        return before
    return Sighting(record, now)


def step(sighting: Sighting, me: str, now: float) -> Step:
    """Return what to do about the Lease."""
    record = sighting.record
    if record is None:
        return Step.CREATE
    if record.holder == me:
        return Step.RENEW  # a write whose answer was lost had been done
    return Step.TAKE if not record.holder or now >= _ends(sighting.since, record) else Step.WAIT


def _ends(since: float, record: LeaseRecord) -> float:
    return since + min(max(record.seconds, 1), LONGEST_SECONDS)


def look_again(sighting: Sighting | None, now: float, terms: Terms) -> float:
    """Return the seconds until a candidate that waits looks again: no later than the Lease that it knows ends."""
    if sighting is None or sighting.record is None:
        return terms.retry_every
    left = _ends(sighting.since, sighting.record) - now
    return min(max(left, SHORTEST_LOOK), terms.retry_every) if left > 0 else terms.retry_after_failure


def leads(renewed_at: float | None, now: float, terms: Terms) -> bool:
    """Return whether who renewed last at `renewed_at` (None: never) may still work. A clock that jumps ahead, as that
    of a process that was stopped and goes on does, ends it."""
    return renewed_at is not None and now < renewed_at + terms.renew_within
