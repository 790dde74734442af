"""The CustomResourceDefinitions, made from the pydantic models.

    python -m nexus.api.crd crds/            # writes crds/*.yaml
    python -m nexus.api.crd --check crds/    # exit status 1 where the files differ from the models

pydantic gives JSON Schema; Kubernetes takes a part of it, the structural schemas
(kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions, "Specifying a structural
schema"): no $ref, no type inside anyOf, no null, one type for each place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nexus.api.base import GROUP, VERSION, Model
from nexus.api.fanout import MAX_ITEMS
from nexus.api.pod import VOLUME_SOURCES
from nexus.api.reasons import Reason
from nexus.api.rules import RULES, Rule, unique
from nexus.api.run import WorkflowRun
from nexus.api.workflow import Workflow

Schema = dict[str, Any]

ANY_FIELDS: Schema = {"x-kubernetes-preserve-unknown-fields": True}
"""Fields that the schema does not name are kept."""
ANYTHING: Schema = ANY_FIELDS | {"nullable": True}
"""A value of any JSON type. Without `nullable` the API server drops a key whose value is null, without a word."""

# What pydantic writes and a structural schema takes unchanged.
BOUNDS = (
    "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems",
    "minProperties", "maxProperties",
)  # fmt: skip

LISTS_BY_NAME = {
    *(("WorkflowSpec", field) for field in ("params", "schedules", "tasks", "finally")),
    ("Task", "env"), ("Defaults", "env"),
    ("Pod", "volumes"),
}  # fmt: skip
"""Lists that server-side apply merges by `name`. Headers and query parameters are not: a name may come twice there."""

SEEN_BY_RULES = {("Python", "with")}
"""Free objects that a rule asks for with has(). CEL sees an object of unknown fields, but no map of unknown values."""

FREE = {
    *(("Pod", field) for field in ("affinity", "topologySpreadConstraints", "tolerations")),
    *(("Volume", source) for source in VOLUME_SOURCES.values()),
}
"""Fields in Kubernetes' own shape, whose full schema would make a file too large for client-side apply. The models have
all of it, and `nexus lint` and Ready hold definitions against them."""

SIZES = {"Volume": 2}
"""Objects with exactly this number of fields: a volume has a name and one source. A rule cannot see fields that have no
schema."""

COLUMNS: dict[str, list[Schema]] = {
    "Workflow": [
        {"name": "Category", "type": "string", "jsonPath": ".spec.category"},
        {"name": "Tasks", "type": "integer", "jsonPath": ".status.taskCount"},
        {"name": "Active", "type": "integer", "jsonPath": ".status.activeCount"},
        {"name": "Last", "type": "date", "jsonPath": ".status.lastScheduleTime"},
        # A string: kubectl shows a date as an age, which a time to come has not.
        {"name": "Next", "type": "string", "jsonPath": ".status.nextScheduleTime", "priority": 1},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {
            "name": "Reason",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
            "priority": 1,
        },
        {"name": "Suspended", "type": "boolean", "jsonPath": ".spec.suspend", "priority": 1},
        {"name": "Concurrency", "type": "string", "jsonPath": ".spec.concurrency.policy", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
    "WorkflowRun": [
        {"name": "Workflow", "type": "string", "jsonPath": ".spec.workflowRef.name"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Tasks", "type": "string", "jsonPath": ".status.tasksDone"},
        {"name": "Reason", "type": "string", "jsonPath": ".status.reason"},
        {"name": "Duration", "type": "string", "jsonPath": ".status.duration"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
}

SELECTABLE = {
    "Workflow": [".spec.category"],
    "WorkflowRun": [".spec.workflowRef.name", ".status.phase"],
}
"""Fields that `kubectl get --field-selector` selects by (selectableFields, from Kubernetes 1.32 on)."""

SHORT_NAMES = {"Workflow": "nwf", "WorkflowRun": "nwr"}

HEADER = "# Made by `make crds` from the models in operator/nexus/api. Edit those.\n"


@dataclass(frozen=True)
class _Place:
    """What holds for a part of the schema, by its place."""

    by_name: bool = True
    """Lists of named things are merged by name. Not in a run: its inline definition is written once, by one
    writer, and atomic lists halve the size of the object (managedFields has an entry for each merged field)."""
    closed: bool = True
    """Enums are enforced. Not in a status: an operator newer than the CRD could not write it at all then."""


class _Converter:
    """Turns pydantic's JSON Schema of one model into a structural schema."""

    def __init__(self, model: type[Model]) -> None:
        self.schema = model.model_json_schema(by_alias=True, mode="validation")
        self.models: dict[str, Schema] = self.schema.get("$defs", {})

    def model(self, name: str, schema: Schema, place: _Place) -> Schema:
        """Return a model's schema with all its properties."""
        required = set(schema.get("required", []))
        result: Schema = {"type": "object", "description": _flow(schema["description"])}
        if required:
            result["required"] = [key for key in schema["properties"] if key in required]
        result["properties"] = {
            key: self.property(name, key, value, place)
            for key, value in schema["properties"].items()
            # A definition of a run's own is executed once: it has no schedules.
            if place.by_name or (name, key) != ("WorkflowSpec", "schedules")
        }
        if name in SIZES:
            result |= {"minProperties": SIZES[name], "maxProperties": SIZES[name]}
        return _with_rules(result, RULES.get((name, None), ()))

    def property(self, owner: str, key: str, schema: Schema, place: _Place) -> Schema:
        """Return the schema of one field, with its own description, kind of list and rules."""
        result = self.convert(schema, place)
        result["description"] = _flow(schema["description"])
        if not place.closed and _definition(schema) == "Reason":
            result["description"] += "\n" + "\n".join(f"{reason}: {reason.describe}" for reason in Reason)
        if (owner, key) in FREE:
            whole = result["items"] if result["type"] == "array" else result
            _set_free(whole)
        rules = RULES.get((owner, key), ())
        if (owner, key) == ("ForEach", "items"):
            # Text must be an expression, a list has bounds; anything else is refused by Ready with better words.
            result |= {"pattern": r"^\s*\$\{\{", "maxItems": MAX_ITEMS}
        if (owner, key) in SEEN_BY_RULES:
            result.pop("additionalProperties")
            result |= ANY_FIELDS
        elif (owner, key) in LISTS_BY_NAME:
            if place.by_name:
                result |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
            else:
                # A list-map has unique keys by itself.
                rules = (unique(key, "x.name"), *rules)
        return _with_rules(_ordered(result), rules)

    def convert(self, schema: Schema, place: _Place) -> Schema:
        """Convert any schema, without a description of the field that it belongs to.

        Raises TypeError for a shape that no structural schema can have: better here than from the API server.
        """
        if "$ref" in schema:
            name = _definition(schema)
            target = self.models[name]
            return self.model(name, target, place) if "properties" in target else self.convert(target, place)
        if "anyOf" in schema:
            return self.union([part for part in schema["anyOf"] if part.get("type") != "null"], place)
        kind = schema.get("type")
        if kind is None:
            return dict(ANYTHING)
        result: Schema = {"type": kind} | {key: schema[key] for key in BOUNDS if key in schema}
        if "const" in schema:
            result["enum"] = [schema["const"]]
        if not place.closed and "enum" in schema:
            del result["enum"]
            result |= {"maxLength": 64}
        if kind == "array":
            result["items"] = self.convert(schema["items"], place)
            result["x-kubernetes-list-type"] = "atomic"
        elif kind == "object":
            # Not preserve-unknown-fields on the object: the API server's == then takes {a: 1} and {b: 1} for equal
            # (unstructuredMap.Equal skips an unknown key that the other side lacks), and a run's params could change.
            values = schema["additionalProperties"]
            result["additionalProperties"] = dict(ANYTHING) if values is True else self.convert(values, place)
        return result

    def union(self, parts: list[Schema], place: _Place) -> Schema:
        """Return the schema of alternatives: an optional value, an integer or a string, a fixed string or an object."""
        if len(parts) == 1:
            return self.convert(parts[0], place)
        shapes = [self.convert(part, place) for part in parts]
        kinds = sorted(shape.pop("type", "anything") for shape in shapes)
        if kinds == ["integer", "string"]:
            # minimum and maximum bind numbers only, pattern and lengths text only: they may be side by side.
            return {"x-kubernetes-int-or-string": True} | {k: v for shape in shapes for k, v in shape.items()}
        if kinds == ["object", "string"]:
            text, fields = sorted(shapes, key=lambda shape: "properties" in shape)
            return _text_or_object(text, fields)
        raise TypeError(f"no structural schema can say {' or '.join(kinds)}: {parts}")


