"""Label and field selectors as text, the way kubectl and the API server's parameters read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from nexus.adapters.kube.client.api import EVENTS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind, Object

Matcher = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?"
_SET = re.compile(rf"^(?P<key>{_KEY})\s+(?P<operator>in|notin)\s+\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(rf"^(?P<key>{_KEY})\s*(?P<operator>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)$")
_EXISTS = re.compile(rf"^(?P<absent>!?)\s*(?P<key>{_KEY})$")


def selector(text: str) -> Matcher:
    """Return the test that a selector makes of labels; the empty text takes everything.

    Raises:
        ValueError: where the API server would answer 400.
    """
    matchers = [_requirement(part.strip()) for part in _split(text)] if text.strip() else []
    return lambda labels: all(matches(labels) for matches in matchers)


# What may be selected beside metadata.name and metadata.namespace (registry/core/event and pod strategy.go; ours, the
# selectableFields of the CRDs).
_FIELDS: Mapping[Kind, frozenset[str]] = {
    EVENTS: frozenset({"type", "reason", *(f"involvedObject.{key}" for key in ("kind", "namespace", "name", "uid"))}),
    PODS: frozenset({"spec.nodeName", "status.phase"}),
    WORKFLOWS: frozenset({"spec.category"}),
    WORKFLOW_RUNS: frozenset({"spec.workflowRef.name", "status.phase"}),
}


def fields(kind: Kind, text: str) -> Callable[[Object], bool]:
    """Return the test that a field selector makes of an object; the empty text takes everything.

    Raises:
        ValueError: for a field the API server cannot select this kind by.
    """
    wanted: list[tuple[list[str], bool, str]] = []
    for part in text.split(",") if text else []:
        found = re.fullmatch(r"([^=!]+)(!?)==?(.*)", part.strip())
        if not found:
            raise ValueError(f"invalid field selector: {part}")
        path, negated, value = found.groups()
        if path not in ("metadata.name", "metadata.namespace") and path not in _FIELDS.get(kind, ()):
            raise ValueError(f"field label not supported: {path}")
        wanted.append((path.split("."), not negated, value))
    return lambda body: all((_at(body, path) == value) is equal for path, equal, value in wanted)


def _at(body: Any, path: list[str]) -> str:
    for key in path:
        body = body.get(key, {}) if isinstance(body, dict) else {}
    return body if isinstance(body, str) else ""


def _split(text: str) -> list[str]:
    """Split at the commas outside of parentheses."""
    return re.split(r",(?![^()]*\))", text)


def _requirement(text: str) -> Matcher:
    if found := _SET.match(text):
        key = found["key"]
        values = frozenset(value.strip() for value in found["values"].split(","))
        if found["operator"] == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(text):
        key, value = found["key"], found["value"]
        if found["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(text):
        key, wanted = found["key"], not found["absent"]
        return lambda labels: (key in labels) is wanted
    raise ValueError(f"unable to parse requirement {text!r} of a label selector")
