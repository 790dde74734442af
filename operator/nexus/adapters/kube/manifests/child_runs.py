"""Child runs as objects: the WorkflowRun that a StartChild makes, and what one reports to its parent."""

from __future__ import annotations

from typing import Any

from nexus.adapters.kube.owners import owned_by
from nexus.api.base import API_VERSION
from nexus.api.run import Trigger
from nexus.core.model.facts import RunFact
from nexus.core.model.plan import StartChild
from nexus.core.names import (
    LABEL_ATTEMPT,
    LABEL_DEPTH,
    LABEL_INDEX,
    LABEL_ITEMS,
    LABEL_PARENT,
    LABEL_TASK,
    LABEL_WORKFLOW,
    label_value,
)


def child_run(start: StartChild, parent: RunFact) -> dict[str, Any]:
    """Return the WorkflowRun of an attempt. Deterministic: made twice, it is the same.

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
                LABEL_ATTEMPT: str(start.attempt_number),
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
