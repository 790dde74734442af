"""Runs that somebody gave the name of a tick's run: never taken for it, told of each time, in no other tick's way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.builders import START, spec, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import EVENTS, WORKFLOW_RUNS, WORKFLOWS, Object
from nexus.adapters.kube.owners import owned_by
from nexus.api.base import format_time
from nexus.api.run import Trigger
from nexus.api.workflow import WorkflowStatus
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import scheduled_run_name
from nexus.core.workflow.facts import RunSummary
from nexus.core.workflow.ticks import is_run_of

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
HOURLY = {"name": "hourly", "cron": "@hourly", "params": {"v": "scheduled"}}
TICK = START + HOUR


@contextmanager
def scheduled(cel: Evaluator, **schedule: Any) -> Iterator[Story]:
    """A Workflow that ticks each hour; the story begins at nine o'clock."""
    body = spec(task("a"), params=[{"name": "v", "default": "d"}], schedules=[{**HOURLY, **schedule}])
    with story(body, cel, by_reference=True) as told:
        told.cluster.remove(WORKFLOW_RUNS, KEY.name)
        told.operator()
        yield told


def uid(told: Story) -> str:
    return str(told.cluster.objects(WORKFLOWS)[0]["metadata"]["uid"])


def take(told: Story, tick: datetime = TICK, *, owned: bool = True, **fields: Any) -> str:
    """Make a run of the name beforehand."""
    name = scheduled_run_name("sales", uid(told), "hourly", tick)
    owners = {"ownerReferences": owned_by("Workflow", "sales", uid(told))} if owned else {}
    run = {"workflowRef": {"name": "sales"}, "params": {"v": "attacker"}, **fields}
    told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": name, **owners}, "spec": run})
    return name


def until(told: Story, when: datetime) -> None:
    told.cluster.clock.at(when, lambda: None)
    told.run(until=lambda: told.cluster.clock.now() >= when, limit=100_000)
    told.settle()


def status(told: Story) -> WorkflowStatus:
    return WorkflowStatus.model_validate(told.cluster.objects(WORKFLOWS)[0]["status"])


def did_not_run(told: Story) -> str | None:
    """What the condition says, None where it is not True."""
    found = [entry for entry in status(told).conditions or () if entry.type == "DidNotRun" and entry.status == "True"]
    return found[0].message if found else None


def events(told: Story, reason: str) -> list[str]:
    return [body["message"] for body in told.cluster.objects(EVENTS) if body["reason"] == reason]


def run_at(told: Story, tick: datetime) -> Object | None:
    """The run of a tick, by its name."""
    return told.cluster.find(WORKFLOW_RUNS, KEY.namespace, scheduled_run_name("sales", uid(told), "hourly", tick))


