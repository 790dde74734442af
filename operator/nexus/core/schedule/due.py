"""Due: which ticks of a schedule are to be started now, which never will be, and when to look again.

The work is bounded however long the operator was down: ticks are counted one by one up to COUNTED, and beyond that the
latest are looked up from the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from nexus.api.schedule import CatchUp
from nexus.core.schedule.timetable import Tick, Timetable

COUNTED = 1_000
ON_TIME = timedelta(seconds=60)
"""How late a tick may be with catchUp None where startingDeadlineSeconds says nothing."""
_LIMIT = 10
_MICROSECOND = timedelta(microseconds=1)


class Missed(StrEnum):
    """Why a tick is never started."""

    SUSPENDED = "Suspended"
    """The schedule or the workflow was suspended."""
    DEADLINE = "Deadline"
    """It is later than startingDeadlineSeconds."""
    CATCH_UP = "CatchUp"
    """A later one is started in its place, as catchUp and catchUpLimit say."""


@dataclass(frozen=True, slots=True)
class Due:
    """`start`: the ticks to start, oldest first. `missed`: how many never will be, by reason; with `more` there are
    more than that. `handled`: the tick up to which all is decided, to be recorded and given as `since` the next
    time (with it no tick is started or counted twice); None where nothing new is. `next` is the first tick after, and
    `wake_at` when it is due, both None where there is none."""

    start: tuple[Tick, ...] = ()
    missed: dict[Missed, int] = field(default_factory=dict)
    more: bool = False
    handled: datetime | None = None
    next: Tick | None = None
    wake_at: datetime | None = None


def due(timetable: Timetable, since: datetime, now: datetime, *, suspended: bool = False) -> Due:
    """Return what to do about a schedule at `now`. `since` is the last tick that was handled, or the creation of the
    Workflow: nothing at or before it is looked at, so that a clock that stepped back starts nothing again.

    `suspended` is the workflow's own suspend; the schedule's is looked at here.
    """
    ticks, coming, more = _passed(timetable, since, now)
    wake_at = timetable.fire_at(coming) if coming is not None else None
    if not ticks:
        return Due(next=coming, wake_at=wake_at)
    schedule = timetable.schedule
    start: list[Tick] = []
    missed: Counter[Missed] = Counter()
    policy = schedule.catch_up or CatchUp.LATEST
    limit = (schedule.catch_up_limit or _LIMIT) if policy is CatchUp.ALL else 1
    deadline = _deadline(timetable)
    for tick in reversed(ticks):
        if suspended or schedule.suspend:
            missed[Missed.SUSPENDED] += 1
        elif deadline is not None and now > timetable.fire_at(tick) + deadline:
            missed[Missed.DEADLINE] += 1
        elif len(start) == limit:
            missed[Missed.CATCH_UP] += 1
        else:
            start.append(tick)
    return Due(tuple(reversed(start)), dict(missed), more, ticks[-1].time, coming, wake_at)


def _deadline(timetable: Timetable) -> timedelta | None:
    seconds = timetable.schedule.starting_deadline_seconds
    if seconds is not None:
        return timedelta(seconds=seconds)
    return ON_TIME if timetable.schedule.catch_up is CatchUp.NONE else None


def _passed(timetable: Timetable, since: datetime, now: datetime) -> tuple[list[Tick], Tick | None, bool]:
    """Return the ticks after `since` that are due, oldest first and at most COUNTED of them, the latest; the first that
    is not due; and whether there were more."""
    ticks: list[Tick] = []
    after = since
    while len(ticks) < COUNTED:
        tick = timetable.next(after)
        if tick is None or timetable.fire_at(tick) > now:
            return ticks, tick, False
        ticks.append(tick)
        after = tick.time
    coming = timetable.next(after)
    if coming is None or timetable.fire_at(coming) > now:
        return ticks, coming, False
    latest = _latest(timetable, now, coming)
    return [*ticks, *latest], timetable.next(latest[-1].time), True


def _latest(timetable: Timetable, now: datetime, first: Tick) -> list[Tick]:
    """Return the last ticks that are due, oldest first: no more than could be started. `first` is due."""
    limit = timetable.schedule.catch_up_limit or _LIMIT
    found: list[Tick] = []
    before = now + _MICROSECOND
    while len(found) < limit and (tick := timetable.previous(before)) is not None and tick.time >= first.time:
        if timetable.fire_at(tick) <= now:
            found.append(tick)
        before = tick.time
    return found[::-1] or [first]
