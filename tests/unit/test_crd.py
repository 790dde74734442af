"""The CRDs: made from the models, in a form that every API server takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus.api import crd
from nexus.api.base import Model
from nexus.api.reasons import Reason, RunPhase
from nexus.api.rules import RULES
from nexus.api.run import WorkflowRun
from nexus.api.workflow import Workflow

FOLDER = Path(__file__).parents[2] / "crds"
KINDS = [Workflow, WorkflowRun]
Schema = dict[str, Any]


def schema_of(model: type[Model]) -> Schema:
    schema: Schema = crd.crd(model)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def places(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Each schema within `schema` that stands for a value, with its path: spec.tasks[].name, spec.labels{}."""
    yield path, schema
    for key, value in schema.get("properties", {}).items():
        yield from places(value, f"{path}.{key}".lstrip("."))
    if "items" in schema:
        yield from places(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from places(schema["additionalProperties"], f"{path}{{}}")


def at(model: type[Model], path: str) -> Schema:
    return dict(places(schema_of(model)))[path]


def test_the_committed_files_are_what_the_models_say() -> None:
    assert crd.differing(FOLDER) == [], "run `make crds`"


def test_the_check_names_the_file_that_differs_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crd.main([str(tmp_path / "crds")]) == 0
    assert crd.main(["--check", str(tmp_path / "crds")]) == 0
    stale = tmp_path / "crds" / "workflowruns.nexus.dev.yaml"
    stale.write_text(stale.read_text(encoding="utf-8").replace("maxItems: 500", "maxItems: 501"), encoding="utf-8")
    (tmp_path / "crds" / "workflows.nexus.dev.yaml").unlink()

    assert crd.main(["--check", str(tmp_path / "crds")]) == 1

    errors = capsys.readouterr().err
    assert "workflowruns.nexus.dev.yaml differs from the models: run `make crds`" in errors
    assert "workflows.nexus.dev.yaml differs" in errors
    assert "maxItems: 501" in stale.read_text(encoding="utf-8")


def test_a_file_fits_into_the_annotation_of_a_client_side_apply() -> None:
    # kubectl writes the object as compact JSON, in Go's way (with <, > and & as six characters each), into one
    # annotation; annotations have 256 KiB together.
    for model in KINDS:
        text = json.dumps(crd.crd(model), ensure_ascii=False, separators=(",", ":"))
        held = len(text.encode()) + 5 * sum(text.count(character) for character in "<>&")
        assert held < 200_000, model.__name__


@pytest.mark.parametrize("model", KINDS)
def test_the_schema_is_structural(model: type[Model]) -> None:
    foreign = {"$ref", "$defs", "title", "oneOf", "allOf", "const", "propertyNames", "additionalItems"}
    for path, schema in places(schema_of(model)):
        assert not foreign & schema.keys(), path
        # Where any value may stand, null is one; pydantic's own `| None` is a field that may be absent.
        anything = "x-kubernetes-preserve-unknown-fields" in schema and not {"type", "properties"} & schema.keys()
        assert schema.get("nullable", False) == anything, path
        untyped = {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"} & schema.keys()
        assert isinstance(schema.get("type"), str) or untyped, path
        assert not isinstance(schema.get("additionalProperties"), bool), path
        for branch in schema.get("anyOf", []):
            assert "type" not in branch, path


@pytest.mark.parametrize("model", KINDS)
def test_every_field_has_a_description(model: type[Model]) -> None:
    # metadata has Kubernetes' own; the API server refuses any other.
    fields = [(path, schema) for path, schema in places(schema_of(model)) if path and not path.endswith(("[]", "{}"))]
    silent = [path for path, schema in fields if not schema.get("description") and path != "metadata"]
    assert len(fields) > 40
    assert silent == []


@pytest.mark.parametrize("model", KINDS)
def test_every_value_has_bounds(model: type[Model]) -> None:
    limits = {"string": "maxLength", "array": "maxItems", "integer": "maximum", "number": "maximum"}
    for path, schema in places(schema_of(model)):
        kind = schema.get("type")
        if not path.startswith(("spec", "status")) or "enum" in schema or schema.get("format") == "date-time":
            continue
        if kind in limits and not (path.startswith("status") and kind == "integer"):
            assert limits[kind] in schema, path
        if kind == "object" and "properties" not in schema:
            assert "maxProperties" in schema, path


@pytest.mark.parametrize("model", KINDS)
def test_no_field_has_a_default_in_the_schema(model: type[Model]) -> None:
    # Argo CD compares with what is in Git, and would show what the API server filled in beneath a list as OutOfSync.
    assert [path for path, schema in places(schema_of(model)) if "default" in schema] == []


def test_the_lists_of_a_workflow_are_merged_by_name_where_names_are_unique() -> None:
    merged = {p for p, s in places(schema_of(Workflow)) if s.get("x-kubernetes-list-type") == "map"}
    within = {
        f"spec.{place}.{name}" for place in ("tasks[]", "finally[]", "defaults") for name in ("env", "pod.volumes")
    }
    assert merged == {"spec.params", "spec.schedules", "spec.tasks", "spec.finally", *within}
    assert all(at(Workflow, path)["x-kubernetes-list-map-keys"] == ["name"] for path in merged)
    # A header may come twice.
    assert at(Workflow, "spec.tasks[].http.headers")["x-kubernetes-list-type"] == "atomic"


@pytest.mark.parametrize("model", KINDS)
def test_the_lists_of_a_run_and_of_a_status_are_atomic(model: type[Model]) -> None:
    lists = [(path, schema) for path, schema in places(schema_of(model)) if schema.get("type") == "array"]
    within = [(path, schema) for path, schema in lists if model is WorkflowRun or path.startswith("status")]
    assert len(within) >= 1
    assert {schema["x-kubernetes-list-type"] for _, schema in within} == {"atomic"}


def test_the_columns_are_those_of_the_design() -> None:
    def columns(model: type[Model]) -> list[tuple[str, int]]:
        shown = crd.crd(model)["spec"]["versions"][0]["additionalPrinterColumns"]
        return [(column["name"].upper(), column.get("priority", 0)) for column in shown]

    run = [("WORKFLOW", 0), ("PHASE", 0), ("TASKS", 0), ("REASON", 0), ("DURATION", 0), ("AGE", 0)]
    assert columns(WorkflowRun) == run
    wide = [("REASON", 1), ("SUSPENDED", 1), ("CONCURRENCY", 1)]
    times = [("LAST", 0), ("NEXT", 1)]
    assert columns(Workflow) == [("CATEGORY", 0), ("TASKS", 0), ("ACTIVE", 0), *times, ("READY", 0), *wide, ("AGE", 0)]


@pytest.mark.parametrize(("model", "short"), [(Workflow, "nwf"), (WorkflowRun, "nwr")])
def test_the_names_keep_clear_of_other_engines(model: type[Model], short: str) -> None:
    spec = crd.crd(model)["spec"]
    assert spec["names"]["shortNames"] == [short]
    assert spec["names"]["categories"] == ["nexus"]
    assert spec["scope"] == "Namespaced"
    assert spec["versions"][0]["subresources"] == {"status": {}}


def test_an_operator_newer_than_the_crd_can_still_write_its_status() -> None:
    # An enum would refuse a phase or reason that the CRD in the cluster does not know yet.
    reason = at(WorkflowRun, "status.tasks[].reason")
    assert "enum" not in reason
    assert reason["maxLength"] >= max(len(reason) for reason in Reason)
    assert "enum" not in at(WorkflowRun, "status.phase")
    assert all(phase in at(WorkflowRun, "status.phase")["description"] for phase in RunPhase)


def test_explain_says_what_each_reason_means() -> None:
    text = at(WorkflowRun, "status.tasks[].reason")["description"]
    assert [line for line in text.splitlines() if ": " in line] == [f"{r}: {r.describe}" for r in Reason]


def test_each_rule_stands_at_a_field_that_exists() -> None:
    models = {name for kind in KINDS for name in kind.model_json_schema()["$defs"]} | {kind.__name__ for kind in KINDS}
    fields = {
        (name, field)
        for kind in KINDS
        for name, definition in kind.model_json_schema()["$defs"].items()
        for field in definition.get("properties", {})
    }
    for model, field in {*RULES, *crd.LISTS_BY_NAME, *crd.SEEN_BY_RULES}:
        assert (model, field) in fields if field else model in models


def test_a_model_that_no_structural_schema_can_say_is_refused() -> None:
    class Odd(Model):
        """Either of two kinds of value that CRDs cannot tell apart."""

        value: list[str] | bool
        """The value."""

    class Holder(Model):
        """Holds it."""

        spec: Odd
        """The odd one."""
        status: Odd
        """And again."""

    with pytest.raises(TypeError, match="array or boolean"):
        crd.crd(Holder)
