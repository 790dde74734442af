"""Calls of other Workflows: circles, names that are not there, params that do not fit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tests.builders import spec, task

from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.core.validate import problems
from nexus.core.validate.calls import callees, circle, missing, reachable, unfit


def calling(*names: str, **fields: Any) -> WorkflowSpec:
    return spec(*(task(f"t{n}", workflow={"name": name}) for n, name in enumerate(names)), **fields)


def test_a_workflow_that_calls_itself_is_invalid_under_its_name_alone(cel: Evaluator) -> None:
    subject = calling("price", "sales")

    (problem,) = problems(subject, cel, "sales")

    assert str(problem).startswith("task t1, workflow.name: workflow call cycle: sales -> sales")
    assert problem.path == ("tasks", 1, "workflow", "name")
    assert problems(subject, cel) == []


def test_a_call_of_itself_in_finally_is_seen_too(cel: Evaluator) -> None:
    subject = spec(task("a"), **{"finally": [task("again", workflow={"name": "sales"})]})

    (problem,) = problems(subject, cel, "sales")

    assert problem.path == ("finally", 0, "workflow", "name")


@pytest.mark.parametrize(
    ("workflows", "message"),
    [
        ({"a": calling("b"), "b": calling("c"), "c": spec(task("x"))}, None),
        ({"a": calling("b", "b"), "b": calling("elsewhere")}, None),
        ({"a": calling("b"), "b": calling("a")}, "workflow call cycle: "),
        ({"a": calling("b"), "b": calling("c"), "c": calling("d", "b")}, "workflow call cycle: "),
    ],
)
def test_circles_are_found_among_the_workflows_of_a_file(
    workflows: dict[str, WorkflowSpec], message: str | None
) -> None:
    found = circle(workflows)

    assert (found is None) == (message is None)
    if found is not None and message is not None:
        name, problem = found
        assert message in problem.message
        way = problem.message.removeprefix(message).partition(";")[0].split(" -> ")
        assert way[0] == way[-1] == name
        for caller, callee in pairwise(way):
            assert callee in [called for _, _, called in callees(workflows[caller])]


def test_what_a_run_may_start_is_found_through_all_calls() -> None:
    workflows = {"a": calling("b", "c", "b"), "b": calling("d", "none"), "c": calling("d"), "d": spec(task("x"))}

    assert reachable("a", workflows) == ["a", "b", "c", "d"]
    assert reachable("none", workflows) == []


def test_a_workflow_that_is_not_there_gets_the_closest_name() -> None:
    first, second = missing(calling("pirce", "zzz"), {"price": None, "sales": None})

    assert str(first) == 'task t0, workflow.name: unknown Workflow "pirce"; did you mean "price"?'
    assert str(second).endswith('unknown Workflow "zzz"; this file has price, sales')


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n": 1, "day": "x"}, None),
        ({"n": "${{ run.name.size() }}", "day": "${{ 'x' }} of ${{ 3 }}"}, None),
        (
            {"n": "${{ run.name }}", "day": "x"},
            "params.n: ${{ run.name }} gives string, expected type integer; convert it with int(...) (Workflow price)",
        ),
        ({"n": 1, "dya": "x"}, 'params.dya: unknown param "dya"; did you mean "day"? (Workflow price)'),
        ({"n": "1", "day": "x"}, 'params.n: must be an integer, got string "1"; remove the quotes (Workflow price)'),
        ({"n": 1}, ': missing required params of Workflow "price": day; set them in params'),
    ],
)
def test_params_of_a_call_are_held_against_the_called_workflow(
    cel: Evaluator, params: dict[str, Any], message: str | None
) -> None:
    price = spec(task("x"), params=[{"name": "n", "type": "integer", "default": 1}, {"name": "day"}])
    subject = spec(task("call", workflow={"name": "price", "params": params}))

    found = [str(problem) for problem in unfit(subject, {"price": price}, cel)]

    if message is None:
        assert found == []
    else:
        assert found[0].startswith("task call, workflow" + (message if message[0] == ":" else f".{message}"))


@pytest.mark.parametrize(
    "fields",
    [{"env": [{"name": "A", "value": "x"}]}, {"envFrom": [{"secretRef": {"name": "s"}}]}, {"startTimeoutSeconds": 9}],
)
def test_fields_of_a_pod_are_refused(cel: Evaluator, fields: dict[str, Any]) -> None:
    (problem,) = problems(spec(task("call", workflow={"name": "price"}, **fields)), cel)

    (field,) = fields
    assert problem.message.startswith(f"{field} is not supported for workflow tasks, which have no pod; ")
    assert problem.path[-1] == field


def test_an_expression_in_the_params_of_a_call_is_checked(cel: Evaluator) -> None:
    (problem,) = problems(spec(task("call", workflow={"name": "price", "params": {"a": ["${{ params.x }}"]}})), cel)

    assert str(problem).startswith(
        'task call, workflow.params.a[0]: unknown reference "params.x": the workflow has no params'
    )
