"""Owner references: what an object of ours goes with."""

from __future__ import annotations

from typing import Any

from nexus.api.base import API_VERSION


def owned_by(kind: str, name: str, uid: str) -> list[dict[str, Any]]:
    """The `ownerReferences` of an object that a Workflow or WorkflowRun owns: deleted with it, and never in its way."""
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
