"""The policy of child runs: what a `workflow` task does for each state of its child."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import RUN, START, at, child, definition, entry_of, facts, failed, states, task

from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import Cancel, OutputRef, RunRef, TaskStatus, WorkflowRunStatus
from nexus.core.engine.decide import after, decide
from nexus.core.engine.finish import refuse
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import ChildFact, Refusal
from nexus.core.model.plan import CancelRun, LoadOutput, Plan, StartChild
from nexus.core.tasks.child_run import stray_children
from nexus.core.tasks.identity import child_content

CALL = task("call", workflow={"name": "price", "params": {"n": "${{ 1 + 1 }}", "list": ["${{ run.name }}", True]}})


def ended(phase: RunPhase, reason: Reason | None = None, message: str = "", **fields: Any) -> ChildFact:
    return child("call", phase=phase, reason=reason, message=message, ended_at=at(8), **fields)


def running(cel: Evaluator, **fields: Any) -> WorkflowRunStatus:
    """The status while the first child runs."""
    return decide(
        definition(task("call", workflow={"name": "price"}, **fields)), facts(child("call")), START, cel
    ).status


def looked_at(cel: Evaluator, fact: ChildFact | None, seconds: float = 9, **fields: Any) -> Plan:
    subject = definition(task("call", workflow={"name": "price"}, **fields))
    found = (fact,) if fact is not None else ()
    return decide(subject, facts(*found, status=running(cel, **fields)), at(seconds), cel)


def test_a_child_gets_its_params_with_their_types_and_is_one_deeper(cel: Evaluator) -> None:
    plan = decide(definition(CALL), facts(run=replace(RUN, depth=2)), START, cel)

    name = child("call").name
    assert plan.starts == (StartChild("call", name, 1, "price", {"n": 2, "list": [RUN.name, True]}, 3),)
    entry = entry_of(plan.status, "call")
    assert (entry.phase, entry.attempts, entry.child_run, entry.job) == ("Running", 1, RunRef(name=name), None)


@pytest.mark.parametrize(
    ("fact", "retry", "state", "message"),
    [
        (child("call"), {}, "Running", "child run NAME"),
        (child("call", phase=RunPhase.RUNNING), {}, "Running", "child run NAME"),
        (child("call", phase=RunPhase.SUSPENDED), {}, "Running Suspended", "child run NAME is suspended"),
        (ended(RunPhase.SUCCEEDED), {}, "Succeeded", None),
        (
            ended(RunPhase.FAILED, Reason.TASK_FAILED, "task a: x"),
            {},
            "Failed ChildFailed",
            "child run NAME failed: task a: x",
        ),
        (ended(RunPhase.FAILED, Reason.TASK_FAILED, "x"), {"limit": 1}, "Running RetryDelay", None),
        (ended(RunPhase.CANCELLED, Reason.CANCELLED, "y"), {}, "Failed ChildFailed", "child run NAME was cancelled: y"),
        (ended(RunPhase.CANCELLED, Reason.CANCELLED, "y"), {"limit": 1}, "Running RetryDelay", None),
        (
            ended(RunPhase.FAILED, Reason.WORKFLOW_NOT_FOUND, "z"),
            {"limit": 9},
            "Failed WorkflowNotFound",
            "child run NAME: z",
        ),
        (
            ended(RunPhase.FAILED, Reason.WORKFLOW_INVALID, "z"),
            {"limit": 9},
            "Failed WorkflowInvalid",
            "child run NAME: z",
        ),
        (ended(RunPhase.FAILED, Reason.PARAMS_INVALID, "z"), {"limit": 9}, "Failed ParamsInvalid", "child run NAME: z"),
        (ended(RunPhase.FAILED, Reason.TOO_DEEP, "z"), {"limit": 9}, "Failed TooDeep", "z"),
        (child("call", deleting=True), {}, "Failed ChildDeleted", "the child run NAME was deleted"),
        (ended(RunPhase.SUCCEEDED, deleting=True), {}, "Succeeded", None),
        (None, {}, "Failed ChildDeleted", "the child run NAME was deleted"),
        (None, {"limit": 1}, "Running RetryDelay", None),
    ],
)
def test_a_task_is_where_its_child_is(
    cel: Evaluator, fact: ChildFact | None, retry: dict[str, Any], state: str, message: str | None
) -> None:
    plan = looked_at(cel, fact, retry=retry)

    assert states(plan.status) == {"call": state}
    if message is not None or not retry:
        expected = message.replace("NAME", child("call").name) if message else None
        assert entry_of(plan.status, "call").message == expected


def test_a_retry_is_a_new_child_when_it_is_due_and_leaves_a_record(cel: Evaluator) -> None:
    retry = {"limit": 1, "delaySeconds": 5}
    fact = ended(RunPhase.FAILED, Reason.TASK_FAILED, "x")
    waits = looked_at(cel, fact, retry=retry)
    subject = definition(task("call", workflow={"name": "price"}, retry=retry))

    early = decide(subject, facts(fact, status=waits.status), at(12), cel)
    due = decide(subject, facts(fact, status=waits.status), at(13), cel)

    assert (early.starts, early.wake_at) == ((), at(13))
    (start,) = due.starts
    assert isinstance(start, StartChild)
    assert (start.run_name, start.attempt_number) == (child("call", attempt_number=2).name, 2)
    (record,) = entry_of(waits.status, "call").attempt_records or ()
    assert (record.attempt, record.reason) == (1, Reason.CHILD_FAILED)


def test_a_child_that_no_status_knows_is_taken_over(cel: Evaluator) -> None:
    found = child("call", created_at=at(-3), content=child_content("price", {"n": 2.0, "list": [RUN.name, True]}))
    plan = decide(definition(CALL), facts(found), START, cel)

    entry = entry_of(plan.status, "call")
    assert (plan.starts, entry.phase, entry.attempts, entry.start_time) == ((), "Running", 1, at(-3))
    assert entry.child_run == RunRef(name=child("call").name, uid=child("call").uid)


def test_small_outputs_are_the_tasks_own(cel: Evaluator) -> None:
    plan = looked_at(cel, ended(RunPhase.SUCCEEDED, outputs={"total": 12.5}))

    assert entry_of(plan.status, "call").output == {"total": 12.5}


def test_large_outputs_are_read_and_kept_in_a_config_map_of_the_parent(cel: Evaluator) -> None:
    fact = ended(RunPhase.SUCCEEDED, outputs_ref=OutputRef(config_map="theirs", size=5_000))
    subject = definition(task("call", workflow={"name": "price"}))
    status = running(cel)

    asked = decide(subject, facts(fact, status=status), at(9), cel)
    told = decide(subject, facts(fact, status=status, outputs={"call": {"n": ["x" * 50] * 100}}), at(9), cel)
    gone = decide(subject, facts(fact, status=status, outputs={"call": None}), at(9), cel)

    assert asked.reads == (LoadOutput("call", "theirs"),)
    (store,) = told.stores
    reference = entry_of(told.status, "call").output_ref
    assert reference is not None
    assert store.config_map == reference.config_map == f"{fact.name}-output"
    assert states(gone.status) == {"call": "Failed OutputLost"}


def test_an_attempt_has_its_timeout_from_when_its_child_was_seen(cel: Evaluator) -> None:
    fact = child("call", started_at=at(1))

    early = looked_at(cel, fact, 10, timeoutSeconds=10)
    late = looked_at(cel, fact, 11, timeoutSeconds=10)

    assert (states(early.status), early.wake_at, early.cancels) == ({"call": "Running"}, at(11), ())
    assert states(late.status) == {"call": "Failed Timeout"}
    assert late.cancels == (CancelRun("call", fact.name, fact.uid, Cancel.GRACEFUL),)


def test_after_a_timeout_the_old_child_is_cancelled_before_the_next_attempt(cel: Evaluator) -> None:
    plan = looked_at(cel, child("call"), 10, timeoutSeconds=10, retry={"limit": 1})

    assert states(plan.status) == {"call": "Running RetryDelay"}
    assert [cancel.run_name for cancel in plan.cancels] == [child("call").name]


@pytest.mark.parametrize(("depth", "starts"), [(0, 1), (4, 1), (5, 0), (17, 0)])
def test_children_are_nested_five_deep(cel: Evaluator, depth: int, starts: int) -> None:
    plan = decide(definition(CALL), facts(run=replace(RUN, depth=depth)), START, cel)

    assert len(plan.starts) == starts
    if not starts:
        assert (states(plan.status), plan.status.reason) == ({"call": "Failed TooDeep"}, Reason.TOO_DEEP)


def test_params_that_cannot_be_rendered_fail_the_task_by_their_name(cel: Evaluator) -> None:
    bad = task("call", workflow={"name": "price", "params": {"n": ["${{ 1 / 0 }}"]}})
    plan = decide(definition(bad), facts(), START, cel)

    assert states(plan.status) == {"call": "Failed ExpressionError"}
    assert (entry_of(plan.status, "call").message or "").startswith("workflow.params.n[0]: ")


@pytest.mark.parametrize(
    ("refusal", "state"),
    [
        (Refusal(Reason.CHILD_REFUSED, "no"), "Failed ChildRefused"),
        (Refusal(Reason.QUOTA_EXCEEDED, "full", final=False), "Pending QuotaExceeded"),
    ],
)
def test_a_refusal_is_told(cel: Evaluator, refusal: Refusal, state: str) -> None:
    plan = decide(definition(CALL), facts(refusals={child("call").name: refusal}), START, cel)

    assert states(plan.status) == {"call": state}


# -- what goes down ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(Cancel))
def test_the_cancel_of_a_run_goes_on_to_its_children(cel: Evaluator, mode: Cancel) -> None:
    subject = definition(task("call", workflow={"name": "price"}), task("next", "call"))
    status = decide(subject, facts(child("call")), START, cel).status

    plan = decide(subject, facts(child("call"), status=status, run=replace(RUN, cancel=mode)), at(9), cel)

    assert states(plan.status) == {"call": "Cancelled Cancelled", "next": "Omitted Cancelled"}
    assert plan.cancels == (CancelRun("call", child("call").name, child("call").uid, mode),)


def test_fail_fast_and_the_runs_deadline_cancel_gracefully(cel: Evaluator) -> None:
    fast = definition(task("call", workflow={"name": "price"}), task("bad"), failurePolicy="FailFast")
    slow = definition(task("call", workflow={"name": "price"}), deadlineSeconds=5)

    failed_fast = decide(fast, facts(child("call"), failed("bad")), at(9), cel)
    status = decide(slow, facts(child("call")), START, cel).status
    overdue = decide(slow, facts(child("call"), status=status), at(9), cel)

    assert states(failed_fast.status)["call"] == "Cancelled FailFast"
    assert states(overdue.status)["call"] == "Failed DeadlineExceeded"
    assert [plan.cancels[0].mode for plan in (failed_fast, overdue)] == [Cancel.GRACEFUL, Cancel.GRACEFUL]


@pytest.mark.parametrize(
    ("asked", "told", "mode"),
    [
        (None, None, Cancel.GRACEFUL),
        (None, Cancel.GRACEFUL, None),
        (None, Cancel.IMMEDIATE, None),
        (Cancel.GRACEFUL, Cancel.GRACEFUL, None),
        (Cancel.GRACEFUL, Cancel.IMMEDIATE, None),
        (Cancel.IMMEDIATE, None, Cancel.IMMEDIATE),
        (Cancel.IMMEDIATE, Cancel.GRACEFUL, Cancel.IMMEDIATE),
        (Cancel.IMMEDIATE, Cancel.IMMEDIATE, None),
    ],
)
def test_a_cancel_only_escalates_and_is_told_once(
    asked: Cancel | None, told: Cancel | None, mode: Cancel | None
) -> None:
    fact = child("call", cancel=told)
    entry = TaskStatus(name="call", phase=TaskPhase.CANCELLED, child_run=RunRef(name=fact.name, uid=fact.uid))
    recorded = WorkflowRunStatus(phase=RunPhase.CANCELLED, tasks=[entry])

    plan = after(recorded, facts(fact, run=replace(RUN, cancel=asked)))

    assert [cancel.mode for cancel in plan.cancels] == ([mode] if mode else [])


@pytest.mark.parametrize(
    ("phase", "fields", "stray"),
    [
        (TaskPhase.RUNNING, {}, False),
        (TaskPhase.RUNNING, {"next_attempt_time": at(9)}, True),
        (TaskPhase.RUNNING, {"child_run": RunRef(name="another"), "attempts": 2}, True),
        (TaskPhase.RUNNING, {"child_run": None, "attempts": None}, False),
        (TaskPhase.FAILED, {}, True),
        (TaskPhase.SUCCEEDED, {}, True),
    ],
)
def test_a_child_is_stray_when_its_attempt_is_over(phase: TaskPhase, fields: dict[str, Any], stray: bool) -> None:
    fact = child("call", phase=RunPhase.RUNNING)
    entry = TaskStatus(name="call", phase=phase, attempts=1, child_run=RunRef(name=fact.name)).model_copy(update=fields)

    assert bool(stray_children([entry], facts(fact))) is stray
    assert not stray_children([entry], facts(replace(fact, phase=RunPhase.FAILED)))
    assert not stray_children([entry], facts(replace(fact, deleting=True)))


def test_a_run_that_cannot_go_on_cancels_its_children(cel: Evaluator) -> None:
    status = running(cel)

    plan = refuse(facts(child("call"), status=status), at(9), Reason.WORKFLOW_NOT_FOUND, "its revision is gone")

    assert states(plan.status) == {"call": "Failed WorkflowNotFound"}
    assert [cancel.run_name for cancel in plan.cancels] == [child("call").name]
