"""What a brief Job or pod leaves out is read by nobody, and a change in it is no news."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from nexus.adapters.kube.cache.parse import has_ended, job_fact, pod_fact
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind
from nexus.adapters.kube.client.brief import brief, read_of
from nexus.adapters.kube.owners import controller

AT, LATER = "2026-12-01T03:00:00Z", "2026-12-01T03:00:09Z"
Body = dict[str, Any]


def metadata(name: str, owner: str) -> Body:
    return {
        "name": name,
        "namespace": "default",
        "uid": f"uid-of-{name}",
        "resourceVersion": "7",
        "generation": 1,
        "creationTimestamp": AT,
        "labels": {"nexus.dev/run": "sales", "nexus.dev/task": "load"},
        "annotations": {"batch.kubernetes.io/job-completion-index": "3"},
        "ownerReferences": [{"kind": owner, "name": "sales", "uid": "uid-of-sales", "controller": True}],
        "finalizers": ["batch.kubernetes.io/job-tracking"],
        "managedFields": [{"manager": "kubelet"}],
    }


def condition(kind: str, status: str = "True") -> Body:
    return {"type": kind, "status": status, "lastTransitionTime": AT, "reason": "R", "message": "m"}


JOB: Body = {
    "metadata": metadata("sales-load-1", "WorkflowRun"),
    "spec": {"parallelism": 2, "completions": 5, "completionMode": "Indexed", "template": {"spec": {}}},
    "status": {
        "active": 1,
        "ready": 0,
        "failed": 1,
        "terminating": 0,
        "startTime": AT,
        "completedIndexes": "0-1",
        "failedIndexes": "2",
        "conditions": [condition("FailureTarget"), condition("SuccessCriteriaMet", "False")],
    },
}
STATE = {"name": "task", "image": "busybox", "ready": True, "state": {"running": {"startedAt": AT}}}
POD: Body = {
    "metadata": metadata("sales-load-1-abcde", "Job"),
    "spec": {"nodeName": "a"},
    "status": {
        "phase": "Running",
        "reason": "",
        "hostIP": "10.0.0.1",
        "conditions": [condition("PodScheduled"), condition("Ready"), condition("DisruptionTarget")],
        "initContainerStatuses": [{"name": "fetch", "state": {"terminated": {"exitCode": 0, "finishedAt": AT}}}],
        "containerStatuses": [STATE],
    },
}


def facts(kind: Kind, body: Body) -> object:
    """All that is read of a Job or a pod."""
    if kind == JOBS:
        return job_fact(body), controller(body, "WorkflowRun")
    return pod_fact(body), has_ended(body), controller(body, "Job")


def shorter(kind: Kind, body: Body) -> bytes:
    return brief(kind, json.dumps(body).encode())


def facts_of(kind: Kind, text: bytes) -> bytes:
    found = read_of(kind, text)
    assert found is not None
    return found.facts


def changed(body: Body, path: str, value: object) -> Body:
    """A newer version of the body with another value at a JSON pointer; None leaves the field out."""
    found = copy.deepcopy(body)
    *way, last = [int(step) if step.isdecimal() else step.replace("~1", "/") for step in path.split("/")]
    at: Any = found
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    found["metadata"]["resourceVersion"] = "8"
    return found


BODIES = {JOBS: JOB, PODS: POD}
NEWS: Mapping[Kind, Mapping[str, object]] = {
    JOBS: {
        "metadata/deletionTimestamp": LATER,
        "metadata/labels/nexus.dev~1run": None,
        "metadata/ownerReferences/0/uid": "another",
        "spec/parallelism": 3,
        "spec/completions": 6,
        "spec/completionMode": "NonIndexed",
        "spec/suspend": True,
        "status/failed": 2,
        "status/completedIndexes": "0-2",
        "status/failedIndexes": "2,4",
        "status/conditions/0/status": "False",
        "status/conditions/0": condition("Failed"),
        "status/conditions/1": condition("Complete"),
    },
    PODS: {
        "metadata/deletionTimestamp": LATER,
        "metadata/ownerReferences/0/uid": "another",
        "metadata/annotations/batch.kubernetes.io~1job-completion-index": "4",
        "status/phase": "Succeeded",
        "status/reason": "Evicted",
        "status/conditions/0/status": "False",
        "status/conditions/0/lastTransitionTime": LATER,
        "status/conditions/2": condition("DisruptionTarget", "False"),
        "status/containerStatuses/0/state": {"terminated": {"exitCode": 1, "message": "m", "finishedAt": LATER}},
        "status/containerStatuses/0/state/running": None,
        "status/initContainerStatuses/0/state/terminated/exitCode": 2,
    },
}
OLD: Mapping[Kind, Mapping[str, object]] = {
    JOBS: {
        "metadata/managedFields": [],
        "spec/template": {"spec": {"nodeName": "b"}},
        "status/active": 0,
        "status/ready": 1,
        "status/startTime": LATER,
        "status/uncountedTerminatedPods": {"succeeded": ["x"]},
        "status/conditions/1": condition("SuccessCriteriaMet"),
    },
    PODS: {
        "metadata/finalizers": None,
        "spec/nodeName": "b",
        "status/hostIP": "10.0.0.2",
        "status/qosClass": "Burstable",
        "status/conditions/1": condition("Ready", "False"),
        "status/containerStatuses/0/ready": False,
    },
}


def each(table: Mapping[Kind, Mapping[str, object]]) -> list[Any]:
    return [
        pytest.param(kind, pointer, value, id=f"{kind.plural}:{pointer}:{number}")
        for kind, rows in table.items()
        for number, (pointer, value) in enumerate(rows.items())
    ]


@pytest.mark.parametrize("kind", [JOBS, PODS], ids=str)
def test_a_brief_form_gives_the_facts_that_the_whole_object_gives(kind: Kind) -> None:
    for pointer, value in ({"metadata/generation": 2} | dict(NEWS[kind]) | dict(OLD[kind])).items():
        body = changed(BODIES[kind], pointer, value)
        assert facts(kind, json.loads(shorter(kind, body))) == facts(kind, body), pointer


@pytest.mark.parametrize(("kind", "pointer", "value"), each(NEWS))
def test_what_changes_a_fact_is_news(kind: Kind, pointer: str, value: object) -> None:
    before, after = BODIES[kind], changed(BODIES[kind], pointer, value)
    assert facts(kind, before) != facts(kind, after)
    assert facts_of(kind, shorter(kind, before)) != facts_of(kind, shorter(kind, after))


@pytest.mark.parametrize(("kind", "pointer", "value"), each(OLD))
def test_what_nobody_reads_is_no_news(kind: Kind, pointer: str, value: object) -> None:
    before, after = BODIES[kind], changed(BODIES[kind], pointer, value)
    assert facts(kind, before) == facts(kind, after)
    assert facts_of(kind, shorter(kind, before)) == facts_of(kind, shorter(kind, after))


def test_the_last_finalizer_of_a_pod_that_is_deleted_is_news() -> None:
    # A pod that the Job controller lets go of before it has ended was withdrawn.
    deleted = changed(POD, "metadata/deletionTimestamp", LATER)
    released = changed(deleted, "metadata/finalizers", None)
    assert facts(PODS, deleted) != facts(PODS, released)
    assert facts_of(PODS, shorter(PODS, deleted)) != facts_of(PODS, shorter(PODS, released))


@pytest.mark.parametrize("kind", [WORKFLOWS, WORKFLOW_RUNS], ids=str)
def test_of_runs_and_workflows_each_version_is_news(kind: Kind) -> None:
    assert read_of(kind, shorter(kind, {"metadata": metadata("sales", "Workflow"), "spec": {}})) is None


def test_lists_that_are_null_are_empty() -> None:
    pod = changed(POD, "status/conditions", None) | {"status": {"phase": "Pending", "containerStatuses": None}}
    assert json.loads(shorter(PODS, pod))["status"] == {"phase": "Pending", "containerStatuses": []}
