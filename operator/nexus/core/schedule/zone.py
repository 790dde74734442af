"""Time zones: which there are, and which instants a local time denotes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from nexus.core.text.similar_names import closest, did_you_mean

_SECOND = timedelta(seconds=1)
# Of the machine, not of the world: each may mean another zone elsewhere.
_NOT_PORTABLE = ("local", "localtime", "posixrules", "factory")


class ZoneUnknown(ValueError):
    """There is no such time zone."""


class Clock(StrEnum):
    """What the clocks do at a local time."""

    PLAIN = "plain"
    """It comes once."""
    SKIPPED = "skipped"
    """It does not exist: clocks jump over it."""
    TWICE = "twice"
    """It comes twice: clocks go back over it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A local time on the line of instants: its first instant or, where it is skipped, the one of the jump; in UTC."""

    at: datetime
    clock: Clock


# Characters of a name. What is not in the database is looked for in packages, one for each slash.
_LONGEST = 64


@lru_cache(maxsize=1024)
def find(name: str) -> ZoneInfo:
    """Return the zone of an IANA name. Raises ZoneUnknown with the name that was meant."""
    try:
        if len(name) > _LONGEST or name.lower() in _NOT_PORTABLE or name.startswith(("posix/", "right/")):
            raise ValueError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ZoneUnknown(f'unknown time zone "{name[:_LONGEST]}"; {_meant(name[:_LONGEST])}') from None


# UTC+1, GMT-02:30, +0530, Z+1: an offset. The tz database has whole hours only, with the sign of POSIX.
_OFFSET = re.compile(r"(?:utc|gmt|z|etc/gmt|etc/utc)?\s*([+-])\s*(\d{1,2})(?::?(\d\d))?", re.IGNORECASE)


def _of_offset(name: str) -> str | None:
    """Return what to write for an offset from UTC; None where the name is none."""
    found = _OFFSET.fullmatch(name)
    if found is None:
        return None
    sign, hours, minutes = found[1], int(found[2]), int(found[3] or 0)
    if not hours and not minutes:
        return "write UTC"
    city = "write a city, such as Europe/Berlin, which follows daylight saving time"
    if minutes or hours > (14 if sign == "+" else 12):
        return city
    fixed = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"
    return f"{city}, or {fixed} for a fixed {sign}{hours:02}:00 (its sign is inverted)"


def _meant(name: str) -> str:
    offset = _of_offset(name)
    if offset is not None:
        return offset
    known = {zone.lower(): zone for zone in available_timezones()}
    cities = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known.values()) if "/" in zone}
    lowered = name.lower().replace(" ", "_")
    close = closest(lowered, known, cutoff=0.75)
    if close:
        return did_you_mean([known[close[0]]])
    close = closest(lowered.rpartition("/")[2], cities, cutoff=0.8)
    if close:
        return did_you_mean([cities[close[0]]])
    return "write it as in Europe/Berlin or Asia/Kolkata, or UTC"


def wall(instant: datetime, zone: tzinfo) -> datetime:
    """Return what clocks show at an instant, without the zone; `fold` is 1 in the second pass of a repeated time."""
    return instant.astimezone(zone).replace(tzinfo=None)


@lru_cache(maxsize=256)  # a tick is looked for, and then reported: twice the same question
def place(local: datetime, zone: tzinfo) -> Placed:
    """Return the instant of a local time (without a zone, `fold` of no matter)."""
    first = local.replace(tzinfo=zone, fold=0)
    before, after = _offset(first), _offset(first.replace(fold=1))
    if before == after:
        return Placed((local - before).replace(tzinfo=UTC, fold=0), Clock.PLAIN)
    if before > after:
        return Placed((local - before).replace(tzinfo=UTC, fold=0), Clock.TWICE)
    # Skipped: PEP 495 gives the offsets before and after the jump, which lies between the two readings.
    early, late = (local - after).replace(tzinfo=UTC, fold=0), (local - before).replace(tzinfo=UTC, fold=0)
    return Placed(change(early, late, zone), Clock.SKIPPED)


def change(early: datetime, late: datetime, zone: tzinfo) -> datetime:
    """Return the first instant with the offset of `late`, where the offset changes once between `early` and `late`:
    clocks change at whole seconds."""
    early, late = early.replace(microsecond=0), late.replace(microsecond=0)
    new = _offset(late.astimezone(zone))
    while late - early > _SECOND:
        middle = early + timedelta(seconds=(late - early) // _SECOND // 2)
        if _offset(middle.astimezone(zone)) == new:
            late = middle
        else:
            early = middle
    return late


@dataclass(frozen=True, slots=True)
class Repeat:
    """Local times that come twice, from `start` to before `end`, without a zone; clocks are set `back` by this
    duration."""

    start: datetime
    end: datetime
    back: timedelta
    second: bool
    """Whether it is the second pass that was asked about."""


def repeat(instant: datetime, zone: tzinfo) -> Repeat | None:
    """Return what comes twice around an instant; None where its local time comes once."""
    local = wall(instant, zone)
    first, last = (_offset(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if first <= last:
        return None
    second = bool(local.fold)
    back = first - last
    end = repeat_end(instant if second else instant + back, zone)
    assert end is not None  # that is in the second pass
    return Repeat(end - back, end, back, second)


def repeat_end(instant: datetime, zone: tzinfo) -> datetime | None:
    """In the second pass of a repeated local time, the local time at which the repeat ends; else None."""
    aware = instant.astimezone(zone)
    if not aware.fold:
        return None
    was = _offset(aware.replace(fold=0))
    at = instant.astimezone(UTC)
    # The clocks went back at most as long ago as they went back.
    return (change(at - (was - _offset(aware)), at, zone) + was).replace(tzinfo=None)


def _offset(aware: datetime) -> timedelta:
    offset = aware.utcoffset()
    assert offset is not None
    return offset
