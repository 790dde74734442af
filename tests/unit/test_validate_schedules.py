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
        ({"cron": "30 25 * * *"}, "schedule nightly, cron: hour 25: 25 is out of range; must be from 0 to 23"),
        ({"cron": "0 0 * * MNO"}, 'day of the week MNO: unknown value "MNO"; did you mean "MON"?'),
        ({"cron": "TZ=Asia/Tokyo 0 0 * * *"}, "unsupported time zone in cron; set timeZone: Asia/Tokyo"),
        ({"cron": "@every 10s"}, "@every 10s is too short; must be at least 60s"),
        ({"cron": "0 0 31 4,6 *"}, '"0 0 31 4,6 *" never matches: no month has this day'),
        ({"timeZone": "Europe/Berln"}, ('schedule nightly, timeZone: unknown time zone "Europe/Berln"; did you '
                                       'mean "Europe/Berlin"?')),
        ({"timeZone": "europe/berlin"}, 'did you mean "Europe/Berlin"?'),
        ({"timeZone": "Kolkata"}, 'did you mean "Asia/Kolkata"?'),
        ({"timeZone": "Local"}, 'unknown time zone "Local"; write it as in Europe/Berlin or Asia/Kolkata, or UTC'),
        ({"timeZone": "../../etc/passwd"}, ('unknown time zone "../../etc/passwd"; write it as in Europe/Berlin '
                                           'or Asia/Kolkata, or UTC')),
        ({"from": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
         "schedule nightly, until: until must be after from; swap them"),
        ({"exclude": {"dates": ["2026-02-30"]}}, 'schedule nightly, exclude.dates[0]: invalid date "2026-02-30"'),
        ({"exclude": {"holidays": [{"country": "DEX"}]}}, ('schedule nightly, exclude.holidays[0].country: '
                                                          'unknown country "DEX"; did you mean "DE", "MEX" or "DEU"?')),
        ({"exclude": {"holidays": [{"country": "DE", "region": "by"}]}}, ('unknown region "by" of DE; did you '
                                                                         'mean "BY"?')),
        ({"exclude": {"holidays": [{"country": "DE", "region": "DE-BY"}]}}, ('unknown region "DE-BY" of DE; did you '
                                                                            'mean "BY"?')),
        ({"exclude": {"holidays": [{"country": "DE", "region": "XQZ"}]}}, "DE has BB, BE, BW"),
        ({"catchUpLimit": 3}, ("schedule nightly, catchUpLimit: catchUpLimit has no effect without catchUp: All; "
                              "add that, or remove the limit")),
        ({"params": {"dya": "x", "day": "x"}}, ('schedule nightly, params.dya: unknown param "dya"; did you mean '
                                               '"day"?')),
        ({"params": {"dya": "x", "day": "x"}}, 'unknown param "dya"; did you mean "day"?'),
        ({"params": {"day": "x", "count": "3"}}, 'must be an integer, got string "3"; remove the quotes'),
        ({"params": {"day": "${{ run.scheduledTim }}"}}, ('unknown reference "run.scheduledTim"; did you mean '
                                                         '"run.scheduledTime"?')),
        ({"params": {"day": "${{ params.count }}"}}, ('schedule nightly, params.day: unknown reference '
                                                     '"params.count"; known names: run.intervalEnd, '
                                                     'run.intervalStart, run.name, run.namespace, run.phase, '
                                                     'run.scheduledTime, run.trigger, run.workflow')),
        ({"params": {}}, 'schedule nightly, params: missing required param "day", which has no default; set it here'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_field_and_what_to_write(
    fields: dict[str, Any], message: str, cel: Evaluator
) -> None:
    (problem,) = found(cel, {**FINE, **fields})
    assert message in problem


def test_names_are_unique(cel: Evaluator) -> None:
    assert found(cel, FINE, FINE) == ['schedules[1].name: duplicate schedule name "nightly"']


@pytest.mark.parametrize(
    ("concurrency", "message"),
    [
        (
            {"policy": "Allow", "limit": 2},
            "concurrency.limit: limit has no effect with policy Allow; use Forbid, Replace or Queue",
        ),
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