def _set_free(schema: Schema) -> None:
    """Let an object have any fields. As a map of any values, for the reason that `convert` gives."""
    schema.pop("required", None)
    schema.pop("properties")
    schema |= {"maxProperties": 20, "additionalProperties": dict(ANYTHING)}


def _text_or_object(text: Schema, fields: Schema) -> Schema:
    """Return the schema of an enum's string or an object with given fields; `type` is not allowed inside anyOf.

    The second branch asks of text, numbers and lists what none can have; of an object it asks for its fields.
    """
    only_objects = {
        "minLength": 1, "maxLength": 0, "minimum": 1, "maximum": 0, "minItems": 1, "maxItems": 0,
        "not": {"enum": [True, False]}, "required": fields["required"],
    }  # fmt: skip
    return ANY_FIELDS | {"properties": fields["properties"], "anyOf": [{"enum": text["enum"]}, only_objects]}


def _definition(schema: Schema) -> str:
    """Return the name of the model that a property refers to, optional ones included; empty for a plain type."""
    for part in (schema, *schema.get("anyOf", []), *schema.get("allOf", [])):
        if "$ref" in part:
            return str(part["$ref"].removeprefix("#/$defs/"))
    return ""


def _flow(text: str) -> str:
    """Return a docstring as running text: lines joined, paragraphs kept."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _ordered(schema: Schema) -> Schema:
    """Return a schema with its description second, after the type: the file reads well."""
    first = [key for key in ("type", "description") if key in schema]
    return {key: schema[key] for key in first} | schema


def _with_rules(schema: Schema, rules: Sequence[Rule]) -> Schema:
    return schema | {"x-kubernetes-validations": [rule.to_json() for rule in rules]} if rules else schema


def crd(model: type[Model]) -> dict[str, Any]:
    """Return the CustomResourceDefinition of `model`, Workflow or WorkflowRun, as the API server takes it."""
    kind = model.__name__
    convert = _Converter(model)
    top = convert.schema if "properties" in convert.schema else convert.models[kind]
    place = _Place(by_name=model is Workflow)
    properties: Schema = {
        "apiVersion": {"type": "string", "description": f"The group and version of this object, {GROUP}/{VERSION}."},
        "kind": {"type": "string", "description": f"{kind}."},
        # The API server has its own schema for metadata and takes none here, not even a description.
        "metadata": {"type": "object"},
        "spec": convert.property(kind, "spec", top["properties"]["spec"], place),
        "status": convert.property(kind, "status", top["properties"]["status"], _Place(by_name=False, closed=False)),
    }
    schema: Schema = {
        "type": "object",
        "description": _flow(top["description"]),
        "required": ["spec"],
        "properties": properties,
    }
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [SHORT_NAMES[kind]],
                "categories": ["nexus"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": COLUMNS[kind],
                    "selectableFields": [{"jsonPath": path} for path in SELECTABLE[kind]],
                    "schema": {"openAPIV3Schema": _with_rules(schema, RULES[(kind, None)])},
                }
            ],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes out what comes twice: the API server reads YAML anchors, people do not."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def files() -> dict[str, str]:
    """Return the name and text of each file under crds/."""
    texts = {}
    for model in (Workflow, WorkflowRun):
        definition = crd(model)
        text = yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=140, allow_unicode=True)
        texts[f"{definition['metadata']['name']}.yaml"] = HEADER + text
    return texts


def differing(folder: Path) -> list[str]:
    """Return the names of the files in `folder` that are missing or differ from the models."""
    wanted = files()
    return [name for name, text in wanted.items() if _read(folder / name) != text]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or check them; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m nexus.api.crd", description="Writes the CRDs from the models.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a file differs")
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="folder", help="where the files are: crds/, and the chart"
    )
    options = parser.parse_args(arguments)
    if options.check:
        stale = [folder / name for folder in options.folders for name in differing(folder)]
        for path in stale:
            sys.stderr.write(f"{path} differs from the models: run `make crds`\n")
        return 1 if stale else 0
    for folder in options.folders:
        folder.mkdir(exist_ok=True)
        for name, text in files().items():
            (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
