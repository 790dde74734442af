"""`nexus plan`: what it prints of a run that is not made, and that it makes none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli_harness import bash, nexus, workflow, workflow_run, write

from nexus.adapters.cel.pool import CelEvaluator
from nexus.cli.plan import planned_run
from nexus.core.engine.preview import Forecast

EXAMPLES = Path(__file__).parents[2] / "examples"
GIVEN = {"params.yaml": ["customer=acme"]}

FLOW = workflow(
    bash("load", env=[{"name": "DAY", "value": "${{ params.day }}"}]),
    bash("big", "true", "load", when="${{ tasks.load.output.rows > 9 }}"),
    bash("loud", when="${{ params.loud }}"),
    bash("each", "true", "loud", triggerRule="AllDone", forEach={"items": ["eu", "us"]}),
    bash("secret", env=[{"name": "S", "valueFrom": {"secretKeyRef": {"name": "none", "key": "here"}}}]),
    params=[
        {"name": "day", "default": "${{ date(run.scheduledTime) }}"},
        {"name": "loud", "type": "boolean", "default": False},
    ],
    schedules=[{"name": "nightly", "cron": "30 2 * * *", "timeZone": "Europe/Berlin"}],
)


def test_a_plan_shows_levels_what_runs_and_the_next_ticks(tmp_path: Path) -> None:
    file = write(tmp_path, FLOW)
    answer = nexus("plan", file, "--at", "2026-11-24T01:30:00Z")
    assert (answer.code, answer.stderr) == (0, "")
    head, tasks, ticks = answer.stdout.partition("\n  1  ")[0], *answer.stdout.partition("\n  1  ")[2].split("\nNext\n")
    assert head == (
        "sales: 5 tasks in 2 levels, as of 2026-11-24T01:30:00Z (a tick of schedule nightly)\n\n"
        "Params\n  day = 2026-11-24\n  loud = false\n"
    )
    assert tasks == (
        "load    bash  runs\n"
        '               env DAY = "2026-11-24"\n'
        "     loud    bash  does not run: when is false: ${{ params.loud }}\n"
        "     secret  bash  runs\n"
        "  2  big     bash  runs if ${{ tasks.load.output.rows > 9 }}\n"
        "     each    bash  runs for 2 items: eu, us\n"
    )
    assert [line.split()[0] for line in ticks.splitlines()] == ["nightly"] * 3
    assert "02:30 Europe/Berlin" in ticks


def test_as_json_it_is_one_object(tmp_path: Path) -> None:
    found = nexus("plan", write(tmp_path, FLOW), "-p", "loud=true", "-o", "json").json
    assert (found["workflow"], found["params"]["loud"], found["scheduledTime"]) == ("sales", True, None)
    assert {task["name"]: (task["level"], task["verdict"]) for task in found["tasks"]} == {
        "load": (1, "Runs"),
        "big": (2, "Depends"),
        "loud": (1, "Runs"),
        "each": (2, "Runs"),
        "secret": (1, "Runs"),
    }
    each = found["tasks"][3]
    assert (each["items"], each["totalItems"], each["dependsOn"]) == (["eu", "us"], 2, ["loud"])
    assert [tick["schedule"] for tick in found["next"]] == ["nightly"] * 3


def test_what_would_be_refused_is_and_what_would_fail_exits_1(tmp_path: Path) -> None:
    bad = write(tmp_path, workflow(bash("one", "true", "two")), name="bad.yaml")
    answer = nexus("plan", bad)
    assert (answer.code, answer.stdout) == (2, "")
    assert 'unknown task "two"; tasks are one' in answer.stderr
    assert (
        "missing value, and no default; give one with --param x=... or in spec.params"
        in nexus("plan", write(tmp_path, workflow(bash("a"), params=[{"name": "x"}]))).stderr
    )
    env = [{"name": "A", "value": "${{ 1 / params.n }}"}]
    fails = workflow(bash("a", env=env), bash("b", "true", "a"), params=[{"name": "n", "type": "integer"}])
    file = write(tmp_path, fails, workflow_run(params={"n": 0}))
    answer = nexus("plan", file)
    assert answer.code == 1
    assert "a  bash  fails: ExpressionError: env A: divide by zero" in answer.stdout
    assert "b  bash  does not run: a failed or did not run" in answer.stdout
    assert nexus("plan", file, "-p", "n=1").code == 0


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
def test_every_example_can_be_planned(file: Path, cel: CelEvaluator) -> None:
    planned, _ = planned_run(str(file), GIVEN.get(file.name, []), cel, None)
    verdicts = {task.verdict for task in planned.tasks}
    assert Forecast.RUNS in verdicts
    assert Forecast.FAILS not in verdicts
    assert [task.task for task in planned.tasks if not task.why and task.verdict is not Forecast.RUNS] == []


def test_each_item_is_shown_with_what_is_its_own(tmp_path: Path) -> None:
    env = [{"name": "N", "value": "${{ item / 2.0 }}"}, {"name": "ALL", "value": "${{ run.trigger }}"}]
    file = write(tmp_path, workflow(bash("each", env=env, forEach={"items": [0.5, 1.5, *range(28)]})))
    answer = nexus("plan", file)
    assert answer.code == 1
    assert "file" not in answer.stdout
    first = answer.stdout.partition("  1  ")[2].splitlines()
    assert first[0].startswith(
        "each  bash  fails: 18 of the first 20 items fail; item 2 fails: env N: / does not support int"
    )
    assert [line.strip() for line in first[1:7]] == [
        'env ALL = "manual"',
        "item 0 = 0.5",
        "env N = 0.25",
        "item 1 = 1.5",
        "env N = 0.75",
        "item 2 = 0",
    ]
    assert first[-1].strip() == "and 10 more items"
    assert "warning: task each, env[0].value: item may be an integer or have a fraction" in answer.stderr
    found = nexus("plan", file, "-o", "json").json["tasks"][0]
    assert (len(found["itemFields"]), found["itemFields"][1]["env ALL"], found["totalItems"]) == (20, "manual", 30)


def test_as_json_problems_have_code_task_and_field(tmp_path: Path) -> None:
    answer = nexus("plan", write(tmp_path, workflow(bash("a", "true", "b"), bash("c", "${{ 1 }}"))), "-o", "json")
    lines = answer.stderr.splitlines()
    assert (answer.code, len(lines)) == (2, 2)
    assert [(one["code"], one["task"], one["field"]) for one in answer.json["problems"]] == [
        ("unknown-task", "a", "dependsOn[0]"),
        ("expression-not-allowed", "c", "bash.command"),
    ]
    assert all(one["message"] in line for one, line in zip(answer.json["problems"], lines, strict=True))


def test_as_json_problems_of_params_have_a_code(tmp_path: Path) -> None:
    answer = nexus("plan", write(tmp_path, FLOW), "-p", "loud", "-p", "lod=true", "-o", "json")
    assert answer.code == 2
    assert [(one["code"], one["field"], one["line"] is None) for one in answer.json["problems"]] == [
        ("invalid-param", None, True),
        ("unknown-param", "params.lod", False),
    ]
