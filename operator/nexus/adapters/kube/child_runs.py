"""Child runs as objects: the WorkflowRun that a StartChild makes, and what such a run tells its parent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nexus.adapters.kube.observe import number
from nexus.adapters.kube.owners import owned_by
from nexus.api.base import API_VERSION
from nexus.api.fanout import MAX_ITEMS
from nexus.api.reasons import Reason
from nexus.api.run import Cancel, Trigger, WorkflowRunStatus
from nexus.core.facts import ChildFact, RunFact
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


def child_fact(
    metadata: Mapping[str, Any], created_at: datetime, status: WorkflowRunStatus | None, cancel: Cancel | None
) -> ChildFact | None:
    """What the parent of a run has to know of it; None where its labels are not those of a child."""
    labels = metadata.get("labels") or {}
    ordinal = number(labels.get(LABEL_ORDINAL))
    if LABEL_TASK not in labels or ordinal is None:
        return None
    status = status or WorkflowRunStatus()
    # Of a run under way they change with every task, and the parent need not look each time.
    told = status.phase.ended or status.reason is Reason.AWAITING_APPROVAL
    return ChildFact(
        name=metadata["name"],
        uid=metadata["uid"],
        task=labels[LABEL_TASK],
        ordinal=ordinal,
        created_at=created_at,
        started_at=status.start_time,
        phase=status.phase,
        reason=status.reason if told else None,
        message=status.message or "" if told else "",
        outputs=status.outputs,
        outputs_ref=status.outputs_ref,
        ended_at=status.completion_time,
        deleting="deletionTimestamp" in metadata,
        cancel=cancel,
        items=number(labels.get(LABEL_ITEMS), MAX_ITEMS),
        index=number(labels.get(LABEL_INDEX), MAX_ITEMS),
    )
