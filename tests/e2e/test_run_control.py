"""Runs that are steered: suspended, cancelled, decided about; and what runs when all is over."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, bash, container, phases, reasons, task
from tests.e2e.test_cli import Cli

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

# As process 1, it would not hear SIGTERM without the trap.
SLEEP = ("sh", "-c", "trap 'exit 143' TERM; sleep 300 & wait")
TELL = bash("tell", 'echo "phase=$NEXUS_RUN_PHASE" >> "$NEXUS_OUTPUT"')


@pytest.fixture(scope="module")
def cli(space: Space, operator: OperatorProcess) -> Cli:
    """The program, in the namespace of the tests."""
    assert operator.running
    return Cli(space)


def when(run: Object, name: str, field: str) -> datetime:
    """A time of a task."""
    return datetime.fromisoformat(task(run, name)[field])


def condition(run: Object, kind: str) -> str | None:
    """The status of a condition, None where it is not there."""
    found = [entry["status"] for entry in run["status"].get("conditions") or () if entry["type"] == kind]
    return found[0] if found else None


def test_a_suspended_run_starts_nothing_new_until_it_is_resumed(space: Space, cli: Cli) -> None:
    space.run("held", container("first", "sleep", "12"), container("second", after=("first",)))
    space.running("held", "first")

    out, _ = cli("suspend", "held")
    assert "is suspended; running tasks continue" in out
    held = space.until("held", lambda run: task(run, "second").get("reason") == "Suspended")
    assert phases(held) == {"first": "Succeeded", "second": "Pending"}
    assert (held["status"]["phase"], condition(held, "Suspended")) == ("Suspended", "True")
    assert "is already suspended" in cli("suspend", "held")[0]
    assert "nexus resume held" in cli("get", "held")[0]
    assert space.jobs("held", "second") == []

    cli("resume", "held")
    ended = space.finished("held")
    assert (ended["status"]["phase"], condition(ended, "Suspended")) == ("Succeeded", "False")
    assert {"RunSuspended", "RunResumed"} <= {event["reason"] for event in space.events(ended)}
    _, err = cli("suspend", "held", status=2)
    assert err == "run held has ended (Succeeded): nothing to suspend\n"


def test_a_graceful_cancel_stops_the_tasks_and_then_runs_finally(space: Space, cli: Cli) -> None:
    space.run("graceful", container("long", *SLEEP), container("later", after=("long",)), **{"finally": [TELL]})
    space.running("graceful", "long")

    cli("cancel", "graceful")

    ended = space.finished("graceful")
    assert phases(ended) == {"long": "Cancelled", "later": "Omitted", "tell": "Succeeded"}
    assert (ended["status"]["phase"], ended["status"]["reason"]) == ("Cancelled", "Cancelled")
    assert space.output(ended, "tell") == {"phase": "Cancelled"}
    assert when(ended, "tell", "startTime") >= when(ended, "long", "completionTime")
    assert space.without_jobs("graceful", "long")


def test_an_immediate_cancel_stops_finally_too_and_wins_over_suspend(space: Space, cli: Cli) -> None:
    final = [container("tidy", *SLEEP), TELL]
    space.run("immediate", container("fails", "false"), maxParallelTasks=1, **{"finally": final})
    space.running("immediate", "tidy")
    cli("suspend", "immediate")
    assert "tasks are stopped, then finally tasks run" in cli("cancel", "immediate")[0]

    cli("cancel", "immediate", "--now")

    ended = space.finished("immediate")
    assert phases(ended) == {"fails": "Failed", "tidy": "Cancelled", "tell": "Omitted"}
    assert ended["status"]["phase"] == "Cancelled"
    assert space.without_jobs("immediate", "tidy")


def test_finally_runs_after_a_failure_and_after_the_runs_deadline(space: Space) -> None:
    space.run("over-time", container("long", *SLEEP), deadlineSeconds=5, **{"finally": [TELL]})
    ignored = container("ignored", "false", allowFailure=True)
    space.run("failed", ignored, container("fails", "false", after=("ignored",)), **{"finally": [TELL]})
    space.run("ignores", ignored, container("next", after=("ignored",)), **{"finally": [TELL]})

    for name, phase, reason in (("over-time", "Failed", "DeadlineExceeded"), ("failed", "Failed", "TaskFailed")):
        ended = space.finished(name)
        assert (ended["status"]["phase"], ended["status"]["reason"]) == (phase, reason)
        assert space.output(ended, "tell") == {"phase": "Failed"}
    ended = space.finished("ignores")
    assert phases(ended) == {"ignored": "Failed", "next": "Succeeded", "tell": "Succeeded"}
    assert ended["status"]["phase"] == "Succeeded"
    assert space.output(ended, "tell") == {"phase": "Succeeded"}


def gated(name: str, **fields: object) -> list[Object]:
    """An approval task, and one behind it."""
    gate = {"name": "gate", "approval": {"message": "Load ${{ params.rows }} rows?"}, **fields}
    told = [{"name": "BY", "value": "${{ tasks.gate.output.by }}"}]
    return [gate, {**bash(name, 'echo "by=$BY" >> "$NEXUS_OUTPUT"', "gate"), "env": told}]


def waits_for_approval(run: Object) -> bool:
    return bool(task(run, "gate").get("reason") == "AwaitingApproval")


def test_a_task_is_approved_and_another_rejected(space: Space, cli: Cli, operator: OperatorProcess) -> None:
    space.workflow("gated", *gated("load"), params=[{"name": "rows", "default": "1200"}])
    for name in ("yes", "no"):
        space.run_of("gated", name)
    waiting = space.until("yes", waits_for_approval)
    assert (
        task(waiting, "gate")["message"] == "waiting for approval: nexus approve yes gate [--reject]: Load 1200 rows?"
    )
    space.until("no", waits_for_approval)
    assert space.jobs("yes") == []

    _, err = cli("approve", "yes", "load", status=2)
    assert err.startswith(
        "task load of run yes is not waiting for an approval (Pending, Dependencies: waiting for gate)"
    )
    _, err = cli("approve", "yes", "gaet", status=2)
    assert err == 'unknown task "gaet" of run yes; did you mean "gate"?\n'
    operator.kill()
    out, _ = cli("approve", "yes", "gate", "--comment", "fine by me")
    cli("approve", "no", "gate", "--reject")
    _, err = cli("approve", "yes", "gate", "--reject", status=2)
    assert "was already approved by " in err
    operator.start()

    ended = space.finished("yes")
    who = json.loads(space.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
    assert out == f"task gate of run yes: approved by {who}\n"
    decided = space.output(ended, "gate")
    assert (decided["by"], decided["comment"]) == (who, "fine by me")
    assert task(ended, "gate")["message"] == f"approved by {who} at {decided['time']}: fine by me"
    assert space.output(ended, "load") == {"by": who}
    rejected = space.finished("no")
    assert phases(rejected) == {"gate": "Failed", "load": "Omitted"}
    assert task(rejected, "gate")["reason"] == "Rejected"


def test_nobody_in_time_rejects(space: Space) -> None:
    space.workflow("hasty", *gated("load", timeoutSeconds=2), params=[{"name": "rows", "default": "7"}])
    space.run_of("hasty", "nobody")

    ended = space.finished("nobody")
    assert reasons(ended) == {"gate": "Rejected", "load": "DependencyFailed"}


def test_a_wait_survives_its_operator(space: Space, operator: OperatorProcess) -> None:
    space.run("waits", {"name": "pause", "wait": {"seconds": "${{ 4 * 4 }}"}}, container("after", after=("pause",)))
    begun = space.until("waits", lambda run: task(run, "pause").get("reason") == "Waiting")
    operator.restart()

    ended = space.finished("waits")
    assert when(begun, "pause", "dueTime") == when(begun, "pause", "startTime") + timedelta(seconds=16)
    late = when(ended, "pause", "completionTime") - when(begun, "pause", "dueTime")
    assert timedelta(0) <= late < timedelta(seconds=2)


def test_what_cannot_be_waited_for_is_told_at_the_earliest_moment(space: Space) -> None:
    space.run(
        "odd-waits",
        {"name": "past", "wait": {"until": "2001-01-01T00:00:00Z"}},
        {"name": "century", "wait": {"seconds": "${{ 3153600000 }}"}},
        {"name": "no-zone", "wait": {"until": "${{ '2026-11-23T10:00:00' }}"}},
    )
    space.run("far", {"name": "pause", "wait": {"until": "2126-01-01T00:00:00Z"}})

    ended = space.finished("odd-waits")
    assert reasons(ended) == {"past": None, "century": "InvalidWait", "no-zone": "InvalidWait"}
    assert "at most 31,536,000 seconds (a year)" in task(ended, "century")["message"]
    far = space.finished("far")
    assert far["status"]["reason"] == "WorkflowInvalid"
    assert "more than a year away" in far["status"]["message"]
