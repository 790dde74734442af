"""When the ticks of a schedule are, and the words for those that moved or are left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nexus.api.schedule import Schedule
from nexus.core.schedule.cron import Cron, CronInvalid, Every, parse
from nexus.core.schedule.timetable import Skipped, Timetable

NOVEMBER = datetime(2026, 11, 25, 12, tzinfo=UTC)


def table(cron: str = "30 2 * * *", zone: str = "Europe/Berlin", uid: str = "", **fields: Any) -> Timetable:
    body = {"name": "nightly", "cron": cron, "timeZone": zone, **fields}
    return Timetable(Schedule.model_validate(body), uid)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shown(timetable: Timetable, after: str, count: int) -> list[str]:
    lines = []
    for entry in timetable.upcoming(utc(after), count):
        mark = "-" if isinstance(entry, Skipped) else "+"
        lines.append(f"{mark} {entry.time:%m-%d %H:%M} {entry.note}".strip())
    return lines


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        (
            "",
            0,
            (
                "expected 5 cron fields, got 0; the fields are minute, hour, day of the month, month, day of the "
                "week, as in 30 2 * * *"
            ),
        ),
        (
            "30 2 * *",
            0,
            (
                "expected 5 cron fields, got 4; the fields are minute, hour, day of the month, month, day of the "
                "week, as in 30 2 * * *"
            ),
        ),
        (
            "0 30 2 * * *",
            0,
            (
                "expected 5 cron fields, got 6; the fields are minute, hour, day of the month, month, day of the "
                "week, without seconds"
            ),
        ),
        ("60 * * * *", 0, "minute 60: 60 is out of range; must be from 0 to 59"),
        ("30 2,24 * * *", 5, "hour 2,24: 24 is out of range; must be from 0 to 23"),
        ("0 0 0 * *", 4, "day of the month 0: 0 is out of range; must be from 1 to 31"),
        ("0 0 * Feburary *", 6, 'month Feburary: unknown value "Feburary"; did you mean "FEB"?'),
        ("0 0 * * MONDAY", 8, 'day of the week MONDAY: unknown value "MONDAY"; did you mean "MON"?'),
        ("0 0 * * tus", 8, 'day of the week tus: unknown value "tus"; did you mean "TUE"?'),
        ("0 0 * * FRI-MON", 8, 'day of the week FRI-MON: invalid range "FRI-MON": start exceeds end; write 5-6,0-1'),
        ("0 0 * * 8", 8, "day of the week 8: 8 is out of range; must be from 0 to 7"),
        ("*/0 * * * *", 0, 'minute */0: invalid step "0"; must be an integer of at least 1'),
        ("1,,2 * * * *", 2, "minute 1,,2: missing number"),
        ("0 0 L * *", 4, 'day of the month L: unsupported cron syntax "L" (L, W, # and H are not supported)'),
        ("0 0 * * MON#2", 8, 'day of the week MON#2: unknown value "MON#2"; did you mean "MON"?'),
        ("0 x * * *", 2, 'hour x: invalid value "x"; must be an integer from 0 to 23'),
        ("TZ=Europe/Berlin 30 2 * * *", 0, "unsupported time zone in cron; set timeZone: Europe/Berlin"),
        ("CRON_TZ=Asia/Tokyo 0 0 * * *", 0, "unsupported time zone in cron; set timeZone: Asia/Tokyo"),
        ("@dayly", 0, 'unknown cron macro "@dayly"; did you mean "@daily"?'),
        ("@reboot", 0, "unsupported cron macro @reboot; start a run with nexus run"),
        ("@every 30s", 7, "@every 30s is too short; must be at least 60s"),
        ("@every 1d", 7, 'invalid duration "1d"; write hours, minutes and seconds, as in @every 1h30m'),
        ("@every 90.5s", 7, "@every 90.5s must be an integer number of seconds"),
        ("@every 9999h", 7, "@every 9999h exceeds the maximum of 366 days (8784h)"),
    ],
)
def test_a_bad_expression_is_told_with_its_place_and_what_to_write(text: str, offset: int, message: str) -> None:
    with pytest.raises(CronInvalid) as raised:
        parse(text)
    assert message in raised.value.message
    assert raised.value.offset == offset


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0 0 * * 7", "0 0 * * SUN"),
        ("0 0 * jan-mar mon", "0 0 * 1-3 1"),
        ("0 0 ? * *", "@daily"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("@weekly", "0 0 * * 0"),
        ("  0   0 1 1 *", "@yearly"),
    ],
)
def test_expressions_that_say_the_same(text: str, same: str) -> None:
    assert parse(text) == parse(same)


def test_both_day_fields_together_are_either_of_them_unless_one_is_a_star() -> None:
    either, both = parse("0 0 13 * 5"), parse("0 0 */1 * 5")
    assert isinstance(either, Cron)
    assert isinstance(both, Cron)
    assert (either.either, both.either) == (True, False)


@pytest.mark.parametrize(("text", "seconds"), [("@every 90m", 5_400), ("@every 1h30m", 5_400), ("@every 1.5h", 5_400)])
def test_every_takes_a_duration_as_go_writes_it(text: str, seconds: int) -> None:
    assert parse(text) == Every(seconds)


def test_every_counts_from_1970_whatever_the_zone() -> None:
    ticks = table("@every 7h", "Asia/Kolkata").upcoming(NOVEMBER, 3)
    assert [tick.time.timestamp() % (7 * 3600) for tick in ticks] == [0, 0, 0]


@pytest.mark.parametrize(
    ("what", "fields", "after", "expected"),
    [
        ("a night without half past two", {}, "2026-03-28T12:00",
         ["+ 03-29 01:00 02:30 does not exist on this day: runs when clocks jump, at 03:00", "+ 03-30 00:30"]),
        ("the same as CronJob", {"dst": "CronJob"}, "2026-03-28T12:00",
         ["- 03-29 01:00 02:30 does not exist on this day", "+ 03-30 00:30"]),
        ("a night with two", {}, "2026-10-24T12:00",
         ["+ 10-25 00:30 02:30 comes twice: runs at the first", "+ 10-26 01:30"]),
        ("the same as CronJob", {"dst": "CronJob"}, "2026-10-24T12:00",
         ["+ 10-25 00:30 02:30 comes twice: this is the first",
          "+ 10-25 01:30 02:30 comes twice: this is the second", "+ 10-26 01:30"]),
        ("several that are jumped over, and one due then, are one", {"cron": "*/30 2,3 * * *"}, "2026-03-29T00:00",
         ["+ 03-29 01:00 02:00 does not exist on this day: runs when clocks jump, at 03:00", "+ 03-29 01:30",
          "+ 03-30 00:00"]),
        ("half an hour, on Lord Howe", {"cron": "15 2 * * *", "timeZone": "Australia/Lord_Howe"}, "2026-10-03T00:00",
         ["+ 10-03 15:30 02:15 does not exist on this day: runs when clocks jump, at 02:30", "+ 10-04 15:15"]),
        ("a day that Samoa skipped", {"cron": "0 9 * * *", "timeZone": "Pacific/Apia"}, "2011-12-29T12:00",
         ["+ 12-29 19:00",
          "+ 12-30 10:00 09:00 does not exist on this day: runs when clocks jump, at 2011-12-31 00:00",
          "+ 12-30 19:00"]),
        ("weekends", {"exclude": {"weekends": True}}, "2026-11-26T12:00",
         ["+ 11-27 01:30", "- 11-28 01:30 skipped: a Saturday", "- 11-29 01:30 skipped: a Sunday", "+ 11-30 01:30"]),
        ("holidays of a region", {"exclude": {"holidays": [{"country": "DE", "region": "BY"}]}}, "2026-01-05T12:00",
         ["- 01-06 01:30 skipped: Epiphany (DE-BY)", "+ 01-07 01:30"]),
        ("but not elsewhere", {"exclude": {"holidays": [{"country": "DE"}]}}, "2026-01-05T12:00", ["+ 01-06 01:30"]),
        ("dates", {"exclude": {"dates": ["2026-11-27"]}}, "2026-11-26T12:00",
         ["- 11-27 01:30 skipped: an excluded date", "+ 11-28 01:30"]),
        ("an excluded day of many ticks is told once", {"cron": "* * * * *", "exclude": {"weekends": True}},
         "2026-11-27T22:58", ["+ 11-27 22:59", "- 11-27 23:00 skipped: a Saturday", "- 11-28 23:00 skipped: a Sunday",
                              "+ 11-29 23:00"]),
        ("days of @every", {"cron": "@every 12h", "timeZone": "UTC", "exclude": {"weekends": True}}, "2026-11-27T01:00",
         ["+ 11-27 12:00", "- 11-28 00:00 skipped: a Saturday", "- 11-29 00:00 skipped: a Sunday", "+ 11-30 00:00"]),
        ("from, itself a tick", {"from": "2026-11-27T01:30:00Z"}, "2026-11-01T12:00", ["+ 11-27 01:30"]),
        ("until, itself none", {"until": "2026-11-27T01:30:00Z"}, "2026-11-25T12:00", ["+ 11-26 01:30"]),
        ("29 February", {"cron": "0 0 29 2 *", "timeZone": "UTC"}, "2096-03-01T00:00", ["+ 02-29 00:00"]),
        ("30 February", {"cron": "0 0 30 2 *"}, "2026-11-25T12:00", []),
    ],
)  # fmt: skip
def test_ticks(what: str, fields: dict[str, Any], after: str, expected: list[str]) -> None:
    body = {"name": "nightly", "cron": "30 2 * * *", "timeZone": "Europe/Berlin", **fields}
    timetable = Timetable(Schedule.model_validate(body))
    count = sum(line.startswith("+") for line in expected) or 1
    assert shown(timetable, after, count) == expected, what


def test_days_that_are_all_excluded_give_no_tick_and_an_answer() -> None:
    assert table("0 0 * * 6", exclude={"weekends": True}).next(NOVEMBER) is None


def test_the_ends_of_time_are_answered_too() -> None:
    for dst in ("Once", "CronJob"):
        timetable = table("* * * * *", dst=dst)
        assert timetable.next(datetime(9999, 12, 31, tzinfo=UTC)) is None
        assert timetable.previous(datetime(1, 1, 1, tzinfo=UTC)) is None
        first = timetable.next(datetime(1, 1, 1, tzinfo=UTC))
        assert first is not None
        assert first.time.year == 1970
    ends = {"from": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z", "exclude": {"weekends": True}}
    for cron in ("* * * * *", "@every 1h"):
        timetable = table(cron, **ends)
        assert timetable.upcoming(datetime(9999, 12, 31, tzinfo=UTC), 3) == []
        assert len(timetable.upcoming(datetime(1, 1, 1, tzinfo=UTC), 3)) == 3
        assert timetable.is_tick(datetime(1, 1, 1, tzinfo=UTC)) is None
        assert timetable.previous(datetime(9999, 12, 31, tzinfo=UTC)) is not None


def test_the_interval_of_a_tick_begins_where_the_one_before_ended_excluded_days_between_or_not() -> None:
    timetable = table(exclude={"weekends": True}, **{"from": "2026-11-30T00:00:00Z"})
    monday = timetable.next(NOVEMBER)
    assert monday is not None
    assert timetable.interval(monday) == (utc("2026-11-27T01:30"), utc("2026-11-30T01:30"))


def test_jitter_is_the_same_for_a_tick_differs_between_workflows_and_keeps_the_order() -> None:
    ticks = [tick for tick in table("* * * * *").upcoming(NOVEMBER, 50) if not isinstance(tick, Skipped)]
    one, other = table("* * * * *", uid="a", jitterSeconds=600), table("* * * * *", uid="b", jitterSeconds=600)
    starts = [one.fire_at(tick) for tick in ticks]
    assert starts == [table("* * * * *", uid="a", jitterSeconds=600).fire_at(tick) for tick in ticks]
    assert starts != [other.fire_at(tick) for tick in ticks]
    assert starts == sorted(set(starts))
    late = [start - tick.time for start, tick in zip(starts, ticks, strict=True)]
    assert timedelta(0) <= min(late) < max(late) < timedelta(minutes=1)


def test_a_tick_is_known_by_its_instant() -> None:
    timetable = table()
    tick = timetable.is_tick(utc("2026-11-26T01:30"))
    assert tick is not None
    assert tick.local.hour == 2
    assert timetable.is_tick(utc("2026-11-26T01:31")) is None
