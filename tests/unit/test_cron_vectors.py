"""Against Kubernetes' own parser: in mode CronJob the same ticks, in mode Once every difference is one of the rule.

cron_vectors/main.go asks the real library. What a difference may be is told by brute force: minute by minute.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nexus.api.schedule import Schedule
from nexus.core.schedule import dst_cronjob, dst_once, dst_shown, zone
from nexus.core.schedule.cron import Cron, CronInvalid, parse
from nexus.core.schedule.timetable import Tick, Timetable

REFUSED, *LINES = json.loads((Path(__file__).parent / "cron_vectors" / "vectors.json").read_text("utf-8"))
ZONES = sorted({line["zone"] for line in LINES})
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NEVER, STUCK = 0, -1


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def of_zone(name: str) -> list[tuple[Cron, str, datetime, int]]:
    found = []
    for line in LINES:
        if line["zone"] == name:
            cron = parse(line["cron"])
            assert isinstance(cron, Cron)
            found += [(cron, line["cron"], instant(after), answer) for after, answer in line["ticks"]]
    return found


def test_there_are_enough_of_them_and_some_on_which_the_original_never_returns() -> None:
    answers = [answer for line in LINES for _, answer in line["ticks"]]
    assert len(answers) >= 3_000
    assert answers.count(STUCK) >= 5
    assert answers.count(NEVER) >= 5


@pytest.mark.parametrize("text", REFUSED["refused"])
def test_what_kubernetes_refuses_is_refused(text: str) -> None:
    with pytest.raises(CronInvalid):
        parse(text)


@pytest.mark.parametrize("name", ZONES)
def test_mode_cronjob_is_kubernetes_own(name: str) -> None:
    here = zone.find(name)
    for cron, text, after, answer in of_zone(name):
        found = dst_cronjob.original(cron, here, after)
        if answer != STUCK:
            assert (found.timestamp() if found else NEVER) == answer, (text, after, found)
        if answer == STUCK or NEVER < answer <= after.timestamp():  # ours goes on to a later tick, one that fits
            later = dst_cronjob.following(cron, here, after)
            assert later is not None, (text, after)
            assert later[0] > after, (text, after)
            assert cron.at(later[1]), (text, after)


class Rule:
    """Mode Once by its definition, looked up minute by minute: what an instant is to a cron expression in a zone."""

    def __init__(self, cron: Cron, here: ZoneInfo) -> None:
        self.cron, self.here = cron, here

    def is_tick(self, at: datetime) -> bool:
        local = at.astimezone(self.here)
        return (self.cron.at(local.replace(tzinfo=None)) and not local.fold) or self.jumped_over(at)

    def jumped_over(self, at: datetime) -> bool:
        """Whether clocks jump at this instant, over a local time that fits."""
        start, end = (at - timedelta(seconds=1)).astimezone(self.here), at.astimezone(self.here)
        if start.utcoffset() == end.utcoffset():
            return False
        local = start.replace(tzinfo=None) + timedelta(seconds=1)
        while local < end.replace(tzinfo=None):
            if self.cron.at(local):
                return True
            local += MINUTE
        return False

    def local(self, at: datetime) -> datetime:
        return at.astimezone(self.here).replace(tzinfo=None)

    def second_pass(self, at: datetime) -> bool:
        return bool(at.astimezone(self.here).fold)

    def clocks_change(self, early: datetime, late: datetime) -> bool:
        """Whether they do between two instants, or so near that the original loses its way."""
        days = (late - early) // DAY + 2
        offsets = {(early + day * DAY).astimezone(self.here).utcoffset() for day in range(-1, days + 1)}
        return len(offsets) > 1


def why(rule: Rule, after: datetime, once: datetime | None, theirs: int) -> str:
    """The reason of a difference; AssertionError where there is none."""
    original = instant(theirs) if theirs > 0 else None
    if theirs == STUCK:
        return "the original does not return"
    assert original is not None
    if once is not None and once < original:
        assert rule.is_tick(once)
        if rule.jumped_over(once):
            return "runs when the clocks jump"
        assert rule.clocks_change(after, once)
        named = dst_cronjob.following(rule.cron, rule.here, once - MINUTE)
        # Asked from nearby it names the tick, unless the change is of that very day.
        assert named == (once, rule.local(once)) or rule.clocks_change(once, once)
        return "the original loses its way when the clocks change by half an hour or at midnight"
    assert once is None or rule.is_tick(once)
    if original <= after:
        return "the original names a time that is over"
    if not rule.cron.at(rule.local(original)):
        assert rule.clocks_change(after, original)
        return "the original runs on a day that does not fit, having missed midnight"
    assert rule.second_pass(original)
    return "does not run a second time"


def test_mode_once_differs_from_kubernetes_only_by_its_rule() -> None:
    reasons: Counter[str] = Counter()
    for name in ZONES:
        here = zone.find(name)
        for cron, text, after, answer in of_zone(name):
            found = dst_once.following(cron, here, after)
            once = found[0] if found else None
            if (once.timestamp() if once else NEVER) != answer:
                try:
                    reasons[why(Rule(cron, here), after, once, answer)] += 1
                except AssertionError as error:
                    raise AssertionError((name, text, after, once, answer)) from error
    assert set(reasons) >= {"runs when the clocks jump", "does not run a second time"}, reasons


@pytest.mark.parametrize("name", ZONES)
def test_mode_once_is_its_definition_looked_up_minute_by_minute(name: str) -> None:
    here = zone.find(name)
    looked_at: list[Any] = []
    for cron, text, after, _ in of_zone(name):
        found = dst_once.following(cron, here, after)
        if found is None or found[0] - after > 8 * HOUR:
            continue
        rule = Rule(cron, here)
        at = after.replace(second=0)
        while at <= after or not rule.is_tick(at):
            at += MINUTE
        assert found[0] == at, (text, after)
        assert dst_once.preceding(cron, here, at + MINUTE) == found or rule.is_tick(at + MINUTE - MINUTE)
        looked_at.append(found)
    assert len(looked_at) > 50


def test_a_zone_that_skipped_a_day_is_stepped_over() -> None:
    apia, cron = zone.find("Pacific/Apia"), parse("15 2 * * 0")
    assert isinstance(cron, Cron)
    after = datetime(2011, 12, 28, tzinfo=UTC)
    sunday = datetime(2012, 1, 1, 2, 15, tzinfo=apia).astimezone(UTC)
    assert dst_cronjob.following(cron, apia, after) == (sunday, datetime(2012, 1, 1, 2, 15))  # noqa: DTZ001 (local)
    assert dst_once.following(cron, apia, after) == (sunday, datetime(2012, 1, 1, 2, 15))  # noqa: DTZ001


SHOWN = ["0 * * * *", "*/15 * * * *", "30 */2 * * *", "7 1-23/2 * * *", "59 ? * * 1-5", "0,45 */3 1-15 * *", "@hourly"]


@pytest.mark.parametrize("text", SHOWN)
@pytest.mark.parametrize("name", ZONES)
def test_each_hour_is_each_that_the_clocks_show(name: str, text: str) -> None:
    here, cron = zone.find(name), parse(text)
    assert isinstance(cron, Cron)
    assert cron.each_hour
    changes = sorted({after.date() for _, _, after, _ in of_zone(name)})[::7]
    for day in changes[:6]:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC) - 12 * HOUR
        minutes = [start + count * MINUTE for count in range(60 * 60)]
        wanted = [at for at in minutes if cron.at(zone.wall(at, here)) and zone.wall(at, here).second == 0]
        found, at = [], start - MINUTE
        while (tick := dst_shown.following(cron, here, at)) is not None and tick[0] <= minutes[-1]:
            found.append(tick[0])
            assert tick[1] == zone.wall(tick[0], here)
            at = tick[0]
        assert found == [at for at in wanted if at > start - MINUTE]
        back, at = [], minutes[-1] + MINUTE
        while (tick := dst_shown.preceding(cron, here, at)) is not None and tick[0] >= start:
            back.append(tick[0])
            at = tick[0]
        assert back[::-1] == found


@pytest.mark.parametrize(("day", "ticks"), [("2026-10-25", 25), ("2026-03-29", 23), ("2026-03-30", 24)])
def test_an_hourly_schedule_is_hourly_on_every_day(day: str, ticks: int) -> None:
    hourly = Timetable(Schedule.model_validate({"name": "h", "cron": "0 * * * *", "timeZone": "Europe/Berlin"}))
    start = datetime.fromisoformat(day).replace(tzinfo=zone.find("Europe/Berlin"))
    found = hourly.upcoming(start - MINUTE, ticks + 1)
    times = [tick.time for tick in found if isinstance(tick, Tick)]
    assert {late - early for early, late in pairwise(times)} == {HOUR}
    assert times[-1] == (start + timedelta(days=1)).astimezone(UTC)


@pytest.mark.parametrize("text", ["0 2 * * *", "*/15 2 * * *", "0 0-23 * * *", "30 1,2 * * *"])
def test_named_hours_run_once(text: str) -> None:
    cron = parse(text)
    assert isinstance(cron, Cron)
    assert not cron.each_hour
