"""A schedule's ticks: the next, the one before, the interval between, when each is started, why one is elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from nexus.api.schedule import Dst, Schedule
from nexus.core.schedule import dst_cronjob, dst_once, dst_shown, exclusion, zone
from nexus.core.schedule.cron import Cron, Days, Every, parse
from nexus.core.schedule.local_times import HORIZON_YEARS
from nexus.core.schedule.zone import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
# A day of each, with its whole horizon, fits into the years that there are.
_FIRST, _LAST = _EPOCH, datetime(9900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tick:
    """An instant at which a schedule is due, in UTC. `local` is its local time in terms of the cron fields,
    without a zone: not what clocks show at `time` where that one is skipped. `note` is what DST did to it, in words."""

    time: datetime
    local: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why there is no tick where one could be expected: on an excluded day, at a time that clocks jump over."""

    time: datetime
    local: datetime
    note: str


class Timetable:
    """The ticks of one schedule that has no problems (nexus.core.validate.schedules finds them).

    `workflow_uid` makes jitter differ between workflows; offline any text will do. Raises CronInvalid and ZoneUnknown.
    Every search ends: at HORIZON_YEARS, in mode CronJob at its 5.
    """

    def __init__(self, schedule: Schedule, workflow_uid: str = "") -> None:
        self.schedule = schedule
        self.zone: ZoneInfo = zone.find(schedule.time_zone or "UTC")
        self._rule = parse(schedule.cron)
        self._uid = workflow_uid
        # How the fields meet the clocks: one tick for each local time, for each that is shown, or as Kubernetes.
        shown = isinstance(self._rule, Cron) and self._rule.each_hour
        self._clocks = dst_cronjob if schedule.dst is Dst.CRON_JOB else dst_shown if shown else dst_once
        # Any time may be written; those outside of all ticks are as good as the first and the last.
        self._from = None if schedule.from_ is None else _within(schedule.from_)
        self._until = None if schedule.until is None else _within(schedule.until)
        self._excluded = exclusion.reason(schedule.exclude) if schedule.exclude is not None else None
        excluded = self._excluded
        self._allowed: Days | None = None if excluded is None else lambda day: excluded(day) is None

    def next(self, after: datetime) -> Tick | None:
        """Return the first tick later than `after`, None where there is none any more."""
        start, until = self._from, self._until
        after = _within(after)
        if start is not None and start > after:
            after = start - _MICROSECOND
        found = self._following(after, self._allowed)
        if found is None or (until is not None and found[0] >= until):
            return None
        return self._tick(*found)

    def previous(self, before: datetime) -> Tick | None:
        """Return the last tick earlier than `before`, None where there is none."""
        start, until = self._from, self._until
        before = _within(before)
        if until is not None and until < before:
            before = until
        found = self._preceding(before)
        if found is None or (start is not None and found[0] < start):
            return None
        return self._tick(*found)

    def interval(self, tick: Tick) -> tuple[datetime, datetime]:
        """Return what a tick's run is about: from the tick before, whether or not that is after `from`, to itself. So
        the intervals of a schedule leave nothing out, excluded days neither. Without a tick before, both ends are the
        same.
        """
        before = self._preceding(tick.time)
        return (before[0] if before is not None else tick.time), tick.time

    def is_tick(self, at: datetime) -> Tick | None:
        """Return the tick at an instant, None where there is none."""
        found = self.next(_within(at) - _MICROSECOND)
        return found if found is not None and found.time == at else None

    def fire_at(self, tick: Tick) -> datetime:
        """Return when a tick is started: up to jitterSeconds late, always before the next tick, so that their order
        stays."""
        most = self.schedule.jitter_seconds or 0
        if not most:
            return tick.time
        coming = self._following(tick.time, self._allowed)
        if coming is not None:
            most = min(most, int((coming[0] - tick.time).total_seconds()) - 1)
        text = f"{self._uid}\0{self.schedule.name}\0{int(tick.time.timestamp())}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return tick.time + timedelta(seconds=number % (most + 1))

    def upcoming(self, after: datetime, count: int) -> list[Tick | Skipped]:
        """Return the next `count` ticks, and between them what is skipped: of an excluded day the first time."""
        found: list[Tick | Skipped] = []
        after = _within(after)
        while count > 0:
            tick = self.next(after)
            found += self._skipped(after, tick)
            if tick is None:
                break
            found.append(tick)
            after = tick.time
            count -= 1
        return found

    def _following(self, after: datetime, allowed: Days | None) -> tuple[datetime, datetime] | None:
        if after >= _LAST:
            return None
        if isinstance(self._rule, Cron):
            found: tuple[datetime, datetime] | None = self._clocks.following(self._rule, self.zone, after, allowed)
            return found
        return _every_following(self._rule, self.zone, after, allowed)

    def _preceding(self, before: datetime) -> tuple[datetime, datetime] | None:
        if before <= _FIRST:
            return None
        if isinstance(self._rule, Cron):
            found: tuple[datetime, datetime] | None = self._clocks.preceding(
                self._rule, self.zone, before, self._allowed
            )
            return found
        return _every_preceding(self._rule, self.zone, before, self._allowed)

    def _tick(self, time: datetime, local: datetime) -> Tick:
        if isinstance(self._rule, Every):
            return Tick(time, local)
        return Tick(time, local, self._note(time, local))

    def _note(self, time: datetime, local: datetime) -> str:
        clock = zone.place(local, self.zone).clock
        if clock is Clock.SKIPPED:
            shown = zone.wall(time, self.zone)
            return f"{local:%H:%M} does not exist on this day: runs when clocks jump, at {_clock(shown, local)}"
        if clock is Clock.TWICE:
            if self._clocks is dst_once:
                return f"{local:%H:%M} comes twice: runs at the first"
            return f"{local:%H:%M} comes twice: this is the {'second' if local.fold else 'first'}"
        return ""

    def _skipped(self, after: datetime, tick: Tick | None) -> Iterator[Skipped]:
        """Yield what is left out between two ticks."""
        end = tick.time if tick is not None else after + 366 * _DAY
        found: list[Skipped] = []
        if self._excluded is not None:
            found += self._excluded_days(max(after, self._from or after), min(end, self._until or end))
        if self._clocks is not dst_once and isinstance(self._rule, Cron):
            once = dst_once.following(self._rule, self.zone, after, self._allowed)
            if once is not None and once[0] <= end and zone.place(once[1], self.zone).clock is Clock.SKIPPED:
                found.append(Skipped(once[0], once[1], f"{once[1]:%H:%M} does not exist on this day"))
        yield from sorted(found, key=lambda skipped: skipped.time)

    def _excluded_days(self, after: datetime, end: datetime) -> Iterator[Skipped]:
        """Yield the first time of each day without ticks. Between two ticks there are no others."""
        noted: set[date] = set()
        assert self._excluded is not None
        while (found := self._following(after, lambda day: day not in noted)) is not None and found[0] < end:
            day = found[1].date()
            why = self._excluded(day)
            if why is not None:
                noted.add(day)
                yield Skipped(*found, f"skipped: {why}")
            after = found[0]


