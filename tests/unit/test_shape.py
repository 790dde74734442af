"""Shape: what the models refuse, in words for the author of a manifest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.schema_errors import fields_at, misfits


def told(**body: Any) -> list[str]:
    """What is told of a spec that the models refuse."""
    with pytest.raises(ValidationError) as caught:
        WorkflowSpec.model_validate_json(json.dumps(body), strict=True, by_alias=True, by_name=False)
    return [str(problem) for problem in misfits(caught.value.errors(), body, WorkflowSpec)]


def of_task(**fields: Any) -> str:
    """What is told of a task, where it is one thing."""
    (problem,) = told(tasks=[{"name": "t", **fields}])
    return problem


def test_a_field_that_is_not_there_is_named_with_its_task_and_the_one_that_was_meant() -> None:
    assert told(tasks=[{"name": "t", "bash": {"comand": "x"}}]) == [
        'task t, bash: missing required field "command"',
        'task t, bash.comand: unknown field "comand"; did you mean "command"?',
    ]


def test_where_no_field_is_like_it_the_fields_are_named() -> None:
    problem = of_task(bash={"command": "x", "zzz": 1})
    assert problem == 'task t, bash.zzz: unknown field "zzz"; expected one of command, image'


@pytest.mark.parametrize("name", ["depends_on", "depends-on", "DependsOn", "dependson"])
def test_other_spellings_of_a_field_are_understood(name: str) -> None:
    assert of_task(**{name: 3}).endswith(f'unknown field "{name}"; did you mean "dependsOn"?')


def test_a_wrong_value_is_named_with_its_task() -> None:
    problem = of_task(triggerRule="AllDnoe")
    assert problem == 'task t, triggerRule: unsupported value "AllDnoe"; did you mean "AllDone"?'


@pytest.mark.parametrize("connection", ["postgres://x", 5])
def test_a_union_is_told_once_and_by_the_field_of_the_manifest(connection: Any) -> None:
    assert of_task(sql={"connection": connection, "query": "q"}).startswith(
        "task t, sql.connection: must be sqlite://, or {secretKeyRef: {name, key}}"
    )


def test_of_a_union_the_branch_that_was_meant_is_told() -> None:
    assert of_task(sql={"connection": {"secretKeyRef": {"name": "x"}}, "query": "q"}) == (
        'task t, sql.connection.secretKeyRef: missing required field "key"'
    )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"timeoutSeconds": "5"}, 'timeoutSeconds: must be an integer, got string "5"; remove the quotes'),
        ({"timeoutSeconds": 1.5}, "timeoutSeconds: must be an integer, got number 1.5"),
        ({"timeoutSeconds": 0}, "timeoutSeconds: must be at least 1, got 0"),
        ({"retry": {"limit": 101}}, "retry.limit: must be at most 100, got 101"),
        ({"retry": {"factor": "2"}}, 'retry.factor: must be a number, got string "2"; remove the quotes'),
        ({"description": 3}, 'description: must be a string, got integer 3; quote it: "3"'),
        ({"description": ["a"]}, "description: must be a string, got a list"),
        ({"description": "x" * 1025}, "description: must have at most 1,024 characters, got 1,025"),
        ({"dependsOn": "a"}, 'dependsOn: must be a list, got string "a"; write it as [a]'),
        ({"dependsOn": [f"t{n}" for n in range(101)]}, "dependsOn: must have at most 100 entries, got 101"),
        ({"bash": "echo"}, 'bash: must be an object, got string "echo"; write it as {command: echo}'),
        ({"bash": {"command": ""}}, "bash.command: must not be empty"),
    ],
)
def test_what_is_wrong_is_said_in_words(fields: dict[str, Any], problem: str) -> None:
    assert of_task(**fields) == f"task t, {problem}"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"timeoutSeconds": "1h"}, 'timeoutSeconds: must be an integer, got string "1h"; write it in seconds, as 3600'),
        ({"timeoutSeconds": "1.5 d"}, ('timeoutSeconds: must be an integer, got string "1.5 d"; write it in '
                                      'seconds, as 129600')),
        ({"timeoutSeconds": "lots"}, 'timeoutSeconds: must be an integer, got string "lots"'),
        ({"retry": {"limit": "1h"}}, 'retry.limit: must be an integer, got string "1h"'),
        ({"allowFailure": "true"}, 'allowFailure: must be a boolean, got string "true"; remove the quotes'),
        ({"allowFailure": "yes"}, 'allowFailure: must be a boolean, got string "yes"; write true'),
        ({"allowFailure": "maybe"}, 'allowFailure: must be a boolean, got string "maybe"'),
        ({"wait": {"seconds": "10m"}}, ('wait.seconds: must be an integer, or one whole ${{ }} that gives one, '
                                       'got string "10m"; write it in seconds, as 600')),
        ({"wait": {"seconds": "10"}}, ('wait.seconds: must be an integer, or one whole ${{ }} that gives one, '
                                      'got string "10"; remove the quotes')),
        ({"wait": {"seconds": "x"}}, ('wait.seconds: must be an integer, or one whole ${{ }} that gives one, got '
                                     'string "x"')),
        ({"wait": 60}, "wait: must be an object, got integer 60; write it as {seconds: 60}"),
        ({"wait": "10m"}, 'wait: must be an object, got string "10m"; write it as {seconds: 600}'),
        ({"wait": "2026-11-23T10:00:00Z"},
         'wait: must be an object, got string "2026-11-23T10:00:00Z"; write it as {until: "2026-11-23T10:00:00Z"}'),
        ({"retry": 3}, "retry: must be an object, got integer 3; write it as {limit: 3}"),
        ({"retry": "no"}, 'retry: must be an object, got string "no"; write it as {limit: 3}'),
        ({"bash": "echo $X; true"}, ('bash: must be an object, got string "echo $X; true"; write it as {command: '
                                    '"echo $X; true"}')),
        ({"bash": "x" * 60}, f'bash: must be an object, got string "{"x" * 60}"; write it as {{command: ...}}'),
        ({"forEach": [1, 2]}, "forEach: must be an object, got a list; write it as {items: [1,2]}"),
        ({"forEach": 5}, "forEach: must be an object, got integer 5; write it as {items: [a, b]}"),
        ({"approval": True}, 'approval: must be an object, got boolean true; write it as {message: "Ship it?"}'),
        ({"workflow": "report"}, 'workflow: must be an object, got string "report"; write it as {name: report}'),
        ({"pod": 3}, "pod: must be an object, got integer 3"),
        ({"env": {"A": "no"}}, 'env: must be a list, got an object; write it as [{name: A, value: "no"}]'),
        ({"env": {}}, "env: must be a list, got an object"),
        ({"workflow": {"name": "${{ params.x }}"}},
         'workflow.name: ${{ }} is not supported here, got "${{ params.x }}"; write the value itself'),
    ],
)  # fmt: skip
def test_a_value_that_is_written_too_short_is_told_its_form(fields: dict[str, Any], problem: str) -> None:
    assert of_task(**fields) == f"task t, {problem}"


TASK = {"name": "t", "bash": {"command": "x"}}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"concurrency": "Forbid"}, ('concurrency: must be an object, got string "Forbid"; write it as {policy: '
                                    'Forbid}')),
        ({"history": 3}, "history: must be an object, got integer 3; write it as {succeeded: 3}"),
        ({"ttlSecondsAfterFinished": "1d"},
         'ttlSecondsAfterFinished: must be an integer, got string "1d"; write it in seconds, as 86400'),
        ({"maxParallelTasks": "lots"}, 'maxParallelTasks: must be an integer, got string "lots"'),
        ({"params": {"a": 1}}, "params: must be a list, got an object; write it as [{name: a, default: 1}]"),
        ({"params": [{"name": "a", "type": "int"}]},
         'param a, type: unsupported value "int"; did you mean "integer"?'),
        ({"schedules": [{"name": "a"}]}, 'schedule a: missing required field "cron"'),
        ({"schedules": [{"cron": "@daily"}]}, 'schedules[0]: missing required field "name"'),
    ],
)  # fmt: skip
def test_so_is_one_of_the_whole_workflow(fields: dict[str, Any], problem: str) -> None:
    assert told(tasks=[TASK], **fields) == [problem]


@pytest.mark.parametrize(
    ("exclude", "problem"),
    [
        ({"holidays": ["DE"]}, 'holidays[0]: must be an object, got string "DE"; write it as {country: DE}'),
        ({"holidays": [{"country": "Germany"}]},
         'holidays[0].country: invalid country "Germany"; write its ISO 3166-1 code, as DE'),
        ({"holidays": [{"country": "fr"}]},
         'holidays[0].country: invalid country "fr"; write its ISO 3166-1 code, as FR'),
        ({"dates": ["24.12.2026"]}, 'dates[0]: invalid date "24.12.2026"; write it as 2026-12-24'),
        ({"dates": ["12/24/26"]}, 'dates[0]: invalid date "12/24/26"; write year, month and day, as 2026-12-24'),
    ],
)  # fmt: skip
def test_days_and_countries_are_told_their_form(exclude: dict[str, Any], problem: str) -> None:
    schedules = [{"name": "a", "cron": "@daily", "exclude": exclude}]
    assert told(tasks=[TASK], schedules=schedules) == [f"schedule a, exclude.{problem}"]


@pytest.mark.parametrize(
    ("fields", "home"),
    [
        ({"failurePolicy": "Continue"}, '"failurePolicy"; it belongs to spec'),
        ({"resources": {}}, '"resources"; it belongs to pod, write pod: {resources: ...}'),
        ({"retry": {"timeoutSeconds": 5}}, '"timeoutSeconds"; it belongs to the task'),
        ({"forEach": {"items": [1], "failurePolicy": "Continue"}}, '"failurePolicy"; it belongs to spec'),
    ],
)
def test_a_field_at_the_wrong_place_is_told_its_home(fields: dict[str, Any], home: str) -> None:
    assert of_task(bash={"command": "x"}, **fields).endswith(f"unknown field {home}")


def test_a_value_that_holds_a_long_text_is_shortened() -> None:
    assert len(of_task(triggerRule="x" * 5_000)) < 300


def test_the_fields_of_any_place_are_known() -> None:
    assert fields_at(WorkflowSpec, ["tasks", 0, "retry"])[:2] == ["limit", "delaySeconds"]
    assert fields_at(WorkflowSpec, ["tasks", 3, "sql", "connection", "secretKeyRef"]) == ["name", "key", "optional"]
    assert fields_at(WorkflowSpec, ["labels", "x"]) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            {"outputStore": {"url": "s3//foo"}},
            'outputStore.url: invalid value "s3//foo"; write it as s3://BUCKET/PREFIX',
        ),
        (
            {"outputStore": {"url": "foo"}},
            (
                'outputStore.url: invalid value "foo"; write it as s3://BUCKET/PREFIX, or gs://BUCKET/PREFIX, '
                "or az://ACCOUNT/CONTAINER/PREFIX, or file:///PREFIX"
            ),
        ),
        (
            {"outputStore": {"endpoint": "minio.example:9000"}},
            'outputStore.endpoint: invalid value "minio.example:9000"; write it as https://minio.example:9000',
        ),
        (
            {"outputStore": {"region": "EU Central 1"}},
            (
                'outputStore.region: invalid value "EU Central 1"; use lower-case letters, digits and - '
                "(^[-a-z0-9]+$), as eu-central-1"
            ),
        ),
    ],
)
def test_text_that_does_not_fit_is_answered_with_its_form(body: dict[str, Any], problem: str) -> None:
    assert told(tasks=[{"name": "t", "bash": {"command": "x"}}], **body) == [problem]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"artifacts": {"inputs": [{"name": "m", "from": "a"}]}}, "; write TASK.ARTIFACT, as a.model"),
        ({"artifacts": {"inputs": [{"name": "m", "from": "a/b"}]}}, "; write TASK.ARTIFACT, as fit.model"),
        ({"artifacts": {"outputs": [{"name": "My model"}]}}, ", as my-model"),
        ({"pool": "ware house"}, ", as ware-house"),
        ({"pod": {"serviceAccountName": "My.Account"}}, ", as my.account"),
        ({"env": [{"name": "MY VAR", "value": "x"}]}, ", as MY_VAR"),
    ],
)
def test_a_name_that_does_not_fit_is_answered_with_one_that_does(fields: dict[str, Any], problem: str) -> None:
    assert of_task(bash={"command": "x"}, **fields).endswith(problem)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"bash": {"command": "x"}, "pod": {"securityContext": {"runAsUser": 0}}}, "write pod.runAsUser"),
        ({"container": {"image": "x", "securityContext": {"runAsUser": 0}}}, "write pod.runAsUser"),
        (
            {"bash": {"command": "x"}, "securityContext": {"fsGroup": 7, "runAsGroup": 7}},
            "write pod.runAsGroup and pod.fsGroup",
        ),
        (
            {"container": {"image": "x", "securityContext": {"privileged": True}}},
            "the operator sets it, apart from pod.runAsUser, pod.runAsGroup and pod.fsGroup",
        ),
    ],
)
def test_a_security_context_is_answered_with_the_fields_of_pod(fields: dict[str, Any], problem: str) -> None:
    assert of_task(**fields).endswith(f'unknown field "securityContext"; {problem}')
