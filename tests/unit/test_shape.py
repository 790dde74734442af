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
        "task t, bash: command is missing",
        "task t, bash.comand: there is no field comand here: did you mean command?",
    ]


def test_where_no_field_is_like_it_the_fields_are_named() -> None:
    problem = of_task(bash={"command": "x", "zzz": 1})
    assert problem == "task t, bash.zzz: there is no field zzz here: fields are command, image"


@pytest.mark.parametrize("name", ["depends_on", "depends-on", "DependsOn", "dependson"])
def test_other_spellings_of_a_field_are_understood(name: str) -> None:
    assert of_task(**{name: 3}).endswith("did you mean dependsOn?")


def test_a_wrong_value_is_named_with_its_task() -> None:
    problem = of_task(triggerRule="AllDnoe")
    assert problem == 'task t, triggerRule: "AllDnoe" is not allowed here: did you mean AllDone?'


@pytest.mark.parametrize("connection", ["postgres://x", 5])
def test_a_union_is_told_once_and_by_the_field_of_the_manifest(connection: Any) -> None:
    assert of_task(sql={"connection": connection, "query": "q"}).startswith("task t, sql.connection: write sqlite://")


def test_of_a_union_the_branch_that_was_meant_is_told() -> None:
    assert of_task(sql={"connection": {"secretKeyRef": {"name": "x"}}, "query": "q"}) == (
        "task t, sql.connection.secretKeyRef: key is missing"
    )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"timeoutSeconds": "5"}, 'timeoutSeconds: "5" is no whole number: remove the quotes'),
        ({"timeoutSeconds": 1.5}, "timeoutSeconds: 1.5 is no whole number"),
        ({"timeoutSeconds": 0}, "timeoutSeconds: 0 is out of range: at least 1"),
        ({"retry": {"limit": 101}}, "retry.limit: 101 is out of range: at most 100"),
        ({"retry": {"factor": "2"}}, 'retry.factor: "2" is no number: remove the quotes'),
        ({"description": 3}, "description: 3 is no text: put it in quotes"),
        ({"description": ["a"]}, 'description: ["a"] is no text'),
        ({"description": "x" * 1025}, "description: has 1,025 characters, at most 1,024 are allowed"),
        ({"dependsOn": "a"}, 'dependsOn: "a" is no list: write it as [a]'),
        ({"dependsOn": [f"t{n}" for n in range(101)]}, "dependsOn: has 101 entries, at most 100 are allowed"),
        ({"bash": "echo"}, 'bash: "echo" is no object: write it as {command: echo}'),
        ({"bash": {"command": ""}}, "bash.command: is empty"),
    ],
)
def test_what_is_wrong_is_said_in_words(fields: dict[str, Any], problem: str) -> None:
    assert of_task(**fields) == f"task t, {problem}"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"timeoutSeconds": "1h"}, 'timeoutSeconds: "1h" is no whole number: write it in seconds, as 3600'),
        ({"timeoutSeconds": "1.5 d"}, 'timeoutSeconds: "1.5 d" is no whole number: write it in seconds, as 129600'),
        ({"timeoutSeconds": "lots"}, 'timeoutSeconds: "lots" is no whole number'),
        ({"retry": {"limit": "1h"}}, 'retry.limit: "1h" is no whole number'),
        ({"allowFailure": "true"}, 'allowFailure: "true" is no true or false: remove the quotes'),
        ({"allowFailure": "yes"}, 'allowFailure: "yes" is no true or false: write true'),
        ({"allowFailure": "maybe"}, 'allowFailure: "maybe" is no true or false'),
        ({"wait": {"seconds": "10m"}}, 'wait.seconds: "10m" is no whole number: write it in seconds, as 600'),
        ({"wait": {"seconds": "10"}}, 'wait.seconds: "10" is no whole number: remove the quotes'),
        ({"wait": {"seconds": "x"}}, 'wait.seconds: "x" is no whole number, and no whole ${{ }} that gives one'),
        ({"wait": 60}, "wait: 60 is no object: write it as {seconds: 60}"),
        ({"wait": "10m"}, 'wait: "10m" is no object: write it as {seconds: 600}'),
        ({"wait": "2026-11-23T10:00:00Z"},
         'wait: "2026-11-23T10:00:00Z" is no object: write it as {until: "2026-11-23T10:00:00Z"}'),
        ({"retry": 3}, "retry: 3 is no object: write it as {limit: 3}"),
        ({"retry": "no"}, 'retry: "no" is no object: write it as {limit: 3}'),
        ({"bash": "echo $X; true"}, 'bash: "echo $X; true" is no object: write it as {command: "echo $X; true"}'),
        ({"bash": "x" * 60}, f'bash: "{"x" * 60}" is no object: write it as {{command: ...}}'),
        ({"forEach": [1, 2]}, "forEach: [1,2] is no object: write it as {items: [1,2]}"),
        ({"forEach": 5}, "forEach: 5 is no object: write it as {items: [a, b]}"),
        ({"approval": True}, 'approval: true is no object: write it as {message: "Ship it?"}'),
        ({"workflow": "report"}, 'workflow: "report" is no object: write it as {name: report}'),
        ({"pod": 3}, "pod: 3 is no object"),
        ({"env": {"A": "no"}}, 'env: {"A":"no"} is no list: write it as [{name: A, value: "no"}]'),
        ({"env": {}}, "env: {} is no list"),
        ({"workflow": {"name": "${{ params.x }}"}},
         'workflow.name: "${{ params.x }}" is not rendered: ${{ }} is not allowed here, write it out'),
    ],
)  # fmt: skip
def test_a_value_that_is_written_too_short_is_told_its_form(fields: dict[str, Any], problem: str) -> None:
    assert of_task(**fields) == f"task t, {problem}"


