"""Start: who may run now, and in which words the others wait."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import (
    START,
    at,
    chain,
    definition,
    ended,
    entry_of,
    facts,
    failed,
    fan,
    job,
    pod,
    run_with,
    states,
    succeeded,
    task,
)

from nexus.api.reasons import Reason
from nexus.api.run import WorkflowRunStatus
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition
from nexus.core.model.facts import Facts, JobFact, Refusal
from nexus.core.model.operator_defaults import OperatorDefaults
from nexus.core.model.plan import LoadOutput, Plan


def started(plan: Plan) -> list[str]:
    return [start.task for start in plan.starts]


def first(subject: Definition, cel: Evaluator, *jobs: JobFact, **fields: Any) -> Plan:
    return decide(subject, facts(*jobs, **fields), START, cel)


# -- order ------------------------------------------------------------------------------------------------------------


def test_tasks_without_dependencies_start_and_the_others_say_what_they_wait_for(cel: Evaluator) -> None:
    plan = first(definition(task("a"), task("b"), task("c", "a", "b")), cel)

    assert started(plan) == ["a", "b"]
    assert entry_of(plan.status, "c").reason is Reason.DEPENDENCIES
    assert entry_of(plan.status, "c").message == "waiting for a, b"


def test_only_what_has_not_ended_is_waited_for(cel: Evaluator) -> None:
    plan = first(definition(task("a"), task("b"), task("c", "a", "b")), cel, succeeded("a"))

    assert entry_of(plan.status, "c").message == "waiting for b"


def test_many_dependencies_are_counted(cel: Evaluator) -> None:
    subject = definition(
        *(task(f"d{number}") for number in range(8)), task("t", *(f"d{number}" for number in range(8)))
    )

    assert entry_of(first(subject, cel).status, "t").message == "waiting for d0, d1, d2, d3, d4 and 3 more"


def test_a_rule_is_looked_at_when_all_dependencies_have_ended_and_not_before(cel: Evaluator) -> None:
    subject = definition(task("a"), task("b"), task("any", "a", "b", triggerRule="AnySucceeded"))

    assert started(first(subject, cel, succeeded("a"), job("b", pod()))) == []
    assert started(first(subject, cel, succeeded("a"), failed("b"))) == ["any"]


def test_a_skip_travels_on_through_the_whole_dag_in_one_decision(cel: Evaluator) -> None:
    subject = definition(
        task("a", when="${{ false }}"), task("b", "a"), task("c", "b"), task("d", "c", triggerRule="AllDone")
    )

    plan = first(subject, cel)

    assert states(plan.status) == {
        "a": "Skipped WhenFalse",
        "b": "Skipped DependencySkipped",
        "c": "Skipped DependencySkipped",
        "d": "Running",
    }


def test_a_failure_omits_what_depends_on_it_and_a_handler_sees_the_break_at_its_start(cel: Evaluator) -> None:
    subject = definition(task("a"), task("b", "a"), task("c", "b"), task("handler", "c", triggerRule="AnyFailed"))

    plan = first(subject, cel, failed("a"))

    assert states(plan.status) == {
        "a": "Failed TaskError",
        "b": "Omitted DependencyFailed",
        "c": "Omitted DependencyFailed",
        "handler": "Running",
    }


# -- maxParallelTasks -------------------------------------------------------------------------------------------------


def test_no_more_start_than_there_are_slots(cel: Evaluator) -> None:
    plan = first(fan(5, maxParallelTasks=2), cel)

    assert started(plan) == ["t0", "t1"]
    assert entry_of(plan.status, "t2").reason is Reason.PARALLELISM
    assert (
        entry_of(plan.status, "t2").message == "the limit of 2 running tasks of the run is reached (maxParallelTasks)"
    )


def test_where_the_operator_allows_less_than_the_workflow_asks_for_it_is_named(cel: Evaluator) -> None:
    capped = replace(fan(5, maxParallelTasks=4), operator=OperatorDefaults(max_parallel_tasks=1))
    plan = first(capped, cel)

    assert len(plan.starts) == 1
    message = "the limit of 1 running tasks of the run is reached (the operator's NEXUS_MAX_PARALLEL_TASKS)"
    assert entry_of(plan.status, "t2").message == message


def test_a_pending_pod_takes_a_slot_and_a_finished_container_none(cel: Evaluator) -> None:
    pending = job("t0", pod(phase="Pending", unschedulable="no node"))

    plan = first(fan(5, maxParallelTasks=2), cel, pending, succeeded("t1"))

    assert started(plan) == ["t2"]


def test_a_retry_delay_takes_no_slot(cel: Evaluator) -> None:
    subject = definition(task("a", retry={"limit": 1, "delaySeconds": 60}), task("b"), maxParallelTasks=1)

    plan = first(subject, cel, failed("a"))

    assert states(plan.status)["a"] == "Running RetryDelay"
    assert started(plan) == ["b"]


def test_a_retry_that_is_due_waits_for_a_slot(cel: Evaluator) -> None:
    subject = definition(task("a", retry={"limit": 1, "delaySeconds": 60}), task("b"), maxParallelTasks=1)
    status = first(subject, cel, failed("a"), job("b", pod())).status

    busy = decide(subject, facts(failed("a"), job("b", pod()), status=status), at(90), cel)
    free = decide(subject, facts(failed("a"), succeeded("b"), status=busy.status), at(95), cel)

    assert (started(busy), entry_of(busy.status, "a").reason) == ([], Reason.PARALLELISM)
    assert started(free) == ["a"]


def test_a_pod_that_is_still_to_be_stopped_takes_a_slot(cel: Evaluator) -> None:
    subject = definition(task("a", deadlineSeconds=5), task("b"), maxParallelTasks=1)
    status = first(subject, cel, job("a", pod())).status

    late = decide(subject, facts(job("a", pod()), status=status), at(5), cel)
    gone = decide(subject, facts(status=late.status), at(6), cel)

    assert (states(late.status)["a"], started(late)) == ("Failed DeadlineExceeded", [])
    assert [stop.task for stop in late.stops] == ["a"]
    assert started(gone) == ["b"]


def test_when_is_not_asked_before_there_is_a_slot(cel: Evaluator) -> None:
    subject = definition(task("a"), task("b", when="${{ 1 / 0 == 1 }}"), maxParallelTasks=1)

    waits = first(subject, cel, job("a", pod()))
    asked = decide(subject, facts(succeeded("a"), status=waits.status), at(9), cel)

    assert states(waits.status)["b"] == "Pending Parallelism"
    assert states(asked.status)["b"] == "Failed ExpressionError"


# -- when and fields --------------------------------------------------------------------------------------------------


def test_when_false_skips_and_the_fields_are_not_evaluated(cel: Evaluator) -> None:
    subject = definition(task("t", when="${{ false }}", env=[{"name": "X", "value": "${{ 1 / 0 }}"}]))

    plan = first(subject, cel)

    assert states(plan.status) == {"t": "Skipped WhenFalse"}
    assert entry_of(plan.status, "t").message == "when is false: ${{ false }}"


def test_when_is_not_evaluated_where_the_rule_is_not_met(cel: Evaluator) -> None:
    subject = definition(task("a"), task("b", "a", when="${{ tasks.a.output.nope }}"))

    assert states(first(subject, cel, failed("a")).status)["b"] == "Omitted DependencyFailed"


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("${{ tasks.a.output.nope }}", "when: "),
        ("${{ tasks.a.output.n }}", "when: must be a boolean, got 3; compare it with something"),
    ],
)
def test_a_when_that_fails_fails_its_task_without_a_retry(cel: Evaluator, when: str, words: str) -> None:
    subject = definition(task("a"), task("b", "a", when=when, retry={"limit": 5}))

    plan = first(subject, cel, succeeded("a", '{"n":3}'))

    assert states(plan.status)["b"] == "Failed ExpressionError"
    assert (entry_of(plan.status, "b").message or "").startswith(words)


def test_a_field_that_fails_fails_its_task(cel: Evaluator) -> None:
    plan = first(definition(task("t", env=[{"name": "X", "value": "${{ 1 / 0 }}"}])), cel)

    assert (started(plan), states(plan.status)) == ([], {"t": "Failed ExpressionError"})


def test_fields_see_params_run_and_what_came_before(cel: Evaluator) -> None:
    subject = definition(
        task("a"),
        task("b", "a", container={"image": "i", "args": ["${{ params.day }} ${{ run.name }} ${{ tasks.a.output.n }}"]}),
        params=[{"name": "day"}],
    )

    plan = first(subject, cel, succeeded("a", '{"n":3}'), run=run_with({"day": "monday"}))

    assert plan.starts[0].payload.args == ("monday sales-x7k2p 3",)


def test_the_output_of_what_did_not_succeed_is_null_and_its_phase_is_known(cel: Evaluator) -> None:
    args = ["${{ tasks.a.phase }} ${{ tasks.a.output == null }} ${{ get(tasks.a.output, 'n', 7) }}"]
    subject = definition(task("a"), task("b", "a", container={"image": "i", "args": args}, triggerRule="AllDone"))

    assert first(subject, cel, failed("a")).starts[0].payload.args == ("Failed true 7",)


def test_a_task_too_large_to_hand_over_fails_with_the_field_named(cel: Evaluator) -> None:
    subject = definition(
        task("t", container={"image": "i", "args": ["${{ params.x + params.x + params.x }}"]}), params=[{"name": "x"}]
    )

    plan = first(subject, cel, run=run_with({"x": "x" * 50_000}))

    assert states(plan.status) == {"t": "Failed InputTooLarge"}
    assert "container.args[0]" in (entry_of(plan.status, "t").message or "")


# -- inputs -----------------------------------------------------------------------------------------------------------


def test_a_stored_output_is_mounted_and_only_read_where_an_expression_names_it(cel: Evaluator) -> None:
    big = succeeded("a", '{"text":"%s"}' % ("x" * 3_000))
    plain = definition(task("a", python={"code": "1"}), task("b", "a", python={"code": "2"}))
    message = '{"output":{"text":"%s"}}' % ("x" * 3_000)
    after = decide(plain, facts(succeeded("a", message)), START, cel)
    assert dict(after.starts[0].payload.inputs) == {"a": entry_of(after.status, "a").output_ref}
    assert '"input":{}' in after.starts[0].payload.context_json

    naming = definition(task("a"), task("b", "a", env=[{"name": "X", "value": "${{ tasks.a.output.text.size() }}"}]))
    fresh = first(naming, cel, big)
    assert fresh.reads == ()
    assert fresh.starts[0].payload.env[0].value == "3000"
    status = fresh.status.model_copy(update={"tasks": [entry_of(fresh.status, "a")]})

    again = decide(naming, facts(big, status=status), START, cel)
    reference = entry_of(status, "a").output_ref
    assert reference is not None
    assert again.reads == (LoadOutput("a", reference.config_map, reference.sha256),)
    assert again.starts == ()

    found: Facts = facts(big, status=status, outputs={"a": {"text": "x" * 5}})
    assert decide(naming, found, START, cel).starts[0].payload.env[0].value == "5"
    gone = decide(naming, facts(big, status=status, outputs={"a": None}), START, cel)
    assert states(gone.status)["b"] == "Failed ExpressionError"
    assert "its ConfigMap was deleted" in (entry_of(gone.status, "b").message or "")


# -- the Job ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "backoff_limit"),
    [
        ({"retry": {"limit": 3}}, 3),
        ({"retry": {"limit": 3, "delaySeconds": 5}}, 0),
        ({}, 0),
    ],
)
def test_the_job_controller_retries_where_its_delays_are_the_ones_asked_for(
    cel: Evaluator, fields: dict[str, Any], backoff_limit: int
) -> None:
    assert first(definition(task("t", **fields)), cel).starts[0].backoff_limit == backoff_limit


def test_the_job_controller_does_not_retry_where_its_pods_could_exceed_the_slots(cel: Evaluator) -> None:
    tasks = (task("a", retry={"limit": 3}), task("b"))

    assert first(definition(*tasks, maxParallelTasks=1), cel).starts[0].backoff_limit == 0


def test_a_place_without_retries_of_its_own_is_asked_for_none(cel: Evaluator) -> None:
    subject = definition(task("t", retry={"limit": 3}))

    assert first(subject, cel, native_backoff=False).starts[0].backoff_limit == 0


def test_a_later_attempts_job_has_what_is_left_of_limit_and_deadline(cel: Evaluator) -> None:
    subject = definition(task("t", retry={"limit": 3}, deadlineSeconds=100, timeoutSeconds=30))
    status = first(subject, cel, job("t", pod())).status

    gone = decide(subject, facts(status=status), at(20), cel)
    plan = decide(subject, facts(status=gone.status), at(30), cel)

    (start,) = plan.starts
    assert (start.attempt_number, start.backoff_limit, start.deadline_seconds, start.timeout_seconds) == (2, 2, 70, 30)


def test_labels_of_the_workflow_go_on_every_job(cel: Evaluator) -> None:
    plan = first(definition(task("t"), labels={"team": "data"}), cel)

    assert plan.starts[0].labels == {"team": "data"}


# -- refusals ---------------------------------------------------------------------------------------------------------


def refused(subject: Definition, cel: Evaluator, refusal: Refusal, status: WorkflowRunStatus | None = None) -> Plan:
    name = first(subject, cel).starts[0].job_name
    return decide(subject, facts(refusals={name: refusal}, status=status), START, cel)


def test_a_job_that_is_refused_fails_its_task(cel: Evaluator) -> None:
    plan = refused(definition(task("t")), cel, Refusal(Reason.JOB_REFUSED, "a webhook says no"))

    assert states(plan.status) == {"t": "Failed JobRefused"}
    assert plan.status.message == "task t: a webhook says no"


def test_a_refusal_that_may_pass_is_tried_again(cel: Evaluator) -> None:
    plan = refused(definition(task("t")), cel, Refusal(Reason.QUOTA_EXCEEDED, "exceeded quota: jobs", final=False))

    assert (states(plan.status), started(plan)) == ({"t": "Pending QuotaExceeded"}, [])
    assert plan.wake_at == at(10)


def test_what_may_not_start_yet_is_asked_about_at_once(cel: Evaluator) -> None:
    plan = decide(chain(2), facts(), START, cel, may_start=False)

    assert (started(plan), plan.wake_at, states(plan.status)["t0"]) == ([], START, "Pending")


def test_a_container_that_ended_frees_its_slot_before_its_pod_is_gone(cel: Evaluator) -> None:
    plan = first(fan(2, maxParallelTasks=1), cel, job("t0", pod(ended(0), phase="Running")))

    assert started(plan) == ["t1"]
