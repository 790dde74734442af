"""finally: tasks that run when all others have ended, whatever happened."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from tests.builders import RUN, START, at, definition, facts, failed, job, pod, spec, states, succeeded, task
from tests.operators import story
from tests.unit.test_validate import found, one

from nexus.adapters.fake import Outcome
from nexus.api.reasons import Reason
from nexus.api.run import Cancel
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition, waits_for
from nexus.core.model.facts import Facts, JobFact, RunFact
from nexus.core.model.plan import Plan

GRACEFUL, IMMEDIATE = (replace(RUN, cancel=cancel, generation=2) for cancel in Cancel)
REPORT = task("report", bash={"command": "true"})


def two(*final: Any, **fields: Any) -> Definition:
    """Tasks a and b, one after the other, and `finally`."""
    return definition(task("a"), task("b", "a"), **{"finally": list(final) or [REPORT], **fields})


def decided(subject: Definition, found: Facts, now: datetime, cel: Evaluator) -> Plan:
    """The decision once the endings of all others are on record: only then `finally` begins."""
    first = decide(subject, found, now, cel)
    assert (first.starts, first.wake_at) == ((), now)
    return decide(subject, replace(found, status=first.status), now, cel)


def begun(subject: Definition, cel: Evaluator) -> Any:
    return decide(subject, facts(job("a", pod())), START, cel).status


def test_it_waits_for_every_other_task(cel: Evaluator) -> None:
    plan = decide(two(), facts(job("a", pod())), START, cel)

    assert states(plan.status) == {"a": "Running", "b": "Pending Dependencies", "report": "Pending Dependencies"}
    assert plan.status.tasks is not None
    assert plan.status.tasks[2].message == "waiting for all tasks to end: a, b"
    assert plan.status.tasks_done == "0/3"


@pytest.mark.parametrize(
    ("jobs", "run", "seconds", "fields", "then", "phase"),
    [
        ([succeeded("a"), succeeded("b")], RUN, 9, {}, ("Succeeded", "Succeeded"), "Succeeded"),
        ([failed("a")], RUN, 9, {}, ("Failed TaskError", "Omitted DependencyFailed"), "Failed"),
        ([failed("a")], RUN, 9, {"failurePolicy": "FailFast"}, ("Failed TaskError", "Omitted FailFast"), "Failed"),
        ([job("a", pod())], GRACEFUL, 9, {}, ("Cancelled Cancelled", "Omitted Cancelled"), "Cancelled"),
        (
            [job("a", pod())], RUN, 60, {"deadlineSeconds": 60},
            ("Failed DeadlineExceeded", "Omitted DeadlineExceeded"), "Failed",
        ),
    ],
    ids=["success", "failure", "fail fast", "cancel", "deadline"],
)  # fmt: skip
def test_it_runs_whatever_happened_and_knows_what_the_run_ends_with(
    cel: Evaluator,
    jobs: list[JobFact],
    run: RunFact,
    seconds: float,
    fields: dict[str, Any],
    then: tuple[str, str],
    phase: str,
) -> None:
    subject = two(**fields)

    plan = decided(subject, facts(*jobs, status=begun(subject, cel), run=run), at(seconds), cel)

    assert tuple(states(plan.status).values())[:2] == then
    assert [start.task for start in plan.starts] == ["report"]
    assert plan.starts[0].payload.variables["NEXUS_RUN_PHASE"] == phase
    assert f'"phase":"{phase}"' in plan.starts[0].payload.context_json
    assert plan.status.phase == "Running"
    # What came of the others is on record while it runs, and is what the run ends with, however late it is.
    after = decide(
        subject, facts(*jobs, succeeded("report", '{"output":{}}'), status=plan.status, run=run), at(900), cel
    )
    assert after.status.phase == phase
    assert after.status.tasks_done == "3/3"
    if plan.status.reason in (Reason.CANCELLED, Reason.DEADLINE_EXCEEDED):
        assert (after.status.reason, after.status.message) == (plan.status.reason, plan.status.message)


def ends(subject: Definition, plan: Plan, *jobs: JobFact, cel: Evaluator, run: RunFact = RUN) -> Plan:
    return decide(subject, facts(*jobs, status=plan.status, run=run), at(99), cel)


def test_one_that_fails_fails_the_run_unless_its_failure_is_allowed(cel: Evaluator) -> None:
    done = [succeeded("a"), succeeded("b")]
    for allowed, phase in ((False, "Failed"), (True, "Succeeded")):
        subject = two(task("report", allowFailure=allowed))
        plan = ends(subject, decided(subject, facts(*done), START, cel), *done, failed("report"), cel=cel)
        assert plan.status.phase == phase


def test_they_depend_on_each_other_and_a_failure_stops_none_of_them(cel: Evaluator) -> None:
    subject = two(
        task("first"), task("second", "first"), task("handler", "first", triggerRule="AnyFailed"), task("other"),
        failurePolicy="FailFast",
    )  # fmt: skip
    done = [succeeded("a"), succeeded("b")]
    plan = decided(subject, facts(*done), START, cel)
    assert [start.task for start in plan.starts] == ["first", "other"]

    after = ends(subject, plan, *done, failed("first"), job("other", pod()), cel=cel)

    assert states(after.status) == {
        "a": "Succeeded",
        "b": "Succeeded",
        "first": "Failed TaskError",
        "second": "Omitted DependencyFailed",
        "handler": "Running",
        "other": "Running",
    }


def test_one_that_cannot_be_rendered_does_not_stop_the_others_under_fail_fast(cel: Evaluator) -> None:
    subject = two(task("broken", when="${{ 1 / 0 == 1 }}"), task("fine"), failurePolicy="FailFast")

    plan = decided(subject, facts(succeeded("a"), succeeded("b")), START, cel)

    assert [start.task for start in plan.starts] == ["fine"]
    assert states(plan.status)["broken"] == "Failed ExpressionError"


def test_it_sees_the_phase_and_output_of_every_task_and_has_the_outputs_of_its_dependencies(cel: Evaluator) -> None:
    first = task("first", env=[{"name": "N", "value": "${{ tasks.a.output.n }} ${{ tasks.b.phase }} ${{ run.phase }}"}])
    subject = two(first, task("last", "first", python={"code": "..."}, when="${{ tasks.a.output.n == 1 }}"))
    jobs = [succeeded("a", '{"n":1}'), failed("b")]

    plan = decided(subject, facts(*jobs), START, cel)
    assert plan.starts[0].payload.env[0].value == "1 Failed Failed"

    last = ends(subject, plan, *jobs, succeeded("first", '{"x":2}'), cel=cel)
    assert '"input":{"first":{"x":2}}' in last.starts[0].payload.context_json


def test_it_obeys_the_cap(cel: Evaluator) -> None:
    subject = two(task("x"), task("y"), maxParallelTasks=1)

    plan = decided(subject, facts(succeeded("a"), succeeded("b")), START, cel)

    assert states(plan.status)["y"] == "Pending Parallelism"
    # What was cancelled holds its slot until its pod is gone.
    cancelled = decided(subject, facts(job("a", pod()), status=begun(subject, cel), run=GRACEFUL), at(9), cel)
    assert cancelled.starts == ()
    assert states(cancelled.status)["x"] == "Pending Parallelism"


def test_a_graceful_cancel_comes_too_late_for_it_and_an_immediate_one_does_not(cel: Evaluator) -> None:
    subject = two(REPORT, task("next", "report"))
    done = [succeeded("a"), succeeded("b")]
    plan = decided(subject, facts(*done), START, cel)

    graceful = ends(subject, plan, *done, job("report", pod()), cel=cel, run=GRACEFUL)
    assert (graceful.status.phase, graceful.stops) == ("Running", ())
    assert states(graceful.status)["report"] == "Running"
    assert ends(subject, graceful, *done, succeeded("report"), succeeded("next"), cel=cel, run=GRACEFUL)

    immediate = ends(subject, graceful, *done, job("report", pod()), cel=cel, run=IMMEDIATE)
    assert (immediate.status.phase, immediate.status.reason) == ("Cancelled", Reason.CANCELLED)
    assert states(immediate.status) == {
        "a": "Succeeded", "b": "Succeeded", "report": "Cancelled Cancelled", "next": "Omitted Cancelled",
    }  # fmt: skip
    assert [stop.task for stop in immediate.stops] == ["report"]


def test_an_immediate_cancel_ends_everything_at_once(cel: Evaluator) -> None:
    plan = decide(two(), facts(job("a", pod()), status=begun(two(), cel), run=IMMEDIATE), at(9), cel)

    assert states(plan.status) == {"a": "Cancelled Cancelled", "b": "Omitted Cancelled", "report": "Omitted Cancelled"}
    assert plan.status.phase == "Cancelled"


def test_the_runs_deadline_does_not_end_it_and_a_suspend_holds_it_back(cel: Evaluator) -> None:
    subject = two(deadlineSeconds=60)
    suspended = replace(RUN, suspend=True)

    held = decided(subject, facts(job("a", pod()), status=begun(subject, cel), run=suspended), at(60), cel)
    assert states(held.status)["report"] == "Pending Suspended"
    assert (held.status.phase, held.status.reason) == ("Suspended", Reason.DEADLINE_EXCEEDED)

    resumed = decide(subject, facts(status=held.status), at(600), cel)
    assert [start.task for start in resumed.starts] == ["report"]
    assert (resumed.status.phase, resumed.status.reason) == ("Running", Reason.DEADLINE_EXCEEDED)


def test_what_a_slot_let_end_is_on_record_before_finally_takes_the_slot(cel: Evaluator) -> None:
    """With one slot, a `when` is only looked at while it is free: a Job of `finally` that came first would hide it."""
    subject = definition(
        task("a", when="${{ 1 / 0 == 1 }}"), task("b"), failurePolicy="FailFast", maxParallelTasks=1,
        **{"finally": [REPORT]},
    )  # fmt: skip

    plan = decided(subject, facts(), START, cel)

    assert [start.task for start in plan.starts] == ["report"]
    again = decide(subject, facts(job("report"), status=plan.status), START, cel)
    assert (again.starts, states(again.status)) == (
        (),
        {"a": "Failed ExpressionError", "b": "Omitted FailFast", "report": "Running"},
    )


def test_what_waits_for_what() -> None:
    subject = spec(task("a"), task("b", "a"), **{"finally": [REPORT, task("last", "report")]})

    assert waits_for(subject) == {"a": (), "b": ("a",), "report": ("a", "b"), "last": ("report",)}


# -- definitions with mistakes ----------------------------------------------------------------------------------------


def test_names_are_unique_together(cel: Evaluator) -> None:
    assert one(cel, task("a"), **{"finally": [task("a")]}) == (
        'task a, name: duplicate task name "a"; names in tasks and finally must be unique together'
    )
    assert 'duplicate task name "x"' in one(cel, task("a"), **{"finally": [task("x"), task("x")]})


def test_the_two_lists_do_not_depend_on_each_other(cel: Evaluator) -> None:
    assert one(cel, task("a", "z"), **{"finally": [task("z")]}) == (
        'task a, dependsOn[0]: dependsOn cannot reference "z": tasks of finally run after all others; remove it'
    )
    assert 'dependsOn cannot reference "a": tasks of finally run after all others anyway; remove it' in one(
        cel, task("a"), **{"finally": [task("z", "a")]}
    )
    assert one(cel, task("y"), **{"finally": [task("x"), task("z", "w")]}) == (
        'task z, dependsOn[0]: unknown task "w"; tasks are x, z'
    )


def test_a_cycle_within_finally(cel: Evaluator) -> None:
    problem = one(cel, task("a"), **{"finally": [task("x", "y"), task("y", "x")]})

    assert problem == "task x, dependsOn: dependency cycle: x -> y -> x; remove one of these dependsOn entries"


def test_expressions_of_both_lists_are_checked(cel: Evaluator) -> None:
    sees = task("sees", when='${{ tasks.a.phase == "Failed" && run.phase == "Failed" }}')
    assert found(cel, task("a"), **{"finally": [sees]}) == []

    wrong = task("sees", when='${{ tasks.b.phase == "Failed" }}')
    assert one(cel, task("a"), **{"finally": [wrong]}).startswith(
        'task sees, when: unknown task "b"; tasks are a, sees'
    )
    early = task("early", when='${{ tasks.late.phase == "Failed" }}')
    assert 'task "early" does not depend on "late"; add "late" to its dependsOn' in one(
        cel, early, **{"finally": [task("late")]}
    )


def test_five_hundred_tasks_are_the_most_of_both(cel: Evaluator) -> None:
    tasks = [task(f"t{n}") for n in range(499)]

    assert found(cel, *tasks, **{"finally": [task("x")]}) == []
    assert "tasks and finally must have at most 500 tasks together" in one(
        cel, *tasks, **{"finally": [task("x"), task("y")]}
    )


# -- with operators on the fake cluster -------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("trouble", ["fails", "cancel", "deadline"])
def test_it_runs_once_though_operators_die(cel: Evaluator, when: str, trouble: str) -> None:
    subject = two(
        task("cleanup"), task("tell", "cleanup"), maxParallelTasks=1,
        **({"deadlineSeconds": 20} if trouble == "deadline" else {}),
    ).spec  # fmt: skip
    number, died = 0, 1
    while died:
        number += 1
        with story(subject, cel) as told:
            told.cluster.script("a", Outcome(exit_code=1) if trouble == "fails" else Outcome.hangs())
            api = told.operator().api
            (api.crash_after if when == "after" else api.crash_before)(number)
            told.run(until=lambda told=told: told.phases.get("a") in ("Running", "Failed"))
            if trouble == "cancel":
                told.steer(cancel="Graceful")
            told.run()
            died = told.deaths
            assert told.status.phase == ("Cancelled" if trouble == "cancel" else "Failed")
            assert told.phases["cleanup"] == told.phases["tell"] == "Succeeded"
            assert told.witness.order == [("a", 1), ("cleanup", 1), ("tell", 1)]
    assert number > 8
