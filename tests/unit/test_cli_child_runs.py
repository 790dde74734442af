"""Child runs on the command line: what is shown of them, and what a file that lacks them is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.unit.cli_harness import Answer, bash, nexus, workflow, write

COUNT = 'echo "n:=$PARAM_N" >> "$NEXUS_OUTPUT"; echo "saw $PARAM_N"'
PRICE = workflow(
    bash("count", COUNT),
    name="price",
    params=[{"name": "n", "type": "integer"}],
    outputs={"n": "${{ tasks.count.output.n * 2 }}"},
)


def call(name: str, callee: str, **params: Any) -> dict[str, Any]:
    return {"name": name, "workflow": {"name": callee, "params": params}}


def refused(answer: Answer, *words: str) -> None:
    assert answer.code == 2, (answer.stdout, answer.stderr)
    assert answer.stdout == ""
    for word in words:
        assert word in answer.stderr, answer.stderr


def test_a_child_is_shown_below_its_task_and_what_the_run_comes_to_at_its_end(tmp_path: Path) -> None:
    top = workflow(call("call", "price", n=4), outputs={"twice": "${{ tasks.call.output.n }}"})
    answer = nexus("run", "-f", write(tmp_path, top, PRICE), "--local")
    assert answer.code == 0, answer.stderr
    assert re.search(r"^\d\d:\d\d:\d\d call +Running +child run sales-\S+-call-1-\S+$", answer.stdout, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d call/count +\| saw 4$", answer.stdout, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d call/count +Succeeded", answer.stdout, re.MULTILINE)
    assert '\nOutputs\n  call  {"n": 8}\n' in answer.stdout
    assert "\nOutputs of the workflow\n  twice  8\n" in answer.stdout


def test_json_has_the_parent_alone(tmp_path: Path) -> None:
    answer = nexus("run", "-f", write(tmp_path, workflow(call("call", "price", n=4)), PRICE), "--local", "-o", "json")
    status = answer.json["status"]
    (task,) = status["tasks"]
    assert (answer.json["spec"]["workflowRef"], task["output"]) == ({"name": "sales"}, {"n": 8})
    assert task["childRun"]["name"].startswith(answer.json["metadata"]["name"][:20])


def test_a_workflow_that_the_file_lacks_is_named_before_anything_starts(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("first", f"touch {tmp_path}/started"), call("call", "pirce")), PRICE)
    refused(
        nexus("run", "-f", file, "--local"),
        f"{file}:1:",
        'task call, workflow.name: unknown Workflow "pirce"; did you mean "price"?',
    )
    assert not (tmp_path / "started").exists()
    assert nexus("lint", file).code == 0, "it may be in the cluster"


def test_what_a_child_lacks_is_told_with_the_childs_place(tmp_path: Path) -> None:
    needy = workflow(
        bash("needy", env=[{"name": "T", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}]), name="needy"
    )
    middle = workflow(call("below", "needy"), name="middle")
    file = write(tmp_path, workflow(call("call", "middle")), middle, needy)
    refused(nexus("run", "-f", file, "--local"), f"{file}:5:", "task needy: Secret api/token is missing")
    assert nexus("run", "-f", file, "--local", "--secret", "api/token=env:T", T="x").code == 0


def test_a_circle_and_params_that_do_not_fit_are_found_by_lint_and_refused_locally(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        workflow(call("call", "price", m=1)),
        PRICE,
        workflow(call("x", "pong"), name="ping"),
        workflow(call("y", "ping"), name="pong"),
        workflow(call("z", "own"), name="own"),
    )
    words = (
        'task call, workflow.params.m: unknown param "m"; the workflow has n (Workflow price)',
        'task call, workflow: missing required params of Workflow "price": n; set them in params',
        "workflow call cycle: p",
        "task z, workflow.name: workflow call cycle: own -> own",
    )
    found = nexus("lint", file)
    assert found.code == 1
    for word in words:
        assert word in found.stdout, found.stdout
    refused(nexus("run", "-f", file, "--local"), *words)


ASK = {"name": "ask", "approval": {"message": "Go?"}}
LOWEST = workflow(ASK, bash("after", "echo done"), name="lowest")
MIDDLE = workflow(call("low", "lowest"), name="middle")


def test_approvals_of_child_runs_are_answered_beforehand_by_their_paths(tmp_path: Path) -> None:
    each = {**call("each", "lowest"), "forEach": {"items": [1, 2]}}
    file = write(tmp_path, workflow(ASK, call("mid", "middle"), each), MIDDLE, LOWEST)
    own = ["run", "-f", file, "--local", "--approve", "ask"]

    refused(nexus(*own), "answer with --approve mid/low/ask or", "answer with --approve each/ask or --reject each/ask")
    refused(nexus(*own, "--approve", "low/ask"), '--approve low/ask: unknown task; did you mean "mid/low/ask"?')

    answer = nexus(*own, "--approve", "each/ask", "--reject", "mid/low/ask")
    assert answer.code == 1
    for line in (r"each\[0\]/ask +Succeeded", r"each\[1\]/ask +Succeeded", r"mid/low/ask +Failed"):
        assert re.search(line, answer.stdout), answer.stdout
    assert nexus(*own, "--approve", "each/ask", "--approve", "mid/low/ask").code == 0
