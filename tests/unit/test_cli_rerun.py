"""`nexus rerun`: the new run is for the same time, with the same params, and what cannot be meant is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.cli_harness import bash, workflow

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, Object
from nexus.api.run import WorkflowRunSpec
from nexus.cli import rerun as again
from nexus.cli.ending import Exit, UsageError

NAME = "sales-x7k2p"
SALES = workflow(bash("load"), bash("report"), params=[{"name": "day"}, {"name": "n", "type": "integer", "default": 1}])
TIMES = {
    "scheduledTime": "2026-11-23T02:30:00.000Z",
    "intervalStart": "2026-11-22T02:30:00.000Z",
    "intervalEnd": "2026-11-23T02:30:00.000Z",
    "schedule": "nightly",
    "timeZone": "Europe/Berlin",
}


def cluster(phase: str = "Failed", **spec: Any) -> FakeCluster:
    fake = FakeCluster()
    fake.add(WORKFLOWS, SALES)
    body = {"workflowRef": {"name": "sales"}, "params": {"day": "monday"}, **spec}
    fake.add(WORKFLOW_RUNS, {"metadata": {"name": NAME}, "spec": body})

    def edit(found: Object) -> None:
        found["status"] = {"phase": phase}

    fake.store.change(WORKFLOW_RUNS, "default", NAME, edit)
    return fake


def made(fake: FakeCluster, *tasks: str, params: tuple[str, ...] = ()) -> Object:
    asked = again.Asked(NAME, tasks, params)
    assert asyncio.run(again.rerun(fake, "default", asked, output=None, watch=False)) is Exit.SUCCEEDED
    (found,) = [body for body in fake.objects(WORKFLOW_RUNS) if body["metadata"]["name"] != NAME]
    return found


def test_a_rerun_is_for_the_time_of_the_earlier_run_with_its_params() -> None:
    fake = cluster(triggeredBy="schedule", **TIMES)
    found = made(fake)

    assert found["metadata"]["name"].startswith("sales-")
    assert found["metadata"]["ownerReferences"][0]["kind"] == "Workflow"
    assert found["spec"] == {
        **TIMES,
        "workflowRef": {"name": "sales"},
        "params": {"day": "monday"},
        "triggeredBy": "rerun",
        "rerunOf": {"name": NAME},
    }


def test_a_run_by_hand_is_run_again_for_its_creation_and_from_the_tasks_named_with_other_params() -> None:
    fake = cluster(suspend=False, approvals=[{"task": "load", "decision": "Approved", "by": "ann"}])
    found = made(fake, "report", params=("n=3", "day=tuesday"))

    spec = WorkflowRunSpec.model_validate(found["spec"])
    created = fake.objects(WORKFLOW_RUNS)[-1]["metadata"]["creationTimestamp"]
    assert found["spec"]["scheduledTime"][:19] == created[:19]
    assert spec.rerun_of is not None
    assert spec.rerun_of.tasks == ["report"]
    assert (spec.params, spec.approvals, spec.suspend) == ({"day": "tuesday", "n": 3}, None, None)


def test_a_run_with_a_definition_of_its_own_takes_it_along() -> None:
    fake = cluster(workflowRef=None, workflowSpec={"tasks": [bash("load")]}, params=None)
    found = made(fake)

    assert found["spec"]["workflowSpec"]["tasks"][0]["name"] == "load"
    assert found["metadata"]["name"].startswith(f"{NAME}-")


@pytest.mark.parametrize(
    ("fake", "asked", "words"),
    [
        (cluster(), again.Asked("sales-x7k2q"), f'did you mean "{NAME}"?'),
        (cluster("Running"), again.Asked(NAME), f"run {NAME} has not ended, it is Running"),
        (cluster(), again.Asked(NAME, ["reprot"]), '--from-task: unknown task "reprot"; did you mean "report"?'),
        (cluster(), again.Asked(NAME, (), ["dai=x"]), 'unknown param "dai"; did you mean "day"?'),
        (cluster(), again.Asked(NAME, (), ["n=many"]), "--param n: must be an integer in JSON, got"),
        (cluster(workflowRef={"name": "sails"}), again.Asked(NAME), 'Workflow "sails" not found'),
    ],
)
def test_what_cannot_be_run_again_makes_no_run(fake: FakeCluster, asked: again.Asked, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        asyncio.run(again.rerun(fake, "default", asked, output=None, watch=False))

    assert words in str(refused.value)
    assert len(fake.objects(WORKFLOW_RUNS)) == 1
