"""Shape: what the models refuse, in words for the author of a manifest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from nexus.api.workflow import WorkflowSpec
from nexus.core.shape import fields_at, misfits


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
        ({"dependsOn": "a"}, 'dependsOn: "a" is no list'),
        ({"dependsOn": [f"t{n}" for n in range(101)]}, "dependsOn: has 101 entries, at most 100 are allowed"),
        ({"bash": "echo"}, 'bash: "echo" is no object'),
        ({"bash": {"command": ""}}, "bash.command: is empty"),
    ],
)
def test_what_is_wrong_is_said_in_words(fields: dict[str, Any], problem: str) -> None:
    assert of_task(**fields) == f"task t, {problem}"


def test_a_value_that_holds_a_long_text_is_shortened() -> None:
    assert len(of_task(triggerRule="x" * 5_000)) < 300


def test_the_fields_of_any_place_are_known() -> None:
    assert fields_at(WorkflowSpec, ["tasks", 0, "retry"])[:2] == ["limit", "delaySeconds"]
    assert fields_at(WorkflowSpec, ["tasks", 3, "sql", "connection", "secretKeyRef"]) == ["name", "key", "optional"]
    assert fields_at(WorkflowSpec, ["labels", "x"]) == []
