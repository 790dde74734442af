"""Ticks in any zone at any time: what always holds of them; and croniter agrees on local times without a zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from nexus.api.schedule import Schedule
from nexus.core.schedule.cron import Cron, parse
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
    last = draw(st.integers(first + 1, high))  # croniter takes 1-1 for all there are
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


@given(crons, st.datetimes(datetime(1975, 1, 1), datetime(2060, 1, 1)))  # noqa: DTZ001
def test_croniter_names_the_same_local_times(text: str, after: datetime) -> None:
    cron = parse(text)
    assert isinstance(cron, Cron)
    day, weekday = text.split()[2], text.split()[4]
    if "*" in (day, weekday) or not any(_whole(cron, star) for star in ("days", "weekdays")):
        assert cron.after(after) == croniter(text, after).get_next(datetime)
        assert cron.before(after) == croniter(text, after).get_prev(datetime)


def _whole(cron: Cron, field: str) -> bool:
    """A field that names all there are is a star to croniter, and none to Kubernetes."""
    return len(getattr(cron, field)) == {"days": 31, "weekdays": 7}[field]
