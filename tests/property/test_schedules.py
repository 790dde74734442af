"""Ticks in any zone at any time: what always holds of them; and local times are those that a walk finds."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nexus.api.schedule import Schedule
from nexus.core.schedule.cron import Cron, Days, parse
from nexus.core.schedule.local_times import HORIZON_YEARS, time_after, time_before
from nexus.core.schedule.timetable import Timetable

MICROSECOND = timedelta(microseconds=1)
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "America/Havana", "Australia/Lord_Howe",
    "Pacific/Apia", "Asia/Beirut", "Asia/Kathmandu", "Pacific/Chatham", "Antarctica/Troll",
)  # fmt: skip


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> str:
    """One field of a cron expression."""
    number = st.integers(low, high)
    kind = draw(st.sampled_from(["*", "*/n", "n", "a-b", "a-b/n", "list"]))
    if kind == "*":
        return "*"
    if kind == "*/n":
        return f"*/{draw(st.integers(2, high))}"
    if kind == "n":
        return str(draw(number))
    if kind == "list":
        return ",".join(map(str, draw(st.lists(number, min_size=1, max_size=4))))
    first = draw(st.integers(low, high - 1))
    last = draw(st.integers(first + 1, high))
    return f"{first}-{last}" + (f"/{draw(st.integers(1, 9))}" if kind == "a-b/n" else "")


crons = st.builds(
    lambda *parts: " ".join(parts), fields(0, 59), fields(0, 23), fields(1, 28), fields(1, 12), fields(0, 6)
)
instants = st.datetimes(datetime(1975, 1, 1), datetime(2036, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
excludes = st.sampled_from([None, {"weekends": True}, {"holidays": [{"country": "DE", "region": "BY"}]}])
every = st.integers(60, 100_000).map("@every {}s".format)


@st.composite
def timetables(draw: st.DrawFn, dst: str | None = None) -> Timetable:
    body = {
        "name": "s",
        "cron": draw(st.one_of(crons, every)),
        "timeZone": draw(st.sampled_from(ZONES)),
        "dst": dst or draw(st.sampled_from(["Once", "CronJob"])),
        "exclude": draw(excludes),
        "jitterSeconds": draw(st.sampled_from([0, 30, 86_400])),
    }
    return Timetable(Schedule.model_validate(body), draw(st.sampled_from(["", "uid"])))


@given(timetables(), instants)
def test_ticks_go_up_and_no_start_reaches_the_next(timetable: Timetable, after: datetime) -> None:
    at = after
    started = after
    for _ in range(5):
        tick = timetable.next(at)
        if tick is None:
            return
        assert tick.time > at
        assert tick.time.second == 0 or timetable.schedule.cron.startswith("@every")
        start = timetable.fire_at(tick)
        assert tick.time <= start <= tick.time + timedelta(seconds=timetable.schedule.jitter_seconds or 0)
        assert start > started
        at, started = tick.time, start


@given(timetables("Once"), instants)
def test_next_and_previous_undo_each_other(timetable: Timetable, after: datetime) -> None:
    tick = timetable.next(after)
    if tick is None:
        return
    assert timetable.previous(tick.time + MICROSECOND) == tick
    before = timetable.previous(tick.time)
    assert before is None or (before.time <= after and timetable.next(before.time) == tick)
    assert timetable.next(tick.time - MICROSECOND) == tick
    assert timetable.is_tick(tick.time) == tick


@given(timetables("CronJob"), instants)
def test_in_mode_cronjob_the_tick_before_is_one_before(timetable: Timetable, after: datetime) -> None:
    found = timetable.previous(after)
    assert found is None or found.time < after


@given(timetables(), instants)
def test_the_list_of_ticks_is_in_order_and_holds_as_many_as_asked_for(timetable: Timetable, after: datetime) -> None:
    ticks = []
    at = after
    for _ in range(4):
        tick = timetable.next(at)
        if tick is None:
            break
        ticks.append(tick)
        at = tick.time
    listed = timetable.upcoming(after, 4)
    assert [entry for entry in listed if type(entry).__name__ == "Tick"] == ticks
    assert [entry.time for entry in listed] == sorted(entry.time for entry in listed)


@st.composite
def odd_fields(draw: st.DrawFn, low: int, high: int) -> str:
    """One field as few people write it: what croniter reads in its own way stands for the same to us."""
    first, last = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
    every = draw(st.integers(1, 9))
    forms = ["?", "*/1", f"{first}-{first}", f"{low}-{high}", f"{first}/{every}", f"{first}-{last}/{every}"]
    return draw(st.one_of(fields(low, high), st.sampled_from(forms)))


odd_crons = st.builds(
    lambda *parts: " ".join(parts),
    *(odd_fields(0, 59), odd_fields(0, 23), odd_fields(1, 31), odd_fields(1, 12), odd_fields(0, 6)),
)
allowances = st.sampled_from([None, lambda day: day.isoweekday() < 6, lambda day: day.month == 2])
# Beyond both ends of what croniter counts by itself, too.
moments = st.one_of(
    st.datetimes(datetime(1900, 1, 1), datetime(2150, 1, 1)),  # noqa: DTZ001 - a clock without a zone
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001
)


def walk(cron: Cron, local: datetime, allowed: Days | None, step: int) -> datetime | None:
    """The nearest time found by looking at every day."""
    hours, minutes = sorted(cron.hours, reverse=step < 0), sorted(cron.minutes, reverse=step < 0)
    for distance in range(HORIZON_YEARS * 366):
        try:
            day = local.date() + timedelta(days=step * distance)
        except OverflowError:
            return None
        if abs(day.year - local.year) > HORIZON_YEARS:
            return None
        if cron.on(day) and (allowed is None or allowed(day)):
            for clock in (time(hour, minute) for hour in hours for minute in minutes):
                found = datetime.combine(day, clock)
                if found > local if step > 0 else found < local:
                    return found
    return None


@given(odd_crons, moments, allowances)
def test_times_are_those_that_a_walk_over_all_days_finds(text: str, local: datetime, allowed: Days | None) -> None:
    cron = parse(text)
    assert isinstance(cron, Cron)
    assert time_after(cron, local, allowed) == walk(cron, local, allowed, 1)
    assert time_before(cron, local, allowed) == walk(cron, local, allowed, -1)
