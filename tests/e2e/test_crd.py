"""The CRDs on a real API server: what it takes, what it refuses and with which words, and that the largest fits."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.crd_cases import CASES, one, pod, run, task, workflow, wrapped
from tests.e2e.api_server import Cluster, Object, eventually

from nexus.api import rules
from nexus.api.base import GROUP, VERSION
from nexus.api.rules import RULES, Rule
from nexus.api.run import WorkflowRun
from nexus.api.workflow import Workflow

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]
MODELS: dict[str, type[Workflow | WorkflowRun]] = {"Workflow": Workflow, "WorkflowRun": WorkflowRun}
KINDS = tuple(MODELS)


@pytest.fixture(scope="module")
def cluster(kubeconfig: Path) -> Iterator[Cluster]:
    """The cluster with this checkout's CRDs and an empty namespace; both go afterwards, CRDs that were there stay."""
    cluster = Cluster(kubeconfig, f"crd-{secrets.token_hex(4)}")
    names = [f"workflows.{GROUP}", f"workflowruns.{GROUP}"]
    before = cluster.kubectl("get", "crd", "-o", "name")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds"))
    cluster.kubectl("create", "namespace", cluster.namespace)
    eventually(lambda: all(cluster.http.get(cluster.path(kind)).status_code == 200 for kind in KINDS))
    yield cluster
    for kind in KINDS:
        cluster.http.delete(cluster.path(kind))
    cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false")
    for name in names:
        if name not in before:
            cluster.kubectl("delete", "crd", name, "--wait=false")
    cluster.http.close()


