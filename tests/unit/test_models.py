"""Models load quickly: every process that reads a definition loads all of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nexus.api import docstrings
from nexus.api.base import Model
from nexus.api.run import WorkflowRun
from nexus.api.workflow import Workflow


def _models(base: type[Model] = Model) -> list[type[Model]]:
    below = base.__subclasses__()
    return [*below, *(model for each in below for model in _models(each))]


def test_annotations_of_models_are_types_and_not_texts_to_compile() -> None:
    models = [model for model in _models() if model.__module__.startswith("nexus.api.")]
    assert {Workflow, WorkflowRun} <= set(models)
    texts = [(model.__module__, model.__name__) for model in models if str in _annotations(model)]
    assert not texts, "a module of models has `from __future__ import annotations`: see nexus.api.base.Model"


def _annotations(model: type[Model]) -> set[type]:
    return {type(annotation) for annotation in vars(model).get("__annotations__", {}).values()}


class Parent(Model):
    """A model with a field."""

    its_name: str
    """Name of it."""


class Child(Parent):
    """A model with one more, and a field that says nothing."""

    plain: int | None = None
    other: Annotated[int, Field(alias="from")] = 1
    """First paragraph,
    over two lines.

    Second paragraph.
    """


def test_a_field_is_described_by_the_string_below_it_also_an_inherited_one() -> None:
    paragraphs = "First paragraph,\nover two lines.\n\nSecond paragraph."
    assert docstrings.of_fields(Child) == {"its_name": "Name of it.", "other": paragraphs}
    properties = Child.model_json_schema()["properties"]
    described = {name: schema.get("description") for name, schema in properties.items()}
    assert described == {"itsName": "Name of it.", "plain": None, "from": paragraphs}
