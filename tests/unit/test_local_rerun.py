"""Local reruns: from the run that -o json printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_harness import Answer, bash, nexus, workflow, write

FLOW = workflow(
    bash("fetch", 'echo "n:=3" >> "$NEXUS_OUTPUT"'),
    {**bash("check", 'test "$PARAM_OK" = yes'), "dependsOn": ["fetch"]},
    {
        "name": "sum",
        "dependsOn": ["check"],
        "env": [{"name": "N", "value": "${{ tasks.fetch.output.n }} ${{ date(run.scheduledTime) }}"}],
        "bash": {"command": 'echo "n=$N" >> "$NEXUS_OUTPUT"'},
    },
    params=[{"name": "ok", "default": "no"}],
)


def saved(folder: Path, body: Any = FLOW, *arguments: str) -> tuple[Path, Path]:
    file = write(folder, body)
    ran = nexus("run", "-f", file, "--local", "-o", "json", "--at", "2026-01-02T03:04:05Z", *arguments)
    run = folder / "run.json"
    run.write_text(ran.stdout)
    return file, run


def again(file: Path, run: Path, *arguments: str) -> Answer:
    return nexus("run", "-f", file, "--local", "-o", "json", "--rerun-of", run, *arguments)


def test_a_rerun_takes_over_what_succeeded_for_the_same_time(tmp_path: Path) -> None:
    file, run = saved(tmp_path)
    assert json.loads(run.read_text())["status"]["phase"] == "Failed"
    answer = again(file, run, "--param", "ok=yes")

    assert answer.code == 0, answer.stderr
    status, spec = answer.json["status"], answer.json["spec"]
    tasks = {task["name"]: task for task in status["tasks"]}
    assert (tasks["fetch"]["reason"], tasks["fetch"]["output"]) == ("Reused", {"n": 3})
    assert tasks["sum"]["output"] == {"n": "3 2026-01-02"}
    assert (spec["triggeredBy"], spec["rerunOf"]["name"]) == ("rerun", json.loads(run.read_text())["metadata"]["name"])
    assert status["rerunOf"]["changedParams"] == ["ok"]

    third = tmp_path / "third.json"
    third.write_text(answer.stdout)
    whole = again(file, third, "--from-task", "fetch").json
    assert "reason" not in whole["status"]["tasks"][0]
    assert whole["spec"]["params"]["ok"] == "yes"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from-task", "fetsh"], '--from-task: unknown task "fetsh"; did you mean "fetch"?'),
        (["--at", "2026-01-02T03:04:05Z"], "--rerun-of is for --local, without --at"),
        (["--param", "ko=1"], 'unknown param "ko"; the workflow has ok'),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(tmp_path: Path, arguments: list[str], words: str) -> None:
    answer = again(*saved(tmp_path), *arguments)

    assert (answer.code, answer.stdout) == (2, "")
    assert words in answer.stderr


def test_a_run_that_succeeded_and_outputs_that_are_not_there_are_told(tmp_path: Path) -> None:
    large = workflow(
        {"name": "large", "python": {"code": "output['x'] = 'x' * 3000"}},
        {**bash("no", "false"), "dependsOn": ["large"]},
    )
    answer = again(*saved(tmp_path, large))
    assert answer.code == 2
    assert "the outputs of large were too large for the saved run; add --from-task large" in answer.stderr
    (tmp_path / "other").mkdir()
    answer = again(*saved(tmp_path / "other", FLOW, "--param", "ok=yes"))
    assert answer.code == 2
    assert "every task of run" in answer.stderr
    assert "succeeded; name those to run again with --from-task TASK" in answer.stderr
    (tmp_path / "run.json").write_text("[]")
    assert "expected a run as printed by" in again(tmp_path / "other" / "run.json", tmp_path / "run.json").stderr


def test_a_run_of_another_workflow_is_told_to_have_its_own_file(tmp_path: Path) -> None:
    _, run = saved(tmp_path)
    other = write(tmp_path, workflow(bash("a"), name="stock"), name="stock.yaml")
    answer = again(other, run, "--from-task", "check")
    assert (answer.code, answer.stdout) == (2, "")
    assert "is a run of Workflow sales, and this file runs another; pass the file of that run with -f" in answer.stderr


STORED = workflow(
    bash("make", 'echo 1 > "$ARTIFACT_ONE"', artifacts={"outputs": [{"name": "one"}]}),
    bash(
        *("copy", 'cp "$ARTIFACT_ONE" "$ARTIFACT_TWO"', "make"),
        artifacts={"inputs": [{"name": "one", "from": "make.one"}], "outputs": [{"name": "two"}]},
    ),
    bash("read", 'cat "$ARTIFACT_TWO"', "copy", artifacts={"inputs": [{"name": "two", "from": "copy.two"}]}),
    bash("alone", "true", "copy"),
)


def test_a_rerun_needs_the_store_for_what_it_takes_from_there(tmp_path: Path) -> None:
    store = tmp_path / "store"
    file, run = saved(tmp_path, STORED, "--store", str(store))
    assert json.loads(run.read_text())["status"]["phase"] == "Succeeded"

    without = again(file, run, "--from-task", "read")
    assert (without.code, without.stdout) == (2, "")
    words = "what make wrote is in the store of that run; pass the --store FOLDER of that run, or add --from-task make"
    assert words in without.stderr
    elsewhere = again(file, run, "--from-task", "read", "--store", tmp_path / "other")
    assert elsewhere.code == 2
    assert f"what make wrote is not in {tmp_path / 'other'}; " in elsewhere.stderr

    assert again(file, run, "--from-task", "read", "--store", store).code == 0
    assert again(file, run, "--from-task", "alone").code == 0
    assert again(file, run, "--from-task", "read", "--from-task", "make").code == 0


def test_a_large_output_in_the_store_is_needed_by_those_who_read_it(tmp_path: Path) -> None:
    big = {"name": "big", "python": {"code": "output['x'] = 'x' * 600_000"}}
    flow = workflow(big, bash("after", "true", "big"), outputStore={})
    file, run = saved(tmp_path, flow, "--store", str(tmp_path / "store"))
    answer = again(file, run, "--from-task", "after")
    assert answer.code == 2
    assert "what big wrote is in the store of that run" in answer.stderr
    assert again(file, run, "--from-task", "after", "--store", tmp_path / "store").code == 0
