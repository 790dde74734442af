"""Approvals and waits of local runs."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from tests.builders import approval, definition, entry_of, states, task
from tests.unit.local_harness import Watcher, run_here

from nexus.api.reasons import Reason, RunPhase
from nexus.api.run import Approval, TaskStatus, WorkflowRunStatus


def test_a_wait_takes_its_time_and_no_slot() -> None:
    ran = run_here(
        definition(
            task("pause", wait={"seconds": 1}),
            task("works", bash={"command": "true"}),
            task("after", "pause", bash={"command": "true"}),
            maxParallelTasks=1,
        )
    )

    assert ran.phase is RunPhase.SUCCEEDED
    assert 1 <= ran.seconds("pause") < 1.5
    pause, works = ran.task("pause"), ran.task("works")
    assert works.completion_time is not None
    assert pause.due_time is not None
    assert works.completion_time < pause.due_time


def test_questions_are_put_one_at_a_time() -> None:
    open_, most = 0, 0

    async def ask(waiting: TaskStatus) -> Approval:
        nonlocal open_, most
        open_ += 1
        most = max(most, open_)
        await asyncio.sleep(0.05)
        open_ -= 1
        return approval(waiting.name, "Rejected" if waiting.name == "b" else "Approved")

    ran = run_here(definition(*(task(name, approval={}) for name in "abc")), ask=ask)

    assert states(ran.status) == {"a": "Succeeded", "b": "Failed Rejected", "c": "Succeeded"}
    assert most == 1


def test_a_question_is_withdrawn_when_its_time_is_over_and_the_next_one_put() -> None:
    withdrawn = []

    async def ask(waiting: TaskStatus) -> Approval:
        if waiting.name == "b":
            return approval("b")
        try:
            await asyncio.sleep(60)
        finally:
            withdrawn.append(waiting.name)
        raise AssertionError

    ran = run_here(definition(task("a", approval={}, timeoutSeconds=1), task("b", approval={})), ask=ask)

    assert states(ran.status) == {"a": "Failed Rejected", "b": "Succeeded"}
    assert entry_of(ran.status, "a").message == "approval timed out after 1s (timeoutSeconds)"
    assert withdrawn == ["a"]


def test_what_goes_wrong_in_asking_ends_the_run() -> None:
    async def ask(waiting: TaskStatus) -> Approval:
        raise OSError(waiting.name)

    with pytest.raises(OSError, match="a"):
        run_here(definition(task("a", approval={})), ask=ask)


def test_ctrl_c_ends_a_wait_and_a_question_and_finally_runs() -> None:
    async def ask(_: TaskStatus) -> Approval:
        await asyncio.sleep(60)
        raise AssertionError

    def act(status: WorkflowRunStatus) -> None:
        waits = [entry.reason for entry in status.tasks or ()]
        if {Reason.WAITING, Reason.AWAITING_APPROVAL} <= {*waits} and not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    sent: list[int] = []
    started = time.monotonic()
    ran = run_here(
        definition(
            task("pause", wait={"seconds": 300}), task("gate", approval={}),
            **{"finally": [task("tidy", bash={"command": 'echo "$NEXUS_RUN_PHASE"'})]},
        ),
        watcher=Watcher(act),
        ask=ask,
    )  # fmt: skip

    assert ran.phase is RunPhase.CANCELLED
    assert states(ran.status) == {"pause": "Cancelled Cancelled", "gate": "Cancelled Cancelled", "tidy": "Succeeded"}
    assert ran.lines("tidy") == ["Cancelled"]
    assert time.monotonic() - started < 10


def test_a_child_run_asks_as_its_parent_does_and_never_at_the_same_time() -> None:
    open_, asked = 0, []

    async def ask(waiting: TaskStatus) -> Approval:
        nonlocal open_
        open_ += 1
        assert open_ == 1
        await asyncio.sleep(0.1)
        open_ -= 1
        asked.append(waiting.name)
        return approval(waiting.name)

    child = definition(task("below", approval={}))
    ran = run_here(
        definition(task("calls", workflow={"name": "child"}), task("above", approval={})),
        ask=ask,
        workflows={"child": child},
    )

    assert ran.phase is RunPhase.SUCCEEDED
    assert sorted(asked) == ["above", "below"]
