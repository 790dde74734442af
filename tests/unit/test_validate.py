"""Validate: each problem names its task and field, and says what to do."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tests.builders import spec, task

from nexus.api.rules import ONE_TASK_TYPE
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
        'task price, dependsOn[0]: unknown task "extrct"; did you mean "extract"?'
    )


def test_a_dependency_far_from_every_name_gets_them_all(cel: Evaluator) -> None:
    assert one(cel, task("a"), task("price", "zzz")).endswith('unknown task "zzz"; tasks are a, price')


def test_a_task_that_waits_for_itself(cel: Evaluator) -> None:
    assert one(cel, task("a", "a")) == "task a, dependsOn[0]: a task cannot depend on itself"


def test_a_dependency_named_twice(cel: Evaluator) -> None:
    assert one(cel, task("a"), task("b", "a", "a")) == 'task b, dependsOn[1]: duplicate dependency "a"'


def test_a_cycle_is_shown_in_the_direction_of_depends_on(cel: Evaluator) -> None:
    problem = one(cel, task("start"), task("a", "start", "c"), task("b", "a"), task("c", "b"))

    assert problem.endswith("; remove one of these dependsOn entries")
    cycle = problem.partition("dependency cycle: ")[2].partition(";")[0].split(" -> ")
    depends_on = {"a": "c", "b": "a", "c": "b"}
    assert cycle[0] == cycle[-1]
    assert all(depends_on[name] == after for name, after in pairwise(cycle))
    assert problem.startswith(f"task {cycle[0]}, ")


def test_two_tasks_of_one_name(cel: Evaluator) -> None:
    assert one(cel, task("a"), task("b"), task("a")) == 'tasks[2].name: duplicate task name "a"'


# -- what one task says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"bash": {"command": "true"}, "python": {"code": "1"}},
            (
                "2 task types (python, bash); set exactly one of python, http, bash, sql, container, workflow, "
                "approval and wait"
            ),
        ),
        ({"python": {"code": "1", "call": "m:f"}}, "set exactly one of code and call"),
        ({"python": {"image": "i"}}, "set exactly one of code and call"),
        (
            {"python": {"code": "1", "with": {"a": 1}}},
            "with has no effect without call; code gets its values from params and input",
        ),
        ({"http": {"url": "http://h", "json": {}, "body": "x"}}, "set at most one of json and body"),
        ({"triggerRule": "AllDone"}, "triggerRule has no effect without dependsOn; remove it"),
        ({"env": [{"name": "NEXUS_X", "value": "1"}]}, '"NEXUS_X": names that begin with NEXUS_ are reserved'),
        ({"env": [{"name": "A"}, {"name": "A"}]}, 'duplicate variable name "A"'),
        ({"env": [{"name": "A", "valueFrom": {}}]}, "set exactly one of secretKeyRef and configMapKeyRef"),
        ({"envFrom": [{"prefix": "X_"}]}, "set exactly one of secretRef and configMapRef"),
    ],
)
def test_fields_that_do_not_go_together(cel: Evaluator, fields: dict[str, Any], message: str) -> None:
    problem = one(cel, task("t", **fields))

    assert problem.startswith("task t")
    assert message in problem


def test_a_task_without_a_type(cel: Evaluator) -> None:
    body = {"tasks": [{"name": "t"}]}

    (problem,) = problems(WorkflowSpec.model_validate(body), cel)

    assert str(problem) == f"task t: no task type; {ONE_TASK_TYPE.message}"
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

    assert problem.startswith(f"task t, {field}: ${{{{ }}}} is not allowed here, a value would become code; ")


# -- expressions ------------------------------------------------------------------------------------------------------


def expression(cel: Evaluator, text: str, **fields: Any) -> str:
    tasks = (task("extract"), task("per-region"), task("t", "extract", env=[{"name": "X", "value": text}], **fields))
    problem = one(cel, *tasks, params=[{"name": "day"}, {"name": "n", "type": "integer"}])
    assert problem.startswith("task t, env[0].value: ")
    return problem.removeprefix("task t, env[0].value: ")


def test_an_unknown_param_gets_the_closest(cel: Evaluator) -> None:
    assert expression(cel, "${{ params.dya }}") == 'unknown reference "params.dya"; did you mean "params.day"?'


def test_a_task_that_is_no_ancestor_wants_a_depends_on(cel: Evaluator) -> None:
    assert expression(cel, "${{ tasks.per_region.output.n }}") == (
        'unknown reference "tasks.per_region.output": task "t" does not depend on "per-region"; add '
        '"per-region" to its dependsOn'
    )


def test_a_task_that_is_not_there_is_unknown(cel: Evaluator) -> None:
    assert 'unknown task "extrakt"; did you mean "extract"?' in expression(cel, "${{ tasks.extrakt.output.n }}")


def test_a_tasks_own_output_is_not_there_yet(cel: Evaluator) -> None:
    assert (
        expression(cel, "${{ tasks.t.output.n }}")
        == 'unknown reference "tasks.t.output": a task cannot read its own output'
    )


def test_a_hyphen_is_explained(cel: Evaluator) -> None:
    assert expression(cel, "${{ tasks.per-region.output.n }}").startswith(
        "tasks.per-region is a subtraction in CEL; write tasks.per_region"
    )


def test_a_type_error_is_found_before_anything_runs(cel: Evaluator) -> None:
    assert "+ does not support string and int; convert with string(...), int(...) or double(...)" in expression(
        cel, "${{ params.day + 1 }}"
    )


def test_a_syntax_error_is_found(cel: Evaluator) -> None:
    assert expression(cel, "${{ params.n + }}") == "the expression ends too early"


def test_an_expression_that_is_not_closed(cel: Evaluator) -> None:
    assert 'unclosed ${{; put }} after the expression, for the characters themselves write ${{ "${{" }}' in expression(
        cel, "${{ params.n"
    )


def test_the_place_within_the_field_is_known(cel: Evaluator) -> None:
    text = "day: ${{ params.dya }}"
    (problem,) = problems(spec(task("t", env=[{"name": "X", "value": text}]), params=[{"name": "day"}]), cel)

    assert problem.path == ("tasks", 0, "env", 0, "value")
    assert problem.offset == text.index("params.dya")


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("${{ params.n }}", "must be a boolean, the expression gives int; compare it with something"),
        ("params.n > 1", "must be one whole expression; write it as ${{ params.n > 1 }}"),
        ("${{ params.n > 1 }} ", "must be one whole expression; "),
        ("${{ params.n > 1 }}${{ true }}", "must be one whole expression; "),
        ("${{ item == 1 }}", 'unknown reference "item": it exists in the fields of a task with forEach only'),
        ("${{ params.nn > 1 }}", 'unknown reference "params.nn"; did you mean "params.n"?'),
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
        ({"items": "${{ 5 }}"}, "forEach.items: must be a list, the expression gives int"),
        ({"items": "${{ 'abc' }}"}, "forEach.items: must be a list, the expression gives string"),
        ({"items": "${{ params.word }}"}, "forEach.items: must be a list, the expression gives string"),
        ({"matrix": {"a": [1], "b": "${{ {'x': 1} }}"}}, "forEach.matrix.b: must be a list, the expression gives map"),
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

    assert told == ([] if problem is None else [f"task b, {problem}; write a list, or an expression that gives one"])


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
        ({"name": "p", "type": "integer", "default": "x"}, 'param p, default: must be an integer, got string "x"'),
        ({"name": "p", "enum": ["a"], "default": "b"}, 'param p, default: must be one of ["a"], got "b"'),
        ({"name": "p", "enum": ["a", 3]}, "param p, enum[1]: must be a string, got integer 3; quote it"),
        (
            {"name": "p", "pattern": "(", "default": "x"},
            "param p, pattern: invalid RE2 pattern: invalid regular expression: missing ): (",
        ),
        (
            {"name": "p", "pattern": "(?=x)"},
            "param p, pattern: invalid RE2 pattern: invalid regular expression: invalid perl operator: (?=",
        ),
        (
            {"name": "p", "type": "integer", "pattern": "x"},
            "param p, pattern: pattern is supported for strings only; remove pattern or type",
        ),
        (
            {"name": "p", "default": "${{ params.q }}"},
            (
                'param p, default: unknown reference "params.q"; known names: run.intervalEnd, run.intervalStart, '
                "run.name, run.namespace, run.phase, run.scheduledTime, run.trigger, run.workflow"
            ),
        ),
        ({"name": "p", "default": "${{ date(run.nme) }}"}, 'unknown reference "run.nme"; did you mean "run.name"?'),
        (
            {"name": "p", "minimum": 1},
            (
                "param p, minimum: minimum is supported for integers and numbers only, the type is string; change "
                "type, or remove minimum"
            ),
        ),
        (
            {"name": "p", "type": "array", "maximum": 1},
            "maximum is supported for integers and numbers only, the type is array; change type, or remove maximum",
        ),
        (
            {"name": "p", "type": "number", "minimum": 2, "maximum": 1.5},
            "param p, minimum: minimum 2 exceeds maximum 1.5; swap them",
        ),
        ({"name": "p", "type": "integer", "minimum": 1, "default": 0}, "must be at least 1, got 0"),
        (
            {"name": "p", "type": "number", "maximum": 9, "enum": [1, 10]},
            "must be at most 9, got 10",
        ),
        (
            {"name": "p", "required": True, "default": "x"},
            "param p, default: default has no effect on a required param; remove default or required",
        ),
        ({"name": "p", "default": None}, "param p, default: must be a string, got null"),
    ],
)
def test_a_param_that_contradicts_itself(cel: Evaluator, param: dict[str, Any], message: str) -> None:
    assert message in one(cel, task("t"), params=[param])


def test_two_params_of_one_name(cel: Evaluator) -> None:
    assert one(cel, task("t"), params=[{"name": "p"}, {"name": "p"}]) == ('params[1].name: duplicate param name "p"')


@pytest.mark.parametrize("key", ["nexus.dev/run", "kubernetes.io/x", "batch.kubernetes.io/job-name", "a.k8s.io/x"])
def test_labels_that_belong_to_others(cel: Evaluator, key: str) -> None:
    prefix = key.partition("/")[0]
    wanted = f'labels.{key}: label prefix "{prefix}" is reserved; choose another prefix'
    assert wanted in one(cel, task("t"), labels={key: "x"})


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

    assert [line.partition(",")[0] for line in said if 'unknown reference "params.nope"' in line] == [
        "task a",
        "task b",
    ]
    assert any('unknown task "gone"' in line for line in said)
    assert any("dependency cycle: " in line for line in said)
    assert any('duplicate task name "twice"' in line for line in said)
    assert any('must be an integer, got string "x"' in line for line in said)


@pytest.mark.parametrize(("name", "hint"), [("zz", "tasks are load, b"), ("laod", 'did you mean "load"?')])
def test_an_expression_that_names_no_task(cel: Evaluator, name: str, hint: str) -> None:
    env = [{"name": "X", "value": f"${{{{ tasks.{name}.output.n }}}}"}]

    assert one(cel, task("load"), task("b", "load", env=env)).endswith(f': unknown task "{name}"; {hint}')


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

    assert said.startswith('task t, sql.query: missing value for the placeholder :day; add "day" to sql.parameters')


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
