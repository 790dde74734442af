"""The times of cron fields on a clock without a zone: the next one and the one before.

croniter does the arithmetic. It reads a few expressions otherwise than Kubernetes (`*/1` and `1-1` are stars to it, a
day field that names all days is one too), so it never sees what was written: its fields are made from the numbers that
nexus.core.schedule.cron has read, and a pair of day fields of which either is enough is a star where it fits each day.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from nexus.core.schedule.cron import Cron, Days

if TYPE_CHECKING:
    from croniter import croniter

HORIZON_YEARS = 28
"""How far ticks are searched for: after 28 years the calendar repeats itself. The longest wait without exclusions, for
29 February around 2100, is 8."""
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_CYCLE = timedelta(days=146_097)
"""400 years, after which the calendar repeats itself with its days of the week."""
_FIRST_YEAR, _LAST_YEAR = 100, 9_900
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a clock without a zone


def time_after(cron: Cron, local: datetime, allowed: Days | None = None) -> datetime | None:
    """Return the first time later than `local`, None where there is none within HORIZON_YEARS."""
    # Times are whole minutes: the first after this minute is the first after any moment in it.
    start = local.replace(second=0, microsecond=0)
    found = _step(cron, start, back=False)
    if found is None or allowed is None or allowed(found.date()):
        return found
    day = _allowed_day(cron, found, _DAY, allowed, local.year)
    return None if day is None else _step(cron, day - _MINUTE, back=False)


def time_before(cron: Cron, local: datetime, allowed: Days | None = None) -> datetime | None:
    """Return the last time earlier than `local`, None where there is none within HORIZON_YEARS."""
    minute = local.replace(second=0, microsecond=0)
    # Within a minute that has begun, that minute itself is earlier.
    try:
        start = minute if minute == local else minute + _MINUTE
    except OverflowError:
        return None
    found = _step(cron, start, back=True)
    if found is None or allowed is None or allowed(found.date()):
        return found
    day = _allowed_day(cron, found, -_DAY, allowed, local.year)
    return None if day is None else _step(cron, day + _DAY, back=True)


def _step(cron: Cron, minute: datetime, *, back: bool) -> datetime | None:
    from croniter import CroniterBadDateError

    # croniter gives up a year before a datetime does: there it counts in the same years of another cycle.
    moved = -_CYCLE if minute.year > _LAST_YEAR else _CYCLE if minute.year < _FIRST_YEAR else timedelta()
    # A copy: the iterator keeps where it is, and threads share the cached one.
    times = copy.copy(_iterator(cron))
    step = times.get_prev if back else times.get_next
    try:
        found: datetime = step(datetime, start_time=minute + moved)
        return found - moved
    except (CroniterBadDateError, OverflowError):  # none that near, or the years end at 1 and at 9999
        return None


@lru_cache(maxsize=1024)
def _iterator(cron: Cron) -> croniter:
    from croniter import croniter

    # Either of two is enough, and one of them fits each day: so does the pair.
    stars = cron.either and (len(cron.days) == 31 or len(cron.weekdays) == 7)
    fields = (cron.minutes, cron.hours, () if stars else cron.days, cron.months, () if stars else cron.weekdays)
    text = " ".join(",".join(map(str, sorted(numbers))) or "*" for numbers in fields)
    return croniter(text, _EPOCH, day_or=cron.either, max_years_between_matches=HORIZON_YEARS)


def _allowed_day(cron: Cron, found: datetime, step: timedelta, allowed: Days, year: int) -> datetime | None:
    """Return the nearest day with times beyond that of `found` that is allowed, as its midnight. Days are walked here:
    a step of croniter for each of years of excluded days would hold up others."""
    day = found.replace(hour=0, minute=0)
    try:
        while abs(day.year - year) <= HORIZON_YEARS:
            day += step
            if cron.on(day.date()) and allowed(day.date()):
                return day
    except OverflowError:  # the years end at 1 and at 9999
        pass
    return None
