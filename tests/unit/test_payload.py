"""Payloads: what a container is handed, and that a value in it is data whatever it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.builders import definition, task

from nexus.api.reasons import Reason
from nexus.api.tasks import Task
from nexus.core.data import scope
from nexus.core.expressions.render import Renderer
from nexus.core.expressions.templates import Evaluator, ExpressionError
from nexus.core.model.plan import Payload
from nexus.core.task_types.limits import STRING_LIMIT, PayloadError
from nexus.core.tasks.payload import TOTAL_LIMIT, Context, build

NASTY = "'; rm -rf / # $(TOKEN) $$ `id` \" ${{ params.a }} \n \\ $HOME Zoë \N{SNOWMAN}"
PARAMS = ("a", "n", "flag", "items", "big")


def payload(cel: Evaluator, subject: Task, input_: Mapping[str, Any] | None = None, **params: Any) -> Payload:
    node = definition(subject, params=[{"name": name, "default": ""} for name in PARAMS]).nodes[subject.name]
    variables = {**{f"params.{name}": "dyn" for name in PARAMS}, **scope.RUN_VARIABLES}
    renderer = Renderer(cel, variables, lambda name: params[name.removeprefix("params.")])
    return build(node, renderer, Context(params, {"name": "r"}, input_ or {}, {"large": "map-1"}))


def read(text: str | None) -> Any:
    assert text is not None
    return json.loads(text)


def test_input_is_the_last_key_of_the_context(cel: Evaluator) -> None:
    made = payload(cel, task("t", bash={"command": "true"}), {"load": {"input": 1}, "skipped": None}, a=NASTY)

    assert list(read(made.context_json)) == ["params", "run", "task", "input"]
    assert read(made.context_json) == {
        "params": {"a": NASTY},
        "run": {"name": "r"},
        "task": {},
        "input": {"load": {"input": 1}, "skipped": None},
    }
    assert made.inputs == {"large": "map-1"}


def test_bash_gets_its_params_as_variables_text_as_it_is_and_the_rest_as_json(cel: Evaluator) -> None:
    made = payload(cel, task("t", bash={"command": "echo $PARAM_A"}), a=NASTY, n=3, flag=True, items=[1, "ë"], big=None)

    assert made.script == "echo $PARAM_A"
    texts = {"PARAM_A": NASTY, "PARAM_N": "3", "PARAM_FLAG": "true", "PARAM_ITEMS": '[1,"ë"]'}
    # A shell takes the word null for a value like any other.
    assert made.variables == {**texts, "PARAM_BIG": "", "NEXUS_ATTEMPT": "1", "NEXUS_FAILED_ATTEMPTS": "0"}


def test_python_code_travels_as_it_is_written(cel: Evaluator) -> None:
    made = payload(cel, task("t", python={"code": "print('$(TOKEN) $$')", "image": "py:1"}), a=NASTY)

    assert (made.type, made.image) == ("python", "py:1")
    assert read(made.task_json) == {"code": "print('$(TOKEN) $$')"}


def test_the_arguments_of_a_call_are_rendered_deep_and_keep_their_types(cel: Evaluator) -> None:
    arguments = {"day": "${{ params.a }}", "deep": {"n": ["${{ params.n + 1 }}", "n=${{ params.n }}"]}, "plain": 1.5}

    made = payload(cel, task("t", python={"call": "m:f", "with": arguments}), a=NASTY, n=3)

    assert read(made.task_json) == {"call": "m:f", "with": {"day": NASTY, "deep": {"n": [4, "n=3"]}, "plain": 1.5}}


def test_in_http_fields_the_dollars_of_a_value_are_doubled_or_encoded_and_those_of_the_author_are_not(
    cel: Evaluator,
) -> None:
    http = {
        "method": "POST",
        "url": "https://h/${{ params.a }}",
        "headers": [{"name": "Authorization", "value": "Bearer $(TOKEN)"}, {"name": "X", "value": "${{ params.a }}"}],
        "query": [{"name": "q", "value": "${{ params.items }}"}],
        "json": {"a": "${{ params.a }}", "n": "${{ params.n }}", "list": "${{ params.items }}"},
    }

    rendered = read(payload(cel, task("t", http=http), a="$(TOKEN)", n=3, items=["$$", 1]).task_json)

    assert rendered == {
        "method": "POST",
        "url": "https://h/%24%28TOKEN%29",
        "headers": [{"name": "Authorization", "value": "Bearer $(TOKEN)"}, {"name": "X", "value": "$$(TOKEN)"}],
        "query": [{"name": "q", "value": '["$$$$",1]'}],
        "timeoutSeconds": 30,
        "expect": ["2xx"],
        "json": {"a": "$$(TOKEN)", "n": 3, "list": ["$$$$", 1]},
    }


def test_a_json_body_of_null_is_a_body_and_none_is_none(cel: Evaluator) -> None:
    assert read(payload(cel, task("t", http={"url": "http://h", "json": None})).task_json)["json"] is None
    assert "json" not in read(payload(cel, task("t", http={"url": "http://h"})).task_json)


def test_the_result_of_http_is_the_bare_expression(cel: Evaluator) -> None:
    made = payload(cel, task("t", http={"url": "http://h", "result": "${{ response.json.total }}"}))

    assert read(made.task_json)["result"] == "response.json.total"


def test_sql_parameters_are_bound_as_they_are_and_the_url_comes_from_the_secret_alone(cel: Evaluator) -> None:
    sql = {
        "connection": {"secretKeyRef": {"name": "warehouse", "key": "url"}},
        "query": "select :a",
        "parameters": {"a": "${{ params.a }}"},
    }

    made = payload(cel, task("t", sql=sql), a=NASTY)

    assert read(made.task_json) == {
        "connection": {"env": "NEXUS_SQL_URL"},
        "query": "select :a",
        "parameters": {"a": NASTY},
    }
    assert [variable.to_json() for variable in made.env] == [
        {"name": "NEXUS_SQL_URL", "valueFrom": {"secretKeyRef": {"name": "warehouse", "key": "url"}}}
    ]


def test_sqlite_needs_no_secret(cel: Evaluator) -> None:
    made = payload(cel, task("t", sql={"connection": "sqlite://", "query": "select 1"}))

    assert read(made.task_json)["connection"] == "sqlite://"
    assert made.env == ()


def test_in_container_fields_and_env_the_dollars_of_a_value_are_doubled(cel: Evaluator) -> None:
    subject = task(
        "t",
        container={
            "image": "work:${{ params.n }}",
            "command": ["sh", "-c"],
            "args": ["echo $(TOKEN) ${{ params.a }}", "${{ params.items }}"],
        },
        env=[
            {"name": "OWN", "value": "$(TOKEN) $$"},
            {"name": "VALUE", "value": "${{ params.a }}"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
    )

    made = payload(cel, subject, a="$(TOKEN)", n=3, items=["$(HOME)"])

    assert made.image == "work:3"
    assert made.command == ("sh", "-c")
    assert made.args == ("echo $(TOKEN) $$(TOKEN)", '["$$(HOME)"]')
    assert [variable.value for variable in made.env] == ["$(TOKEN) $$", "$$(TOKEN)", None]
    assert (made.context_json, dict(made.inputs)) == ("", {})


def test_a_rendered_value_is_not_rendered_again(cel: Evaluator) -> None:
    made = payload(cel, task("t", container={"image": "i", "args": ["${{ params.a }}"]}), a="${{ params.n }}", n=3)

    assert made.args == ("$${{ params.n }}",)


def test_an_argument_longer_than_linux_takes_is_named(cel: Evaluator) -> None:
    subject = task("t", container={"image": "i", "args": ["fine", "${{ params.big }}"]})
    assert payload(cel, subject, big="x" * STRING_LIMIT).args == ("fine", "x" * STRING_LIMIT)

    with pytest.raises(PayloadError) as caught:
        payload(cel, subject, big="x" * (STRING_LIMIT + 1))

    assert caught.value.reason is Reason.INPUT_TOO_LARGE
    assert "container.args[1] is 131,072 bytes" in caught.value.message


def test_a_variable_is_measured_with_its_name(cel: Evaluator) -> None:
    subject = task("t", env=[{"name": "BIG", "value": "${{ params.big }}"}])

    with pytest.raises(PayloadError) as caught:
        payload(cel, subject, big="x" * (STRING_LIMIT - 3))

    assert caught.value.message.startswith("env BIG is 131,072 bytes")


def test_what_does_not_fit_into_one_object_is_refused(cel: Evaluator) -> None:
    arguments = {f"a{number}": "${{ params.big }}" for number in range(10)}

    with pytest.raises(PayloadError) as caught:
        payload(cel, task("t", python={"call": "m:f", "with": arguments}), big="x" * (TOTAL_LIMIT // 9))

    assert caught.value.reason is Reason.INPUT_TOO_LARGE
    assert "921,600" in caught.value.message


def test_an_expression_that_fails_is_the_callers_to_tell(cel: Evaluator) -> None:
    with pytest.raises(ExpressionError):
        payload(cel, task("t", container={"image": "i", "args": ["${{ params.a.nope }}"]}), a={"other": 1})


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"bash": {"command": "true"}, "env": [{"name": "DAY", "value": "${{ params.big.nope }}"}]}, "env DAY: "),
        ({"container": {"image": "a", "args": ["x", "${{ params.big.nope }}"]}}, "container.args[1]: "),
        ({"python": {"call": "m:f", "with": {"a": [1, "${{ params.big.nope }}"]}}}, "python.with.a[1]: "),
        (
            {"http": {"url": "https://h", "query": [{"name": "q", "value": "${{ params.big.nope }}"}]}},
            "http.query[0].value: ",
        ),
    ],
)
def test_an_expression_that_fails_in_a_run_says_in_which_field(
    cel: Evaluator, fields: dict[str, Any], where: str
) -> None:
    with pytest.raises(ExpressionError) as failed:
        payload(cel, task("t", **fields), big={})

    assert failed.value.message.startswith(where)
    assert "nope" in failed.value.message
