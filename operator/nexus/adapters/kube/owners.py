"""Owner references: what an object of ours goes with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus.api.base import API_VERSION


def owned_by(kind: str, name: str, uid: str) -> list[dict[str, Any]]:
    """Return the `ownerReferences` of an object that a Workflow or WorkflowRun owns: deleted with it, and never in its
    way."""
    return [
        {
            "apiVersion": API_VERSION,
            "kind": kind,
            "name": name,
            "uid": uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]


def owner_uid(body: Mapping[str, Any], kind: str) -> str | None:
    """Return the UID of the controller of this kind, None where the object has no such controller.

    Labels only select: whose an object is, the UID of its controller says.
    """
    owner = controller(body, kind)
    return owner.uid if owner is not None else None


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller that an object names."""

    name: str
    uid: str


def controller(body: Mapping[str, Any], kind: str) -> Owner | None:
    """Return the controller of this kind, None where the object has no such controller."""
    for owner in body["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == kind:
            return Owner(str(owner.get("name") or ""), str(owner["uid"]))
    return None
