"""What Argo CD is told of our kinds: how healthy they are, and what can be done with them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.argo_cd import Object, acted, health, offered

from nexus.api.run import WorkflowRun
from nexus.api.workflow import Workflow


def workflow(status: Object | None = None, **spec: Any) -> Object:
    task = {"name": "one", "container": {"image": "work:1"}}
    metadata = {"name": "sales", "namespace": "shop", "uid": "workflow-uid", "generation": 3}
    body = {
        "apiVersion": "nexus.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": metadata,
        "spec": {"tasks": [task], **spec},
    }
    body |= {} if status is None else {"status": status}
    Workflow.model_validate(body)
    return body


def ready(value: str = "True", message: str = "", generation: int = 3, **others: str) -> Object:
    """A status; `others` are further conditions, with their messages, that are True."""
    listed = {"Ready": (value, message), **{kind: ("True", text) for kind, text in others.items()}}
    return {
        "observedGeneration": generation,
        "conditions": [
            {
                "type": kind,
                "status": one,
                "reason": "Told",
                "message": text,
                "lastTransitionTime": "2026-11-23T09:00:00Z",
            }
            for kind, (one, text) in listed.items()
        ],
    }


@pytest.mark.parametrize(
    ("obj", "status", "message"),
    [
        (workflow(), "Progressing", "no operator has looked at this definition yet"),
        (workflow({}), "Progressing", "no operator has looked at this definition yet"),
        (workflow(ready(generation=2)), "Progressing", "the operator has not looked at this version yet"),
        (
            workflow(ready("False", "no", generation=2)),
            "Progressing",
            "the operator has not looked at this version yet",
        ),
        (workflow(ready()), "Healthy", "the definition can run"),
        (workflow(ready("False", "tasks[0]: no such task")), "Degraded", "tasks[0]: no such task"),
        (workflow(ready(), suspend=True), "Healthy", "suspended: no schedule ticks, no run begins"),
        (workflow(ready("False", "broken"), suspend=True), "Degraded", "broken"),
        (workflow(ready(DidNotRun="schedule nightly: too late")), "Healthy", "schedule nightly: too late"),
    ],
)
def test_a_workflow_is_as_healthy_as_its_definition(obj: Object, status: str, message: str) -> None:
    assert health("Workflow", obj) == (status, message)


def run(**status: str) -> Object:
    body = {"metadata": {"name": "sales-1"}, "spec": {"workflowRef": {"name": "sales"}}, "status": status}
    WorkflowRun.model_validate(body)
    return body


@pytest.mark.parametrize(
    ("obj", "status", "message"),
    [
        ({"spec": {"workflowRef": {"name": "sales"}}}, "Progressing", "Pending"),
        (
            run(phase="Pending", reason="Concurrency", message="waiting for run a"),
            "Progressing",
            "Pending: waiting for run a",
        ),
        (run(phase="Running", tasksDone="2/7"), "Progressing", "Running, 2/7 tasks"),
        (run(phase="Suspended", tasksDone="2/7", reason="Suspended"), "Suspended", "Suspended, 2/7 tasks: Suspended"),
        (run(phase="Succeeded", tasksDone="7/7"), "Healthy", "Succeeded, 7/7 tasks"),
        (run(phase="Failed", reason="TaskFailed", message="task b failed"), "Degraded", "Failed: task b failed"),
        (run(phase="Cancelled", reason="Cancelled"), "Degraded", "Cancelled: Cancelled"),
    ],
)
def test_a_sync_waits_for_a_run_and_fails_with_it(obj: Object, status: str, message: str) -> None:
    assert health("WorkflowRun", obj) == (status, message)


@pytest.mark.parametrize(
    ("obj", "disabled"),
    [
        (workflow(ready()), False),
        (workflow(), True),
        (workflow(ready("False", "broken")), True),
        (workflow(ready(), suspend=True), False),
        (workflow(ready(), params=[{"name": "day", "default": "today"}, {"name": "note", "required": False}]), False),
        (workflow(ready(), params=[{"name": "off", "type": "boolean", "default": False}]), False),
        (workflow(ready(), params=[{"name": "day"}]), True),
        (workflow(ready(), params=[{"name": "day", "default": "today", "required": True}]), True),
    ],
)
def test_run_now_is_offered_where_a_run_can_begin_without_params(obj: Object, disabled: bool) -> None:
    assert offered(obj) == {
        "run-now": {"displayName": "Run now", "iconClass": "fa fa-fw fa-play", "disabled": disabled}
    }


def test_run_now_makes_a_run_that_belongs_to_its_workflow() -> None:
    (impacted,) = acted(workflow(ready()), "run-now")
    assert impacted["operation"] == "create"
    made = impacted["resource"]
    WorkflowRun.model_validate(made)
    (owner,) = made["metadata"].pop("ownerReferences")
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Workflow", "workflow-uid", True)
    assert made == {
        "apiVersion": "nexus.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"generateName": "sales-", "namespace": "shop", "labels": {"nexus.dev/workflow": "sales"}},
        "spec": {"workflowRef": {"name": "sales"}, "triggeredBy": "manual"},
    }
