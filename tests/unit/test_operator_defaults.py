"""What the settings of an operator mean for every Workflow."""

from __future__ import annotations

from typing import Any

import pytest

from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.api.workflow import WorkflowSpec
from nexus.core.model.definition import Definition, prepare
from nexus.core.model.operator_defaults import OperatorDefaults
from nexus.runtime.ports import RunKey

BASH = {"bash": {"command": "true"}}


def prepared(operator: OperatorDefaults, *tasks: dict[str, Any], **spec: Any) -> Definition:
    listed = [{"name": f"t{number}", **task} for number, task in enumerate(tasks)]
    return prepare(WorkflowSpec.model_validate({"tasks": listed, **spec}), operator)


@pytest.mark.parametrize(
    ("task", "spec", "limit"),
    [
        (BASH, {}, 2),
        ({**BASH, "retry": {"delaySeconds": 5}}, {}, 2),
        ({**BASH, "retry": {"limit": 0}}, {}, 0),
        ({**BASH, "retry": {"limit": 7}}, {}, 7),
        (BASH, {"defaults": {"retry": {"limit": 1}}}, 1),
        (BASH, {"defaults": {"retry": {"delaySeconds": 5}}}, 2),
        ({"workflow": {"name": "child"}}, {}, 2),
        ({"approval": {}}, {}, 0),
        ({"wait": {"seconds": 5}}, {}, 0),
    ],
)
def test_retry_limit(task: dict[str, Any], spec: dict[str, Any], limit: int) -> None:
    assert prepared(OperatorDefaults(retry_limit=2), task, **spec).nodes["t0"].retry.limit == limit


def test_a_default_limit_does_not_change_who_retries() -> None:
    """The Job controller goes on doing it: settings may change while a task's Job is there."""
    assert prepared(OperatorDefaults(retry_limit=2), BASH).nodes["t0"].retry.native


@pytest.mark.parametrize(
    ("asked", "cap", "expected"), [(None, 1_000, 10), (None, 4, 4), (50, 1_000, 50), (50, 20, 20), (5, 20, 5)]
)
def test_max_parallel_tasks(asked: int | None, cap: int, expected: int) -> None:
    spec = {"maxParallelTasks": asked} if asked is not None else {}
    assert prepared(OperatorDefaults(max_parallel_tasks=cap), BASH, **spec).max_parallel_tasks == expected


@pytest.mark.parametrize(
    ("spec", "succeeded", "failed", "ttl"),
    [
        ({}, 5, 7, 60),
        ({"history": {"succeeded": 0}}, 0, 7, 60),
        ({"history": {"failed": 1}, "ttlSecondsAfterFinished": 0}, 5, 1, 0),
        ({"ttlSecondsAfterFinished": 900}, 5, 7, 900),
    ],
)
def test_how_long_runs_stay(spec: dict[str, Any], succeeded: int, failed: int, ttl: int) -> None:
    cache = WorkflowCache(OperatorDefaults(history_succeeded=5, history_failed=7, ttl_seconds=60))
    metadata = {
        "name": "w",
        "namespace": "default",
        "uid": "u",
        "resourceVersion": "1",
        "creationTimestamp": "2026-11-23T09:00:00Z",
    }
    cache.see_workflow({"metadata": metadata, "spec": {"tasks": [{"name": "t", **BASH}], **spec}})
    policy = cache.workflows[RunKey("default", "w")].policy
    assert (policy.succeeded, policy.failed, policy.ttl_seconds) == (succeeded, failed, ttl)
