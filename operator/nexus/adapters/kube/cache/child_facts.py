"""What a child run tells its parent: the facts of one, and what it executes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nexus.adapters.kube.cache.parse import labelled_slot, number
from nexus.adapters.kube.client.brief import HELD, unreadable
from nexus.adapters.kube.owners import controller
from nexus.api.reasons import Reason
from nexus.api.run import Cancel, WorkflowRunStatus
from nexus.core.model.facts import ChildFact
from nexus.core.names import (
    LABEL_DEPTH,
)
from nexus.core.tasks.identity import content_of


def depth(metadata: Mapping[str, Any]) -> int:
    """Return the depth of a run below its root run."""
    return number((metadata.get("labels") or {}).get(LABEL_DEPTH)) or 0


def content(body: Mapping[str, Any]) -> str:
    """Return what a run executes, as a child run is compared with what its task starts; empty if no task starts a run
    like it. The same for a whole object and its brief form."""
    spec, held = body.get("spec") or {}, body.get(HELD) or {}
    if "workflowSpec" in spec or "definition" in held or unreadable(body):
        return ""
    params = json.loads(held["params"]) if "params" in held else spec.get("params") or {}
    if not isinstance(params, Mapping):
        return ""
    return content_of(str((spec.get("workflowRef") or {}).get("name") or ""), str(spec.get("triggeredBy")), params)


def child_fact(
    body: Mapping[str, Any],
    created_at: datetime,
    status: WorkflowRunStatus | None,
    cancel: Cancel | None,
    known: ChildFact | None = None,
) -> ChildFact | None:
    """Return what the parent of a run has to know of it; None where it names none. `known` is what was known of it
    before: what a run executes never changes."""
    metadata = body["metadata"]
    owner = controller(body, "WorkflowRun")
    if owner is None:
        return None
    slot = labelled_slot(metadata, owner)
    status = status or WorkflowRunStatus()
    # Of a run under way they change with every task, and the parent need not look each time.
    told = status.phase.ended or status.reason is Reason.AWAITING_APPROVAL
    return ChildFact(
        name=metadata["name"],
        uid=metadata["uid"],
        task=slot.task,
        attempt_number=slot.attempt_number,
        created_at=created_at,
        namespace=metadata["namespace"],
        owner=owner.name,
        content=known.content if known is not None else content(body),
        started_at=status.start_time,
        phase=status.phase,
        reason=status.reason if told else None,
        message=status.message or "" if told else "",
        approval=status.approval if told else None,
        outputs=status.outputs,
        outputs_ref=status.outputs_ref,
        ended_at=status.completion_time,
        deleting="deletionTimestamp" in metadata,
        cancel=cancel,
        index=slot.index,
    )
