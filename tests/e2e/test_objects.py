"""The objects of a run as users, other tools and the API server meet them; and how often the operator writes."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from tests.e2e.audit import AuditLog
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, chain, phases

from nexus.adapters.kube.client.api import CONFIG_MAPS, CONTROLLER_REVISIONS, WORKFLOW_RUNS, WORKFLOWS

pytestmark = pytest.mark.cluster

MANIFEST = """
apiVersion: nexus.dev/v1alpha1
kind: Workflow
metadata:
  name: shown
  labels: {app.kubernetes.io/instance: argo-tracks-this}
spec:
  labels: {team: blue}
  failurePolicy: Continue
  tasks:
  - {name: first, python: {code: "output['text'] = 'x' * 2000"}}
  - {name: second, dependsOn: [first], bash: {command: "exit 3"}}
---
apiVersion: nexus.dev/v1alpha1
kind: WorkflowRun
metadata: {name: shown-1}
spec: {workflowRef: {name: shown}}
"""


@pytest.fixture(scope="module")
def shown(space: Space, operator: OperatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Object:
    """A run that kubectl made from a file and waited for."""
    assert operator.running
    path = tmp_path_factory.mktemp("manifest") / "shown.yaml"
    path.write_text(MANIFEST)
    assert "workflowrun.nexus.dev/shown-1 created" in space.kubectl("create", "-f", str(path))
    space.kubectl("wait", "--for=condition=Finished", "--timeout=60s", "workflowrun/shown-1")
    run = space.get(WORKFLOW_RUNS, "shown-1")
    assert run is not None
    return run


def test_kubectl_shows_how_a_run_went(space: Space, shown: Object) -> None:
    head, line = space.kubectl("get", "nwr", "shown-1").splitlines()
    assert head.split() == ["NAME", "WORKFLOW", "PHASE", "TASKS", "REASON", "DURATION", "AGE"]
    assert line.split()[:5] == ["shown-1", "shown", "Failed", "2/2", "TaskFailed"]
    assert line.split()[5] == shown["status"]["duration"]
    head, line = space.kubectl("get", "nwf", "shown").splitlines()
    assert [word for word in head.split() if word in ("NAME", "TASKS", "READY")] == ["NAME", "TASKS", "READY"]
    assert line.split()[:3] == ["shown", "2", "True"]
    listed = space.kubectl("get", "nexus", "-o", "name").split()
    assert {"workflow.nexus.dev/shown", "workflowrun.nexus.dev/shown-1"} <= set(listed)
    assert space.events(shown), "describe shows what is published"
    described = space.kubectl("describe", "nwr", "shown-1")
    for words in ("task first succeeded", "task second failed (TaskError)", "run shown-1 failed"):
        assert words in described
    conditions = {entry["type"]: entry["status"] for entry in shown["status"]["conditions"]}
    assert conditions == {"Complete": "False", "Failed": "True", "Finished": "True"}


def test_each_finished_task_and_the_run_have_one_event(space: Space, shown: Object) -> None:
    told = space.events(shown)
    assert Counter(event["reason"] for event in told) == {"TaskSucceeded": 1, "TaskFailed": 1, "RunFailed": 1}
    assert {event["type"] for event in told if event["reason"] != "TaskSucceeded"} == {"Warning"}
    assert {event["source"]["component"] for event in told} == {"nexus-operator"}


def test_runs_belong_to_workflows_and_all_else_to_runs(space: Space, shown: Object) -> None:
    workflow = space.get(WORKFLOWS, "shown")
    assert workflow is not None
    owners = shown["metadata"]["ownerReferences"]
    assert [(owner["kind"], owner["uid"]) for owner in owners] == [("Workflow", workflow["metadata"]["uid"])]
    assert shown["metadata"]["labels"] == {"nexus.dev/workflow": "shown"}
    (revision,) = space.list(CONTROLLER_REVISIONS)
    assert revision["metadata"]["name"] == shown["status"]["revision"]
    assert revision["metadata"]["ownerReferences"][0]["uid"] == workflow["metadata"]["uid"]
    jobs, (output,) = space.jobs("shown-1"), space.list(CONFIG_MAPS, "nexus.dev/run=shown-1")
    assert len(jobs) == 2
    for body in (*jobs, output):
        assert [owner["uid"] for owner in body["metadata"]["ownerReferences"]] == [shown["metadata"]["uid"]]
    for body in (shown, workflow, revision, *jobs, output):
        assert body["metadata"].get("finalizers", []) == []


def test_jobs_and_pods_carry_the_labels_of_their_run(space: Space, shown: Object) -> None:
    names = {entry["name"]: entry["job"]["name"] for entry in shown["status"]["tasks"]}
    for body in (*space.jobs("shown-1"), *space.pods("shown-1")):
        labels = body["metadata"]["labels"]
        # Kubernetes' own labels have its domain, or none and a hyphen.
        ours = {key: value for key, value in labels.items() if "kubernetes.io" not in key and "-" not in key}
        task_name = labels["nexus.dev/task"]
        wanted = {"nexus.dev/workflow": "shown", "nexus.dev/run": "shown-1", "nexus.dev/attempt": "1", "team": "blue"}
        assert ours == wanted | {"nexus.dev/task": task_name}
        assert "argo-tracks-this" not in labels.values()
        assert body["metadata"]["name"].startswith(names[task_name])


@pytest.mark.usefixtures("shown")
def test_pods_are_restricted_and_have_no_way_into_the_api(space: Space) -> None:
    pods = space.pods("shown-1")
    assert len(pods) == 2
    namespace = space.http.get(f"/api/v1/namespaces/{space.namespace}").json()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        sources = [source for volume in spec["volumes"] for source in volume.get("projected", {}).get("sources", ())]
        assert not any("serviceAccountToken" in source for source in sources)
        assert [one["name"] for one in spec["containers"]] == ["task"]
        assert "initContainers" not in spec
        assert spec["securityContext"]["runAsUser"] == 65532


@pytest.fixture(scope="module")
def ten(space: Space, shown: Object) -> Counter[str]:
    """What the operator wrote for a chain of ten tasks."""
    assert shown["status"]["phase"] == "Failed"
    space.workflow("ten", *chain(10))
    space.kubectl("wait", "--for=condition=Ready", "--timeout=20s", "workflow/ten")
    log = AuditLog()
    space.run_of("ten", "ten")
    run = space.finished("ten")
    assert set(phases(run).values()) == {"Succeeded"}
    time.sleep(3)  # until the last Event is written, and the last Job is finished for the Job controller too
    return Counter(log.of_operator(space.namespace))


@pytest.fixture(scope="module")
def quiet(ten: Counter[str]) -> tuple[AuditLog, float]:
    """From here on, nothing happens in the module's namespace."""
    assert ten
    return AuditLog(), time.monotonic()


def test_the_operator_writes_little(ten: Counter[str]) -> None:
    # 3 a task, one of them its Event, and 4 a run: owner, revision, the last status, the run's Event.
    assert ten["create jobs"] == 10
    assert sum(ten.values()) <= 3 * 10 + 4, ten


def test_the_operator_writes_nothing_when_idle(space: Space, quiet: tuple[AuditLog, float]) -> None:
    log, since = quiet
    time.sleep(max(since + 20 - time.monotonic(), 0))
    assert log.of_operator(space.namespace) == []
    # The pods of tasks called nobody, either.
    assert log.of_pods(space.namespace) == []
