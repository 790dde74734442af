"""Ticks of schedules become runs: each one once, whoever dies, and what happens to those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.builders import START, spec, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    EVENTS,
    JOBS,
    PODS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    Forbidden,
    Object,
)
from nexus.api.reasons import Reason, RunPhase
from nexus.api.workflow import WorkflowStatus
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import scheduled_run_name

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EVERY_MINUTE = {"name": "often", "cron": "* * * * *"}
HOURLY = {"name": "hourly", "cron": "@hourly"}


@contextmanager
def scheduled(cel: Evaluator, *schedules: Object, **fields: Any) -> Iterator[Story]:
    """A Workflow with schedules and no runs yet; the story begins at nine o'clock."""
    with story(spec(task("a"), schedules=list(schedules), **fields), cel, by_reference=True) as told:
        told.cluster.remove(WORKFLOW_RUNS, KEY.name)
        yield told


def until(told: Story, when: datetime) -> None:
    """Go on until so late."""
    told.cluster.clock.at(when, lambda: None)
    told.run(until=lambda: told.cluster.clock.now() >= when, limit=100_000)
    told.settle()


def runs(told: Story) -> list[str]:
    """The ticks that have a run, as HH:MM, in order."""
    times = sorted(body["spec"]["scheduledTime"] for body in told.cluster.objects(WORKFLOW_RUNS))
    return [time[11:16] for time in times]


def made(told: Story) -> list[str]:
    """All names of runs that ever were, but for the one the story starts with."""
    return [name for name in told.witness.children if name != KEY.name]


def status(told: Story) -> WorkflowStatus:
    return WorkflowStatus.model_validate(told.cluster.objects(WORKFLOWS)[0]["status"])


def events(told: Story, reason: str) -> list[str]:
    found = [body for body in told.cluster.objects(EVENTS) if body["involvedObject"]["kind"] == "Workflow"]
    return [body["message"] for body in found if body["reason"] == reason]


def condition(told: Story, kind: str) -> tuple[str, str] | None:
    found = {entry.type: entry for entry in status(told).conditions or ()}
    return (found[kind].status, found[kind].reason) if kind in found else None


def test_a_tick_makes_a_run_that_knows_its_time(cel: Evaluator) -> None:
    params = [{"name": "day"}, {"name": "fixed", "type": "integer"}]
    given = {"day": "${{ date(run.intervalStart) }}", "fixed": 3}
    schedule = {"name": "nightly", "cron": "30 2 * * *", "timeZone": "Europe/Berlin", "params": given}
    with scheduled(cel, schedule, params=params) as told:
        told.operator()
        until(told, START + DAY)

        (run,) = told.cluster.objects(WORKFLOW_RUNS)

    assert run["spec"] == {
        "workflowRef": {"name": "sales"},
        "triggeredBy": "schedule",
        "schedule": "nightly",
        "scheduledTime": "2026-11-24T01:30:00.000Z",
        "intervalStart": "2026-11-23T01:30:00.000Z",
        "intervalEnd": "2026-11-24T01:30:00.000Z",
        "timeZone": "Europe/Berlin",
        "params": {"day": "2026-11-23", "fixed": 3},
    }
    owner = run["metadata"]["ownerReferences"][0]
    tick = datetime.fromisoformat("2026-11-24T01:30:00Z")
    assert run["metadata"]["name"] == scheduled_run_name("sales", owner["uid"], "nightly", tick)
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Workflow", "sales", True)
    assert run["metadata"]["labels"] == {"nexus.dev/workflow": "sales"}
    assert run["status"]["phase"] == "Succeeded"


