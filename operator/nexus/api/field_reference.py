"""docs/reference.md: every field of the two kinds, from the models that the CRDs are made from.

A section a model, in the order in which a reader of a manifest meets them. What has Kubernetes' own shape is left to
Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nexus.api.crd import FREE
from nexus.api.rules import RULES
from nexus.api.run import WorkflowRun
from nexus.api.workflow import Workflow

Schema = dict[str, Any]

INTRO = """# Reference

<!-- Made by `make crds` from the models in operator/nexus/api. -->

    kubectl explain workflows.nexus.dev.spec.tasks      # the same, from the API server

Every field of a Workflow and a WorkflowRun. Fields in **bold** have to be there; of the others, the description says
what holds without them. What breaks a rule below a table, the API server refuses with these very words; what only a
look at the whole definition can tell, `nexus lint` and the condition `Ready` say.

"""
KUBERNETES = "[Kubernetes' own](https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/)"
# Sections that nothing but the kind itself refers to, and their titles.
TOP = {
    "WorkflowSpec": "Workflow: spec",
    "WorkflowRunSpec": "WorkflowRun: spec",
    "WorkflowStatus": "Workflow: status",
    "WorkflowRunStatus": "WorkflowRun: status",
}


def fields() -> str:
    """Return the text of the page."""
    models: dict[str, Schema] = {}
    for kind in (Workflow, WorkflowRun):
        models |= kind.model_json_schema(by_alias=True, mode="validation")["$defs"]
    sections: list[str] = []
    seen: set[str] = set()
    for name in TOP:
        sections += [_section(model, models) for model in _beneath(name, models, seen)]
    return INTRO + "\n".join(sections)


def _beneath(name: str, models: dict[str, Schema], seen: set[str]) -> Iterator[str]:
    """Return a model and those of its fields, each once."""
    if name in seen or "properties" not in models[name]:
        return
    seen.add(name)
    yield name
    for field, schema in models[name]["properties"].items():
        if (name, field) not in FREE:
            for reference in _references(schema):
                yield from _beneath(reference, models, seen)


def _references(schema: Schema) -> Iterator[str]:
    if "$ref" in schema:
        yield _named(schema)
    for part in (*schema.get("anyOf", ()), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(part, dict):
            yield from _references(part)


def _named(schema: Schema) -> str:
    return str(schema["$ref"].removeprefix("#/$defs/"))


def _section(name: str, models: dict[str, Schema]) -> str:
    schema = models[name]
    required = schema.get("required", ())
    lines = [
        f"## {TOP.get(name, name)}",
        "",
        _flow(schema["description"]),
        "",
        "| field | type | |",
        "| --- | --- | --- |",
    ]
    for field, value in schema["properties"].items():
        label = f"**`{field}`**" if field in required else f"`{field}`"
        kind = KUBERNETES if (name, field) in FREE else _type(value, models)
        lines.append(f"| {label} | {kind} | {_cell(_flow(value['description']))} |")
    told = [rule.message for (model, _), rules in RULES.items() if model == name for rule in rules]
    if told:
        lines += ["", *(f"- {message}" for message in dict.fromkeys(told))]
    return "\n".join(lines) + "\n"


def _type(schema: Schema, models: dict[str, Schema]) -> str:
    if "$ref" in schema:
        name = _named(schema)
        if name == "Reason":
            return "[reason](reasons.md)"
        target = models[name]
        return f"[{name}](#{_anchor(TOP.get(name, name))})" if "properties" in target else _type(target, models)
    if "anyOf" in schema:
        parts = [_type(part, models) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "array":
            return f"list{_count(schema, 'Items')} of {_type(schema['items'], models)}"
        case "object":
            values = schema.get("additionalProperties")
            inner = _type(values, models) if isinstance(values, dict) and values else "any value"
            return f"object{_count(schema, 'Properties')} of {inner}"
        case "string":
            return _text(schema)
        case "integer":
            return f"integer{_bounds(schema, 'minimum', 'maximum')}"
        case "number":
            return f"number{_bounds(schema, 'minimum', 'maximum')}"
        case "boolean":
            return "boolean"
    return "any value"


def _text(schema: Schema) -> str:
    if schema.get("format") == "date-time":
        return "time"
    pattern = f" `{_cell(schema['pattern'])}`" if "pattern" in schema else ""
    return f"string{_bounds(schema, 'minLength', 'maxLength')}{pattern}"


def _bounds(schema: Schema, least: str, most: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if high is None:
        return f", from {low:,}" if low else ""
    return f", {low:,} to {high:,}" if low is not None and low != 0 else f", up to {high:,}"


def _anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return title.lower().replace(":", "").replace(" ", "-")


def _count(schema: Schema, what: str) -> str:
    bounds = _bounds(schema, f"min{what}", f"max{what}").removeprefix(", ")
    return f" ({bounds})" if bounds else ""


def _flow(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    """Return text for a table, where a bar would end the cell."""
    return text.replace("|", "\\|")