def message_of(answer: httpx.Response) -> str:
    assert answer.status_code == 422, f"{answer.status_code} {answer.text}"
    return str(answer.json()["message"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("title", CASES)
def test_the_server_refuses_and_says_what_to_do(cluster: Cluster, kind: str, title: str) -> None:
    case = CASES[title]
    accepted = cluster.create(wrapped(kind, case.good))
    assert accepted.status_code == 201, accepted.text
    assert MODELS[kind].model_validate(accepted.json()).spec
    message = message_of(cluster.create(wrapped(kind, case.bad)))
    place = case.says.replace("spec.", "spec.workflowSpec.") if kind == "WorkflowRun" else case.says
    assert place in message
    # A rule that names the culprit prints its own words; the hint after the semicolon is the same.
    assert case.rule.message.rpartition("; ")[2] in message


def test_every_rule_has_an_object_that_it_refuses() -> None:
    # Each of these has a test below.
    elsewhere = {rules.SHORT_NAME, rules.REF_OR_SPEC, rules.RUN_NEVER_CHANGES, rules.CANCEL_STAYS}
    elsewhere |= {rules.APPROVALS_STAY, rules.ONE_APPROVAL_A_TASK, rules.NO_ZONE_IN_CRON}
    elsewhere |= {rules.FROM_OR_TASKS}
    assert {rule for entries in RULES.values() for rule in entries} == {
        case.rule for case in CASES.values()
    } | elsewhere


def test_a_rerun_begins_with_named_tasks_or_with_what_failed(cluster: Cluster) -> None:
    of = {"name": "earlier"}
    ref = {"workflowRef": {"name": "w"}}
    assert cluster.create(run(**ref, rerunOf={**of, "tasks": ["a"]})).status_code == 201
    message = message_of(cluster.create(run(**ref, rerunOf={**of, "from": "Failed", "tasks": ["a"]})))
    assert rules.FROM_OR_TASKS.message in message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "spec",
    [
        {"tasks": [task("a"), task("b"), task("a")]},
        {**one(), "params": [{"name": "x"}, {"name": "x"}]},
        one(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
    ],
    ids=["tasks", "params", "env"],
)
def test_names_are_unique_in_merged_and_in_atomic_lists(cluster: Cluster, kind: str, spec: Object) -> None:
    message = message_of(cluster.create(wrapped(kind, spec)))
    assert ("Duplicate value" if kind == "Workflow" else "duplicate name in") in message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (one(http={"url": "http://x", "json": [], "body": "x"}), "http"),
        (one(http={"url": "http://x", "expect": ["6xx"]}), "expect[0]"),
        (one(http={"url": "http://x", "expect": [99]}), "expect[0]"),
        (one(http={"url": "http://x", "expect": []}), "expect"),
        (one(sql={"connection": "postgresql://h/d", "query": "select 1"}), "sql.connection"),
        (one(sql={"connection": {}, "query": "select 1"}), "sql.connection"),
        (
            one(sql={"connection": {"secretKeyRef": {"name": "s"}}, "query": "select 1"}),
            "sql.connection.secretKeyRef.key",
        ),
        (one(sql={"connection": 5, "query": "select 1"}), "sql.connection"),
        (one(sql={"connection": True, "query": "select 1"}), "sql.connection"),
        (one(sql={"connection": ["sqlite://"], "query": "select 1"}), "sql.connection"),
        (one(name="Upper"), "tasks[0].name"),
        (one(name="a" * 41), "tasks[0].name"),
        (one(triggerRule="OneSuccess", dependsOn=["a"]), "triggerRule"),
        (one(timeoutSeconds=0), "timeoutSeconds"),
        (one(retry={"limit": -1}), "retry.limit"),
        (one(bash={"command": "x" * 32_769}), "command"),
        (pod(volumes=[{"name": "a"}]), "pod.volumes[0]"),
        (pod(volumes=[{"name": "a", "emptyDir": {}, "csi": {"driver": "d"}}]), "pod.volumes[0]"),
        (pod(runAsUser=-1), "pod.runAsUser"),
        (pod(resources={"limits": {"cpu": 0.5}}), "pod.resources.limits"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [task(f"t{i}") for i in range(501)]}, "tasks"),
        ({**one(), "params": [{"name": "x", "type": "text"}]}, "params[0].type"),
        ({**one(), "labels": {"a": "not a value"}}, "labels"),
    ],
)
def test_the_schema_refuses_what_no_task_can_be(cluster: Cluster, kind: str, spec: Object, says: str) -> None:
    assert says in message_of(cluster.create(wrapped(kind, spec)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "spec",
    [
        one(http={"url": "http://x", "json": [1, None, {"a": {"b": "${{ params.x }}", "c": None}}]}),
        one(http={"url": "http://x", "json": False}),
        one(http={"url": "http://x", "expect": ["2xx", 404]}),
        one(http={"url": "http://x", "headers": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}),
        one(sql={"connection": {"secretKeyRef": {"name": "s", "key": "k"}}, "query": "select 1"}),
        pod(
            resources={"limits": {"cpu": 1, "memory": "1Gi", "nvidia.com/gpu": "${{ params.gpus }}"}},
            volumes=[
                {"name": "a", "emptyDir": {}},
                {
                    "name": "b",
                    "projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}}]},
                },
            ],
            affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],
        ),
        {**one(), "params": [{"name": "x", "default": {"a": [1, "2", None]}, "enum": [1, "1", [True], {}]}]},
        {**one(), "params": [{"name": "x", "default": "text"}, {"name": "y", "type": "number", "default": 1.5}]},
    ],
)
def test_values_of_any_type_arrive_as_they_were_written(cluster: Cluster, kind: str, spec: Object) -> None:
    body = wrapped(kind, spec)
    answer = cluster.create(body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"] == body["spec"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_is_refused_by_name(cluster: Cluster, kind: str) -> None:
    answer = cluster.create(wrapped(kind, one(dependOn=["a"])))
    assert answer.status_code == 400
    assert "dependOn" in answer.json()["message"]


def test_schedules_are_for_workflows_and_have_their_zone_beside_cron(cluster: Cluster) -> None:
    schedule = {"name": "s", "cron": "30 2 * * *", "timeZone": "Europe/Berlin", "from": "2026-01-01T00:00:00Z"}
    exclude = {"weekends": True, "dates": ["2026-12-24"], "holidays": [{"country": "DE", "region": "BY"}]}
    spec = {**one(), "schedules": [{**schedule, "exclude": exclude, "params": {"x": {"deep": [1]}}}]}
    answer = cluster.create(workflow(**spec))
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"] == spec
    zoned = {**one(), "schedules": [{**schedule, "cron": "TZ=Europe/Berlin 30 2 * * *"}]}
    message = message_of(cluster.create(workflow(**zoned)))
    assert "spec.schedules[0].cron" in message
    assert rules.NO_ZONE_IN_CRON.message in message
    assert cluster.create(run(workflowSpec=spec)).status_code == 400


@pytest.mark.parametrize("spec", [{}, {"workflowRef": {"name": "w"}, "workflowSpec": one()}], ids=["neither", "both"])
def test_a_run_names_a_workflow_or_has_a_definition(cluster: Cluster, spec: Object) -> None:
    assert cluster.create(run(workflowRef={"name": "w"}, params={"x": {"deep": [1]}})).status_code == 201
    assert rules.REF_OR_SPEC.message in message_of(cluster.create(run(**spec)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_must_fit_into_a_label(cluster: Cluster, kind: str) -> None:
    body = wrapped(kind, one())
    assert cluster.create({**body, "metadata": {"name": "n" * 63}}).status_code == 201
    assert cluster.create({**body, "metadata": {"generateName": "n" * 80}}).status_code == 201
    assert rules.SHORT_NAME.message in message_of(cluster.create({**body, "metadata": {"name": "n" * 64}}))


def posting(value: Any) -> Object:
    return one(http={"url": "http://x", "json": value})


INLINE = one(python={"call": "m:f"}, env=[{"name": "A", "value": "1"}])


NAMED: Object = {"workflowRef": {"name": "w"}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NAMED, {"workflowRef": {"name": "v"}}),
        (NAMED, {"workflowSpec": INLINE}),
        (NAMED, {**NAMED, "triggeredBy": "api"}),
        (NAMED, {**NAMED, "params": {}}),
        ({**NAMED, "scheduledTime": "2026-11-24T01:30:00Z"}, {**NAMED, "scheduledTime": "2026-11-25T01:30:00Z"}),
        ({**NAMED, "params": {"x": 1}}, NAMED),
        ({**NAMED, "params": {"x": 1}}, {**NAMED, "params": {"x": "1"}}),
        ({**NAMED, "params": {"x": 1}}, {**NAMED, "params": {"x": 1, "y": 2}}),
        # As many params with the same values under other names: the trap in the API server's own comparison.
        ({**NAMED, "params": {"x": 1}}, {**NAMED, "params": {"y": 1}}),
        ({**NAMED, "params": {"x": {"a": 1}}}, {**NAMED, "params": {"x": {"b": 1}}}),
        ({"workflowSpec": INLINE}, {"workflowSpec": one(python={"call": "m:g"}, env=[{"name": "A", "value": "1"}])}),
        ({"workflowSpec": INLINE}, {"workflowSpec": one(python={"call": "m:f"}, env=[{"name": "A", "value": "2"}])}),
        ({"workflowSpec": posting({"a": 1})}, {"workflowSpec": posting({"b": 1})}),
        # Nor does what the schema leaves free.
        (
            {"workflowSpec": pod(affinity={"nodeAffinity": {"a": 1}})},
            {"workflowSpec": pod(affinity={"nodeAffinity": {"b": 1}})},
        ),
        (
            {"workflowSpec": pod(volumes=[{"name": "v", "secret": {"secretName": "a"}}])},
            {"workflowSpec": pod(volumes=[{"name": "v", "secret": {"secretName": "b"}}])},
        ),
    ],
)
def test_the_spec_of_a_run_never_changes(cluster: Cluster, before: Object, after: Object) -> None:
    made = cluster.create(run("frozen", **before), dry=False)
    assert made.status_code == 201, made.text
    stored = made.json()
    try:
        labelled = {**stored, "metadata": stored["metadata"] | {"labels": {"a": "b"}}}
        assert cluster.replace(labelled, dry=True).status_code == 200
        assert rules.RUN_NEVER_CHANGES.message in message_of(cluster.replace({**stored, "spec": after}, dry=True))
        # Nor under cover of what may change.
        covered = {**after, "suspend": True, "cancel": "Graceful", "approvals": [approval("a")]}
        assert rules.RUN_NEVER_CHANGES.message in message_of(cluster.replace({**stored, "spec": covered}, dry=True))
    finally:
        cluster.delete(stored)


def approval(task: str, decision: str = "Approved", **fields: Any) -> Object:
    return {"task": task, "decision": decision, "by": "ann", **fields}


FREE: Object = {"workflowSpec": posting({"a": [1, None]}), "params": {"x": {"y": None}}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"suspend": True}),
        ({"suspend": True}, {"suspend": False}),
        ({"suspend": True}, {}),
        ({}, {"cancel": "Graceful"}),
        ({"cancel": "Graceful"}, {"cancel": "Immediate", "suspend": True}),
        ({}, {"approvals": [approval("a", comment="fine", time="2026-11-23T10:00:00Z")]}),
        ({"approvals": [approval("a")]}, {"approvals": [approval("a"), approval("b", "Rejected")]}),
    ],
)
def test_a_run_is_suspended_cancelled_and_approved_by_its_spec(cluster: Cluster, before: Object, after: Object) -> None:
    stored = cluster.create(run("steered", **FREE, **before), dry=False).json()
    try:
        changed = cluster.replace({**stored, "spec": {**FREE, **after}}, dry=True)
        assert changed.status_code == 200, changed.text
        assert changed.json()["spec"] == {**FREE, **after}
    finally:
        cluster.delete(stored)


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ({"cancel": "Graceful"}, {}, rules.CANCEL_STAYS),
        ({"cancel": "Immediate"}, {"cancel": "Graceful"}, rules.CANCEL_STAYS),
        ({"approvals": [approval("a")]}, {}, rules.APPROVALS_STAY),
        ({"approvals": [approval("a")]}, {"approvals": []}, rules.APPROVALS_STAY),
        ({"approvals": [approval("a")]}, {"approvals": [approval("a", "Rejected")]}, rules.APPROVALS_STAY),
        ({"approvals": [approval("a")]}, {"approvals": [approval("a", comment="x")]}, rules.APPROVALS_STAY),
        ({"approvals": [approval("a")]}, {"approvals": [approval("b"), approval("a")]}, rules.APPROVALS_STAY),
        ({}, {"approvals": [approval("a"), approval("a", "Rejected")]}, rules.ONE_APPROVAL_A_TASK),
    ],
)
def test_a_decision_about_a_run_is_not_taken_back(cluster: Cluster, before: Object, after: Object, rule: Rule) -> None:
    stored = cluster.create(run("decided", **NAMED, **before), dry=False).json()
    try:
        assert rule.message in message_of(cluster.replace({**stored, "spec": {**NAMED, **after}}, dry=True))
    finally:
        cluster.delete(stored)