def test_the_status_tells_of_the_last_and_the_next_times(cel: Evaluator) -> None:
    closed = {"name": "weekdays", "cron": "0 10 * * *", "exclude": {"dates": ["2026-11-25"]}}
    with scheduled(cel, closed) as told:
        told.operator()
        told.settle()
        (schedule,) = status(told).schedules or ()
        assert (schedule.since, schedule.last_schedule_time, schedule.last_successful_time) == (START, None, None)

        until(told, START + 2 * HOUR)
        found = status(told)
        (schedule,) = found.schedules or ()

    ten = START + HOUR
    assert (schedule.last_schedule_time, found.last_schedule_time) == (ten, ten)
    assert schedule.last_successful_time is not None
    assert timedelta() < schedule.last_successful_time - ten < MINUTE
    days = [(tick.time - ten).days for tick in schedule.next_schedule_times or ()]
    skipped = [tick.note for tick in schedule.next_schedule_times or () if tick.skipped]
    assert days == [1, 2, 3, 4, 5, 6]
    assert skipped == ["skipped: an excluded date"]
    assert found.next_schedule_time == ten + DAY
    assert (found.active, found.active_count) == (None, 0)


def test_jitter_delays_the_run_and_not_its_time(cel: Evaluator) -> None:
    with scheduled(cel, {**HOURLY, "jitterSeconds": 600}) as told:
        told.operator()
        until(told, START + 2 * HOUR)
        bodies = told.cluster.objects(WORKFLOW_RUNS)
        delays = [
            datetime.fromisoformat(body["metadata"]["creationTimestamp"])
            - datetime.fromisoformat(body["spec"]["scheduledTime"])
            for body in bodies
        ]
        assert runs(told)[0] == "10:00"

    assert any(delays)
    assert all(timedelta() <= delay <= 10 * MINUTE for delay in delays)


def test_many_schedules_tick_each_at_its_time(cel: Evaluator) -> None:
    with scheduled(cel, HOURLY, {"name": "half", "cron": "*/30 * * * *"}, history={"succeeded": 50}) as told:
        told.operator()
        until(told, START + 2 * HOUR + MINUTE)
        assert runs(told) == ["09:30", "10:00", "10:00", "10:30", "11:00", "11:00"]


# -- concurrency ------------------------------------------------------------------------------------------------------

LONG = Outcome(seconds=150)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("Allow", ["09:01", "09:02", "09:03", "09:04", "09:05", "09:06"]),
        ("Forbid", ["09:01", "09:04"]),
        ("Queue", ["09:01", "09:02", "09:03", "09:04", "09:05", "09:06"]),
        ("Replace", ["09:01", "09:02", "09:03", "09:04", "09:05", "09:06"]),
    ],
)
def test_a_tick_that_comes_too_early(cel: Evaluator, policy: str, expected: list[str]) -> None:
    fields = {"concurrency": {"policy": policy}, "history": {"succeeded": 50, "failed": 50}}
    with scheduled(cel, EVERY_MINUTE, **fields) as told:
        told.cluster.script("a", LONG)
        operator = told.operator()
        until(told, START + 6 * MINUTE + timedelta(seconds=20))

        assert runs(told) == expected
        phases = [told.status_of(name).phase.value for name in made(told)]
        match policy:
            case "Allow":
                assert phases == ["Succeeded"] * 3 + ["Running"] * 3
            case "Forbid":
                assert phases == ["Succeeded", "Running"]
                assert len(events(told, "TickDropped")) == 4
                assert operator.stats.total("ticks_dropped", schedule="often") == 4
                assert condition(told, "DidNotRun") is None
            case "Queue":
                assert phases == ["Succeeded"] * 2 + ["Running"] + ["Pending"] * 3
            case "Replace":
                assert phases == ["Cancelled"] * 5 + ["Running"]
        assert operator.stats.total("ticks_started") == len(expected)


def test_a_run_made_by_hand_drops_a_tick_under_forbid_and_delays_it_under_replace(cel: Evaluator) -> None:
    for policy, ticks in (("Forbid", []), ("Replace", ["Pending"])):
        with scheduled(cel, HOURLY, concurrency={"policy": policy}) as told:
            told.cluster.script("a", Outcome.hangs())
            told.operator()
            told.settle()
            by_hand = {"metadata": {"name": "by-hand"}, "spec": {"workflowRef": {"name": "sales"}}}
            told.cluster.add(WORKFLOW_RUNS, by_hand)
            until(told, START + HOUR + MINUTE)
            assert told.status_of("by-hand").phase is RunPhase.RUNNING
            assert [told.status_of(name).phase for name in made(told) if name != "by-hand"] == ticks


