"""Small operations on objects as JSON gives them: copies, merge patches, times, owners."""

from __future__ import annotations

import marshal
from datetime import UTC, datetime
from typing import Any

from nexus.adapters.kube.client.api import Object


def copied(value: Any) -> Any:
    """Return a deep copy of what a client sent: JSON alone, tuples as lists; refuses what JSON does not know."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(item) for item in value]
    if value is None or isinstance(value, (int, float, bool)):
        return value
    if isinstance(value, str):
        return str(value)  # an enum's member too
    raise TypeError(f"{type(value).__name__} is not a JSON value: {value!r}")


def duplicate(stored: Any) -> Any:
    """Return a deep copy of what is stored, which `copied` has seen: every watch and every answer is one, thousands a
    test."""
    return marshal.loads(marshal.dumps(stored))


def merged(target: Any, patch: Any) -> Any:
    """Return `target` after a JSON merge patch (RFC 7386): null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return copied(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def timestamp(moment: datetime) -> str:
    """Return a time the way the API server writes metav1.Time: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed(text: str) -> datetime:
    """Return the time in an RFC 3339 text."""
    return datetime.fromisoformat(text)


def owners(body: Object) -> list[Object]:
    """Return its ownerReferences."""
    return list(body["metadata"].get("ownerReferences") or [])


def controlled_by(body: Object, uid: str) -> bool:
    """Return whether the owner with this UID is its controller."""
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners(body))


def condition(body: Object, kind: str) -> Object | None:
    """Return its status condition of this type, where that is True."""
    for entry in body.get("status", {}).get("conditions") or []:
        if entry["type"] == kind and entry["status"] == "True":
            return dict(entry)
    return None
