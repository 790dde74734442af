"""dst: Once, for fields that name no hours of their own (`*`, a step): a tick whenever clocks show a time that fits.

Who writes `0 * * * *` means each hour, and the day with 25 hours has 25; a time that clocks jump over is shown by none.
So does Vixie cron with what it calls wildcard jobs (cron.c, ISC cron 4.1).
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from nexus.core.schedule.cron import Cron, Days
from nexus.core.schedule.local_times import time_after, time_before
from nexus.core.schedule.zone import Clock, Repeat, place, repeat, wall

_MICROSECOND = timedelta(microseconds=1)


def following(
    cron: Cron, zone: tzinfo, after: datetime, allowed: Days | None = None
) -> tuple[datetime, datetime] | None:
    """Return the first tick later than `after`: its instant, in UTC, and its local time, `fold` in a second pass."""
    local, around = wall(after, zone), repeat(after, zone)
    if around is not None:
        # What is left of this pass; then, behind the first, all of the second.
        starts = [local] if around.second else [local, around.start - _MICROSECOND]
        for second, start in zip((around.second, True), starts, strict=False):
            found = time_after(cron, start, allowed)
            if found is not None and found < around.end:
                return _tick(found, zone, around, second=second)
        local = around.end - _MICROSECOND
    while (found := time_after(cron, local, allowed)) is not None:
        placed = place(found, zone)
        if placed.clock is not Clock.SKIPPED:
            return placed.at, found
        local = found
    return None


def preceding(
    cron: Cron, zone: tzinfo, before: datetime, allowed: Days | None = None
) -> tuple[datetime, datetime] | None:
    """Return the last tick earlier than `before`, as of `following`."""
    local, around = wall(before, zone), repeat(before, zone)
    if around is not None:
        ends = [local, around.end] if around.second else [local]
        for second, end in zip((around.second, False), ends, strict=False):
            found = time_before(cron, end, allowed)
            if found is not None and found >= around.start:
                return _tick(found, zone, around, second=second)
        local = around.start
    while (found := time_before(cron, local, allowed)) is not None:
        placed = place(found, zone)
        if placed.clock is not Clock.SKIPPED:
            passed = repeat(placed.at, zone)
            return (placed.at, found) if passed is None else _tick(found, zone, passed, second=True)
        local = found
    return None


def _tick(local: datetime, zone: tzinfo, around: Repeat, *, second: bool) -> tuple[datetime, datetime]:
    first = place(local, zone).at
    return (first + around.back, local.replace(fold=1)) if second else (first, local)
