"""Artifacts and output stores: what is wrong with them is told before a run, with task and field."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import spec, task

from nexus.api.store import OutputStore
from nexus.core.expressions.templates import Evaluator
from nexus.core.validate import problems
from nexus.core.validate.artifacts import store_problem

MODEL = {"outputs": [{"name": "model"}]}


def takes(source: str, name: str = "model") -> dict[str, Any]:
    return {"inputs": [{"name": name, "from": source}]}


def found(cel: Evaluator, *tasks: Any, **fields: Any) -> list[str]:
    return [str(problem) for problem in problems(spec(*tasks, **fields), cel)]


def test_an_artifact_may_come_from_any_task_before(cel: Evaluator) -> None:
    train, middle = task("train", artifacts=MODEL), task("middle", "train")
    last = task("last", "middle", artifacts={**takes("train.model"), "outputs": [{"name": "report"}]})

    assert found(cel, train, middle, last, **{"finally": [task("keep", artifacts=takes("last.report"))]}) == []


@pytest.mark.parametrize(
    ("source", "depends_on", "words"),
    [
        ("trian.model", ("train",), 'unknown task "trian"; did you mean "train"?'),
        ("train.modle", ("train",), 'unknown artifact "modle" of task "train"; did you mean "train.model"?'),
        ("train.zzz", ("train",), 'unknown artifact "zzz" of task "train"; its artifacts are model'),
        ("plain.model", ("plain",), 'unknown artifact "model" of task "plain"; it has no artifacts.outputs'),
        ("train.model", (), 'task "train" is not upstream of this task; add it to dependsOn'),
    ],
)
def test_where_an_artifact_cannot_come_from(
    cel: Evaluator, source: str, depends_on: tuple[str, ...], words: str
) -> None:
    tasks = (task("train", artifacts=MODEL), task("plain"), task("use", *depends_on, artifacts=takes(source)))

    assert found(cel, *tasks) == [f"task use, artifacts.inputs[0].from: {words}"]


def test_a_task_cannot_take_what_it_leaves_itself(cel: Evaluator) -> None:
    own = {**takes("a.model", "old"), **MODEL}

    assert found(cel, task("a", artifacts=own)) == [
        "task a, artifacts.inputs[0].from: a task cannot take its own artifact"
    ]


def test_names_are_unique_in_both_lists_together(cel: Evaluator) -> None:
    first = task("first", artifacts={"outputs": [{"name": "x"}, {"name": "y"}]})
    both = {"inputs": [{"name": "x", "from": "first.x"}], "outputs": [{"name": "x"}, {"name": "z"}, {"name": "z"}]}

    told = found(cel, first, task("second", "first", artifacts=both))

    assert any('duplicate artifact name "z"' in line for line in told)
    assert any("outputs[0].name: x: an input and an output must not have the same name" in line for line in told)


@pytest.mark.parametrize(
    "kind", [{"http": {"url": "https://h"}}, {"wait": {"seconds": 1}}, {"workflow": {"name": "w"}}]
)
def test_only_tasks_that_run_code_have_artifacts(cel: Evaluator, kind: dict[str, Any]) -> None:
    assert any(
        "artifacts are supported for python, bash and container tasks only" in line
        for line in found(cel, task("a", **kind, artifacts=MODEL))
    )


def test_items_leave_no_artifacts_and_may_take_some(cel: Evaluator) -> None:
    first = task("first", artifacts=MODEL)
    each = task("each", "first", forEach={"items": [1]}, artifacts={**takes("first.model"), "outputs": [{"name": "r"}]})

    (told,) = found(cel, first, each)

    assert told.startswith("task each, artifacts.outputs: artifacts.outputs is not supported with forEach")


def test_a_circle_is_told_and_walked_once(cel: Evaluator) -> None:
    told = found(cel, task("a", "b", artifacts=MODEL), task("b", "a", artifacts=takes("a.model")))

    assert any("dependency cycle: a -> b -> a" in line for line in told)


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ({"url": "s3://bucket/some/where", "region": "eu-central-1", "credentialsSecret": "s"}, None),
        ({"url": "s3://bucket", "endpoint": "http://minio:9000"}, None),
        ({"url": "gs://bucket"}, None),
        ({"url": "az://account/container", "credentialsSecret": "s"}, None),
        ({"url": "file:///here", "volumeClaim": "c"}, None),
        ({}, None),
        ({"url": "file:///here"}, "file:/// is a folder of the volume"),
        ({"url": "s3://bucket", "volumeClaim": "c"}, "file:/// is a folder of the volume"),
        ({"url": "gs://bucket", "region": "x"}, "endpoint and region are supported for s3:// only"),
        ({"credentialsSecret": "s"}, "credentialsSecret is supported for s3://, gs:// and az:// only"),
        ({"url": "s3://bucket/../other"}, "must not contain .."),
    ],
)
def test_what_goes_together_in_a_store(store: dict[str, Any], words: str | None) -> None:
    told = store_problem(OutputStore.model_validate(store))

    assert told is None if words is None else told is not None and words in told[1]
