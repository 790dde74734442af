"""Child runs on this machine: params down, outputs back, failures up, Ctrl-C through all of it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.builders import definition, states, task
from tests.unit.local_harness import Watcher, run_here

from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import WorkflowRunStatus
from nexus.core.model.definition import Definition


def bash(name: str, command: str, *depends_on: str, **fields: Any) -> Any:
    return task(name, *depends_on, bash={"command": command}, **fields)


def call(name: str, workflow: str, *depends_on: str, params: Any = None, **fields: Any) -> Any:
    return task(name, *depends_on, workflow={"name": workflow, "params": params or {}}, **fields)


def double() -> Definition:
    return definition(
        task("twice", python={"code": "output['n'] = params['n'] * 2; print('doubling')"}),
        params=[{"name": "n", "type": "integer"}],
        outputs={"n": "${{ tasks.twice.output.n }}"},
    )


def test_a_child_gets_params_and_gives_outputs_and_its_lines_are_told_apart() -> None:
    parent = definition(
        call("first", "double", params={"n": 4}),
        call("second", "double", "first", params={"n": "${{ tasks.first.output.n }}"}),
    )
    ran = run_here(parent, workflows={"double": double()})

    assert ran.phase is RunPhase.SUCCEEDED
    assert (ran.outputs["first"], ran.outputs["second"]) == ({"n": 8}, {"n": 16})
    assert ran.lines("first/twice") == ["doubling"]
    last = ran.watcher.children["second"][-1]
    assert (last.phase, last.outputs) == (RunPhase.SUCCEEDED, {"n": 16})
    child = ran.task("first").child_run
    assert child is not None
    assert child.name.startswith("test-x7k2p-first-1-")


def test_children_have_children_and_large_outputs_travel_up() -> None:
    middle = definition(
        task("rows", python={"code": "output['rows'] = list(range(1000))"}),
        outputs={"rows": "${{ tasks.rows.output.rows }}"},
    )
    top = definition(call("below", "middle"))
    parent = definition(
        call("top", "top"),
        task("use", "top", python={"code": "output['n'] = len(input['top']['below']['rows'])"}),
    )
    ran = run_here(parent, workflows={"middle": middle, "top": top})

    assert ran.phase is RunPhase.SUCCEEDED, ran.status.message
    assert ran.outputs["use"] == {"n": 1000}
    assert ran.task("top").output_ref is not None
    assert "top/below" in ran.watcher.children


def test_a_failure_travels_up_and_a_retry_is_a_new_child(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    flaky = definition(bash("once", f"[[ -e {tried} ]] || {{ touch {tried}; exit 3; }}"))
    bad = definition(bash("bad", "exit 4"))
    parent = definition(
        call("flaky", "flaky", retry={"limit": 1, "delaySeconds": 0}), call("bad", "bad"), bash("after", "true", "bad")
    )
    ran = run_here(parent, workflows={"flaky": flaky, "bad": bad})

    assert ran.task("flaky").attempts == 2
    assert ran.ending("flaky")[0] is TaskPhase.SUCCEEDED
    assert ran.ending("bad") == (TaskPhase.FAILED, Reason.CHILD_FAILED)
    assert "failed: task bad: exit status 4" in (ran.task("bad").message or "")
    assert ran.ending("after")[0] is TaskPhase.OMITTED


def test_params_that_do_not_fit_are_told_by_the_child() -> None:
    ran = run_here(definition(call("first", "double", params={"n": "four"})), workflows={"double": double()})

    assert ran.ending("first") == (TaskPhase.FAILED, Reason.PARAMS_INVALID)
    assert 'params.n: must be an integer, got string "four"' in (ran.task("first").message or "")


def test_a_child_over_its_timeout_is_cancelled(tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    slow = definition(bash("slow", f"trap 'touch {stopped}; exit 0' TERM; sleep 30 & wait"))
    began = time.monotonic()
    ran = run_here(definition(call("slow", "slow", timeoutSeconds=1)), workflows={"slow": slow})

    assert ran.ending("slow") == (TaskPhase.FAILED, Reason.TIMEOUT)
    assert time.monotonic() - began < 10
    assert stopped.exists()
    assert ran.watcher.children["slow"][-1].phase is RunPhase.CANCELLED


def _interrupting(times: int) -> Watcher:
    """Sends Ctrl-C when the task `slow` of a child runs, and again for each status after that, up to so many times."""
    sent: list[int] = []

    def act(status: WorkflowRunStatus) -> None:
        running = any(entry.phase is TaskPhase.RUNNING and entry.name == "slow" for entry in status.tasks or ())
        if (running or sent) and len(sent) < times:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    return Watcher(act)


def test_ctrl_c_goes_through_to_the_children_and_their_finally_runs(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    slow = definition(bash("slow", "sleep 30"), **{"finally": [bash("clean", f"touch {cleaned}")]})
    ran = run_here(definition(call("below", "slow")), workflows={"slow": slow}, watcher=_interrupting(1))

    assert (ran.interrupted, ran.phase) == (True, RunPhase.CANCELLED)
    assert states(ran.status) == {"below": "Cancelled Cancelled"}
    assert states(ran.watcher.children["below"][-1]) == {"slow": "Cancelled Cancelled", "clean": "Succeeded"}
    assert cleaned.exists(), "the run ended before its child had"


def test_a_second_ctrl_c_kills_what_the_children_run() -> None:
    slow = definition(
        bash("slow", "trap '' TERM; sleep 30 & wait; wait; sleep 30"), **{"finally": [bash("clean", "sleep 30")]}
    )
    began = time.monotonic()
    ran = run_here(definition(call("below", "slow")), workflows={"slow": slow}, watcher=_interrupting(2))

    assert ran.phase is RunPhase.CANCELLED
    assert time.monotonic() - began < 4, "the grace period of 5 s was waited for"
    assert ran.watcher.children["below"][-1].phase is RunPhase.CANCELLED


def test_a_workflow_that_is_not_there_is_told_by_its_name() -> None:
    ran = run_here(definition(call("below", "nothing")))

    assert ran.ending("below") == (TaskPhase.FAILED, Reason.WORKFLOW_NOT_FOUND)
    assert 'Workflow "nothing" not found in the file' in (ran.task("below").message or "")


def test_a_child_run_for_each_item() -> None:
    parent = definition(call("fan", "double", params={"n": "${{ item + index }}"}, forEach={"items": [1, 10, 100]}))
    ran = run_here(parent, workflows={"double": double()})

    assert ran.phase is RunPhase.SUCCEEDED
    assert ran.outputs["fan"] == {"items": [{"n": 2}, {"n": 22}, {"n": 204}]}
    assert ran.lines("fan[1]/twice") == ["doubling"]
