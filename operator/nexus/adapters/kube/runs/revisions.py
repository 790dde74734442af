"""ControllerRevisions: the spec that one holds, checked against the SHA-256 that a run recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus.core.text.sha256 import sha256_of


class ContentChanged(Exception):
    """An object does not hold what was stored in it."""


def revision_spec(body: Mapping[str, Any], sha256: str | None) -> Mapping[str, Any]:
    """Return the WorkflowSpec that a ControllerRevision holds, not read yet. `sha256` is what the run recorded, None
    for one that an older version let begin.

    Raises ContentChanged where it holds another spec, or none.
    """
    data = body.get("data")
    spec = data.get("spec") if isinstance(data, Mapping) else None
    name = body["metadata"]["name"]
    if not isinstance(spec, Mapping):
        raise ContentChanged(f"ControllerRevision {name} has no definition")
    if sha256 is not None and sha256_of(spec) != sha256:
        raise ContentChanged(
            f"ControllerRevision {name} has another definition (its SHA-256 is not {sha256[:12]}…); it was created or "
            "replaced by another client"
        )
    return spec
