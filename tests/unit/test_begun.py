"""What has begun is read and prepared, never checked anew: an upgrade with a stricter check leaves it alone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import spec, states, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, JOBS, WORKFLOW_RUNS, WORKFLOWS
from nexus.adapters.kube.runs import definitions
from nexus.adapters.kube.runs.definitions import prepared
from nexus.api.codes import Code
from nexus.api.run import WorkflowRunSpec
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.begun import read_begun
from nexus.core.manifest.problem import Problem
from nexus.runtime.ports import StartRejected


def upgraded(subject: Story) -> None:
    """The operator goes, and another comes."""
    subject.operators[0].die()
    subject.operators.clear()
    subject.operator()


def stricter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next version finds something wrong with every definition."""
    monkeypatch.setattr(definitions, "problems", lambda *_: [Problem(("tasks", 0), Code.INVALID_VALUE, "not any more")])


@pytest.mark.parametrize("by_reference", [True, False])
def test_a_stricter_check_leaves_a_run_under_way_alone(
    cel: Evaluator, monkeypatch: pytest.MonkeyPatch, by_reference: bool
) -> None:
    with story(spec(task("long"), task("after", "long")), cel, by_reference=by_reference) as subject:
        subject.cluster.script("long", Outcome(seconds=100))
        subject.operator()
        subject.run(until=lambda: subject.phases.get("long") == "Running")
        stricter(monkeypatch)
        upgraded(subject)

        status = subject.run()

        assert states(status) == {"long": "Succeeded", "after": "Succeeded"}
        assert len(subject.witness.made) == 2


def test_a_run_that_has_not_begun_meets_the_stricter_check_though_one_under_way_has_the_same_definition(
    cel: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with story(spec(task("long")), cel, by_reference=True) as subject:
        subject.cluster.script("long", Outcome(seconds=100))
        subject.operator()
        subject.run(until=lambda: subject.phases.get("long") == "Running")
        stricter(monkeypatch)
        upgraded(subject)
        subject.quiet(5)

        new = {"metadata": {"name": "new"}, "spec": {"workflowRef": {"name": "sales"}}}
        subject.cluster.add(WORKFLOW_RUNS, new)
        subject.quiet(5)

        assert subject.status_of("new").reason == "WorkflowInvalid"
        assert subject.phases == {"long": "Running"}


@pytest.mark.parametrize("by_reference", [True, False])
def test_fields_and_limits_of_another_version_end_no_run_under_way(cel: Evaluator, by_reference: bool) -> None:
    with story(spec(task("long"), task("after", "long")), cel, by_reference=by_reference) as subject:
        subject.cluster.script("long", Outcome(seconds=100))
        subject.operator()
        subject.run(until=lambda: subject.phases.get("long") == "Running")

        def newer(body: dict[str, Any]) -> None:
            holder = body["data"]["spec"] if by_reference else body["spec"]["workflowSpec"]
            holder["colour"] = "red"
            holder["tasks"][1] |= {"name": "after", "retry": {"limit": 100_000, "mood": "good"}}
            holder["description"] = "d" * 100_000

        if by_reference:
            (revision,) = subject.cluster.objects(CONTROLLER_REVISIONS)
            subject.cluster.store.change(CONTROLLER_REVISIONS, KEY.namespace, revision["metadata"]["name"], newer)
            # As the version that let it begin had none of its own hashes.
            subject.cluster.store.change(
                WORKFLOW_RUNS, KEY.namespace, KEY.name, lambda body: body["status"].pop("revisionHash")
            )
        else:
            subject.cluster.store.change(WORKFLOW_RUNS, KEY.namespace, KEY.name, newer)
        upgraded(subject)

        assert states(subject.run()) == {"long": "Succeeded", "after": "Succeeded"}
        (after,) = (job for job in subject.cluster.objects(JOBS) if "after" in job["metadata"]["name"])
        assert after["spec"]["backoffLimit"] == 100_000


def test_params_are_not_held_against_a_run_that_has_begun(cel: Evaluator) -> None:
    takes = [{"name": "size", "type": "integer"}]
    with story(spec(task("long"), task("after", "long"), params=takes), cel, by_reference=True) as subject:
        subject.cluster.script("long", Outcome(seconds=100))

        def given(body: dict[str, Any]) -> None:
            body["spec"]["params"] = {"size": 3}

        subject.cluster.store.change(WORKFLOW_RUNS, KEY.namespace, KEY.name, given)
        subject.operator()
        subject.run(until=lambda: subject.phases.get("long") == "Running")

        def other(body: dict[str, Any]) -> None:
            body["data"]["spec"]["params"] = [{"name": "size", "type": "integer", "enum": [1]}, {"name": "more"}]
            body["data"]["spec"]["tasks"][1]["env"] = [{"name": "SIZE", "value": "${{ params.size }}"}]

        (revision,) = subject.cluster.objects(CONTROLLER_REVISIONS)
        subject.cluster.store.change(CONTROLLER_REVISIONS, KEY.namespace, revision["metadata"]["name"], other)
        subject.cluster.store.change(
            WORKFLOW_RUNS, KEY.namespace, KEY.name, lambda body: body["status"].pop("revisionHash")
        )
        upgraded(subject)

        assert states(subject.run()) == {"long": "Succeeded", "after": "Succeeded"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"tasks": [{"name": "a", "grpc": {"call": "x"}}]}, "this version of the operator cannot run it"),
        ({"tasks": [{"name": "a", "triggerRule": "Sometimes", "bash": {"command": "x"}}]}, "triggerRule"),
        ({"tasks": [{"bash": {"command": "x"}}]}, "name"),
        (
            {"tasks": [{"name": "a", "dependsOn": ["b"], "bash": {"command": "x"}}]},
            "this version of the operator cannot run it",
        ),
        ({"tasks": {}}, "tasks"),
        ([], ""),
        (None, ""),
    ],
)
def test_what_no_version_could_execute_is_said(body: Any, words: str) -> None:
    made = prepared(lambda: read_begun(body, WorkflowSpec))
    assert isinstance(made, StartRejected)
    assert made.reason == "WorkflowInvalid"
    assert words in made.message


def test_what_is_read_leniently_keeps_its_values_and_types() -> None:
    tasks = [{"name": "A_B", "container": {"image": "x", "speed": 9}, "env": [{"name": "A", "value": "x", "hue": 1}]}]
    found = read_begun({"workflowSpec": {"tasks": tasks, "mood": 1}, "later": {}}, WorkflowRunSpec)
    assert found.to_json() == {
        "workflowSpec": {"tasks": [{"name": "A_B", "container": {"image": "x"}, "env": [{"name": "A", "value": "x"}]}]}
    }
    assert isinstance(found.workflow_spec, WorkflowSpec)


def test_a_definition_that_was_edited_meanwhile_is_not_taken_for_the_pinned_one(cel: Evaluator) -> None:
    with story(spec(task("long"), task("after", "long")), cel, by_reference=True) as subject:
        subject.cluster.script("long", Outcome(seconds=100))
        subject.operator()
        subject.run(until=lambda: subject.phases.get("long") == "Running")
        subject.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": {"tasks": [{"name": "other"}]}})
        upgraded(subject)
        assert states(subject.run()) == {"long": "Succeeded", "after": "Succeeded"}