def test_of_two_schedules_due_at_once_forbid_lets_one_run(cel: Evaluator) -> None:
    with scheduled(cel, HOURLY, {"name": "second", "cron": "0 * * * *"}, concurrency={"policy": "Forbid"}) as told:
        told.operator()
        until(told, START + HOUR + MINUTE)
        assert len(made(told)) == 1
        assert [message for message in events(told, "TickDropped") if "schedule second" in message]


# -- deaths, two operators, clocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["Allow", "Forbid", "Replace", "Queue"])
@pytest.mark.parametrize("die", ["before", "after"])
def test_a_tick_makes_one_run_though_the_operator_dies_at_any_write(cel: Evaluator, policy: str, die: str) -> None:
    for write in range(1, 10):
        with scheduled(cel, HOURLY, concurrency={"policy": policy}, history={"succeeded": 0}) as told:
            told.operator()
            told.settle()
            told.operators[0].stats.counts.clear()
            api = told.operators[0].api
            (api.crash_before if die == "before" else api.crash_after)(write)
            until(told, START + HOUR + 10 * MINUTE)
            assert told.deaths == 1
            assert len(made(told)) == 1  # and the witness has seen none made twice
            assert runs(told) == []


@pytest.mark.parametrize("policy", ["Allow", "Forbid", "Queue"])
def test_two_operators_make_one_run_of_each_tick(cel: Evaluator, policy: str) -> None:
    with scheduled(cel, EVERY_MINUTE, concurrency={"policy": policy}, history={"succeeded": 0, "failed": 0}) as told:
        told.operator()
        told.operator()
        told.operators[1].skew = timedelta(seconds=7)
        until(told, START + 10 * MINUTE - timedelta(seconds=10))
        assert len(made(told)) == 9


def test_a_clock_that_steps_back_makes_no_second_run_of_a_tick(cel: Evaluator) -> None:
    with scheduled(cel, EVERY_MINUTE, history={"succeeded": 0}) as told:
        told.operator()
        until(told, START + 10 * MINUTE + timedelta(seconds=5))
        before = len(made(told))
        told.operators[0].skew = timedelta(minutes=-6)
        until(told, START + 16 * MINUTE)
        assert len(made(told)) == before
        until(told, START + 18 * MINUTE + timedelta(seconds=5))
        assert len(made(told)) > before


# -- ticks that have no run -------------------------------------------------------------------------------------------


def away(told: Story, time: timedelta) -> None:
    """Nobody is there for so long; then somebody is."""
    told.settle()
    for operator in list(told.operators):
        operator.die()
    told.operators.clear()
    told.cluster.advance(time.total_seconds())
    told.operator()
    told.settle()


def test_ticks_that_were_missed_are_told_of_and_the_latest_is_made_up_for(cel: Evaluator) -> None:
    with scheduled(cel, EVERY_MINUTE) as told:
        told.operator()
        away(told, 365 * DAY)

        assert len(made(told)) == 1
        (message,) = events(told, "TickMissed")
        assert "missed (" in message
        assert message.startswith("schedule often: more than 1")
        assert told.operators[0].stats.total("ticks_missed", reason="CatchUp") >= 1_000
        assert condition(told, "DidNotRun") is None
        (schedule,) = status(told).schedules or ()
        assert schedule.last_schedule_time == START + 365 * DAY


def test_a_tick_that_is_too_late_did_not_run_until_the_next_one_does(cel: Evaluator) -> None:
    with scheduled(cel, {**HOURLY, "startingDeadlineSeconds": 300}) as told:
        told.operator()
        away(told, HOUR + 6 * MINUTE)

        assert made(told) == []
        assert condition(told, "DidNotRun") == ("True", "TickMissed")
        found = {entry.type: entry.message for entry in status(told).conditions or ()}
        words = "schedule hourly: the tick of 2026-11-23 10:00Z passed without a run: 1 missed"
        assert found["DidNotRun"].startswith(words)

        until(told, START + 2 * HOUR + MINUTE)
        assert runs(told) == ["11:00"]
        assert condition(told, "DidNotRun") == ("False", "OnTime")


