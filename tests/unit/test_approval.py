"""approval: a person decides; no pod runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import RUN, START, approval, at, definition, entry_of, facts, states, succeeded, task
from tests.operators import story
from tests.unit.test_validate import found, one

from nexus.adapters.fake import Outcome
from nexus.api.reasons import Reason
from nexus.api.run import ApprovalRequest, Cancel
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition
from nexus.core.model.facts import RunFact
from nexus.core.tasks.approval import command, requested

TEN = "2026-11-23T10:00:00.000Z"


def release(**fields: Any) -> Definition:
    return definition(task("release", approval=fields.pop("approval", {}), **fields), task("next", "release"))


def decided(*approvals: Any) -> RunFact:
    return replace(RUN, approvals=approvals, generation=2)


def test_it_waits_for_a_person_and_shows_the_command(cel: Evaluator) -> None:
    subject = definition(
        task("count"),
        task("release", "count", approval={"message": "Load ${{ tasks.count.output.rows }} rows?"}),
        maxParallelTasks=1,
    )

    plan = decide(subject, facts(succeeded("count", '{"rows":1200}')), START, cel)

    entry = entry_of(plan.status, "release")
    assert (entry.phase, entry.reason, entry.start_time) == ("Running", Reason.AWAITING_APPROVAL, START)
    assert entry.message == "waiting for approval: nexus approve sales-x7k2p release [--reject]: Load 1200 rows?"
    request = ApprovalRequest(run="sales-x7k2p", task="release", message="Load 1200 rows?")
    assert entry.approval == request
    assert (plan.starts, plan.wake_at) == ((), None)
    assert plan.status is not None
    assert (plan.status.phase, plan.status.reason) == ("Running", Reason.AWAITING_APPROVAL)
    assert plan.status.message == f"task release: {entry.message}"
    assert plan.status.approval == request
    told = [event.message for event in plan.events if event.reason == "ApprovalRequested"]
    assert told == [f"task release is {entry.message}"]
    again = decide(subject, facts(succeeded("count", '{"rows":1200}'), status=plan.status), at(5), cel)
    assert (again.status, again.events) == (plan.status, ())


@pytest.mark.parametrize(
    ("given", "then", "message", "output"),
    [
        (
            approval("release", time=TEN, comment="fine"),
            {"release": "Succeeded", "next": "Running"},
            f"approved by ann at {TEN}: fine",
            {"by": "ann", "comment": "fine", "time": TEN},
        ),
        (
            approval("release"),
            {"release": "Succeeded", "next": "Running"},
            "approved by ann at 2026-11-23T09:00:07.000Z",
            {"by": "ann", "comment": "", "time": "2026-11-23T09:00:07.000Z"},
        ),
        (
            approval("release", "Rejected", time=TEN, comment="not today"),
            {"release": "Failed Rejected", "next": "Omitted DependencyFailed"},
            f"rejected by ann at {TEN}: not today",
            None,
        ),
        (
            approval("other"),
            {"release": "Running AwaitingApproval", "next": "Pending Dependencies"},
            "waiting for approval: nexus approve sales-x7k2p release [--reject]",
            None,
        ),
    ],
)
@pytest.mark.parametrize("early", [True, False])
def test_a_decision_ends_it_whenever_it_came(
    cel: Evaluator, given: Any, then: dict[str, str], message: str, output: Any, early: bool
) -> None:
    before = None if early else decide(release(), facts(), START, cel).status

    plan = decide(release(), facts(status=before, run=decided(given)), at(7), cel)

    assert states(plan.status) == then
    entry = entry_of(plan.status, "release")
    assert (entry.message, entry.output) == (message, output)
    assert entry.approval is not None
    assert entry.approval.decision == (given.decision if given.task == "release" else None)
    asked = entry.reason is Reason.AWAITING_APPROVAL
    assert plan.status is not None
    assert (plan.status.reason is Reason.AWAITING_APPROVAL) is asked
    assert ("ApprovalRequested" in [event.reason for event in plan.events]) is (asked and early)
    again = decide(release(), facts(status=plan.status, run=decided(given)), at(8), cel)
    assert entry_of(again.status, "release") == entry


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"timeoutSeconds": 60}, "Failed Rejected"),
        ({"deadlineSeconds": 60}, "Failed DeadlineExceeded"),
        ({"timeoutSeconds": 60, "deadlineSeconds": 60}, "Failed Rejected"),
    ],
)
def test_nobody_in_time_rejects_it(cel: Evaluator, limits: dict[str, int], reason: str) -> None:
    subject = release(**limits)
    before = decide(subject, facts(), START, cel)
    assert before.wake_at == at(60)

    plan = decide(subject, facts(status=before.status), at(60), cel)

    assert states(plan.status)["release"] == reason
    entry = entry_of(plan.status, "release")
    field = next(iter(limits))
    assert entry.message == f"approval timed out after 60s ({field})"
    # Nobody rejected it: a tool tells the two by this field.
    assert entry.approval == ApprovalRequest(run="sales-x7k2p", task="release")
    # What a person did before anybody looked counts.
    late = decide(subject, facts(status=before.status, run=decided(approval("release"))), at(90), cel)
    assert states(late.status)["release"] == "Succeeded"


@pytest.mark.parametrize("message", ["Load ${{ params.rows }} rows?", None])
def test_a_status_of_the_version_before_gets_what_it_asks_as_a_field(cel: Evaluator, message: str | None) -> None:
    asked = {"message": message} if message else {}
    subject = definition(task("release", approval=asked), params=[{"name": "rows", "type": "number", "default": 12}])
    now = decide(subject, facts(), START, cel).status
    assert now is not None
    tasks = [entry.model_copy(update={"approval": None}) for entry in now.tasks or ()]
    before = now.model_copy(update={"approval": None, "tasks": tasks})

    # A CLI that is newer than the operator knows what to type all the same.
    request = requested("sales-x7k2p", tasks[0])
    assert request is not None
    assert command(request) == "nexus approve sales-x7k2p release"
    plan = decide(subject, facts(status=before), at(5), cel)
    assert (plan.status, plan.events) == (now, ())


@pytest.mark.parametrize("cancel", list(Cancel))
def test_a_cancel_ends_it(cel: Evaluator, cancel: Cancel) -> None:
    before = decide(release(), facts(), START, cel).status

    plan = decide(release(), facts(status=before, run=replace(RUN, cancel=cancel)), at(7), cel)

    assert states(plan.status) == {"release": "Cancelled Cancelled", "next": "Omitted Cancelled"}
    assert plan.stops == ()


def test_a_suspended_run_does_not_ask_and_takes_what_is_decided(cel: Evaluator) -> None:
    suspended = replace(RUN, suspend=True)
    assert states(decide(release(), facts(run=suspended), START, cel).status)["release"] == "Pending Suspended"

    before = decide(release(), facts(), START, cel).status
    held = replace(suspended, approvals=(approval("release"),))
    plan = decide(release(), facts(status=before, run=held), at(7), cel)
    assert states(plan.status) == {"release": "Succeeded", "next": "Pending Suspended"}


def test_a_question_that_cannot_be_rendered_fails_it(cel: Evaluator) -> None:
    plan = decide(release(approval={"message": "${{ 1 / 0 }}"}), facts(), START, cel)

    assert states(plan.status)["release"] == "Failed ExpressionError"
    assert (entry_of(plan.status, "release").message or "").startswith("approval.message: ")


def test_long_words_of_a_decision_stay_within_the_status(cel: Evaluator) -> None:
    given = approval("release", by="b" * 253, comment="ü" * 500)

    plan = decide(release(), facts(run=decided(given)), START, cel)

    entry = entry_of(plan.status, "release")
    assert entry.output is None
    assert entry.output_ref is not None
    assert [store.config_map for store in plan.stores] == [entry.output_ref.config_map]


# -- definitions with mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["env", "envFrom", "retry", "startTimeoutSeconds"])
def test_what_a_pod_would_need_is_refused(cel: Evaluator, field: str) -> None:
    values: dict[str, Any] = {"env": [], "envFrom": [], "retry": {"limit": 1}, "startTimeoutSeconds": 5}

    assert one(cel, task("t", approval={}, **{field: values[field]})) == (
        f"task t, {field}: {field} is not supported for approval tasks, which have no pod; remove it"
    )


def test_limits_are_its_own_and_the_message_is_checked(cel: Evaluator) -> None:
    assert found(cel, task("t", approval={}, timeoutSeconds=60, deadlineSeconds=90, allowFailure=True)) == []
    assert 'unknown reference "params.n": the workflow has no params; add it to spec.params' in one(
        cel, task("t", approval={"message": "${{ params.n }}?"})
    )


# -- with operators on the fake cluster -------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("decision", ["Approved", "Rejected"])
def test_it_is_decided_though_operators_die(cel: Evaluator, when: str, decision: str) -> None:
    subject = definition(task("a"), task("release", "a", approval={}), task("b", "release")).spec
    number, died = 0, 1
    while died:
        number += 1
        with story(subject, cel) as told:
            told.cluster.script("a", Outcome(seconds=1))
            api = told.operator().api
            (api.crash_after if when == "after" else api.crash_before)(number)
            told.run(until=lambda told=told: told.phases.get("release") == "Running")
            told.quiet(3_600)
            assert told.phases["b"] == "Pending"
            told.steer(approvals=[{"task": "release", "decision": decision, "by": "ann", "time": TEN}])
            told.run()
            died = told.deaths
            approved = decision == "Approved"
            assert told.phases["release"] == ("Succeeded" if approved else "Failed")
            assert told.witness.order == [("a", 1), *([("b", 1)] if approved else [])]
    assert number > 5
