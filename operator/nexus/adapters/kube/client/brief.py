"""The brief form of an object: what the caches keep of it, made from its JSON text without building the rest.

A pod's spec, a Job's template, a definition's tasks and everybody's managedFields are most of what the watches and
lists carry, and they are not read there. So they are left out before a tree is built, and with them most of what an
object may cost: a brief object has

- its metadata, without managedFields and annotations that are long;
- its spec without the fields of `_LEFT_OUT` and long params, of which a run's are text under HELD;
- its status, of a Job's and a pod's what `_KEPT` names, of a run's long one the tasks and outputs as text under HELD:
  kopf copies each object as a tree;
- under UNREADABLE why it cannot be read, where its spec or status nests too deep or its params are too large. Then
  spec and status have their short fields only: enough to tell which run it is, whether it has begun and whether it has
  ended.

Neither key can be in an object of the API server: it drops fields beside spec and status that the schema has not.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind, Object
from nexus.adapters.kube.client.bounded_json import (
    LEVELS,
    RECORD_LEVELS,
    Fields,
    NotJson,
    Raw,
    TooDeep,
    build,
    decode,
    decode_large,
    encode,
    entries,
    fields,
    nests_deeper,
    objects,
    pruned,
)
from nexus.core.data.limits import PARAMS_LIMIT

UNREADABLE = "nexus.dev/unreadable"
"""Key of the reason why an object cannot be read, in words."""
HELD = "nexus.dev/held"
"""Key of what a brief object has as text or leaves out: of a run `params` (JSON text), `definition` (bytes of its
workflowSpec), of its long status `tasks` (JSON text, without long outputs), `taskOutputs` (JSON texts, by the index of
the task as a string) and `outputs` (JSON text), of a Workflow `bytes` (of its JSON)."""
TEXT_BYTES = 4 * 1024
"""Longer params stay text: a tree of them takes up to 26 times their bytes."""
OUTPUT_BYTES = 64
"""A longer output stays text in the caches."""
DEFINITION_BYTES = 8 * 1024
"""A longer definition in a run is read from the API server when the run is worked on."""

_LEFT_OUT: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    PODS: {"spec": ()},
    JOBS: {"spec": ("template",)},
    WORKFLOWS: {"spec": ("tasks", "finally", "defaults", "outputs", "description", "labels")},
    CONTROLLER_REVISIONS: {"data": ()},
}
"""By kind the fields to leave out of a field; none named: all of it."""
_KEPT: Mapping[Kind, tuple[str, ...]] = {
    PODS: ("phase", "reason", "conditions", "initContainerStatuses", "containerStatuses"),
    JOBS: ("failed", "conditions", "completedIndexes", "failedIndexes"),
}
"""By kind the fields of the status that are kept: those that nexus.adapters.kube.cache.parse reads. A third of the
changes of a Job and its pods is in others."""
_CONDITIONS: Mapping[Kind, frozenset[str]] = {
    PODS: frozenset({"PodScheduled", "DisruptionTarget"}),
    JOBS: frozenset({"Failed", "FailureTarget", "Complete"}),
}
"""By kind the types of the conditions that are kept."""
_LONG_ANNOTATION = 4 * 1024
_SHORT = 256
_STUB_LEVELS = 12
_MARK = secrets.token_hex(16)
"""Placeholder for what was pruned. No client can write it in an object."""


class Unreadable(Exception):
    """The object was not read, and what is needed of it is not known; the text says why."""


class Long(Exception):
    """The text takes a while in Python: `brief` with patient=True does it, in a thread."""


def brief(kind: Kind, text: bytes, *, patient: bool = False) -> bytes:
    """Return the brief form, as JSON text. Raises NotJson, and Long where it takes longer than the event loop may wait
    and the caller is not `patient`."""
    try:
        parts = _parts(text)
        if HELD in parts or UNREADABLE in parts:
            return text  # it is one already
        unreadable, held = _shorten(kind, parts)
    except TooDeep:
        if not patient:
            raise Long from None
        return encode(stub(text))
    if unreadable:
        return encode(_stub(parts, unreadable))
    if kind == WORKFLOWS and not held:
        held = {"bytes": len(text)}
    if held:
        parts[HELD] = msgspec.Raw(encode(held))
    return encode(parts)


class Read(NamedTuple):
    """A brief Job or pod, taken apart into what is read of it and its version; each as JSON."""

    uid: bytes
    version: bytes
    facts: bytes
    """All but the version, and a finalizer that no deletion waits for."""


def read_of(kind: Kind, text: bytes) -> Read | None:
    """Return the parts of a brief Job or pod; None for other kinds, whose versions are read: they are what writes
    depend on. Raises NotJson."""
    if kind not in _KEPT:
        return None
    parts = fields(text)
    metadata = fields(parts["metadata"])
    version = bytes(metadata.pop("resourceVersion", b"null"))
    if "deletionTimestamp" not in metadata:
        metadata.pop("finalizers", None)
    return Read(bytes(metadata.get("uid", b"")), version, encode({**parts, "metadata": metadata}))


def brief_object(kind: Kind, text: bytes) -> Object:
    """Return the brief form as a tree. Raises NotJson. Large ones are for a thread."""
    found: Object = decode(brief(kind, text, patient=True))
    return found


def as_brief(kind: Kind, body: Object) -> Object:
    """Return the brief form of an object that is a tree already."""
    return brief_object(kind, encode(body))


def read_object(text: bytes) -> Object:
    """Return an object as a whole; as `stub` makes it where it nests too deep. Raises NotJson. Large ones are for a
    thread."""
    try:
        if nests_deeper(text, LEVELS):
            spec = fields(text).get("spec")
            if spec is not None and nests_deeper(spec, LEVELS - 1):
                raise TooDeep
            whole: Object = decode_large(text)
        else:
            whole = build(text)
    except TooDeep:
        return stub(text)
    return whole


def stub(text: bytes) -> Object:
    """Return what is left of an object that nests too deep: metadata, the short fields of spec and status, and the
    reason.

    Raises NotJson.
    """
    parts = _parts(pruned(text, _STUB_LEVELS, _MARK))
    return _stub(parts, too_deep(_deepest(parts)))


def too_deep(field: str) -> str:
    """Return the reason for an object whose field nests too deep, as the end of a sentence about it."""
    levels = LEVELS if field == "spec" else RECORD_LEVELS
    return f"{field} is nested deeper than {levels} levels; flatten it"


def unreadable(body: Mapping[str, Any]) -> str:
    """Return why an object could not be read, empty where it could."""
    return str(body.get(UNREADABLE) or "")


def whole(body: Object) -> Object:
    """Return the object itself. Raises Unreadable for a stub."""
    if why := unreadable(body):
        raise Unreadable(why)
    return body


def _deepest(parts: Fields) -> str:
    mark = _MARK.encode()
    return next((name for name in ("spec", "status", "data") if mark in bytes(parts.get(name, b""))), "it")


def _parts(text: bytes) -> Fields:
    parts = {name: value for name, value in fields(text).items() if bytes(memoryview(value)[:5]) != b"null"}
    if "metadata" not in parts:
        raise NotJson("an object without metadata")
    parts["metadata"] = _metadata(parts["metadata"])
    return parts


def _metadata(text: Raw) -> msgspec.Raw:
    found = fields(text)
    found.pop("managedFields", None)
    annotations = found.get("annotations")
    if annotations is not None and len(memoryview(annotations)) > _LONG_ANNOTATION:
        entries = fields(annotations).items()
        short = {name: value for name, value in entries if len(memoryview(value)) <= _LONG_ANNOTATION}
        found["annotations"] = msgspec.Raw(encode(short))
    return msgspec.Raw(encode(found))


def _shorten(kind: Kind, parts: Fields) -> tuple[str, dict[str, Any]]:
    """Leave out of the parts what is not kept; why they are unreadable, and what is held as text."""
    for field, names in _LEFT_OUT.get(kind, {}).items():
        if field in parts and not names:
            del parts[field]
        elif field in parts:
            left = {name: value for name, value in fields(parts[field]).items() if name not in names}
            parts[field] = msgspec.Raw(encode(left))
    if kind in _KEPT and "status" in parts:
        parts["status"] = _kept(kind, parts["status"])
    held = _hold(parts) if kind == WORKFLOW_RUNS and "spec" in parts else {}
    if kind == WORKFLOWS and "spec" in parts:
        parts["spec"] = _policies(fields(parts["spec"]))
    if held.pop("too large", False):
        return f"spec.params is over {PARAMS_LIMIT:,} bytes of JSON; pass large data through a task's output", {}
    for field, levels in (("spec", LEVELS), ("status", RECORD_LEVELS)):
        if field in parts and nests_deeper(parts[field], levels - 1):
            return too_deep(field), {}
    if kind == WORKFLOW_RUNS and "status" in parts:
        held |= _hold_tasks(parts)
    return "", held


def _kept(kind: Kind, text: Raw) -> msgspec.Raw:
    """Return the status of a Job or a pod, without what is never read."""
    status = fields(text)
    kept: dict[str, Any] = {name: status[name] for name in _KEPT[kind] if name in status}
    for name in ("initContainerStatuses", "containerStatuses"):
        if name in kept:
            states = _listed(kept[name])
            kept[name] = [{field: one[field] for field in ("name", "state") if field in one} for one in states]
    if "conditions" in kept:
        found = _listed(kept["conditions"])
        kept["conditions"] = [one for one in found if decode(one.get("type", b"null")) in _CONDITIONS[kind]]
    return msgspec.Raw(encode(kept))


def _listed(text: Raw) -> list[Fields]:
    return [] if bytes(memoryview(text)[:4]) == b"null" else objects(text)


def _hold(parts: Fields) -> dict[str, Any]:
    spec = fields(parts["spec"])
    held: dict[str, Any] = {}
    definition = spec.get("workflowSpec")
    if definition is not None and len(memoryview(definition)) > DEFINITION_BYTES:
        held["definition"] = len(memoryview(definition))
        del spec["workflowSpec"]
    params = spec.get("params")
    if params is not None and len(memoryview(params)) > TEXT_BYTES:
        text = bytes(params)
        # The API server escapes some characters, which makes six bytes of one; the limit is for them without that.
        if len(text) - 5 * text.count(b"\\u") > PARAMS_LIMIT:
            return {"too large": True}
        if nests_deeper(text, LEVELS - 2):
            raise TooDeep
        held["params"] = text.decode()
        del spec["params"]
    if held:
        parts["spec"] = msgspec.Raw(encode(spec))
    return held


def _hold_tasks(parts: Fields) -> dict[str, Any]:
    """Take the tasks and the outputs out of a long status, which is known not to be too deep."""
    text = bytes(parts["status"])
    # Most statuses are short, and cost less as they are.
    if len(text) <= TEXT_BYTES:
        return {}
    status = fields(text)
    try:
        tasks = objects(status.get("tasks", b"[]"))
    except NotJson:
        return {}  # no list of objects, which whoever reads the run says of it
    held: dict[str, Any] = {}
    if _is_long(status.get("outputs")):
        held["outputs"] = bytes(status.pop("outputs")).decode()
    outputs = {
        str(index): bytes(task.pop("output")).decode()
        for index, task in enumerate(tasks)
        if _is_long(task.get("output"))
    }
    if tasks:
        del status["tasks"]
        held |= {"tasks": encode(tasks).decode(), "taskOutputs": outputs}
    parts["status"] = msgspec.Raw(encode(status))
    return held


def _is_long(output: Raw | None) -> bool:
    # What is not an object is left for the model to refuse.
    return output is not None and len(memoryview(output)) > OUTPUT_BYTES and bytes(memoryview(output)[:1]) == b"{"


def _policies(spec: Fields) -> msgspec.Raw:
    """Return what a Workflow says of its runs. The params of a tick are read when the tick is due; its declared params
    are needed for the key of its concurrency alone."""
    if "schedules" in spec:
        schedules = [fields(schedule) for schedule in entries(spec["schedules"])]
        for schedule in schedules:
            if len(memoryview(schedule.get("params", b""))) > TEXT_BYTES:
                del schedule["params"]
        spec["schedules"] = msgspec.Raw(encode(schedules))
    if "concurrency" not in spec or len(memoryview(spec.get("params", b""))) > PARAMS_LIMIT:
        spec.pop("params", None)
    return msgspec.Raw(encode(spec))


def _stub(parts: Fields, reason: str) -> Object:
    body: Object = {name: decode(value) for name, value in parts.items() if len(memoryview(value)) <= _SHORT}
    body["metadata"] = decode(parts["metadata"])
    for name in ("spec", "status"):
        if name in parts:
            short = fields(parts[name]).items()
            body[name] = {key: decode(value) for key, value in short if _is_short(value)}
    body[UNREADABLE] = reason
    return body


def _is_short(value: Raw) -> bool:
    text = bytes(memoryview(value)[: _SHORT + 1])
    return len(text) <= _SHORT and _MARK.encode() not in text and not nests_deeper(text, _STUB_LEVELS)