def test_a_run_that_the_api_server_refuses_is_tried_again(cel: Evaluator) -> None:
    with scheduled(cel, HOURLY) as told:
        api = told.operator().api
        told.settle()
        refusal = Forbidden("exceeded quota: runs", status=403, reason="Forbidden")
        api.refuse("create", WORKFLOW_RUNS, refusal, HOUR.total_seconds() + 60)
        until(told, START + HOUR + timedelta(seconds=40))
        assert made(told) == []
        assert condition(told, "DidNotRun") == ("True", "QuotaExceeded")

        until(told, START + HOUR + timedelta(seconds=95))
        assert runs(told) == ["10:00"]
        assert condition(told, "DidNotRun") == ("False", "OnTime")


def test_a_stranger_under_the_name_of_a_ticks_run_is_left_alone(cel: Evaluator) -> None:
    with scheduled(cel, HOURLY) as told:
        uid = told.cluster.objects(WORKFLOWS)[0]["metadata"]["uid"]
        name = scheduled_run_name("sales", uid, "hourly", START + HOUR)
        inline = {"workflowSpec": spec(task("z")).to_json()}
        told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": inline})
        told.operator()
        until(told, START + HOUR + MINUTE)
        assert condition(told, "DidNotRun") == ("True", "NameTaken")
        assert name in events(told, Reason.NAME_TAKEN.value)[0]

        until(told, START + 2 * HOUR + MINUTE)
        assert condition(told, "DidNotRun") == ("False", "OnTime")


@pytest.mark.parametrize(
    "suspend",
    [lambda on: {"suspend": on}, lambda on: {"schedules": [{**HOURLY, "suspend": on}]}],
    ids=["workflow", "schedule"],
)
def test_what_passes_while_it_is_suspended_is_no_backlog(cel: Evaluator, suspend: Callable[[bool], Object]) -> None:
    with scheduled(cel, HOURLY) as told:
        told.operator()
        told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": suspend(True)})
        until(told, START + 5 * HOUR + MINUTE)
        assert made(told) == []
        assert (status(told).schedules or [])[0].next_schedule_times is None

        told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": suspend(False)})
        until(told, START + 6 * HOUR + MINUTE)
        assert runs(told) == ["15:00"]
        assert events(told, "TickMissed") == []


def test_a_schedule_that_is_added_or_changed_begins_then(cel: Evaluator) -> None:
    with scheduled(cel, HOURLY) as told:
        told.operator()
        until(told, START + HOUR + 30 * MINUTE)
        daily = {"name": "daily", "cron": "15 9 * * *"}
        changed = {**HOURLY, "cron": "20 * * * *", "catchUp": "All"}
        told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": {"schedules": [changed, daily]}})
        until(told, START + 2 * HOUR + 30 * MINUTE)
        assert runs(told) == ["10:00", "11:20"]


def test_between_two_ticks_nothing_is_read_or_written(cel: Evaluator) -> None:
    with scheduled(cel, HOURLY) as told:
        api = told.operator().api
        until(told, START + HOUR + 30 * MINUTE)
        before = (len(api.writes), api.reads)
        until(told, START + 2 * HOUR - timedelta(seconds=1))
        assert (len(api.writes), api.reads) == before


def test_a_definition_with_errors_has_no_ticks(cel: Evaluator) -> None:
    with scheduled(cel, {"name": "x", "cron": "61 * * * *"}, HOURLY) as told:
        told.operator()
        until(told, START + 2 * HOUR)
        assert made(told) == []
        assert condition(told, "Ready") == ("False", "WorkflowInvalid")


def test_after_many_ticks_the_cluster_holds_what_it_held_before(cel: Evaluator) -> None:
    kinds = (WORKFLOWS, WORKFLOW_RUNS, JOBS, PODS, CONFIG_MAPS, CONTROLLER_REVISIONS)
    with scheduled(cel, {"name": "often", "cron": "*/5 * * * *"}) as told:
        told.operator()
        held = []
        for hours in range(2, 9, 2):
            until(told, START + hours * HOUR + MINUTE)
            held.append([len(told.cluster.objects(kind)) for kind in kinds])
        assert len(made(told)) == 8 * 12
    assert held[0] == held[1] == held[2] == held[3]
    assert held[0][1] == 3
