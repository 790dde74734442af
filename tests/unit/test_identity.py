"""Identity: who counts as a Job, a pod or a child run of a run, each kind of them forged in each way."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import spec, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import EVENTS, JOBS, PODS, WORKFLOW_RUNS, Kind
from nexus.api.workflow import Condition, WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import child_name, item_child_name, item_job_name, job_name
from nexus.core.tasks.forged import MOST_EVENTS
from nexus.core.tasks.identity import Slot, content_of, slot_of
from nexus.core.text.canonical_json import canonical

ECHO = WorkflowSpec.model_validate(
    {
        "params": [{"name": "text", "default": "good"}],
        "tasks": [{"name": "w", "wait": {"seconds": 1}}],
        "outputs": {"text": "${{ params.text }}"},
    }
)
EACH = {"forEach": {"items": ["x", "y"]}}
SUBJECT = spec(
    task("gate", approval={}),
    task("job", "gate", python={"code": "..."}),
    task("indexed", "gate", **EACH),
    task("items", "gate", env=[{"name": "I", "value": "${{ item }}"}], **EACH),
    task("child", "gate", workflow={"name": "echo"}),
    task("children", "gate", workflow={"name": "echo", "params": {"text": "${{ item }}"}}, **EACH),
    task("last", "job", "indexed", "items", "child", "children"),
)
ENDS = {
    "job": {"n": 1},
    "indexed": {"items": [{}, {}]},
    "items": {"items": [{}, {}]},
    "child": {"text": "good"},
    "children": {"items": [{"text": "x"}, {"text": "y"}]},
}
NAMES = {
    "job": lambda uid, attempt_number: job_name(KEY.name, uid, "job", attempt_number),
    "indexed": lambda uid, attempt_number: job_name(KEY.name, uid, "indexed", attempt_number),
    "items": lambda uid, attempt_number: item_job_name(KEY.name, uid, "items", 1, attempt_number),
    "child": lambda uid, attempt_number: child_name(KEY.name, uid, "child", attempt_number),
    "children": lambda uid, attempt_number: item_child_name(KEY.name, uid, "children", 1, attempt_number),
}


def kind_of(of: str) -> Kind:
    return WORKFLOW_RUNS if of.startswith("child") else JOBS


class Scene:
    """A run whose tasks all wait for a person, and what somebody makes beside it."""

    def __init__(self, told: Story) -> None:
        self.told = told
        told.witness.cap = 100
        told.cluster.script("job", Outcome(message='{"output":{"n":1}}'))
        told.cluster.script("evil", Outcome(message='{"output":{"n":666}}'))
        told.operator()
        told.run(until=lambda: told.phases.get("gate") == "Running")
        found = told.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name)
        assert found is not None
        self.uid: str = found["metadata"]["uid"]

    def forge(
        self,
        kind: Kind,
        name: str,
        labels: dict[str, str],
        *,
        namespace: str = KEY.namespace,
        owner: str | None = None,
        owner_kind: str = "WorkflowRun",
        **fields: Any,
    ) -> None:
        reference = {"apiVersion": "nexus.dev/v1alpha1", "kind": owner_kind, "name": KEY.name, "controller": True}
        metadata = {
            "name": name,
            "labels": {f"nexus.dev/{key}": value for key, value in labels.items()},
            "ownerReferences": [{**reference, "uid": owner or self.uid, "blockOwnerDeletion": False}],
        }
        pod = {"restartPolicy": "Never", "containers": [{"name": "task", "image": "evil"}]}
        template = {"metadata": {"labels": {"nexus.dev/task": "evil"}}, "spec": pod}
        bodies: dict[str, Any] = {
            "Job": {"template": template, "backoffLimit": 0},
            "WorkflowRun": {"workflowRef": {"name": "echo"}, "params": {"text": "evil"}, **fields},
            "Pod": pod,
        }
        self.told.cluster.add(kind, {"metadata": metadata, "spec": bodies[kind.kind]}, namespace)

    @property
    def condition(self) -> Condition | None:
        return next((one for one in self.told.status.conditions or () if one.type == "Forged"), None)

    def events(self) -> list[str]:
        found = [body for body in self.told.cluster.objects(EVENTS) if body["reason"] == "Forged"]
        return [body["message"] for body in found if body["involvedObject"]["name"] == KEY.name]

    def approve_and_end(self) -> None:
        self.told.steer(approvals=[{"task": "gate", "decision": "Approved", "by": "boss"}])
        status = self.told.run()
        assert status.phase == "Succeeded", status.to_json()
        outputs = {entry.name: entry.output for entry in status.tasks or () if entry.name in ENDS}
        assert {name: outputs[name] or {} for name in ENDS} == ENDS


@pytest.fixture
def scene(cel: Evaluator) -> Any:
    with story(SUBJECT, cel, by_reference=True, workflows={"echo": ECHO}) as told:
        yield Scene(told)


LABELS = {
    "job": {"task": "job", "attempt": "1"},
    "indexed": {"task": "indexed", "attempt": "1", "items": "2"},
    "items": {"task": "items", "attempt": "1", "items": "9", "index": "8"},
    "child": {"task": "child", "attempt": "7"},
    "children": {"task": "children", "attempt": "1", "items": "1", "index": "0"},
}


@pytest.mark.parametrize("of", NAMES)
@pytest.mark.parametrize("way", ["name", "namespace", "attempt 0", "leading zero", "owner's name"])
def test_what_can_never_be_right_is_told_and_changes_nothing(scene: Scene, of: str, way: str) -> None:
    right, labels = NAMES[of](scene.uid, 1), LABELS[of]
    match way:
        case "name":
            scene.forge(kind_of(of), "mine", labels)
        case "namespace":
            scene.forge(kind_of(of), right, labels, namespace="evil")
        case "attempt 0":
            scene.forge(kind_of(of), NAMES[of](scene.uid, 0), {**labels, "attempt": "0"})
        case "leading zero":
            scene.forge(kind_of(of), right.replace("-1-", "-01-", 1), labels)
        case "owner's name":
            scene.forge(kind_of(of), NAMES[of]("another-uid", 1), labels)
    scene.told.quiet(30)

    assert scene.told.status.reason == "AwaitingApproval"
    assert scene.condition is not None
    assert (scene.condition.status, scene.condition.reason) == ("True", "Forged")
    (event,) = scene.events()
    assert event == scene.condition.message
    scene.approve_and_end()
    assert len(scene.events()) == 1


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        (WORKFLOW_RUNS, lambda uid: child_name(KEY.name, uid, "job", 1), "is not what task job creates (Jobs)"),
        (WORKFLOW_RUNS, lambda uid: child_name(KEY.name, uid, "gate", 1), "is not what task gate creates (nothing)"),
        (
            WORKFLOW_RUNS,
            lambda uid: item_child_name(KEY.name, uid, "child", 0, 1),
            "is not what task child creates (child runs)",
        ),
        (WORKFLOW_RUNS, lambda uid: child_name(KEY.name, uid, "children", 1), "creates (a child run for each item"),
        (JOBS, lambda uid: job_name(KEY.name, uid, "child", 1), "is not what task child creates (child runs)"),
        (JOBS, lambda uid: job_name(KEY.name, uid, "items", 1), "is not what task items creates (a Job for each item)"),
        (JOBS, lambda uid: job_name(KEY.name, uid, "indexed", 2), "creates (a Job for all items"),
        (JOBS, lambda uid: item_job_name(KEY.name, uid, "job", 0, 1), "is not what task job creates (Jobs)"),
        (JOBS, lambda uid: item_job_name(KEY.name, uid, "items", 1_000, 1), "is not what task items creates"),
        (
            JOBS,
            lambda uid: item_job_name(KEY.name, uid, "indexed", 99_999, 1),
            "does not have a name that the run generates",
        ),
        (JOBS, lambda uid: job_name(KEY.name, uid, "none", 1), "does not have a name that the run generates"),
    ],
)
def test_a_task_has_objects_of_its_own_kind_only(scene: Scene, kind: Kind, name: Any, why: str) -> None:
    scene.forge(kind, name(scene.uid), {})
    scene.told.quiet(30)

    assert scene.condition is not None
    assert why in scene.condition.message
    scene.approve_and_end()


def test_an_item_beyond_the_last_is_told_once_their_number_is_known(scene: Scene) -> None:
    scene.forge(JOBS, item_job_name(KEY.name, scene.uid, "items", 5, 1), {})
    scene.forge(WORKFLOW_RUNS, item_child_name(KEY.name, scene.uid, "children", 5, 1), {})
    scene.told.quiet(30)
    assert scene.condition is None

    scene.approve_and_end()
    assert scene.condition is not None
    assert scene.condition.message.count("has 2 items") == 2


@pytest.mark.parametrize("of", NAMES)
def test_an_object_of_another_owner_is_nobodys(scene: Scene, of: str) -> None:
    scene.forge(kind_of(of), "mine", LABELS[of], owner="somebody-else")
    scene.told.quiet(30)

    assert (scene.condition, scene.events()) == (None, [])
    scene.approve_and_end()


def test_a_pod_in_another_namespace_is_not_the_jobs(scene: Scene) -> None:
    scene.told.cluster.script("job", Outcome(seconds=60, message='{"output":{"n":1}}'))
    scene.told.steer(approvals=[{"task": "gate", "decision": "Approved", "by": "boss"}])
    scene.told.run(until=lambda: scene.told.phases.get("job") == "Running")
    job = scene.told.cluster.find(JOBS, KEY.namespace, job_name(KEY.name, scene.uid, "job", 1))
    assert job is not None
    scene.forge(PODS, "mine", {}, namespace="evil", owner=job["metadata"]["uid"], owner_kind="Job")
    ended = {"exitCode": 0, "message": '{"output":{"n":666}}', "finishedAt": "2026-11-23T09:00:00Z"}
    status = {"phase": "Succeeded", "containerStatuses": [{"name": "task", "state": {"terminated": ended}}]}
    scene.told.cluster.store.patch(PODS, "evil", "mine", {"status": status})
    scene.told.quiet(20)

    assert scene.told.phases["job"] == "Running"
    assert scene.condition is not None
    assert scene.condition.message.startswith("Pod evil/mine claims to belong to this run and is ignored")
    scene.approve_and_end()


# -- not due yet ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", NAMES)
def test_what_is_not_due_is_ignored_until_it_is(scene: Scene, of: str) -> None:
    """Of its right name: a child run of another content is found out when it is due, and waited for."""
    scene.forge(kind_of(of), NAMES[of](scene.uid, 1), LABELS[of])
    scene.told.quiet(60)
    assert scene.told.phases == {entry.name: "Pending" for entry in SUBJECT.tasks} | {"gate": "Running"}
    assert (scene.condition, scene.events()) == (None, [])
    if kind_of(of) is JOBS:
        return  # what Jobs hold is not compared: see docs/security.md

    scene.told.steer(approvals=[{"task": "gate", "decision": "Approved", "by": "boss"}])
    scene.told.quiet(120)
    (entry,) = [entry for entry in scene.told.status.tasks or () if entry.name == of]
    assert (entry.phase.ended, entry.reason) == (False, "NameTaken")
    assert scene.condition is not None
    assert "its workflowRef, triggeredBy or params differ" in scene.condition.message

    scene.told.cluster.remove(WORKFLOW_RUNS, NAMES[of](scene.uid, 1))
    if of == "child":
        scene.told.witness.children.remove(NAMES[of](scene.uid, 1))  # another one is made, rightly
    scene.approve_and_end()
    assert scene.condition.status == "False"
    assert len(scene.events()) == 1


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"params": {"text": "y"}, "triggeredBy": "workflow"}, True),
        ({"params": {"text": "y"}}, False),
        ({"params": {"text": "y"}, "triggeredBy": "manual"}, False),
        ({"params": {"text": "y", "more": 1}, "triggeredBy": "workflow"}, False),
        ({"params": {}, "triggeredBy": "workflow"}, False),
        ({"params": {"text": "y"}, "triggeredBy": "workflow", "workflowRef": {"name": "other"}}, False),
    ],
)
def test_a_child_that_no_status_names_is_adopted_with_equal_content_only(
    scene: Scene, fields: dict[str, Any], same: bool
) -> None:
    scene.forge(WORKFLOW_RUNS, NAMES["children"](scene.uid, 1), LABELS["children"], **fields)
    if same:
        scene.approve_and_end()
        assert scene.condition is None
    else:
        scene.told.steer(approvals=[{"task": "gate", "decision": "Approved", "by": "boss"}])
        scene.told.quiet(60)
        assert scene.condition is not None
        assert scene.told.phases["children"] == "Running"


@pytest.mark.parametrize("of", ["job", "child"])
def test_a_later_attempt_does_not_count_while_the_one_before_it_runs(scene: Scene, of: str) -> None:
    scene.forge(kind_of(of), NAMES[of](scene.uid, 2), {**LABELS[of], "attempt": "2"})
    scene.approve_and_end()

    assert [entry.attempts for entry in scene.told.status.tasks or () if entry.name == of] == [1]


@pytest.mark.parametrize("of", ["job", "child"])
def test_one_that_was_made_in_place_of_the_recorded_one_is_forged(scene: Scene, of: str) -> None:
    scene.told.cluster.script("job", Outcome(seconds=60))
    scene.told.steer(approvals=[{"task": "gate", "decision": "Approved", "by": "boss"}], suspend=False)
    scene.told.run(until=lambda: scene.told.phases.get(of) == "Running")
    name = NAMES[of](scene.uid, 1)
    scene.told.cluster.remove(kind_of(of), name)
    scene.told.witness.everything.discard(name)
    if name in scene.told.witness.children:
        scene.told.witness.children.remove(name)
    scene.forge(kind_of(of), name, LABELS[of])
    scene.told.run()

    (entry,) = [entry for entry in scene.told.status.tasks or () if entry.name == of]
    assert entry.reason == ("JobDeleted" if of == "job" else "ChildDeleted")
    assert scene.condition is not None
    assert "replaces the recorded one" in scene.condition.message


# -- labels are conveniences ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["removed", "changed"])
def test_labels_that_somebody_changed_do_not_matter(scene: Scene, change: str) -> None:
    scene.told.cluster.script("job", Outcome(seconds=5, message='{"output":{"n":1}}'))
    value = None if change == "removed" else "other"
    labels = {f"nexus.dev/{name}": value for name in ("task", "attempt", "items", "index", "run", "depth")}

    def strip(kind: Kind) -> Any:
        def on_event(type_: str, body: Any) -> None:
            if type_ == "ADDED":
                patch = {"metadata": {"labels": labels}}
                scene.told.cluster.store.patch(kind, KEY.namespace, body["metadata"]["name"], patch)

        return on_event

    scene.told.cluster.subscribe(JOBS, strip(JOBS))
    scene.told.cluster.subscribe(WORKFLOW_RUNS, strip(WORKFLOW_RUNS)).replay()
    scene.approve_and_end()
    assert scene.condition is None


# -- many, and gone ---------------------------------------------------------------------------------------------------


def test_of_many_a_few_are_told(scene: Scene) -> None:
    before = scene.told.writes()
    for number in range(40):
        scene.forge(JOBS, f"mine-{number:02}", LABELS["job"])
        scene.told.quiet(1)

    assert scene.condition is not None
    assert scene.condition.message.startswith("Job default/mine-00 claims to belong to this run")
    assert scene.condition.message.endswith("; and at least 10 more")
    assert len(scene.events()) == MOST_EVENTS + 1
    assert scene.told.writes() - before <= 14 + MOST_EVENTS + 1

    for number in range(40):
        scene.told.cluster.remove(JOBS, f"mine-{number:02}")
    scene.told.quiet(5)
    assert (scene.condition.status, scene.condition.reason, scene.condition.message) == ("False", "Gone", "")
    scene.approve_and_end()


def test_an_operator_that_starts_anew_tells_nothing_twice(scene: Scene) -> None:
    scene.forge(JOBS, "mine", LABELS["job"])
    scene.told.quiet(5)
    scene.told.operators.pop().die()
    scene.told.operator()
    scene.told.quiet(5)

    assert len(scene.events()) == 1
    scene.approve_and_end()


# -- names ------------------------------------------------------------------------------------------------------------

LONG = "t" * 50


@pytest.mark.parametrize("task_name", ["a", "a-1", "1-2-3", LONG])
@pytest.mark.parametrize("run", ["r", "r.x-1", "r" * 60])
def test_a_name_says_what_an_object_is_for(task_name: str, run: str) -> None:
    tasks = ["other", LONG[:-1], task_name]

    assert slot_of(job_name(run, "uid", task_name, 12), run, "uid", tasks) == Slot(task_name, 12)
    assert slot_of(item_job_name(run, "uid", task_name, 7, 3), run, "uid", tasks) == Slot(task_name, 3, 7)
    assert slot_of(job_name(run, "uid", task_name, 12), run, "another", tasks) is None
    assert slot_of(job_name(run, "uid", task_name, 12), run, "uid", ["other"]) is None


@pytest.mark.parametrize("name", ["", "-", "--", "a", "a-b", "r-a-1-", "r-a--x", "r-a-²-x", "r-a-" + "9" * 60 + "-x"])
def test_any_other_name_says_nothing(name: str) -> None:
    assert slot_of(name, "r", "uid", ["a"]) is None


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (3, 3.0, True),
        ({"a": [1.0, {"b": 2}]}, {"a": [1, {"b": 2.0}]}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (-0.0, 0, True),
        (2**63, float(2**63), True),
        ("half \ud800", "half \ufffd", True),
        (1, True, False),
        (1, "1", False),
        (0, None, False),
        ({}, [], False),
        (3.5, 3, False),
        (10**400, 10**400 + 1, False),
    ],
)
def test_values_are_the_same_if_the_api_server_makes_the_same_of_them(one: Any, other: Any, equal: bool) -> None:
    assert (canonical(one) == canonical(other)) is equal
    assert (content_of("w", "workflow", {"p": one}) == content_of("w", "workflow", {"p": other})) is equal


# -- turns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["nobody", "a run that did not make it", "a run that is not there", "another kind"])
def test_who_says_he_is_a_child_takes_his_turn_all_the_same(cel: Evaluator, owner: str) -> None:
    one = spec(task("t"), concurrency={"policy": "Forbid"})
    with story(one, cel, by_reference=True, workflows={"other": spec(task("slow"))}) as told:
        told.cluster.script("t", Outcome(seconds=300))
        told.cluster.script("slow", Outcome(seconds=300))
        told.operator()
        told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "up"}, "spec": {"workflowRef": {"name": "other"}}})
        told.run(until=lambda: told.phases.get("t") == "Running")
        up = told.cluster.find(WORKFLOW_RUNS, KEY.namespace, "up")
        assert up is not None
        uid = "gone" if owner == "a run that is not there" else up["metadata"]["uid"]
        kind = "Other" if owner == "another kind" else "WorkflowRun"
        reference = {"apiVersion": "nexus.dev/v1alpha1", "kind": kind, "name": "up", "uid": uid, "controller": True}
        metadata: dict[str, Any] = {"name": child_name("up", uid, "slow", 1), "labels": {"nexus.dev/workflow": "sales"}}
        if owner != "nobody":
            metadata["ownerReferences"] = [reference]
        run = {"workflowRef": {"name": "sales"}, "triggeredBy": "workflow"}
        told.cluster.add(WORKFLOW_RUNS, {"metadata": metadata, "spec": run})
        told.quiet(2)

        waits = told.status_of(metadata["name"])
        # One whose owner is not there is deleted by the garbage collector.
        assert waits.reason in (("Concurrency", None) if owner == "a run that is not there" else ("Concurrency",))
        assert len([body for body in told.cluster.objects(JOBS) if body["metadata"]["name"].startswith("sales")]) == 1
