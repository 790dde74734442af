"""Suspend: nothing new is started, what is started goes on, and a cancelled run is not held up by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import RUN, START, at, definition, entry_of, facts, failed, job, pod, states, succeeded, task
from tests.operators import story

from nexus.adapters.fake import Outcome
from nexus.api.reasons import Reason
from nexus.api.run import Cancel, WorkflowRunStatus
from nexus.api.workflow import Condition
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import RunFact
from nexus.core.tasks.suspend import conditions

SUSPENDED = replace(RUN, suspend=True, generation=2)
RESUMED = replace(RUN, suspend=False, generation=3)


@pytest.mark.parametrize(
    ("fields", "suspended"),
    [
        ({}, False),
        ({"suspend": True}, True),
        ({"suspend": True, "cancel": Cancel.GRACEFUL}, False),
        ({"suspend": True, "cancel": Cancel.IMMEDIATE}, False),
    ],
)
def test_a_run_is_suspended_where_its_spec_says_so_and_it_is_not_cancelled(
    fields: dict[str, Any], suspended: bool
) -> None:
    assert replace(RUN, **fields).suspended is suspended


def condition(status: str, run: RunFact) -> Condition:
    return Condition.model_validate(
        {
            "type": "Suspended",
            "status": status,
            "observedGeneration": run.generation,
            "lastTransitionTime": START,
            "reason": "Suspended" if status == "True" else "Resumed",
        }
    )


ON, OFF = condition("True", SUSPENDED), condition("False", RESUMED)


@pytest.mark.parametrize(
    ("known", "run", "ended", "told"),
    [
        ([], RUN, False, None),
        ([], RUN, True, None),
        ([], SUSPENDED, False, ("True", "Suspended", 2)),
        ([ON], SUSPENDED, False, ON),
        ([ON], RESUMED, False, ("False", "Resumed", 3)),
        ([ON], SUSPENDED, True, ("False", "Ended", 2)),
        ([OFF], RESUMED, False, OFF),
        ([OFF], RESUMED, True, OFF),
        ([OFF], SUSPENDED, False, ("True", "Suspended", 2)),
    ],
)
def test_the_condition_is_there_once_a_run_was_suspended(
    known: list[Condition], run: RunFact, ended: bool, told: Condition | tuple[str, str, int] | None
) -> None:
    found = conditions(known, run, at(9), ended=ended)

    if told is None or isinstance(told, Condition):
        assert found == ([told] if told else [])
    else:
        assert [(entry.status, entry.reason, entry.observed_generation) for entry in found] == [told]
        assert found[0].last_transition_time == at(9)


def test_a_suspended_run_starts_nothing_and_says_why(cel: Evaluator) -> None:
    subject = definition(task("ready"), task("next", "ready"), task("skipped", when="${{ 1 / 0 == 1 }}"))

    plan = decide(subject, facts(run=SUSPENDED), START, cel)

    assert plan.starts == ()
    assert states(plan.status) == {
        "ready": "Pending Suspended",
        "next": "Pending Dependencies",
        "skipped": "Pending Suspended",
    }
    assert (plan.status.phase, plan.status.reason) == ("Suspended", Reason.SUSPENDED)
    assert "nexus resume sales-x7k2p" in (entry_of(plan.status, "ready").message or "")
    assert [event.reason for event in plan.events] == ["RunSuspended"]
    again = decide(subject, facts(run=SUSPENDED, status=plan.status), at(60), cel)
    assert (again.status, again.starts, again.events, again.wake_at) == (plan.status, (), (), None)

    resumed = decide(subject, facts(run=RESUMED, status=plan.status), at(90), cel)
    assert [start.task for start in resumed.starts] == ["ready"]
    assert (resumed.status.phase, resumed.status.reason, resumed.status.message) == ("Running", None, None)
    assert "RunResumed" in [event.reason for event in resumed.events]


def test_what_is_started_goes_on_and_its_retry_waits(cel: Evaluator) -> None:
    subject = definition(task("a"), task("b", retry={"limit": 1, "delaySeconds": 5}), task("c", "a"))
    before = decide(subject, facts(job("a", pod()), job("b", pod())), START, cel).status

    plan = decide(subject, facts(succeeded("a"), failed("b"), run=SUSPENDED, status=before), at(60), cel)

    assert plan.starts == ()
    assert states(plan.status) == {"a": "Succeeded", "b": "Running Suspended", "c": "Pending Suspended"}
    resumed = decide(subject, facts(succeeded("a"), failed("b"), run=RESUMED, status=plan.status), at(61), cel)
    assert {start.task for start in resumed.starts} == {"b", "c"}


def test_deadlines_go_on_counting(cel: Evaluator) -> None:
    subject = definition(task("t"), deadlineSeconds=60)
    before = decide(subject, facts(run=SUSPENDED), START, cel)
    assert before.wake_at == at(60)

    plan = decide(subject, facts(run=SUSPENDED, status=before.status), at(60), cel)

    assert states(plan.status) == {"t": "Omitted DeadlineExceeded"}
    assert (plan.status.phase, plan.status.reason) == ("Failed", Reason.DEADLINE_EXCEEDED)
    held = {entry.type: entry.status for entry in plan.status.conditions or ()}
    assert held == {"Complete": "False", "Failed": "True", "Finished": "True", "Suspended": "False"}


def test_a_run_whose_tasks_all_end_while_it_is_suspended_ends(cel: Evaluator) -> None:
    before = decide(definition(task("t")), facts(job("t", pod())), START, cel).status

    plan = decide(definition(task("t")), facts(succeeded("t"), run=SUSPENDED, status=before), at(9), cel)

    assert (plan.status.phase, plan.status.reason) == ("Succeeded", None)
    assert plan.status.conditions is not None
    assert [entry.type for entry in plan.status.conditions] == ["Complete", "Failed", "Finished"]


@pytest.mark.parametrize("cancel", list(Cancel))
def test_a_suspended_run_that_is_cancelled_ends(cel: Evaluator, cancel: Cancel) -> None:
    before = decide(definition(task("t")), facts(run=SUSPENDED), START, cel).status

    plan = decide(definition(task("t")), facts(run=replace(SUSPENDED, cancel=cancel), status=before), at(9), cel)

    assert (plan.status.phase, plan.status.reason) == ("Cancelled", Reason.CANCELLED)
    assert states(plan.status) == {"t": "Omitted Cancelled"}


# -- with operators on the fake cluster -------------------------------------------------------------------------------


def tasks_of(status: WorkflowRunStatus) -> dict[str, str]:
    return {entry.name: entry.phase.value for entry in status.tasks or ()}


@pytest.mark.parametrize("die", ["before", "after", "never"])
def test_a_run_is_suspended_and_resumed_though_operators_die(cel: Evaluator, die: str) -> None:
    subject = definition(task("a"), task("b", "a")).spec
    for number in range(1, 2 if die == "never" else 7):
        with story(subject, cel) as told:
            told.cluster.script("a", Outcome(seconds=5))
            api = told.operator().api
            told.run(until=lambda told=told: told.phases.get("a") == "Running")
            if die != "never":
                (api.crash_before if die == "before" else api.crash_after)(number)
            told.steer(suspend=True)
            told.quiet(60)
            assert tasks_of(told.status) == {"a": "Succeeded", "b": "Pending"}
            assert told.status.phase == "Suspended"
            told.steer(suspend=None)
            told.run()
            assert told.status.phase == "Succeeded"
            assert told.witness.order == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("die", ["before", "after", "never"])
@pytest.mark.parametrize("suspend", [True, None])
def test_a_run_is_cancelled_though_operators_die(cel: Evaluator, die: str, suspend: bool | None) -> None:
    subject = definition(task("a"), task("b", "a"), task("c"), maxParallelTasks=1).spec
    for number in range(1, 2 if die == "never" else 5):
        with story(subject, cel) as told:
            told.cluster.script("a", Outcome.hangs())
            api = told.operator().api
            told.run(until=lambda told=told: told.phases.get("a") == "Running")
            if die != "never":
                (api.crash_before if die == "before" else api.crash_after)(number)
            told.steer(suspend=suspend, cancel="Graceful")
            told.run()
            assert tasks_of(told.status) == {"a": "Cancelled", "b": "Omitted", "c": "Omitted"}
            assert (told.status.phase, told.status.reason) == ("Cancelled", Reason.CANCELLED)
            told.quiet(60)
            assert told.witness.order == [("a", 1)]
            assert told.deaths == (die != "never")