def _within(at: datetime) -> datetime:
    return min(max(at, _FIRST), _LAST)


def _clock(shown: datetime, local: datetime) -> str:
    """Return the time of day, with the day where it is another."""
    return f"{shown:%H:%M}" if shown.date() == local.date() else f"{shown:%Y-%m-%d %H:%M}"


def _every_following(
    rule: Every, here: ZoneInfo, after: datetime, allowed: Days | None
) -> tuple[datetime, datetime] | None:
    step = timedelta(seconds=rule.seconds)
    for _ in range(HORIZON_YEARS * 366):
        time = _EPOCH + ((after - _EPOCH) // step + 1) * step
        local = zone.wall(time, here)
        if allowed is None or allowed(local.date()):
            return time, local
        tomorrow = datetime.combine(local.date() + _DAY, datetime.min.time())
        after = max(time, zone.place(tomorrow, here).at - _MICROSECOND)
    return None


def _every_preceding(
    rule: Every, here: ZoneInfo, before: datetime, allowed: Days | None
) -> tuple[datetime, datetime] | None:
    step = timedelta(seconds=rule.seconds)
    for _ in range(HORIZON_YEARS * 366):
        time = _EPOCH - ((_EPOCH - before) // step + 1) * step
        if time < _EPOCH:
            return None
        local = zone.wall(time, here)
        if allowed is None or allowed(local.date()):
            return time, local
        today = datetime.combine(local.date(), datetime.min.time())
        before = min(time, zone.place(today, here).at)
    return None