TASK = {"name": "t", "bash": {"command": "x"}}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"concurrency": "Forbid"}, 'concurrency: "Forbid" is no object: write it as {policy: Forbid}'),
        ({"history": 3}, "history: 3 is no object: write it as {succeeded: 3}"),
        ({"ttlSecondsAfterFinished": "1d"},
         'ttlSecondsAfterFinished: "1d" is no whole number: write it in seconds, as 86400'),
        ({"maxParallelTasks": "lots"}, 'maxParallelTasks: "lots" is no whole number'),
        ({"params": {"a": 1}}, 'params: {"a":1} is no list: write it as [{name: a, default: 1}]'),
        ({"params": [{"name": "a", "type": "int"}]},
         'param a, type: "int" is not allowed here: did you mean integer?'),
        ({"schedules": [{"name": "a"}]}, "schedule a: cron is missing"),
        ({"schedules": [{"cron": "@daily"}]}, "schedules[0]: name is missing"),
    ],
)  # fmt: skip
def test_so_is_one_of_the_whole_workflow(fields: dict[str, Any], problem: str) -> None:
    assert told(tasks=[TASK], **fields) == [problem]


@pytest.mark.parametrize(
    ("exclude", "problem"),
    [
        ({"holidays": ["DE"]}, 'holidays[0]: "DE" is no object: write it as {country: DE}'),
        ({"holidays": [{"country": "Germany"}]},
         'holidays[0].country: "Germany" is no country: write its ISO 3166-1 code, as DE'),
        ({"holidays": [{"country": "fr"}]},
         'holidays[0].country: "fr" is no country: write its ISO 3166-1 code, as FR'),
        ({"dates": ["24.12.2026"]}, 'dates[0]: "24.12.2026" is no date: write it as 2026-12-24'),
        ({"dates": ["12/24/26"]}, 'dates[0]: "12/24/26" is no date: write year, month and day, as 2026-12-24'),
    ],
)  # fmt: skip
def test_days_and_countries_are_told_their_form(exclude: dict[str, Any], problem: str) -> None:
    schedules = [{"name": "a", "cron": "@daily", "exclude": exclude}]
    assert told(tasks=[TASK], schedules=schedules) == [f"schedule a, exclude.{problem}"]


@pytest.mark.parametrize(
    ("fields", "home"),
    [
        ({"failurePolicy": "Continue"}, "failurePolicy here: it belongs to spec"),
        ({"resources": {}}, "resources here: it belongs to pod: write pod: {resources: ...}"),
        ({"retry": {"timeoutSeconds": 5}}, "timeoutSeconds here: it belongs to the task"),
        ({"forEach": {"items": [1], "failurePolicy": "Continue"}}, "failurePolicy here: it belongs to spec"),
    ],
)
def test_a_field_at_the_wrong_place_is_told_its_home(fields: dict[str, Any], home: str) -> None:
    assert of_task(bash={"command": "x"}, **fields).endswith(f"there is no field {home}")


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
            'outputStore.url: "s3//foo" does not fit: write it as s3://BUCKET/PREFIX',
        ),
        (
            {"outputStore": {"url": "foo"}},
            (
                'outputStore.url: "foo" does not fit: write it as s3://BUCKET/PREFIX, or gs://BUCKET/PREFIX, '
                "or az://ACCOUNT/CONTAINER/PREFIX, or file:///PREFIX"
            ),
        ),
        (
            {"outputStore": {"endpoint": "minio.example:9000"}},
            'outputStore.endpoint: "minio.example:9000" does not fit: write it as https://minio.example:9000',
        ),
        (
            {"outputStore": {"region": "EU Central 1"}},
            (
                'outputStore.region: "EU Central 1" does not fit: lower-case letters, digits and - (^[-a-z0-9]+$): '
                "write eu-central-1"
            ),
        ),
    ],
)
def test_text_that_does_not_fit_is_answered_with_its_form(body: dict[str, Any], problem: str) -> None:
    assert told(tasks=[{"name": "t", "bash": {"command": "x"}}], **body) == [problem]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"artifacts": {"inputs": [{"name": "m", "from": "a"}]}}, "write TASK.ARTIFACT, as a.model"),
        ({"artifacts": {"inputs": [{"name": "m", "from": "a/b"}]}}, "write TASK.ARTIFACT, as fit.model"),
        ({"artifacts": {"outputs": [{"name": "My model"}]}}, "write my-model"),
        ({"pool": "ware house"}, "write ware-house"),
        ({"pod": {"serviceAccountName": "My.Account"}}, "write my.account"),
        ({"env": [{"name": "MY VAR", "value": "x"}]}, "write MY_VAR"),
    ],
)
def test_a_name_that_does_not_fit_is_answered_with_one_that_does(fields: dict[str, Any], problem: str) -> None:
    assert of_task(bash={"command": "x"}, **fields).endswith(f": {problem}")


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
            "the operator makes it; of it pod.runAsUser, pod.runAsGroup and pod.fsGroup are yours",
        ),
    ],
)
def test_a_security_context_is_answered_with_the_fields_of_pod(fields: dict[str, Any], problem: str) -> None:
    assert of_task(**fields).endswith(f"there is no field securityContext here: {problem}")
