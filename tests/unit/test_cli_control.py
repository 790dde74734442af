"""Steering runs from the command line, against the cluster in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, Object, error_from
from nexus.api.base import parse_time
from nexus.api.run import WorkflowRunSpec
from nexus.cli import cluster as commands
from nexus.cli import control
from nexus.cli.ending import Exit, UsageError

NOW = "2026-11-23T09:00:05.000Z"
NAME = "sales-x7k2p"
GATE = {
    "name": "gate",
    "phase": "Running",
    "reason": "AwaitingApproval",
    "message": f"waiting for approval: nexus approve {NAME} gate [--reject]: Load?",
    "startTime": NOW,
}
TASKS = [{"name": "load", "phase": "Succeeded"}, GATE, {**GATE, "name": "second"}]


def cluster(*tasks: Object, phase: str = "Running", **spec: Any) -> FakeCluster:
    """A cluster with one run."""
    fake = FakeCluster()
    fake.add(WORKFLOW_RUNS, {"metadata": {"name": NAME}, "spec": {"workflowRef": {"name": "sales"}, **spec}})

    def edit(body: Object) -> None:
        body["status"] = {"phase": phase, "startTime": NOW, "tasks": list(tasks or TASKS)}

    fake.store.change(WORKFLOW_RUNS, "default", NAME, edit)
    return fake


def run(work: Coroutine[Any, Any, Exit]) -> None:
    assert asyncio.run(work) is Exit.SUCCEEDED


def spec(fake: FakeCluster) -> Object:
    (body,) = fake.objects(WORKFLOW_RUNS)
    assert WorkflowRunSpec.model_validate(body["spec"])
    return dict(body["spec"])


def approve(
    fake: FakeCluster, task: str = "gate", *, name: str = NAME, reject: bool = False, comment: str = ""
) -> None:
    run(control.approve(fake, "default", name, task, reject=reject, comment=comment, now=parse_time(NOW)))


def refused(work: Callable[[], None]) -> str:
    with pytest.raises(UsageError) as error:
        work()
    return str(error.value.problems[0])


# approve


def test_a_task_is_approved_by_who_the_server_says(capsys: pytest.CaptureFixture[str]) -> None:
    fake = cluster()

    approve(fake, comment="fine")
    approve(fake, "second", reject=True)

    who = "ann@example.com"
    assert spec(fake)["approvals"] == [
        {"task": "gate", "decision": "Approved", "by": who, "comment": "fine", "time": NOW},
        {"task": "second", "decision": "Rejected", "by": who, "time": NOW},
    ]
    assert capsys.readouterr().out.splitlines() == [
        f"task gate of run {NAME}: approved by {who}",
        f"task second of run {NAME}: rejected by {who}",
    ]


@pytest.mark.parametrize("child", [{"childRun": {"name": f"{NAME}-k"}}, {"items": {"total": 2}}])
def test_who_asks_above_is_told_which_child_run_waits(child: Object) -> None:
    request = {"run": f"{NAME}-k", "task": "ask", "message": "Go?"}
    fake = cluster({"name": "k", "phase": "Running", "reason": "AwaitingApproval", "approval": request, **child})

    assert refused(lambda: approve(fake, "k")) == (
        f'task "k" of run {NAME} is not waiting for an approval itself, '
        f"a child run of it is waiting for one: nexus approve {NAME}-k ask"
    )
    assert refused(lambda: approve(fake, "ask")) == (
        f'task "ask" belongs to a child run of {NAME}: nexus approve {NAME}-k ask'
    )


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("gaet", f'unknown task "gaet" of run {NAME}; did you mean "gate"?'),
        ("zzz", f'unknown task "zzz" of run {NAME}; waiting: gate, second'),
        ("load", f"task load of run {NAME} is not waiting for an approval (Succeeded); waiting: gate, second"),
    ],
)
def test_what_waits_for_nobody_cannot_be_approved(task: str, words: str) -> None:
    fake = cluster()

    assert refused(lambda: approve(fake, task)) == words
    assert "approvals" not in spec(fake)


def test_a_task_that_is_not_reached_yet_says_why() -> None:
    waits = {"name": "gate", "phase": "Pending", "reason": "Dependencies", "message": "waiting for load"}

    words = refused(lambda: approve(cluster(waits)))

    assert words == (
        f"task gate of run {NAME} is not waiting for an approval (Pending, Dependencies: waiting for load); none of "
        "its tasks is"
    )


def test_a_decision_is_made_once() -> None:
    fake = cluster()
    approve(fake)

    assert refused(lambda: approve(fake, reject=True)) == (
        f"task gate of run {NAME} was already approved by ann@example.com"
    )


def test_a_run_that_is_not_there_or_has_ended_is_told() -> None:
    assert refused(lambda: approve(cluster(), name="sales-x7k2q")) == (
        f'WorkflowRun "sales-x7k2q" not found in namespace default; did you mean "{NAME}"?'
    )
    assert refused(lambda: approve(cluster(phase="Failed"))) == (
        f"run {NAME} has ended (Failed): nothing in it can be approved"
    )


def test_a_comment_that_is_too_long_is_refused_before_anything_is_asked() -> None:
    assert "must be at most 500 characters, got 501" in refused(lambda: approve(cluster(), comment="x" * 501))


def test_a_write_of_the_operator_in_between_is_no_trouble() -> None:
    fake = cluster()
    conflict = error_from(409, "Conflict", "the object has been modified", kind="WorkflowRun", name=NAME)
    for _ in range(3):
        fake.fail_next("patch", WORKFLOW_RUNS, conflict)

    approve(fake)

    assert len(spec(fake)["approvals"]) == 1


# cancel


@pytest.mark.parametrize(
    ("before", "now", "after", "says"),
    [
        (None, False, "Graceful", "its tasks are stopped, then finally tasks run"),
        (None, True, "Immediate", "everything is stopped"),
        ("Graceful", False, "Graceful", "is already being cancelled (Graceful)"),
        ("Graceful", True, "Immediate", "everything is stopped"),
        ("Immediate", False, "Immediate", "is already being cancelled (Immediate)"),
    ],
)
def test_a_run_is_cancelled(
    before: str | None, now: bool, after: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = cluster(**({"cancel": before} if before else {}))

    run(control.cancel(fake, "default", NAME, now=now))

    assert spec(fake)["cancel"] == after
    assert says in capsys.readouterr().out


def test_of_a_run_before_its_turn_nothing_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeCluster()
    fake.add(WORKFLOW_RUNS, {"metadata": {"name": NAME}, "spec": {"workflowRef": {"name": "sales"}}})

    run(control.cancel(fake, "default", NAME, now=False))

    assert "it has not started, and none of its tasks will run" in capsys.readouterr().out


def test_a_run_that_has_ended_is_not_cancelled() -> None:
    words = refused(lambda: run(control.cancel(cluster(phase="Succeeded"), "default", NAME, now=False)))

    assert words == f"run {NAME} has ended (Succeeded): nothing to cancel"


# suspend, resume


def test_a_run_is_suspended_and_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    fake = cluster()

    for resume in (True, False, False, True):
        run(control.suspend(fake, "default", NAME, resume=resume))
    assert "suspend" not in spec(fake)

    assert capsys.readouterr().out.splitlines() == [
        f"run {NAME} is not suspended",
        f"run {NAME} is suspended; running tasks continue, nothing new starts until nexus resume {NAME}",
        f"run {NAME} is already suspended",
        f"run {NAME} is resumed",
    ]


def test_a_cancelled_run_and_one_that_has_ended_are_not_suspended() -> None:
    def suspend(fake: FakeCluster) -> Callable[[], None]:
        return lambda: run(control.suspend(fake, "default", NAME, resume=False))

    assert "is being cancelled and cannot be suspended" in refused(suspend(cluster(cancel="Graceful")))
    assert "has ended (Failed): nothing to suspend" in refused(suspend(cluster(phase="Failed")))


# get


def test_get_shows_the_command_that_approves_and_that_a_run_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    fake = cluster(cancel="Graceful")

    run(commands.show_run(fake, "default", NAME, as_json=False, now=parse_time(NOW)))

    shown = capsys.readouterr().out
    assert f"nexus approve {NAME} gate [--reject]: Load?" in shown
    assert "Cancel:       Graceful" in shown
