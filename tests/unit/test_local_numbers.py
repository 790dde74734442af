"""Numbers of a local run: the same as in a cluster, where the API server stands between any two that read one."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import definition, task
from tests.unit.local_harness import run_here

from nexus.core.model.definition import Definition

NUMBERS = "[3.0, -0.0, 1e16, 1e19, 1.5, 0.1, 1e-7, 12345678901234567, float(2**62)]"
STORED = [3, 0, 10**16, 1e19, 1.5, 0.1, 1e-7, 12345678901234567, 4611686018427388000]
SHOW = "import json; print(json.dumps(input['make']['n'])); output['n'] = input['make']['n']"


def same(found: Any, expected: Any) -> bool:
    """Equal with the types: Python takes 3 and 3.0 for equal."""
    return repr(found) == repr(expected)


@pytest.mark.parametrize("size", [0, 2_000, 200_000, 700_000], ids=["status", "message", "config-map", "store"])
def test_numbers_are_the_same_whatever_the_size_of_the_output_that_holds_them(size: int) -> None:
    make = task("make", python={"code": f"output['n'] = {NUMBERS}; output['pad'] = 'x' * {size}"})
    show = task("show", "make", python={"code": SHOW})
    ran = run_here(definition(make, show, output_store={"url": "s3://bucket/prefix"}))
    assert same(ran.outputs["show"]["n"], STORED)


def test_numbers_of_a_bash_task_a_fan_out_and_a_child_run() -> None:
    lines = 'nexus_output --json n "[3.0, -0.0, 1e16, 1e19, 1.50]"; echo "m:=2.0" >> "$NEXUS_OUTPUT"'
    child = definition(
        task("echo", python={"code": "output['n'] = params['n']"}),
        params=[{"name": "n", "type": "number"}],
        outputs={"n": "${{ tasks.echo.output.n }}", "half": "${{ 1.0 / 2.0 + 0.5 }}"},
    )
    parent = definition(
        task("make", bash={"command": lines}),
        task(
            "each",
            "make",
            for_each={"items": "${{ [0.5, 1.0, 1e16] }}"},
            python={"code": "output['item'] = [item, repr(item)]"},
        ),
        task("call", "make", workflow={"name": "child", "params": {"n": "${{ double(tasks.make.output.m) }}"}}),
        task("text", env=[{"name": "T", "value": "${{ 6.0 / 2.0 }} ${{ [4.0] }}"}], bash={"command": "echo $T"}),
    )
    ran = run_here(parent, workflows={"child": child})
    assert same(ran.outputs["make"], {"n": [3, 0, 10**16, 1e19, 1.5], "m": 2})
    assert same([one["item"] for one in ran.outputs["each"]["items"]], [[0.5, "0.5"], [1, "1"], [10**16, repr(10**16)]])
    assert same(ran.outputs["call"], {"n": 2, "half": 1})
    assert ran.lines("text") == ["3 [4]"]


GIVEN = [(3.0, "3"), (1e1, "10"), (-0.0, "0"), (2.50, "2.5"), (1e16, str(10**16))]


@pytest.mark.parametrize(("given", "stored"), GIVEN)
def test_a_param_is_the_same_to_code_bash_and_expressions(given: float, stored: str) -> None:
    ran = run_here(_shown(), params={"n": given})
    assert ran.lines("code") == [f"{stored} {stored}"]
    assert ran.lines("shell") == [f"{stored} {stored}"]


def _shown() -> Definition:
    env = [{"name": "T", "value": "${{ params.n }}"}]
    return definition(
        task("code", env=env, python={"code": "import os; print(repr(params['n']), os.environ['T'])"}),
        task("shell", env=env, bash={"command": 'echo "$PARAM_N $T"'}),
        params=[{"name": "n", "type": "number"}],
    )
