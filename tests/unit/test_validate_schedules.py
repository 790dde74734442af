"""What is wrong with a schedule is told with its field, and with what to write."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import spec, task

from nexus.core.expressions.templates import Evaluator
from nexus.core.validate import problems

PARAMS = [{"name": "day"}, {"name": "count", "type": "integer", "default": 1}]
FINE = {"name": "nightly", "cron": "30 2 * * *", "params": {"day": "${{ date(run.intervalStart) }}"}}


def found(cel: Evaluator, *schedules: dict[str, Any], **fields: Any) -> list[str]:
    return [str(problem) for problem in problems(spec(task("t"), schedules=schedules, params=PARAMS, **fields), cel)]


def test_schedules_without_mistakes_have_no_problems(cel: Evaluator) -> None:
    many = {
        **FINE,
        "name": "many",
        "timeZone": "Asia/Kolkata",
        "from": "2026-01-01T00:00:00Z",
        "until": "2027-01-01T00:00:00Z",
        "exclude": {
            "weekends": True,
            "dates": ["2026-12-24"],
            "holidays": [
                {"country": "IND"},
                {"country": "US", "region": "CA"},
                {"country": "DE", "region": "Augsburg"},
            ],
        },
        "catchUp": "All",
        "catchUpLimit": 3,
    }
    assert found(cel, FINE, many) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cron": "30 25 * * *"}, "schedule nightly, cron: hour 25: 25 is not from 0 to 23"),
        ({"cron": "0 0 * * MNO"}, "did you mean MON?"),
        ({"cron": "TZ=Asia/Tokyo 0 0 * * *"}, "the time zone does not belong into cron: write timeZone: Asia/Tokyo"),
        ({"cron": "@every 10s"}, "too often: at least 60s"),
        ({"cron": "0 0 31 4,6 *"}, "0 0 31 4,6 * is never: no month has such a day"),
        ({"timeZone": "Europe/Berln"}, "schedule nightly, timeZone: there is no time zone Europe/Berln"),
        ({"timeZone": "europe/berlin"}, "did you mean Europe/Berlin?"),
        ({"timeZone": "Kolkata"}, "did you mean Asia/Kolkata?"),
        ({"timeZone": "Local"}, "there is no time zone Local"),
        ({"timeZone": "../../etc/passwd"}, "there is no time zone ../../etc/passwd"),
        ({"from": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
         "schedule nightly, until: until is not after from"),
        ({"exclude": {"dates": ["2026-02-30"]}}, "schedule nightly, exclude.dates[0]: there is no day 2026-02-30"),
        ({"exclude": {"holidays": [{"country": "DEX"}]}}, "schedule nightly, exclude.holidays[0].country: no holidays"),
        ({"exclude": {"holidays": [{"country": "DE", "region": "by"}]}}, "did you mean BY?"),
        ({"exclude": {"holidays": [{"country": "DE", "region": "DE-BY"}]}}, "did you mean BY?"),
        ({"exclude": {"holidays": [{"country": "DE", "region": "XQZ"}]}}, "DE has BB, BE, BW"),
        ({"catchUpLimit": 3}, "schedule nightly, catchUpLimit: catchUpLimit is for catchUp: All"),
        ({"params": {"dya": "x", "day": "x"}}, "schedule nightly, params.dya: there is no"),
        ({"params": {"dya": "x", "day": "x"}}, "did you mean day?"),
        ({"params": {"day": "x", "count": "3"}}, 'nightly, params.count: "3" is no integer: write it without quotes'),
        ({"params": {"day": "${{ run.scheduledTim }}"}}, "did you mean run.scheduledTime?"),
        ({"params": {"day": "${{ params.count }}"}}, "schedule nightly, params.day: params.count is not"),
        ({"params": {}}, "schedule nightly, params: params.day: each run must have a value"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_field_and_what_to_write(
    fields: dict[str, Any], message: str, cel: Evaluator
) -> None:
    (problem,) = found(cel, {**FINE, **fields})
    assert message in problem


def test_names_are_unique(cel: Evaluator) -> None:
    assert found(cel, FINE, FINE) == ["schedules[1].name: 2 schedules are named nightly: names are unique"]


@pytest.mark.parametrize(
    ("concurrency", "message"),
    [
        ({"policy": "Allow", "limit": 2}, "concurrency.limit: under Allow no run waits, so that limit means nothing"),
        ({"policy": "Queue", "key": "env"}, "concurrency.key: key is the same for every run"),
        ({"policy": "Queue", "key": "${{ params.dey }}"}, "params.dey"),
        ({"policy": "Queue", "key": "${{ tasks.t.phase }}"}, "tasks.t"),
        ({"policy": "Queue", "key": "${{ params.count + 'a' }}"}, "concurrency.key: "),
    ],
)
def test_a_concurrency_that_cannot_be_meant(cel: Evaluator, concurrency: dict[str, Any], message: str) -> None:
    (problem,) = found(cel, concurrency=concurrency)
    assert message in problem


def test_a_key_may_be_text_around_params_and_run(cel: Evaluator) -> None:
    key = "${{ params.day }}-${{ run.trigger }}"
    assert found(cel, concurrency={"policy": "Queue", "limit": 3, "key": key}) == []
