"""Every registered type of task, walked through everything that treats types differently."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.builders import RUN, START, definition, facts, task

from nexus import bootstrap
from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.manifests.job import Images, task_objects
from nexus.api.reasons import Mechanism
from nexus.api.tasks import MODELS, PODLESS, Task
from nexus.app.settings import from_environment
from nexus.core.engine.decide import decide
from nexus.core.manifest import suggestions
from nexus.core.model.definition import Node
from nexus.core.model.plan import StartTask
from nexus.core.pods import templated_fields
from nexus.core.task_types import TYPES, TaskType, images
from nexus.core.tasks import registry
from nexus.core.tasks.identity import Makes, makes

REPOSITORY = Path(__file__).parents[2]
NAMES = list(TYPES)

LEAST: dict[str, dict[str, Any]] = {
    "python": {"code": "pass"},
    "http": {"url": "https://orders.example/"},
    "bash": {"command": "true"},
    "sql": {"connection": "sqlite://", "query": "select 1"},
    "container": {"image": "alpine"},
    "workflow": {"name": "report"},
    "approval": {},
    "wait": {"seconds": 1},
}
"""The least that a task of each type says."""
FULL: dict[str, dict[str, Any]] = {
    "python": {"call": "reports:make", "with": {"day": "X"}},
    "http": {
        "url": "X", "headers": [{"name": "a", "value": "X"}], "query": [{"name": "a", "value": "X"}], "body": "X"
    },
    "bash": LEAST["bash"],
    "sql": {**LEAST["sql"], "parameters": {"day": "X"}},
    "container": {"image": "X", "command": ["X"], "args": ["X"]},
    "workflow": {"name": "report", "params": {"day": "X"}},
    "approval": {"message": "X"},
    "wait": {"until": "X"},
}  # fmt: skip
"""A task of each type with an X wherever it renders expressions."""


def node_of(kind: str, fields: dict[str, Any] | None = None, **more: Any) -> Node:
    return definition(task("t", **{kind: fields if fields is not None else LEAST[kind]}, **more)).nodes["t"]


def test_the_types_of_the_api_are_those_of_the_records_and_of_this_table() -> None:
    assert NAMES == list(MODELS) == list(LEAST) == list(FULL)
    assert {name: record.model for name, record in TYPES.items()} == MODELS


@pytest.mark.parametrize("kind", NAMES)
def test_each_type_has_an_engine(kind: str) -> None:
    expected = {Mechanism.JOB: Makes.JOBS, Mechanism.CHILD_RUN: Makes.CHILDREN, Mechanism.NONE: Makes.NOTHING}
    record, handler = TYPES[kind], registry.of(node_of(kind), TYPES[kind].mechanism)

    assert makes(node_of(kind)) is expected[record.mechanism]
    assert handler.takes_slot is (record.mechanism is Mechanism.JOB)
    assert (record.mechanism is Mechanism.NONE) is (kind in PODLESS)
    assert (record.mechanism is Mechanism.JOB) is (record.container is not None)


@pytest.mark.parametrize("kind", NAMES)
def test_every_expression_of_a_task_is_rendered_before_it_starts(kind: str) -> None:
    found = dict(templated_fields.templated(task("t", **{kind: FULL[kind]})))
    assert list(found.values()) == ["X"] * json.dumps(FULL[kind]).count('"X"')
    assert {path[0] for path in found} <= {kind}


@pytest.mark.parametrize("kind", NAMES)
def test_every_field_that_a_record_names_is_one_of_the_model(kind: str) -> None:
    record = TYPES[kind]
    named = {*record.expanded, *record.urls, *record.wanted, *record.stand_ins, record.shorthand.field}
    named |= {field.name for field in record.code} | {own.name for own in record.own_expressions}
    assert named <= {field.alias or name for name, field in record.model.model_fields.items()}
    assert set(record.wanted) == set(record.stand_ins), "a field of a type of its own stands for something in a plan"


@pytest.mark.parametrize("kind", NAMES)
def test_a_bare_value_is_told_how_it_is_written(kind: str) -> None:
    record = TYPES[kind]
    told = suggestions.of_object(kind, 7)
    assert told.startswith(f"; write it as {{{record.shorthand.field}: ")


@pytest.mark.parametrize("kind", [name for name in NAMES if TYPES[name].mechanism is Mechanism.JOB])
def test_each_type_with_a_pod_becomes_a_job_with_an_image(kind: str, cel: CelEvaluator) -> None:
    record, job = TYPES[kind], job_of(kind, cel)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    has_bootstrap = record.bootstrap is not None

    assert container["image"] == (f"nexus/task-{record.image}:dev" if record.image else "alpine")
    assert ("command" in container) is has_bootstrap
    assert any(entry["name"] == "NEXUS_CONTEXT_JSON" for entry in container["env"]) is has_bootstrap
    assert any(entry["name"] == "NEXUS_TASK_JSON" for entry in container["env"]) is (record.values is not None)


def job_of(kind: str, cel: CelEvaluator) -> dict[str, Any]:
    (start,) = decide(definition(task("t", **{kind: LEAST[kind]})), facts(), START, cel).starts
    assert isinstance(start, StartTask)
    return task_objects(start, RUN, Images()).job


@pytest.mark.parametrize("kind", [name for name in NAMES if TYPES[name].bootstrap is not None])
def test_each_bootstrap_is_a_script_whose_parts_are_there(kind: str) -> None:
    script = TYPES[kind].bootstrap
    assert script is not None
    assert bootstrap.text(script.name)
    for package, module in (*script.joined, *script.carried):
        assert importlib.util.find_spec(f"{package}.{module}") is not None


@pytest.mark.parametrize("image", [*images(), "store"])
def test_each_image_can_be_built_and_pinned(image: str) -> None:
    assert (REPOSITORY / "task-images" / image / "Dockerfile").is_file()
    digest = f"sha256:{'0' * 64}"
    settings = from_environment({"NEXUS_TASK_IMAGE_DIGESTS": f"{image}={digest}"})
    assert settings.task_image_digests == ((image, digest),)


@pytest.mark.parametrize("image", [*images(), "store"])
def test_each_image_is_in_the_description_of_the_charts_value(image: str) -> None:
    values = (REPOSITORY / "charts" / "nexus" / "values.yaml").read_text("utf-8")
    (described,) = re.findall(r"# -- (.+)\ntaskImages:", values)
    assert re.search(rf"\b{image}\b", described)


@pytest.mark.parametrize("kind", NAMES)
def test_each_type_is_in_the_description_of_a_task(kind: str) -> None:
    assert re.search(rf"\b{kind}\b", Task.__doc__ or "")


@pytest.mark.parametrize("kind", NAMES)
def test_each_type_is_in_the_documentation(kind: str) -> None:
    pages = [page for page in (REPOSITORY / "docs").glob("*.md") if page.name not in ("reference.md", "extending.md")]
    assert any(re.search(rf"^ *(- )?{kind}:", page.read_text("utf-8"), re.MULTILINE) for page in pages)


def test_a_record_without_what_it_needs_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="bootstrap"):
        TaskType(name="x", model=MODELS["bash"], mechanism=Mechanism.JOB)  # type: ignore[call-arg]
