"""dst: Once. Each local time that fits the cron fields is one tick, whatever the clocks do.

One that does not exist runs at the instant the clocks jump; together with a tick that is due then, or others that are
skipped, it is one. One that comes twice runs at its first.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from nexus.core.schedule.cron import Cron, Days
from nexus.core.schedule.local_times import time_after, time_before
from nexus.core.schedule.zone import place, repeat_end, wall

_MICROSECOND = timedelta(microseconds=1)


def following(
    cron: Cron, zone: tzinfo, after: datetime, allowed: Days | None = None
) -> tuple[datetime, datetime] | None:
    """Return the first tick later than `after`: its instant, in UTC, and its local time as the fields have it."""
    end = repeat_end(after, zone)
    # All that comes twice has had its first.
    local = wall(after, zone) if end is None else end - _MICROSECOND
    while (found := time_after(cron, local, allowed)) is not None:
        placed = place(found, zone)
        if placed.at > after:
            return placed.at, found
        local = found
    return None


def preceding(
    cron: Cron, zone: tzinfo, before: datetime, allowed: Days | None = None
) -> tuple[datetime, datetime] | None:
    """Return the last tick earlier than `before`, as of `following`."""
    local = repeat_end(before, zone) or wall(before, zone)
    while (found := time_before(cron, local, allowed)) is not None:
        placed = place(found, zone)
        if placed.at < before:
            # Several local times may fall on the instant of a jump; the tick is named after the first of them.
            return following(cron, zone, placed.at - _MICROSECOND, allowed)
        # `before` is the instant of a jump: all that the clocks jump over is due then, not earlier.
        local = wall(placed.at - _MICROSECOND, zone) + _MICROSECOND
    return None
