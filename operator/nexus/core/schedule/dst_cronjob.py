"""dst: CronJob. Exactly what Kubernetes' CronJob does: robfig/cron v3's `Next`, step by step, on Go's rules for times.

Source: github.com/robfig/cron v3.0.1, spec.go, and Go's time.Date and Time.AddDate. A local time that does not exist is
left out, one that comes twice runs twice. With what it gets wrong: where clocks change at midnight or by half an hour
it leaves out ticks, or runs on a day that does not fit. Where it would never return (zones that skipped a day) the day
is stepped over.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from nexus.core.schedule.cron import Cron, Days
from nexus.core.schedule.zone import place, wall

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_PROBE = timedelta(minutes=15)
_YEARS = 5
# The windows in which the tick before is looked for: most schedules have one in the first or second.
_WINDOWS = (_HOUR, _DAY, 8 * _DAY, 32 * _DAY, 367 * _DAY, _YEARS * 366 * _DAY)


def following(
    cron: Cron, zone: tzinfo, after: datetime, allowed: Days | None = None
) -> tuple[datetime, datetime] | None:
    """Return the first tick later than `after`: its instant, in UTC, and its local time. None where none is within 5
    years."""
    asked = after
    while (found := original(cron, zone, asked, allowed)) is not None:
        if found > after:
            return found, wall(found, zone)
        # Where midnight comes twice the original may answer with its first, which is over: it is asked from later on.
        asked += _PROBE
    return None


def original(cron: Cron, zone: tzinfo, after: datetime, allowed: Days | None = None) -> datetime | None:
    """Return what the original says is next; once in many years that is a time before `after`."""
    return _Walk(cron, zone, after, allowed).to_the_next()


def preceding(
    cron: Cron, zone: tzinfo, before: datetime, allowed: Days | None = None
) -> tuple[datetime, datetime] | None:
    """Return the last tick earlier than `before`; None where none is within 5 years.

    There is no way back in the original: this is what it says for the latest second from which it names a time before
    `before`.
    """
    for window in _WINDOWS:
        early = before - window
        first = following(cron, zone, early, allowed)
        if first is None or first[0] >= before:
            continue
        best, late = first, before
        while late - early > _SECOND:
            middle = early + (late - early) / 2
            found = following(cron, zone, middle, allowed)
            if found is None or found[0] >= before:
                late = middle
            else:
                best = found
                early = max(middle, found[0])
        return best
    return None


class _Walk:
    """One search: an instant that moves on field by field."""

    def __init__(self, cron: Cron, zone: tzinfo, after: datetime, allowed: Days | None) -> None:
        self._cron, self._zone, self._allowed = cron, zone, allowed
        # The original has seconds; its field for them is 0.
        self._at = after.astimezone(UTC).replace(microsecond=0) + _SECOND
        self._local = wall(self._at, zone)
        self._fresh = True
        """Until a field has moved: with the first that does, all finer ones go to their start."""

    def to_the_next(self) -> datetime | None:
        last_year = self._local.year + _YEARS
        while self._local.year <= last_year:
            # Each stage is false where it went over the end of the coarser field, which is then looked at again.
            if self._month() and self._day() and self._hour() and self._minute() and self._second():
                return self._at
        return None

    def _go(self, at: datetime) -> None:
        self._at = at
        self._local = wall(at, self._zone)

    def _month(self) -> bool:
        while self._local.month not in self._cron.months:
            self._start(self._local.replace(day=1, hour=0, minute=0, second=0))
            local = self._local
            # As AddDate(0, 1, 0): a day that the next month does not have runs over into the one after.
            months = local.year * 12 + local.month
            first = local.replace(year=months // 12, month=months % 12 + 1, day=1)
            self._go(_date(first + (local.day - 1) * _DAY, self._zone))
            if self._local.month == 1:
                return False
        return True

    def _day(self) -> bool:
        while not self._fits():
            self._start(self._local.replace(hour=0, minute=0, second=0))
            was = self._at
            tomorrow = self._local + _DAY
            self._go(_date(tomorrow, self._zone))
            if self._local.hour != 0:  # the clocks changed at midnight
                missing = 24 - self._local.hour if self._local.hour > 12 else -self._local.hour
                self._go(self._at + missing * _HOUR)
            if self._at <= was:
                self._go(max(place(tomorrow, self._zone).at, was + _SECOND))
            if self._local.day == 1:
                return False
        return True

    def _fits(self) -> bool:
        day = self._local.date()
        return self._cron.fits(day) and (self._allowed is None or self._allowed(day))

    def _hour(self) -> bool:
        while self._local.hour not in self._cron.hours:
            self._start(self._local.replace(minute=0, second=0))
            self._leap(_next_of(self._cron.hours, self._local.hour, 24) * _HOUR, _HOUR)
            if self._local.hour == 0:
                return False
        return True

    def _minute(self) -> bool:
        while self._local.minute not in self._cron.minutes:
            if self._fresh:
                self._fresh = False
                self._go(self._at.replace(second=0))
            self._leap(_next_of(self._cron.minutes, self._local.minute, 60) * _MINUTE, _MINUTE)
            if self._local.minute == 0:
                return False
        return True

    def _second(self) -> bool:
        if self._local.second == 0:
            return True
        self._fresh = False
        self._go(self._at + (60 - self._local.second) * _SECOND)
        return False

    def _leap(self, far: timedelta, step: timedelta) -> None:
        """Many of the original's steps at once, where the clocks do not change on the way."""
        even = wall(self._at + far, self._zone) == self._local + far
        self._go(self._at + (far if even else step))

    def _start(self, local: datetime) -> None:
        if self._fresh:
            self._fresh = False
            self._go(_date(local, self._zone))


def _next_of(numbers: tuple[int, ...], now: int, end: int) -> int:
    """Return how far it is from `now` to the next of the numbers, or to the end of the field."""
    return next((number for number in numbers if number > now), end) - now


def _date(local: datetime, zone: tzinfo) -> datetime:
    """Go's time.Date: one of the instants of a local time, and for one that does not exist one nearby."""
    guess = local.replace(tzinfo=UTC, fold=0)
    offset = guess.astimezone(zone).utcoffset()
    assert offset is not None
    if offset:
        offset = (guess - offset).astimezone(zone).utcoffset()
        assert offset is not None
    return guess - offset
