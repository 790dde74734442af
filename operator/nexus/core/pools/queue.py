"""The line of a pool: who holds its slots, who waits for one, in which order.

The order is that in which the line was joined, and the line itself is what all operators read and write: no clock has a
part in it. Who holds is decided here, from what is known to be over; how that is known, and how two operators agree, is
the adapter's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

FRONT = 2
"""Places in line whose words are kept exact."""
LONGEST = 2_000
"""Entries of a line: more would not fit into an object."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A Job that holds a slot, or waits for one."""

    run: str
    uid: str
    """UID of the run."""
    task: str
    job: str
    """Name of the Job."""
    since: str
    """When it joined the line, or got its slot: RFC 3339. For readers; and while it changes, its holder is at work."""
    by: str = ""
    """Which operator may make the Job; empty while it waits."""

    @property
    def whose(self) -> str:
        """For people."""
        return f"{self.run}/{self.task}"


@dataclass(frozen=True, slots=True)
class PoolQueue:
    """A pool at one moment."""

    holders: tuple[Entry, ...] = ()
    waiting: tuple[Entry, ...] = ()

    def holder(self, job: str) -> Entry | None:
        """Return the entry of a Job that holds a slot."""
        return next((entry for entry in self.holders if entry.job == job), None)

    def place(self, job: str) -> int:
        """Return a waiting Job's place, from 1; behind the last in a line that has no room for it, else 0."""
        place = next((place for place, entry in enumerate(self.waiting, 1) if entry.job == job), 0)
        return place or (LONGEST + 1 if len(self.waiting) >= LONGEST and self.holder(job) is None else 0)


def settle(
    line: PoolQueue,
    size: int,
    *,
    over: Collection[str],
    asks: Iterable[Entry] = (),
    passed: Collection[str] = (),
    by: str,
    now: str,
) -> PoolQueue:
    """Return the line after what is `over` left it, those who ask joined at its end, and free slots went to the first
    in it whose runs may start something (not `passed`): operator `by` is to make their Jobs.

    A pool that shrank has more holders than slots: they stay, and no slot is granted until enough of them are over.
    """
    holders = [entry for entry in line.holders if entry.job not in over]
    waiting = [entry for entry in line.waiting if entry.job not in over]
    known = {entry.job for entry in (*holders, *waiting)}
    for ask in asks:
        if ask.job not in known and len(waiting) < LONGEST:
            known.add(ask.job)
            waiting.append(ask)
    left = []
    for entry in waiting:
        if len(holders) < size and entry.job not in passed:
            holders.append(replace(entry, by=by, since=now))
        else:
            left.append(entry)
    return PoolQueue(tuple(holders), tuple(left))


def bound(place: int) -> int:
    """Return an upper bound for the number ahead of a place: a power of two, which changes rarely."""
    return 1 << (place - 2).bit_length() if place > 2 else max(place - 1, 0)


def told(before: PoolQueue, after: PoolQueue) -> list[Entry]:
    """Return whom a change concerns: those with a slot now, those in front, and those who moved up by a power of
    two."""
    places = {entry.job: place for place, entry in enumerate(before.waiting, 1)}
    waited = [entry for entry in after.holders if entry.job in places]
    changed = before.holders != after.holders
    for place, entry in enumerate(after.waiting, 1):
        was = places.get(entry.job, place)
        if (place <= FRONT and (changed or place != was)) or bound(place) != bound(was):
            waited.append(entry)
    return waited


def ordinal(place: int) -> str:
    """Return a place in words that a reader counts with: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    ends = "th" if 11 <= place % 100 <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ends}"