FORGED: list[dict[str, Any]] = [
    {"owned": False, "suspend": True},
    {"owned": False},
    {"suspend": True},
    {"triggeredBy": "schedule", "suspend": True},
    {"triggeredBy": "schedule", "schedule": "hourly", "suspend": True},
    {"triggeredBy": "schedule", "schedule": "hourly", "scheduledTime": format_time(TICK + HOUR), "suspend": True},
    {"triggeredBy": "schedule", "schedule": "daily", "scheduledTime": format_time(TICK), "suspend": True},
    {"triggeredBy": "manual", "schedule": "hourly", "scheduledTime": format_time(TICK), "suspend": True},
    {"triggeredBy": "backfill", "schedule": "hourly", "scheduledTime": format_time(TICK), "suspend": True},
    {"triggeredBy": "schedule", "schedule": "hourly", "scheduledTime": format_time(TICK), "suspend": True},
    {
        "owned": False,
        "triggeredBy": "schedule",
        "schedule": "hourly",
        "scheduledTime": format_time(TICK),
        "suspend": True,
    },
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_run_made_beforehand_is_not_the_ticks_and_the_next_ticks_go_on(
    cel: Evaluator, forged: dict[str, Any]
) -> None:
    with scheduled(cel) as told:
        name = take(told, **forged)
        until(told, TICK + MINUTE)

        assert name in (did_not_run(told) or "")
        (schedule,) = status(told).schedules or ()
        assert name in (schedule.failing or "")
        assert [name in message for message in events(told, "NameTaken")] == [True]
        assert told.operators[0].stats.total("ticks_started") == 0

        until(told, TICK + HOUR + MINUTE)
        following = run_at(told, TICK + HOUR)
        assert following is not None
        assert following["spec"]["params"] == {"v": "scheduled"}
        assert did_not_run(told) is None
        assert told.operators[0].stats.total("ticks_missed", reason="CatchUp") == 1


def test_the_tick_runs_once_the_name_is_free_again(cel: Evaluator) -> None:
    with scheduled(cel, startingDeadlineSeconds=1_800) as told:
        name = take(told, suspend=True)
        until(told, TICK + 10 * MINUTE)
        assert did_not_run(told) is not None
        told.cluster.remove(WORKFLOW_RUNS, name)
        told.witness.children.remove(name)
        until(told, TICK + 11 * MINUTE)
        made = run_at(told, TICK)
        assert made is not None
        assert made["spec"]["params"] == {"v": "scheduled"}
        assert did_not_run(told) is None


def test_a_name_that_stays_taken_until_the_deadline_is_a_missed_tick(cel: Evaluator) -> None:
    with scheduled(cel, startingDeadlineSeconds=300) as told:
        name = take(told, suspend=True)
        until(told, TICK + 10 * MINUTE)
        assert "passed without a run" in (did_not_run(told) or "")
        told.cluster.remove(WORKFLOW_RUNS, name)
        until(told, TICK + 20 * MINUTE)
        assert run_at(told, TICK) is None
        assert told.operators[0].stats.total("ticks_missed") == 1


def test_of_ticks_that_are_caught_up_all_but_the_taken_ones_run(cel: Evaluator) -> None:
    with scheduled(cel, catchUp="All") as told:
        told.settle()
        names = [take(told, START + hours * HOUR, suspend=True) for hours in (1, 3)]
        for operator in list(told.operators):
            operator.die()
        told.operators.clear()
        told.cluster.advance((4 * HOUR + MINUTE).total_seconds())
        told.operator()
        told.settle()

        ours = [run_at(told, START + hours * HOUR) or {} for hours in (1, 2, 3, 4)]
        assert [body["spec"].get("triggeredBy") for body in ours] == [None, "schedule", None, "schedule"]
        assert sorted(name for name in names if any(name in message for message in events(told, "NameTaken"))) == names
        (schedule,) = status(told).schedules or ()
        assert schedule.last_schedule_time == START + 4 * HOUR
        assert told.operators[0].stats.total("ticks_missed", reason="NameTaken") == 2


def test_a_run_that_the_operator_made_before_it_died_is_the_ticks(cel: Evaluator) -> None:
    with scheduled(cel) as told:
        told.cluster.script("a", Outcome(seconds=5))
        told.settle()
        told.operators[0].api.crash_after(1)
        until(told, TICK + MINUTE)
        assert told.deaths == 1
        assert did_not_run(told) is None
        assert run_at(told, TICK) is not None


@pytest.mark.parametrize(
    ("changes", "is_it"),
    [
        ({}, True),
        ({"trigger": Trigger.BACKFILL}, True),
        ({"created_at": TICK - timedelta(seconds=30)}, True),  # by a clock that is behind
        ({"created_at": TICK - 4 * MINUTE}, True),  # or ahead, as far as certificates still count
        ({"created_at": TICK - 6 * MINUTE}, False),
        ({"trigger": Trigger.BACKFILL, "created_at": TICK - 6 * MINUTE}, False),
        ({"trigger": Trigger.RERUN}, False),
        ({"trigger": Trigger.WORKFLOW}, False),
        ({"scheduled_time": None}, False),
        ({"scheduled_time": TICK + timedelta(seconds=1)}, False),
        ({"schedule": "other"}, False),
        ({"workflow_uid": ""}, False),
        ({"workflow_uid": "other"}, False),
    ],
)
def test_what_makes_a_run_that_of_a_tick(changes: dict[str, Any], is_it: bool) -> None:
    fields: dict[str, Any] = {
        "created_at": TICK,
        "workflow_uid": "w",
        "trigger": Trigger.SCHEDULE,
        "schedule": "hourly",
        "scheduled_time": TICK,
    }
    assert is_run_of(RunSummary("name", "uid", **fields | changes), "w", "hourly", TICK) is is_it
