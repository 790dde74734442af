"""Child runs as objects: the WorkflowRun that a StartChild makes, and what such a run tells its parent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nexus.adapters.kube.brief import HELD, unreadable
from nexus.adapters.kube.observe import controller, labelled_slot, number
from nexus.adapters.kube.owners import owned_by
from nexus.api.base import API_VERSION
from nexus.api.reasons import Reason
from nexus.api.run import Cancel, Trigger, WorkflowRunStatus
from nexus.core.facts import ChildFact, RunFact
from nexus.core.identity import content_of
from nexus.core.names import (
    LABEL_DEPTH,
    LABEL_INDEX,
    LABEL_ITEMS,
    LABEL_ORDINAL,
    LABEL_PARENT,
    LABEL_TASK,
    LABEL_WORKFLOW,
    label_value,
)
from nexus.core.plan import StartChild


def child_run(start: StartChild, parent: RunFact) -> dict[str, Any]:
    """The WorkflowRun of an attempt. Deterministic: made twice, it is the same.

    Its one owner is the parent: it goes with it, and not with the Workflow that it executes.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {
            "name": start.run_name,
            "labels": {
                LABEL_WORKFLOW: label_value(start.workflow),
                LABEL_PARENT: label_value(parent.name),
                LABEL_TASK: start.task,
                LABEL_ORDINAL: str(start.ordinal),
                LABEL_DEPTH: str(start.depth),
                **_item_labels(start),
            },
            "ownerReferences": owned_by("WorkflowRun", parent.name, parent.uid),
        },
        "spec": {
            "workflowRef": {"name": start.workflow},
            "triggeredBy": Trigger.WORKFLOW.value,
            **({"params": dict(start.params)} if start.params else {}),
        },
    }


def _item_labels(start: StartChild) -> dict[str, str]:
    if start.index is None:
        return {}
    return {LABEL_ITEMS: str(start.items), LABEL_INDEX: str(start.index)}


def depth(metadata: Mapping[str, Any]) -> int:
    """How deep a run is below one that is no child."""
    return number((metadata.get("labels") or {}).get(LABEL_DEPTH)) or 0


def content(body: Mapping[str, Any]) -> str:
    """What a run executes, as a child run is compared with what its task starts; empty where no task starts such a
    run. The same for a whole object and its brief form."""
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
    """What the parent of a run has to know of it; None where it names none. `known` is what was known of it before:
    what a run executes never changes."""
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
        ordinal=slot.ordinal,
        created_at=created_at,
        namespace=metadata["namespace"],
        owner=owner.name,
        content=known.content if known is not None else content(body),
        started_at=status.start_time,
        phase=status.phase,
        reason=status.reason if told else None,
        message=status.message or "" if told else "",
        outputs=status.outputs,
        outputs_ref=status.outputs_ref,
        ended_at=status.completion_time,
        deleting="deletionTimestamp" in metadata,
        cancel=cancel,
        index=slot.index,
    )
