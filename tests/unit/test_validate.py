"""Validate: each problem names its task and field, and says what to do."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tests.builders import spec, task

from nexus.api.tasks import TASK_TYPES
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.core.validate import problems


def found(cel: Evaluator, *tasks: Any, **fields: Any) -> list[str]:
    return [str(problem) for problem in problems(spec(*tasks, **fields), cel)]


def one(cel: Evaluator, *tasks: Any, **fields: Any) -> str:
    (problem,) = found(cel, *tasks, **fields)
    return problem


def test_a_definition_without_mistakes_has_no_problems(cel: Evaluator) -> None:
    fine = found(
        cel,
        task("load", http={"url": "https://h/${{ params.day }}", "result": "${{ response.json.rows }}"}),
        task(
            "per-region",
            "load",
            python={"code": "output['n'] = 1"},
            when='${{ tasks.load.output.total > 10 && tasks["load"].phase == "Succeeded" }}',
        ),
        task("1st", sql={"connection": "sqlite://", "query": "select :n", "parameters": {"n": "${{ params.n + 1 }}"}}),
        task("last", "per-region", "1st", bash={"command": "echo $PARAM_DAY"}, triggerRule="AllDone"),
        task("next", "last", env=[{"name": "N", "value": "${{ tasks.per_region.output.n }} ${{ tasks._1st.phase }}"}]),
        params=[{"name": "day", "default": "${{ date(run.scheduledTime) }}"}, {"name": "n", "type": "integer"}],
        defaults={"env": [{"name": "DAY", "value": "${{ params.day }}"}]},
    )

    assert fine == []


# -- the graph --------------------------------------------------------------------------------------------------------


def test_a_dependency_that_is_not_there_gets_the_closest_name(cel: Evaluator) -> None:
    assert one(cel, task("extract"), task("price", "extrct")) == (
        "task price, dependsOn[0]: there is no task extrct: did you mean extract?"
    )


def test_a_dependency_far_from_every_name_gets_them_all(cel: Evaluator) -> None:
    assert one(cel, task("a"), task("price", "zzz")).endswith("there is no task zzz: tasks are a, price")


def test_a_task_that_waits_for_itself(cel: Evaluator) -> None:
    assert one(cel, task("a", "a")) == "task a, dependsOn[0]: a task cannot depend on itself"


def test_a_dependency_named_twice(cel: Evaluator) -> None:
    assert one(cel, task("a"), task("b", "a", "a")) == "task b, dependsOn[1]: a is named twice"


def test_a_cycle_is_shown_in_the_direction_of_depends_on(cel: Evaluator) -> None:
    problem = one(cel, task("start"), task("a", "start", "c"), task("b", "a"), task("c", "b"))

    assert "dependsOn: the tasks wait for each other: " in problem
    cycle = problem.split(": ")[2].split(" -> ")
    depends_on = {"a": "c", "b": "a", "c": "b"}
    assert cycle[0] == cycle[-1]
    assert all(depends_on[name] == after for name, after in pairwise(cycle))
    assert problem.startswith(f"task {cycle[0]}, ")


def test_two_tasks_of_one_name(cel: Evaluator) -> None:
    assert one(cel, task("a"), task("b"), task("a")) == "tasks[2].name: 2 tasks are named a: names are unique"


# -- what one task says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bash": {"command": "true"}, "python": {"code": "1"}}, "has python and bash: give exactly one of "),
        ({"python": {"code": "1", "call": "m:f"}}, "python: give exactly one of code and call"),
        ({"python": {"image": "i"}}, "python: give exactly one of code and call"),
        ({"python": {"code": "1", "with": {"a": 1}}}, "python.with: with goes with call"),
        ({"http": {"url": "http://h", "json": {}, "body": "x"}}, "http: give one of json and body"),
        ({"triggerRule": "AllDone"}, "triggerRule: a triggerRule without dependsOn"),
        ({"env": [{"name": "NEXUS_X", "value": "1"}]}, "env[0].name: NEXUS_X: names with NEXUS_ are reserved"),
        ({"env": [{"name": "A"}, {"name": "A"}]}, "env[1].name: 2 variables are named A"),
        ({"env": [{"name": "A", "valueFrom": {}}]}, "env[0].valueFrom: give exactly one of secretKeyRef and "),
        ({"envFrom": [{"prefix": "X_"}]}, "envFrom[0]: give exactly one of secretRef and configMapRef"),
    ],
)
def test_fields_that_do_not_go_together(cel: Evaluator, fields: dict[str, Any], message: str) -> None:
    problem = one(cel, task("t", **fields))

    assert problem.startswith("task t")
    assert message in problem


def test_a_task_without_a_type(cel: Evaluator) -> None:
    body = {"tasks": [{"name": "t"}]}

    (problem,) = problems(WorkflowSpec.model_validate(body), cel)

    assert str(problem) == f"task t: has no type: give exactly one of {', '.join(TASK_TYPES)}"
    assert problem.path == ("tasks", 0)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"python": {"code": "x = ${{ params.day }}"}}, "python.code"),
        ({"bash": {"command": "echo ${{ params.day }}"}}, "bash.command"),
        ({"sql": {"connection": "sqlite://", "query": "select ${{ params.day }}"}}, "sql.query"),
        ({"bash": {"command": "true", "image": "i:${{ params.day }}"}}, "bash.image"),
    ],
)
def test_an_expression_inside_code_is_refused(cel: Evaluator, fields: dict[str, Any], field: str) -> None:
    problem = one(cel, task("t", **fields), params=[{"name": "day"}])

    assert problem.startswith(f"task t, {field}: ${{{{ }}}} is refused here, since a value would become code")


# -- expressions ------------------------------------------------------------------------------------------------------


def expression(cel: Evaluator, text: str, **fields: Any) -> str:
    tasks = (task("extract"), task("per-region"), task("t", "extract", env=[{"name": "X", "value": text}], **fields))
    problem = one(cel, *tasks, params=[{"name": "day"}, {"name": "n", "type": "integer"}])
    assert problem.startswith("task t, env[0].value: ")
    return problem.removeprefix("task t, env[0].value: ")


def test_an_unknown_param_gets_the_closest(cel: Evaluator) -> None:
    assert expression(cel, "${{ params.dya }}") == "params.dya is not known here: did you mean params.day?"


def test_a_task_that_is_no_ancestor_wants_a_depends_on(cel: Evaluator) -> None:
    assert expression(cel, "${{ tasks.per_region.output.n }}") == (
        "tasks.per_region.output: t does not depend on per-region: add per-region to its dependsOn"
    )


def test_a_task_that_is_not_there_is_unknown(cel: Evaluator) -> None:
    assert "there is no task extrakt: did you mean extract?" in expression(cel, "${{ tasks.extrakt.output.n }}")


def test_a_tasks_own_output_is_not_there_yet(cel: Evaluator) -> None:
    assert expression(cel, "${{ tasks.t.output.n }}") == "tasks.t.output: a task cannot see its own output"


def test_a_hyphen_is_explained(cel: Evaluator) -> None:
    assert expression(cel, "${{ tasks.per-region.output.n }}").startswith(
        "tasks.per-region is a subtraction in CEL: write tasks.per_region"
    )


def test_a_type_error_is_found_before_anything_runs(cel: Evaluator) -> None:
    assert "does not take string and int" in expression(cel, "${{ params.day + 1 }}")


def test_a_syntax_error_is_found(cel: Evaluator) -> None:
    assert expression(cel, "${{ params.n + }}") == "the expression ends too early"


def test_an_expression_that_is_not_closed(cel: Evaluator) -> None:
    assert "not closed" in expression(cel, "${{ params.n")


def test_the_place_within_the_field_is_known(cel: Evaluator) -> None:
    text = "day: ${{ params.dya }}"
    (problem,) = problems(spec(task("t", env=[{"name": "X", "value": text}]), params=[{"name": "day"}]), cel)

    assert problem.path == ("tasks", 0, "env", 0, "value")
    assert problem.offset == text.index("params.dya")


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("${{ params.n }}", "when wants true or false, this gives int: compare it with something"),
        ("params.n > 1", "when is one whole expression: "),
        ("${{ params.n > 1 }} ", "when is one whole expression: "),
        ("${{ params.n > 1 }}${{ true }}", "when is one whole expression: "),
        ("${{ item == 1 }}", "item is only known in the fields of a task with forEach"),
        ("${{ params.nn > 1 }}", "params.nn is not known here: did you mean params.n?"),
    ],
)
def test_when_is_one_whole_expression_with_a_boolean(cel: Evaluator, when: str, message: str) -> None:
    problem = one(cel, task("t", when=when), params=[{"name": "n", "type": "integer"}])

    assert problem.startswith(f"task t, when: {message}")


def test_when_may_be_of_a_type_that_shows_only_at_run_time(cel: Evaluator) -> None:
    assert found(cel, task("a"), task("b", "a", when="${{ tasks.a.output.go }}")) == []


@pytest.mark.parametrize(
    ("for_each", "problem"),
    [
        ({"items": "${{ 5 }}"}, "forEach.items: items wants a list, this gives int"),
        ({"items": "${{ 'abc' }}"}, "forEach.items: items wants a list, this gives string"),
        ({"items": "${{ params.word }}"}, "forEach.items: items wants a list, this gives string"),
        ({"matrix": {"a": [1], "b": "${{ {'x': 1} }}"}}, "forEach.matrix.b: b wants a list, this gives map"),
        ({"items": "${{ params.many }}"}, None),
        ({"items": "${{ tasks.a.output.list }}"}, None),
        ({"items": "${{ range(3) }}"}, None),
        ({"items": ["${{ 5 }}", {"x": "${{ 'abc' }}"}]}, None),
        ({"matrix": {"a": ["${{ 5 }}"]}}, None),
    ],
)
def test_what_gives_items_is_a_list(cel: Evaluator, for_each: dict[str, Any], problem: str | None) -> None:
    params = [{"name": "word"}, {"name": "many", "type": "array"}]
    told = found(cel, task("a"), task("b", "a", forEach=for_each), params=params)

    assert told == ([] if problem is None else [f"task b, {problem}: write a list, or an expression that gives one"])


def test_result_sees_the_response_alone(cel: Evaluator) -> None:
    problem = one(cel, task("t", http={"url": "http://h", "result": "${{ params.n }}"}), params=[{"name": "n"}])

    assert problem.startswith("task t, http.result: ")


def test_mistakes_of_every_kind_are_told_together(cel: Evaluator) -> None:
    told = found(
        cel,
        task("a", env=[{"name": "X", "value": "${{ params.nope }}"}]),
        task("b", triggerRule="AllDone"),
        params=[{"name": "day", "type": "integer", "default": "x"}],
    )

    assert len(told) == 3


def test_the_defaults_see_params_and_run_alone(cel: Evaluator) -> None:
    env = [{"name": "X", "value": "${{ tasks.a.output.n }}"}]

    assert one(cel, task("a"), task("b", "a"), defaults={"env": env}).startswith("defaults.env[0].value: ")


# -- params and labels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ({"name": "p", "type": "integer", "default": "x"}, 'param p, default: "x" is no integer'),
        ({"name": "p", "enum": ["a"], "default": "b"}, 'param p, default: "b" is none of ["a"]'),
        ({"name": "p", "enum": ["a", 3]}, "param p, enum[1]: 3 is no string"),
        ({"name": "p", "pattern": "(", "default": "x"}, "param p, pattern: no RE2 expression: "),
        ({"name": "p", "pattern": "(?=x)"}, "param p, pattern: no RE2 expression: "),
        ({"name": "p", "type": "integer", "pattern": "x"}, "param p, pattern: the param is no string"),
        ({"name": "p", "default": "${{ params.q }}"}, "param p, default: params.q is not known here"),
        ({"name": "p", "default": "${{ date(run.nme) }}"}, "did you mean run.name?"),
        ({"name": "p", "minimum": 1}, "param p, minimum: the param is of type string, and only an integer or a number"),
        ({"name": "p", "type": "array", "maximum": 1}, "give it that type, or remove the maximum"),
        (
            {"name": "p", "type": "number", "minimum": 2, "maximum": 1.5},
            "param p, minimum: the minimum 2 is above the maximum, 1.5",
        ),
        ({"name": "p", "type": "integer", "minimum": 1, "default": 0}, "default: 0 is below the minimum, 1"),
        (
            {"name": "p", "type": "number", "maximum": 9, "enum": [1, 10]},
            "enum[1]: 10 is above the maximum, 9",
        ),
        ({"name": "p", "required": True, "default": "x"}, "param p, default: a default is never used"),
        ({"name": "p", "default": None}, "param p, default: null is no string"),
    ],
)
def test_a_param_that_contradicts_itself(cel: Evaluator, param: dict[str, Any], message: str) -> None:
    assert message in one(cel, task("t"), params=[param])


def test_two_params_of_one_name(cel: Evaluator) -> None:
    assert one(cel, task("t"), params=[{"name": "p"}, {"name": "p"}]) == (
        "params[1].name: 2 params are named p: names are unique"
    )


@pytest.mark.parametrize("key", ["nexus.dev/run", "kubernetes.io/x", "batch.kubernetes.io/job-name", "a.k8s.io/x"])
def test_labels_that_belong_to_others(cel: Evaluator, key: str) -> None:
    assert "are not yours to set" in one(cel, task("t"), labels={key: "x"})


# -- all in one round -------------------------------------------------------------------------------------------------


def test_expressions_are_checked_beside_mistakes_of_other_kinds(cel: Evaluator) -> None:
    env = [{"name": "X", "value": "${{ params.nope }}"}]
    said = found(
        cel,
        task("a", env=env),
        task("b", "gone", env=env),
        task("c", "d", env=env),
        task("d", "c"),
        task("twice"),
        task("twice"),
        params=[{"name": "n", "type": "integer", "default": "x"}],
    )

    assert [line.partition(",")[0] for line in said if "params.nope is not known" in line] == ["task a", "task b"]
    assert any("there is no task gone" in line for line in said)
    assert any("wait for each other" in line for line in said)
    assert any("2 tasks are named twice" in line for line in said)
    assert any('"x" is no integer' in line for line in said)


@pytest.mark.parametrize(("name", "hint"), [("zz", "tasks are load, b"), ("laod", "did you mean load?")])
def test_an_expression_that_names_no_task(cel: Evaluator, name: str, hint: str) -> None:
    env = [{"name": "X", "value": f"${{{{ tasks.{name}.output.n }}}}"}]

    assert one(cel, task("load"), task("b", "load", env=env)).endswith(f": there is no task {name}: {hint}")


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"bash": {"command": "set -e\necho ${{ params.day }}"}}, '"$PARAM_DAY"'),
        ({"python": {"code": "import os\n${{ params.day }}"}}, 'params["day"]'),
        ({"sql": {"connection": "sqlite://", "query": "select\n${{ params.day }}"}}, "write :day in the query"),
    ],
)
def test_an_expression_in_code_is_told_at_its_place_with_what_to_write(
    cel: Evaluator, fields: dict[str, Any], advice: str
) -> None:
    (problem,) = problems(spec(task("t", **fields), params=[{"name": "day"}]), cel)
    (code,) = (text for field in fields.values() for key, text in field.items() if key != "connection")

    assert problem.offset == code.index("${{")
    assert advice in problem.message


def test_a_placeholder_without_a_parameter(cel: Evaluator) -> None:
    said = one(cel, task("t", sql={"connection": "sqlite://", "query": "select :day::date, :day"}))

    assert said.startswith("task t, sql.query: the query has the placeholder :day, but sql.parameters has no day")


@pytest.mark.parametrize(
    "query", ["select ':day'", "select x::date", r"select \:day", "select 1 -- :day", "select /* :day */ 1", "a[1:2]"]
)
def test_a_colon_that_starts_no_placeholder(cel: Evaluator, query: str) -> None:
    said = found(cel, task("t", sql={"connection": "sqlite://", "query": query}))

    assert said == []


@pytest.mark.parametrize(
    ("url", "fine"),
    [("example.com/a", False), ("ftp://h", False), ("HTTPS://h", True), ("$(BASE)/a", True), ("${{ run.name }}", True)],
)
def test_a_url_names_its_scheme(cel: Evaluator, url: str, fine: bool) -> None:
    said = found(cel, task("t", http={"url": url}))

    assert [("start it with https://" in line) for line in said] == ([] if fine else [True])
