"""Stop: cancel, the run's deadline and FailFast; and the Jobs that are left to delete."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.builders import RUN, START, at, definition, ended, entry_of, facts, failed, job, pod, states, succeeded, task

from nexus.api.reasons import Reason, TaskPhase
from nexus.api.run import Cancel, JobRef, TaskStatus, WorkflowRunStatus
from nexus.core.engine.decide import decide
from nexus.core.engine.stop import stray_jobs
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import JobFact


def entry(name: str, phase: TaskPhase, fact: JobFact | None = None) -> TaskStatus:
    return TaskStatus(name=name, phase=phase, job=JobRef(name=fact.name, uid=fact.uid) if fact else None, attempts=1)


CANCELLED = replace(RUN, cancel=Cancel.GRACEFUL)
DIAMOND = (task("done"), task("runs", "done"), task("waits", "runs"), task("free"))


def recorded(cel: Evaluator) -> WorkflowRunStatus:
    """The task `done` has succeeded, `runs` and `free` have a pod, `waits` has none."""
    first = decide(definition(*DIAMOND), facts(succeeded("done"), job("free", pod())), START, cel)
    assert [start.task for start in first.starts] == ["runs"]
    found = facts(succeeded("done"), job("free", pod()), job("runs", pod()))
    return decide(definition(*DIAMOND), found, START, cel).status


def test_cancel_ends_what_runs_and_omits_the_rest(cel: Evaluator) -> None:
    running, free = job("runs", pod()), job("free", pod())

    plan = decide(
        definition(*DIAMOND), facts(running, free, succeeded("done"), status=recorded(cel), run=CANCELLED), at(9), cel
    )

    assert states(plan.status) == {
        "done": "Succeeded",
        "runs": "Cancelled Cancelled",
        "waits": "Omitted Cancelled",
        "free": "Cancelled Cancelled",
    }
    assert (plan.status.phase, plan.status.reason) == ("Cancelled", Reason.CANCELLED)
    assert {stop.uid for stop in plan.stops} == {running.uid, free.uid}


def test_cancel_of_a_run_whose_tasks_have_all_ended_comes_too_late(cel: Evaluator) -> None:
    plan = decide(definition(task("t")), facts(succeeded("t"), run=CANCELLED), at(9), cel)

    assert plan.status.phase == "Succeeded"


def test_the_runs_deadline_fails_what_runs_and_omits_the_rest(cel: Evaluator) -> None:
    subject = definition(*DIAMOND, deadlineSeconds=60)
    found = facts(job("runs", pod()), job("free", pod()), succeeded("done"), status=recorded(cel))

    early = decide(subject, found, at(59), cel)
    late = decide(subject, found, at(60), cel)

    assert (early.wake_at, early.stops) == (at(60), ())
    assert states(late.status) == {
        "done": "Succeeded",
        "runs": "Failed DeadlineExceeded",
        "waits": "Omitted DeadlineExceeded",
        "free": "Failed DeadlineExceeded",
    }
    assert (late.status.phase, late.status.reason) == ("Failed", Reason.DEADLINE_EXCEEDED)
    assert late.status.message == "the run exceeded deadlineSeconds (60)"
    assert len(late.stops) == 2


def test_a_success_that_is_seen_at_the_deadline_still_counts(cel: Evaluator) -> None:
    plan = decide(definition(task("t"), deadlineSeconds=60), facts(succeeded("t"), status=None), at(90), cel)

    assert plan.status.phase == "Succeeded"


def test_a_tasks_own_deadline_is_not_the_runs(cel: Evaluator) -> None:
    subject = definition(task("t", deadlineSeconds=5), deadlineSeconds=600)
    first = decide(subject, facts(job("t", pod())), START, cel).status

    plan = decide(subject, facts(job("t", pod()), status=first), at(5), cel)

    assert plan.status.reason is Reason.TASK_FAILED
    assert entry_of(plan.status, "t").message == "the task exceeded deadlineSeconds (5)"


def test_fail_fast_cancels_what_runs_retries_too_and_omits_the_rest(cel: Evaluator) -> None:
    subject = definition(
        task("bad"), task("runs"), task("retries", retry={"limit": 3, "delaySeconds": 60}), task("waits", "runs"),
        failurePolicy="FailFast",
    )  # fmt: skip
    found = facts(job("bad", pod()), job("runs", pod()), failed("retries"))
    status = decide(subject, found, at(6), cel).status
    assert states(status)["retries"] == "Running RetryDelay"

    plan = decide(subject, facts(failed("bad"), job("runs", pod()), failed("retries"), status=status), at(9), cel)

    assert states(plan.status) == {
        "bad": "Failed TaskError",
        "runs": "Cancelled FailFast",
        "retries": "Cancelled FailFast",
        "waits": "Omitted FailFast",
    }
    assert (plan.status.phase, plan.status.reason) == ("Failed", Reason.TASK_FAILED)
    assert [stop.task for stop in plan.stops] == ["runs"]


def test_under_continue_what_does_not_depend_on_the_failure_goes_on(cel: Evaluator) -> None:
    subject = definition(task("bad"), task("runs"), task("after", "bad"))

    plan = decide(subject, facts(failed("bad"), job("runs", pod())), at(9), cel)

    assert states(plan.status) == {"bad": "Failed TaskError", "runs": "Running", "after": "Omitted DependencyFailed"}
    assert plan.status.phase == "Running"
    assert plan.stops == ()


def test_a_start_that_was_planned_in_the_same_breath_as_a_failure_never_happened(cel: Evaluator) -> None:
    retried = task("retried", retry={"limit": 1, "delaySeconds": 1})
    subject = definition(retried, task("fresh"), task("bad", when="${{ 1 / 0 == 1 }}"), failurePolicy="FailFast")
    waiting = decide(definition(retried, task("fresh"), task("bad")), facts(failed("retried")), at(5), cel).status
    only_retried = waiting.model_copy(update={"tasks": [entry_of(waiting, "retried")]})

    plan = decide(subject, facts(failed("retried"), status=only_retried), at(60), cel)

    assert plan.starts == ()
    assert states(plan.status) == {
        "retried": "Cancelled FailFast",
        "fresh": "Omitted FailFast",
        "bad": "Failed ExpressionError",
    }
    assert entry_of(plan.status, "retried").attempts == 1
    assert entry_of(plan.status, "retried").job == entry_of(waiting, "retried").job
    assert entry_of(plan.status, "fresh").job is None


# -- Jobs that are left -----------------------------------------------------------------------------------------------

LIVE, DONE, AGAIN = job("t", pod()), job("t", pod(ended(0))), job("t", pod(ended(0)), pod(uid="again"))


@pytest.mark.parametrize(
    ("phase", "fact", "stopped"),
    [
        (TaskPhase.RUNNING, LIVE, False),
        (TaskPhase.CANCELLED, LIVE, True),
        (TaskPhase.FAILED, LIVE, True),
        (TaskPhase.FAILED, job("t"), True),
        (TaskPhase.FAILED, job("t", pod(), deleting=True), False),
        (TaskPhase.FAILED, failed("t"), False),
        # Its output did not count; the log that tells why stays with its pod.
        (TaskPhase.FAILED, job("t", pod(ended(0))), False),
        (TaskPhase.FAILED, job("t", pod(ended(1))), True),
        (TaskPhase.FAILED, job("t", pod(ended(0)), pod()), True),
        (TaskPhase.CANCELLED, job("t", pod(ended(0))), True),
        (TaskPhase.SUCCEEDED, DONE, False),
        (TaskPhase.SUCCEEDED, AGAIN, True),
        (TaskPhase.SUCCEEDED, job("t", pod(ended(0)), complete=True), False),
        (TaskPhase.SUCCEEDED, job("t", pod(ended(0)), suspended=True), True),
        (TaskPhase.SUCCEEDED, job("t", suspended=True), True),
        (TaskPhase.RUNNING, job("t", suspended=True), False),
    ],
)
def test_which_jobs_are_deleted(phase: TaskPhase, fact: JobFact, stopped: bool) -> None:
    stops = stray_jobs([entry("t", phase, fact)], {"t": (fact,)})

    assert [(stop.job_name, stop.uid) for stop in stops] == ([(fact.name, fact.uid)] if stopped else [])


def test_an_earlier_attempts_job_that_still_runs_is_deleted_after_a_success() -> None:
    earlier, current = job("t", attempt_number=1), job("t", pod(ended(0)), attempt_number=2)

    stops = stray_jobs([entry("t", TaskPhase.SUCCEEDED, current)], {"t": (earlier, current)})

    assert [stop.job_name for stop in stops] == [earlier.name]
