"""Five years of a schedule: operators come, die at any point and stay away, their clock jumps both ways; each tick is
started once if anybody was there in its time, and never outside of it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.api.schedule import Schedule
from nexus.core.schedule.due import COUNTED, ON_TIME, Missed, due
from nexus.core.schedule.timetable import Tick, Timetable

START = datetime(2020, 1, 1, tzinfo=UTC)
END = START + timedelta(days=5 * 366)


@dataclass
class Cluster:
    """What survives an operator: the runs by the instant of their tick, with the time of their creation, and what is
    recorded as handled."""

    runs: dict[datetime, datetime] = field(default_factory=dict)
    handled: datetime = START

    def create(self, tick: Tick, now: datetime) -> None:
        """The name is the lock: whoever comes second finds the run there."""
        self.runs.setdefault(tick.time, now)


@dataclass(frozen=True)
class Step:
    """One look at the schedule: so long after the last (or just when the next tick is due), by an operator that dies
    before its record is written, having made so many runs; None where it lives."""

    gap: timedelta | None
    dies_after: int | None
    suspended: bool


GAPS = st.sampled_from(
    [None] * 6
    + [timedelta(seconds=s) for s in (0, 1, 59, 3_600)]
    + [timedelta(days=d) for d in (1, 3, 20, 90, 400)]
    + [-timedelta(seconds=90), -timedelta(hours=5), -timedelta(days=40)]
)
STEPS = st.builds(Step, GAPS, st.sampled_from([None, None, None, 0, 1, 3]), st.sampled_from([False] * 5 + [True]))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    return Schedule.model_validate(
        {
            "name": "s",
            "cron": draw(st.sampled_from(["0 */12 * * *", "30 2 * * *", "@every 31h", "15 1-4 * * 0", "0 0 1 * *"])),
            "timeZone": draw(st.sampled_from(["UTC", "Europe/Berlin", "America/Havana"])),
            "dst": draw(st.sampled_from(["Once", "CronJob"])),
            "catchUp": draw(st.sampled_from([None, "None", "Latest", "All"])),
            "catchUpLimit": draw(st.sampled_from([None, 1, 25])),
            "startingDeadlineSeconds": draw(st.sampled_from([None, 60, 7_200, 30 * 86_400])),
            "jitterSeconds": draw(st.sampled_from([None, 900])),
            "exclude": draw(st.sampled_from([None, {"weekends": True}])),
        }
    )


def window(schedule: Schedule) -> timedelta | None:
    """How late a tick may be started."""
    if schedule.starting_deadline_seconds is not None:
        return timedelta(seconds=schedule.starting_deadline_seconds)
    return ON_TIME if schedule.catch_up == "None" else None


@lru_cache(maxsize=1_000)
def all_ticks(schedule: str) -> list[tuple[Tick, datetime]]:
    """All of the five years, each with when it is to be started."""
    timetable = Timetable(Schedule.model_validate_json(schedule), "uid")
    found: list[tuple[Tick, datetime]] = []
    after = START
    while (tick := timetable.next(after)) is not None and tick.time < END:
        found.append((tick, timetable.fire_at(tick)))
        after = tick.time
    return found


def expected(
    schedule: Schedule, starts: list[tuple[Tick, datetime]], since: datetime, now: datetime
) -> tuple[list[Tick], int]:
    """By the words of the documentation, over all ticks one by one: what is started, and how many are missed."""
    first = bisect_right(starts, since, key=lambda entry: entry[0].time)
    passed = list(takewhile(lambda entry: entry[1] <= now, starts[first:]))
    late = window(schedule)
    in_time = [tick for tick, at in passed if late is None or now <= at + late]
    limit = (schedule.catch_up_limit or 10) if schedule.catch_up == "All" else 1
    return in_time[-limit:], len(passed) - len(in_time[-limit:])


@settings(deadline=None)
@given(schedules(), st.lists(STEPS, min_size=5, max_size=60))
def test_each_tick_is_started_once_in_its_time_whatever_happens_to_operators_and_clocks(
    schedule: Schedule, steps: list[Step]
) -> None:
    timetable = Timetable(schedule, "uid")
    starts = all_ticks(schedule.model_dump_json(exclude={"catch_up", "catch_up_limit", "starting_deadline_seconds"}))
    cluster = Cluster()
    now = START
    wake_at: datetime | None = START
    for step in steps:
        now = now + step.gap if step.gap is not None else max(now, wake_at or now)
        if now >= END - timedelta(days=60):
            break
        found = due(timetable, cluster.handled, now, suspended=step.suspended)
        start, missed = expected(schedule, starts, cluster.handled, now)
        passed = len(start) + missed
        if step.suspended:
            start, missed = [], passed
        assert list(found.start) == start
        if found.more:
            assert passed > COUNTED
        else:
            assert sum(found.missed.values()) == missed
            assert (set(found.missed) <= {Missed.SUSPENDED}) or not step.suspended
        assert (found.handled is None) == (passed == 0)
        assert found.wake_at is None or found.wake_at > now
        wake_at = found.wake_at
        for tick in found.start[: step.dies_after]:
            cluster.create(tick, now)
        if step.dies_after is None and found.handled is not None:
            cluster.handled = found.handled
            assert due(timetable, cluster.handled, now).start == ()
    in_time = {tick.time: at for tick, at in starts}
    late = window(schedule)
    for time, created in cluster.runs.items():
        assert in_time[time] <= created
        assert late is None or created <= in_time[time] + late


@pytest.mark.parametrize("dst", ["Once", "CronJob"])
@pytest.mark.parametrize(("catch_up", "started"), [("None", 1), ("Latest", 1), ("All", 25)])
def test_a_year_of_every_minute_is_one_step_that_starts_the_latest(dst: str, catch_up: str, started: int) -> None:
    body = {"name": "s", "cron": "* * * * *", "timeZone": "Europe/Berlin", "dst": dst, "catchUp": catch_up}
    timetable = Timetable(Schedule.model_validate({**body, "catchUpLimit": 25}))
    now = START + timedelta(days=365, seconds=10)
    found = due(timetable, START, now)
    assert len(found.start) == started
    assert found.start[-1].time == now - timedelta(seconds=10) == found.handled
    assert found.more
    assert sum(found.missed.values()) >= COUNTED
    assert found.wake_at == now + timedelta(seconds=50)


def test_what_is_missed_has_its_reason() -> None:
    def missed(**fields: object) -> dict[Missed, int]:
        timetable = Timetable(Schedule.model_validate({"name": "s", "cron": "@hourly", **fields}))
        return due(timetable, START, START + timedelta(hours=10, minutes=1)).missed

    assert missed() == {Missed.CATCH_UP: 9}
    assert missed(catchUp="All", catchUpLimit=2, startingDeadlineSeconds=10_800) == {
        Missed.CATCH_UP: 1,
        Missed.DEADLINE: 7,
    }
    assert missed(suspend=True) == {Missed.SUSPENDED: 10}
    assert missed(catchUp="None", startingDeadlineSeconds=10) == {Missed.DEADLINE: 10}


def test_nothing_is_started_for_what_is_over_or_after_a_clock_that_stepped_back() -> None:
    timetable = Timetable(Schedule.model_validate({"name": "s", "cron": "@hourly"}))
    handled = START + timedelta(hours=10)
    assert due(timetable, handled, START).start == ()
    again = due(timetable, handled, handled)
    assert (again.start, again.handled, again.wake_at) == ((), None, handled + timedelta(hours=1))
