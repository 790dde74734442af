"""Models load quickly: every process that reads a definition loads all of them."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from nexus.api import docstrings
from nexus.api.base import Model
from nexus.api.run import WorkflowRun
from nexus.api.store import StoredArtifact
from nexus.api.workflow import Workflow


def _models(base: type[Model] = Model) -> list[type[Model]]:
    below = base.__subclasses__()
    return [*below, *(model for each in below for model in _models(each))]


@pytest.mark.parametrize("module", sorted({model.__module__ for model in _models() if "nexus.api" in model.__module__}))
def test_annotations_of_models_are_types_and_not_texts_to_compile(module: str) -> None:
    models = [model for model in _models() if model.__module__ == module]
    texts = [(model.__name__, name) for model in models for name, type_ in _annotations(model).items() if type_ is str]
    assert not texts, f"{module} has `from __future__ import annotations`: see nexus.api.base.Model"


def _annotations(model: type[Model]) -> dict[str, type[Any]]:
    return {name: type(written) for name, written in vars(model).get("__annotations__", {}).items()}


def test_a_field_is_described_by_the_string_below_it_also_an_inherited_one() -> None:
    found = docstrings.of_fields(StoredArtifact)
    assert found["name"] == "Name of the artifact."
    assert found["size"] == "Size, in bytes."
    assert StoredArtifact.model_json_schema()["properties"]["size"]["description"] == "Size, in bytes."


@pytest.mark.parametrize("kind", [Workflow, WorkflowRun])
def test_a_description_of_several_lines_keeps_its_paragraphs(kind: type[Model]) -> None:
    described = kind.model_json_schema()["$defs"]["Task"]["properties"]["triggerRule"]["description"]
    first, second = described.split("\n\n")
    assert first == docstrings.of_fields(sys.modules["nexus.api.tasks"].Task)["trigger_rule"].split("\n\n")[0]
    assert second.startswith("AllSucceeded (default)")
