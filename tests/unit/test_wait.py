"""wait: a timer without a pod."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import START, at, definition, entry_of, facts, states, succeeded, task
from tests.operators import story
from tests.unit.test_validate import found, one

from nexus.api.base import format_time
from nexus.api.reasons import Reason
from nexus.api.workflow import WorkflowSpec
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.task_types.wait_time import LONGEST, WaitInvalid, instant
from nexus.core.validate import problems

YEAR = 31_536_000


@pytest.mark.parametrize(
    ("wait", "due"),
    [
        ({"seconds": 90}, 90),
        ({"seconds": "${{ params.n * 30 }}"}, 90),
        ({"seconds": "${{ 1.5 * 2.0 }}"}, 3),
        ({"until": "2026-11-23T09:05:00Z"}, 300),
        ({"until": "2026-11-23T11:05:00+02:00"}, 300),
        ({"until": "${{ run.scheduledTime + duration('1h') }}"}, 3_600),
        ({"until": "2026-11-23T${{ params.hour }}:00:00Z"}, 7_200),
        ({"seconds": YEAR}, YEAR),
    ],
)
def test_it_is_over_when_its_fields_say(cel: Evaluator, wait: dict[str, Any], due: float) -> None:
    params = [{"name": "n", "type": "integer", "default": 3}, {"name": "hour", "default": "11"}]
    subject = definition(task("pause", wait=wait), task("next", "pause"), params=params)

    plan = decide(subject, facts(), START, cel)

    entry = entry_of(plan.status, "pause")
    assert (entry.phase, entry.reason, entry.due_time) == ("Running", Reason.WAITING, at(due))
    assert entry.message == f"waiting until {format_time(at(due))}"
    assert (plan.starts, plan.wake_at) == ((), at(due))
    early = decide(subject, facts(status=plan.status), at(due) - timedelta(milliseconds=1), cel)
    assert early.status == plan.status
    late = decide(subject, facts(status=plan.status), at(due), cel)
    assert states(late.status) == {"pause": "Succeeded", "next": "Running"}


@pytest.mark.parametrize(
    "wait", [{"until": "2026-11-23T08:59:59Z"}, {"until": "1970-01-01T00:00:00Z"}, {"seconds": "${{ 0 }}"}]
)
def test_a_time_that_has_passed_is_due_at_once(cel: Evaluator, wait: dict[str, Any]) -> None:
    plan = decide(definition(task("pause", wait=wait), task("next", "pause")), facts(), START, cel)

    assert states(plan.status) == {"pause": "Succeeded", "next": "Running"}
    assert [start.task for start in plan.starts] == ["next"]


@pytest.mark.parametrize(
    ("wait", "reason", "says"),
    [
        ({"seconds": "${{ 31536001 }}"}, Reason.INVALID_WAIT, "a wait can take at most 31,536,000 seconds (a year)"),
        ({"seconds": "${{ 3153600000 }}"}, Reason.INVALID_WAIT, "wait.seconds is 3,153,600,000"),
        ({"seconds": "${{ -1 }}"}, Reason.INVALID_WAIT, "wait.seconds must be at least 0, got -1"),
        ({"seconds": "${{ 1.5 }}"}, Reason.INVALID_WAIT, "wait.seconds must be an integer, got 1.5"),
        ({"seconds": "${{ true }}"}, Reason.INVALID_WAIT, "wait.seconds must be an integer, got true"),
        ({"seconds": "${{ '60' }}"}, Reason.INVALID_WAIT, 'wait.seconds must be an integer, got "60"'),
        ({"seconds": "${{ 1 / 0 }}"}, Reason.EXPRESSION_ERROR, "wait.seconds: "),
        ({"until": "${{ run.scheduledTime + duration('876000h') }}"}, Reason.INVALID_WAIT, "more than a year away"),
        ({"until": "${{ '2026-11-23T10:00:00' }}"}, Reason.INVALID_WAIT, "has no offset"),
        (
            {"until": "${{ 'tomorrow' }}"},
            Reason.INVALID_WAIT,
            'invalid time "tomorrow"; write it as 2026-11-23T10:00:00Z',
        ),
        ({"until": "${{ 5 }}"}, Reason.INVALID_WAIT, 'invalid time "5"; write it as 2026-11-23T10:00:00Z'),
        (
            {"until": "${{ '9999-12-31T23:59:59-12:00' }}"},
            Reason.INVALID_WAIT,
            'invalid time "9999-12-31T23:59:59-12:00"; write it as 2026-11-23T10:00:00Z',
        ),
    ],
)
def test_what_cannot_be_waited_for_fails_the_task(
    cel: Evaluator, wait: dict[str, Any], reason: Reason, says: str
) -> None:
    plan = decide(definition(task("pause", wait=wait), task("next", "pause")), facts(), START, cel)

    assert states(plan.status) == {"pause": f"Failed {reason}", "next": "Omitted DependencyFailed"}
    assert says in (entry_of(plan.status, "pause").message or "")


def test_it_takes_no_slot_and_waits_for_its_rule(cel: Evaluator) -> None:
    subject = definition(task("works"), task("pause", wait={"seconds": 5}), task("later", "works"), maxParallelTasks=1)

    plan = decide(subject, facts(), START, cel)

    assert states(plan.status) == {"works": "Running", "pause": "Running Waiting", "later": "Pending Dependencies"}


def test_a_wait_for_an_output_is_read_before(cel: Evaluator) -> None:
    subject = definition(task("a"), task("pause", "a", wait={"seconds": "${{ tasks.a.output.n }}"}))

    plan = decide(subject, facts(succeeded("a", '{"n":7}')), START, cel)

    assert entry_of(plan.status, "pause").due_time == at(7)


def test_defaults_are_not_for_it(cel: Evaluator) -> None:
    subject = definition(
        task("pause", wait={"seconds": 90}),
        defaults={"timeoutSeconds": 5, "retry": {"limit": 2}, "env": [{"name": "A", "value": "x"}]},
    )

    assert subject.nodes["pause"].task.timeout_seconds is None
    plan = decide(subject, facts(), START, cel)
    assert states(decide(subject, facts(status=plan.status), at(89), cel).status) == {"pause": "Running Waiting"}


def test_a_time_is_read_with_its_offset_and_is_at_most_a_year_away() -> None:
    assert instant("2027-11-23T09:00:00Z", START) == START + LONGEST
    assert instant("2099-01-01T00:00:00Z", None).year == 2099
    with pytest.raises(WaitInvalid, match="more than a year away"):
        instant("2027-11-23T09:00:01Z", START)


# -- definitions with mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"wait": {}}, "task t, wait: set exactly one of seconds and until"),
        (
            {"wait": {"seconds": 5, "until": "2026-11-23T10:00:00Z"}},
            "task t, wait: set exactly one of seconds and until",
        ),
        (
            {"wait": {"until": "2026-11-23 10:00"}},
            'task t, wait.until: time "2026-11-23 10:00" has no offset; write it with Z, or as +02:00',
        ),
        (
            {"wait": {"until": "noon"}},
            'task t, wait.until: invalid time "noon"; write it as 2026-11-23T10:00:00Z',
        ),
        (
            {"wait": {"seconds": 5}, "retry": {"limit": 1}},
            "task t, retry: retry is not supported for wait tasks, which have no pod; remove it",
        ),
        (
            {"wait": {"seconds": 5}, "timeoutSeconds": 3},
            "task t, timeoutSeconds: timeoutSeconds is not supported for wait tasks; remove it",
        ),
        (
            {"wait": {"seconds": 5}, "deadlineSeconds": 3},
            "task t, deadlineSeconds: deadlineSeconds is not supported for wait tasks; remove it",
        ),
    ],
)
def test_mistakes_are_named(cel: Evaluator, fields: dict[str, Any], problem: str) -> None:
    assert one(cel, task("t", **fields)) == problem


def test_expressions_in_it_are_checked(cel: Evaluator) -> None:
    assert 'unknown reference "params.n": the workflow has no params; add it to spec.params' in one(
        cel, task("t", wait={"seconds": "${{ params.n }}"})
    )
    assert 'unknown reference "tasks.a.output": task "t" does not depend on "a"; add "a" to its dependsOn' in one(
        cel, task("a"), task("t", wait={"until": "${{ tasks.a.output.at }}"})
    )


def test_a_literal_time_in_a_hundred_years_is_told_of_by_who_has_a_clock(cel: Evaluator) -> None:
    far = WorkflowSpec.model_validate({"tasks": [task("t", wait={"until": "2126-11-23T10:00:00Z"})]})

    (problem,) = problems(far, cel, now=START)
    assert str(problem).startswith("task t, wait.until: 2126-11-23T10:00:00Z is more than a year away; a wait can take")
    assert found(cel, task("t", wait={"until": "2126-11-23T10:00:00Z"})) == []


# -- with operators on the fake cluster -------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_is_waited_for_though_operators_die(cel: Evaluator, when: str) -> None:
    subject = definition(task("a"), task("pause", "a", wait={"seconds": 3_600}), task("b", "pause")).spec
    number, died = 0, 1
    while died:
        number += 1
        with story(subject, cel) as told:
            api = told.operator().api
            (api.crash_after if when == "after" else api.crash_before)(number)
            told.run()
            died = told.deaths
            tasks = {entry.name: entry for entry in told.status.tasks or ()}
            pause, ended = tasks["pause"], tasks["pause"].completion_time
            assert pause.start_time is not None
            assert ended is not None
            assert pause.due_time == pause.start_time + timedelta(hours=1)
            assert pause.due_time <= ended <= pause.due_time + timedelta(seconds=1)
            assert told.witness.order == [("a", 1), ("b", 1)]
    assert number > 6
