"""ControllerRevisions that somebody made, or replaced: known by the SHA-256 in the status, and never executed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.builders import spec, states, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, JOBS, WORKFLOW_RUNS, WORKFLOWS
from nexus.cli import versions, why
from nexus.cli.ending import UsageError
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import revision_name
from nexus.core.text.json_text import dump
from nexus.core.text.sha256 import sha256_of

GOOD = spec(task("first"), task("second", "first"))
EVIL = spec(task("first"), task("second", "first", container={"image": "evil"})).to_json()
NOTHING: list[Any] = [{"spec": EVIL}, {"spec": None}, {"spec": []}, {}, {"other": 1}]


def prepare_revision(subject: Story, data: Any, **fields: Any) -> str:
    """Make the ControllerRevision of the Workflow before the operator does."""
    workflow = subject.cluster.objects(WORKFLOWS)[0]
    name = revision_name("sales", workflow["metadata"]["uid"], dump(workflow["spec"]))
    body = {"metadata": {"name": name}, "data": data, "revision": 1, **fields}
    subject.cluster.add(CONTROLLER_REVISIONS, body)
    return name


def replaced(subject: Story, data: Any) -> str:
    """Delete the ControllerRevision and make another of its name."""
    (body,) = subject.cluster.objects(CONTROLLER_REVISIONS)
    subject.cluster.remove(CONTROLLER_REVISIONS, body["metadata"]["name"])
    metadata = {key: body["metadata"][key] for key in ("name", "labels", "ownerReferences")}
    subject.cluster.add(CONTROLLER_REVISIONS, {"metadata": metadata, "data": data, "revision": body["revision"]})
    return str(metadata["name"])


def images(subject: Story) -> set[str]:
    """What the Jobs run."""
    pods = [job["spec"]["template"]["spec"] for job in subject.cluster.objects(JOBS)]
    return {container["image"] for pod in pods for container in pod["containers"]}


@pytest.mark.parametrize("data", NOTHING)
def test_a_revision_made_beforehand_with_another_definition_keeps_the_run_from_beginning(
    cel: Evaluator, data: Any
) -> None:
    with story(GOOD, cel, by_reference=True) as subject:
        name = prepare_revision(subject, data)
        subject.operator()

        status = subject.run()

        assert (status.phase, status.reason) == ("Failed", "NameTaken")
        assert f"ControllerRevision {name}" in (status.message or "")
        assert "delete it" in (status.message or "")
        assert subject.cluster.objects(JOBS) == []


def test_a_revision_made_beforehand_with_the_same_definition_is_as_good(cel: Evaluator) -> None:
    with story(GOOD, cel, by_reference=True) as subject:
        name = prepare_revision(subject, {"spec": dict(reversed(GOOD.to_json().items()))})
        subject.operator()
        status = subject.run()
        assert (status.phase, status.revision, status.revision_hash) == ("Succeeded", name, sha256_of(GOOD.to_json()))


@pytest.mark.parametrize("data", NOTHING)
def test_a_revision_that_was_replaced_is_not_executed_after_a_failover(cel: Evaluator, data: Any) -> None:
    with story(GOOD, cel, by_reference=True) as subject:
        subject.cluster.script("first", Outcome(seconds=100))
        subject.operator()
        subject.run(until=lambda: subject.phases.get("first") == "Running")
        name = replaced(subject, data)
        subject.operators[0].die()
        subject.operators.clear()
        subject.operator()

        status = subject.run()

        assert (status.phase, status.reason) == ("Failed", "ContentChanged")
        assert f"ControllerRevision {name}" in (status.message or "")
        assert subject.witness.order == [("first", 1)]


def test_an_operator_that_knows_the_definition_goes_on_whatever_is_stored(cel: Evaluator) -> None:
    with story(GOOD, cel, by_reference=True) as subject:
        subject.cluster.script("first", Outcome(seconds=100))
        subject.operator()
        subject.run(until=lambda: subject.phases.get("first") == "Running")
        replaced(subject, {"spec": EVIL})
        assert states(subject.run()) == {"first": "Succeeded", "second": "Succeeded"}
        assert images(subject) == {"work:1"}


def test_a_run_that_an_older_version_began_needs_no_hash(cel: Evaluator) -> None:
    with story(GOOD, cel, by_reference=True) as subject:
        subject.cluster.script("first", Outcome(seconds=100))
        subject.operator()
        subject.run(until=lambda: subject.phases.get("first") == "Running")
        subject.cluster.store.change(
            WORKFLOW_RUNS, KEY.namespace, KEY.name, lambda body: body["status"].pop("revisionHash")
        )
        subject.operators[0].die()
        subject.operators.clear()
        subject.operator()
        assert states(subject.run()) == {"first": "Succeeded", "second": "Succeeded"}


def test_a_rerun_of_a_run_whose_revision_was_replaced_is_refused(cel: Evaluator) -> None:
    with story(GOOD, cel, by_reference=True) as subject:
        subject.operator()
        subject.run()
        name = replaced(subject, {"spec": EVIL})
        again = {"workflowRef": {"name": "sales"}, "rerunOf": {"name": KEY.name, "tasks": ["second"]}}
        subject.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "again"}, "spec": again})
        subject.quiet(10)
        status = subject.status_of("again")
        assert (status.phase, status.reason) == ("Failed", "NameTaken")  # it would have the same revision
        subject.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": {"description": "another one"}})
        subject.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "once-more"}, "spec": again})
        subject.quiet(10)
        status = subject.status_of("once-more")
        assert (status.phase, status.reason) == ("Failed", "RerunRefused")
        assert f"ControllerRevision {name}" in (status.message or "")


def test_the_command_line_says_that_a_revision_was_replaced(cel: Evaluator, capsys: pytest.CaptureFixture[str]) -> None:
    with story(GOOD, cel, by_reference=True) as subject:
        subject.operator()
        subject.run()
        name = replaced(subject, {"spec": EVIL})
        api = subject.cluster
        subject.loop.run_until_complete(versions.print_history(api, KEY.namespace, "sales", as_json=False))
        assert f"{name} was replaced" in capsys.readouterr().out
        with pytest.raises(UsageError, match=f"{name} was replaced"):
            subject.loop.run_until_complete(versions.print_diff(api, KEY.namespace, "sales", KEY.name, None))
        asyncio.run(why.print_why(api, KEY.namespace, KEY.name, None))
        assert KEY.name in capsys.readouterr().out