def test_five_hundred_approvals_are_within_the_budget(cluster: Cluster) -> None:
    approvals = [approval(f"{n:03d}-{'n' * 36}", by="b" * 253, comment="c" * 500) for n in range(500)]
    stored = cluster.create(run("approved", **NAMED, approvals=approvals[:-1]), dry=False).json()
    try:
        changed = cluster.replace({**stored, "spec": {**NAMED, "approvals": approvals}}, dry=True)
        assert changed.status_code == 200, changed.text
    finally:
        cluster.delete(stored)


def large(names: Callable[[int], str], dependencies: int, **fields: Any) -> Object:
    """500 tasks that each depend on the ones before it, around in a ring: the server does not look for cycles."""
    tasks = [
        task(names(i), dependsOn=[names((i - j - 1) % 500) for j in range(dependencies)], **fields) for i in range(500)
    ]
    return {"tasks": tasks}


def halved(spec: Object) -> Object:
    """The second half of the tasks in `finally`; each list is a ring of its own."""
    parts = {"tasks": spec["tasks"][:250], "finally": spec["tasks"][250:]}
    for tasks in parts.values():
        names = [entry["name"] for entry in tasks]
        for i, entry in enumerate(tasks):
            entry["dependsOn"] = [names[(i - j - 1) % 250] for j in range(len(entry["dependsOn"]))]
    return parts


