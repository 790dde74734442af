"""The WorkflowRun of a tick, as an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus.adapters.kube.owners import owned_by
from nexus.api.base import API_VERSION
from nexus.api.run import Trigger, WorkflowRef, WorkflowRunSpec
from nexus.core.names import LABEL_WORKFLOW, label_value
from nexus.core.workflow.facts import WorkflowFacts
from nexus.core.workflow.ticks import CreateRun


def scheduled_run(facts: WorkflowFacts, run: CreateRun, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the WorkflowRun of a tick. Deterministic: made twice, it is the same."""
    spec = WorkflowRunSpec(workflow_ref=WorkflowRef(name=facts.name), triggered_by=Trigger.SCHEDULE)
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {
            "name": run.name,
            "labels": {LABEL_WORKFLOW: label_value(facts.name)},
            "ownerReferences": owned_by("Workflow", facts.name, facts.uid),
        },
        # Params may be null, and stay so.
        "spec": {**run.as_of.spec(spec).to_json(), **({"params": dict(params)} if params else {})},
    }