def variables(count: int) -> list[Object]:
    return [{"name": f"V{i}", "value": "x"} for i in range(count)]


# Each close to the 1.5 MiB that etcd takes.
LARGEST = {
    "500 tasks with 100 dependencies each": large("t{}".format, 100, when="${{ true }}", env=variables(79)),
    "names of 40 characters": large(lambda i: f"{i:03d}-{'n' * 36}", 66),
    "250 tasks and 250 in finally": halved(large("t{}".format, 100, when="${{ true }}", env=variables(79))),
    "texts": large("t{}".format, 10, python={"code": "x" * 2_600}, when=f"${{{{ {'x' * 200} }}}}"),
    "variables": large("t{}".format, 10, env=variables(101)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", LARGEST)
def test_the_largest_definition_is_created_and_changed_within_the_budget(
    cluster: Cluster, kind: str, shape: str
) -> None:
    body = wrapped(kind, LARGEST[shape])
    size = len(json.dumps(body, separators=(",", ":")))
    assert 1_400_000 < size < 1_536_000, f"{size} bytes: not the largest that there can be"
    made = cluster.create(body, dry=False)
    assert made.status_code == 201, made.text
    stored = made.json()
    stored["metadata"]["labels"] = {"a": "b"}
    if kind == "WorkflowRun":
        stored["spec"]["suspend"] = True
    try:
        changed = cluster.replace(stored)
        assert changed.status_code == 200, changed.text
        assert changed.json()["metadata"]["labels"] == {"a": "b"}
    finally:
        cluster.delete(stored)


def test_one_dependency_beyond_the_limit_is_refused(cluster: Cluster) -> None:
    assert "dependsOn" in message_of(cluster.create(workflow(**large("t{}".format, 101))))


def test_the_status_of_the_largest_run_is_written(cluster: Cluster) -> None:
    made = cluster.create(run("wide", workflowRef={"name": "w"}), dry=False).json()
    entry = {
        "phase": "Failed",
        "reason": "TaskError",
        "message": "m" * 1_024,
        "attempts": 3,
        "output": {"a": "b" * 400},
    }
    made["status"] = {"phase": "Failed", "tasks": [{"name": f"t{i}", **entry} for i in range(500)]}
    made["spec"]["workflowRef"] = {"name": "ignored"}
    try:
        written = cluster.replace(made, "status")
        assert written.status_code == 200, written.text
        assert written.json()["status"] == made["status"]
        assert written.json()["spec"]["workflowRef"] == {"name": "w"}
    finally:
        cluster.delete(made)


def test_two_managers_apply_tasks_params_and_env_by_name(cluster: Cluster) -> None:
    base = workflow(
        task("a", env=[{"name": "A", "value": "1"}]), task("b"), name="shared", params=[{"name": "x"}, {"name": "y"}]
    )
    patch = workflow(
        {"name": "a", "env": [{"name": "B", "value": "2"}]}, task("c"), name="shared", params=[{"name": "z"}]
    )
    try:
        assert cluster.apply(base, "first").status_code == 201
        merged = cluster.apply(patch, "second")
        assert merged.status_code == 200, merged.text
        spec = merged.json()["spec"]
        assert {t["name"] for t in spec["tasks"]} == {"a", "b", "c"}
        assert {p["name"] for p in spec["params"]} == {"x", "y", "z"}
        a = next(t for t in spec["tasks"] if t["name"] == "a")
        assert {e["name"]: e["value"] for e in a["env"]} == {"A": "1", "B": "2"}
        assert a["bash"] == {"command": "true"}

        # The first manager takes out what it put in, and only that goes.
        left = cluster.apply(workflow(task("a"), name="shared"), "first").json()["spec"]
        assert {t["name"] for t in left["tasks"]} == {"a", "c"}
        assert left["params"] == [{"name": "z"}]
    finally:
        cluster.delete(base)


def test_kubectl_prints_the_columns(cluster: Cluster) -> None:
    body = workflow(**one(), suspend=True, category="reporting", concurrency={"policy": "Forbid"})
    definition = cluster.create({**body, "metadata": {"name": "sales"}}, dry=False).json()
    execution = cluster.create(run("sales-x7k2p", workflowRef={"name": "sales"}), dry=False).json()
    now, coming = "2026-11-23T10:00:00Z", "2026-11-24T01:30:00Z"
    ready = {"type": "Ready", "status": "False", "reason": "WorkflowInvalid", "lastTransitionTime": now, "message": "m"}
    times = {"lastScheduleTime": now, "nextScheduleTime": coming}
    definition["status"] = {"taskCount": 1, "activeCount": 2, "conditions": [ready], **times}
    execution["status"] = {"phase": "Running", "tasksDone": "3/7", "reason": "TaskFailed", "duration": "41s"}
    try:
        assert cluster.replace(definition, "status").status_code == 200
        assert cluster.replace(execution, "status").status_code == 200
        header, row = (line.split() for line in cluster.kubectl("get", "nwr").splitlines())
        assert header == ["NAME", "WORKFLOW", "PHASE", "TASKS", "REASON", "DURATION", "AGE"]
        assert row[:-1] == ["sales-x7k2p", "sales", "Running", "3/7", "TaskFailed", "41s"]
        header, row = (line.split() for line in cluster.kubectl("get", "nwf", "-o", "wide").splitlines())
        assert header[:7] == ["NAME", "CATEGORY", "TASKS", "ACTIVE", "LAST", "NEXT", "READY"]
        assert header[7:] == ["REASON", "SUSPENDED", "CONCURRENCY", "AGE"]
        # Of the last time kubectl prints how long ago it is.
        assert row[:4] == ["sales", "reporting", "1", "2"]
        assert row[5:-1] == [coming, "False", "WorkflowInvalid", "true", "Forbid"]
        assert not {"REASON", "NEXT", "SUSPENDED"} & set(cluster.kubectl("get", "nwf").split())
        # The category has both kinds.
        both = cluster.kubectl("get", "nexus", "-o", "name").split()
        assert both == ["workflowrun.nexus.dev/sales-x7k2p", "workflow.nexus.dev/sales"]
    finally:
        cluster.delete(definition)
        cluster.delete(execution)


def test_kubectl_selects_by_phase_workflow_and_category(cluster: Cluster) -> None:
    made = [cluster.create({**workflow(task(), category=name), "metadata": {"name": name}}, dry=False) for name in "ab"]
    for name, phase in (("a", "Failed"), ("b", "Failed"), ("b", "Running")):
        body = run(f"{name}-{phase.lower()}", workflowRef={"name": name})
        answer = cluster.create(body, dry=False)
        made.append(answer)
        assert cluster.replace({**answer.json(), "status": {"phase": phase}}, "status").status_code == 200
    try:
        for kind, selector, names in (
            ("workflowruns", "status.phase=Failed", ["a-failed", "b-failed"]),
            ("workflowruns", "status.phase!=Failed", ["b-running"]),
            ("workflowruns", "status.phase=Failed,spec.workflowRef.name=b", ["b-failed"]),
            ("workflows", "spec.category=b", ["b"]),
        ):
            found = cluster.kubectl("get", kind, "--field-selector", selector, "-o", "name").split()
            assert [name.partition("/")[2] for name in found] == names
    finally:
        for answer in made:
            cluster.delete(answer.json())


def test_explain_is_the_manual(cluster: Cluster) -> None:
    def published() -> bool:
        return f"apis/{GROUP}/{VERSION}" in cluster.http.get("/openapi/v3").json()["paths"]

    eventually(published)
    text = cluster.kubectl("explain", "workflows.nexus.dev.spec.tasks.retry")
    assert "Maximum number of retries after the first attempt. Default 0." in text
    assert "enum: Ignore, Count" in text
    reasons = cluster.kubectl("explain", "workflowruns.nexus.dev.status.tasks.reason")
    assert "ImagePull: The image cannot be pulled" in reasons


# The first example is named, so that the test fails where there are none.
EXAMPLES = sorted({*(REPOSITORY / "examples").glob("*.yaml"), REPOSITORY / "examples" / "sales.yaml"})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_example_is_taken(cluster: Cluster, path: Path) -> None:
    documents = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
    assert documents
    printed = cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", str(path))
    assert len(printed.split()) == len(documents)
