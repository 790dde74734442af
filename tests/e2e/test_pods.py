"""What tasks ask of their pods, what an operator refuses of it, and Jobs that somebody else holds back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.conftest import operator_for
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, bash, container, phases, python, reasons, task

from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, WORKFLOW_RUNS

pytestmark = pytest.mark.cluster

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
SLEEP = ("sh", "-c", "trap 'exit 143' TERM; sleep 8 & wait")


def asked() -> list[Object]:
    """Tasks that each ask for something else, and tell what they got."""
    who = 'echo "who=$(id -u):$(id -g)" >> "$NEXUS_OUTPUT"'
    token = f'[[ -e {TOKEN} ]] && echo "token=yes" >> "$NEXUS_OUTPUT" || echo "token=no" >> "$NEXUS_OUTPUT"'
    files = 'echo "text=$(cat /settings/greeting)" >> "$NEXUS_OUTPUT"; touch /cache/x /scratch/y'
    greedy = "data = bytearray(300_000_000)\nfor at in range(0, len(data), 4096): data[at] = 1"
    return [
        bash("nobody", who),
        bash("somebody", who, pod={"runAsUser": 1234, "runAsGroup": 5678}),
        bash("root", who, pod={"runAsUser": 0}),
        bash("no-token", token),
        bash("token", token, pod={"serviceAccountName": "default"}),
        bash(
            "files",
            files,
            pod={
                "volumes": [
                    {"name": "settings", "configMap": {"name": "settings"}},
                    {"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}},
                    {"name": "scratch", "emptyDir": {"medium": "Memory"}},
                ],
                "volumeMounts": [
                    {"name": "settings", "mountPath": "/settings", "readOnly": True},
                    {"name": "cache", "mountPath": "/cache"},
                    {"name": "scratch", "mountPath": "/scratch"},
                ],
            },
        ),
        python(
            "greedy",
            greedy,
            pod={"resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": "${{ params.memory }}"}}},
        ),
        container(
            "placed",
            pod={
                "nodeSelector": {"kubernetes.io/os": "${{ params.os }}"},
                "tolerations": [{"operator": "Exists"}],
                "labels": {"kueue.example/queue": "${{ run.name }}"},
                "annotations": {"note": "run ${{ run.name }}, $(HOME)"},
                "affinity": {
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}}
                        ]
                    }
                },
                "topologySpreadConstraints": [
                    {"maxSkew": 9, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
                ],
            },
        ),
    ]


PARAMS = [{"name": "memory", "default": "64Mi"}, {"name": "os", "default": "linux"}]


@pytest.fixture(scope="module", autouse=True)
def started(space: Space, operator: OperatorProcess) -> None:
    """All runs of this module's own namespace, at once."""
    assert operator.running
    space.post(CONFIG_MAPS, {"metadata": {"name": "settings"}, "data": {"greeting": "hello"}})
    defaults = {"pod": {"annotations": {"team": "e2e"}, "imagePullSecrets": [{"name": "not-needed"}]}}
    inline = {"tasks": asked(), "params": PARAMS, "maxParallelTasks": 20, "defaults": defaults}
    space.post(WORKFLOW_RUNS, {"metadata": {"name": "asked"}, "spec": {"workflowSpec": inline}})


@pytest.fixture(scope="module")
def loose(new_space: Callable[[str], Space], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Space]]:
    """Two namespaces of an operator that allows root and forbids two other things; one of them allows root too."""
    spaces = {name: new_space(f"root-{name}") for name in ("allowed", "refused")}
    allowed = spaces["allowed"]
    allowed.kubectl("label", "--overwrite", "ns", allowed.namespace, "pod-security.kubernetes.io/enforce=baseline")
    settings = {"NEXUS_POD_SECURITY": "baseline", "NEXUS_POD_FORBIDDEN": "serviceAccountName, volumes.csi"}
    with operator_for(tmp_path_factory.mktemp("loose"), *spaces.values(), settings=settings):
        yield spaces


def test_what_is_asked_for_is_there(space: Space) -> None:
    run = space.finished("asked", 120)
    assert space.output(run, "nobody") == {"who": "65532:65532"}
    assert space.output(run, "somebody") == {"who": "1234:5678"}
    assert (space.output(run, "no-token"), space.output(run, "token")) == ({"token": "no"}, {"token": "yes"})
    assert space.output(run, "files") == {"text": "hello"}
    assert task(run, "placed")["phase"] == "Succeeded", json.dumps(run["status"], indent=1)


def test_labels_and_annotations_stand_where_they_are_read(space: Space) -> None:
    space.finished("asked", 120)
    (job,), (pod,) = space.jobs("asked", "placed"), space.pods("asked", "placed")
    for labels in (job["metadata"]["labels"], pod["metadata"]["labels"]):
        assert labels["kueue.example/queue"] == "asked"
    assert pod["metadata"]["annotations"]["note"] == "run asked, $(HOME)"
    assert pod["metadata"]["annotations"]["team"] == "e2e"


def test_a_container_over_its_memory_limit_says_so(space: Space) -> None:
    run = space.finished("asked", 120)
    greedy = task(run, "greedy")
    assert (greedy["phase"], greedy["reason"], greedy["exitCode"]) == ("Failed", "OutOfMemory", 137)
    assert greedy["attemptRecords"][0]["reason"] == "OutOfMemory"


def test_root_is_refused_before_there_is_a_job(space: Space) -> None:
    run = space.finished("asked", 120)
    root = task(run, "root")
    assert (root["phase"], root["reason"]) == ("Failed", "RunsAsRoot")
    assert "pod.runAsUser" in root["message"]
    assert space.jobs("asked", "root") == []


def test_root_needs_the_leave_of_the_operator_and_of_the_namespace(loose: dict[str, Space]) -> None:
    who = 'echo "who=$(id -u)" >> "$NEXUS_OUTPUT"'
    for space in loose.values():
        space.run("root", bash("root", who, pod={"runAsUser": 0, "runAsGroup": 0}), bash("user", who))
    run = loose["allowed"].finished("root")
    assert (loose["allowed"].output(run, "root"), loose["allowed"].output(run, "user")) == (
        {"who": "0"},
        {"who": "65532"},
    )
    run = loose["refused"].finished("root", 60)
    assert reasons(run) == {"root": "RunsAsRoot", "user": None}
    assert "runAsUser" in task(run, "root")["message"]


def test_what_the_operator_forbids_is_named(loose: dict[str, Space]) -> None:
    space = loose["allowed"]
    csi = {"volumes": [{"name": "v", "csi": {"driver": "vault.example"}}]}
    space.run("forbidden", container("account", pod={"serviceAccountName": "default"}), container("csi", pod=csi))
    run = space.finished("forbidden")
    assert reasons(run) == {"account": "PodFieldForbidden", "csi": "PodFieldForbidden"}
    assert "pod.serviceAccountName" in task(run, "account")["message"]
    assert "pod.volumes.csi" in task(run, "csi")["message"]
    assert space.jobs("forbidden") == []


def test_a_job_that_is_held_back_is_waited_for_and_counts_no_failure(space: Space) -> None:
    space.run("queued", container("a", *SLEEP, startTimeoutSeconds=15), container("b", after=("a",)))
    space.running("queued", "a")
    (job,) = space.jobs("queued", "a")
    space.patch(JOBS, job["metadata"]["name"], {"spec": {"suspend": True}})
    run = space.until("queued", lambda run: task(run, "a").get("reason") == "Queued", 30)
    assert (task(run, "a")["phase"], task(run, "b")["reason"]) == ("Pending", "Dependencies")
    assert "Kueue" in task(run, "a")["message"]
    assert not space.without_jobs("queued", "a", 18)  # past its startTimeoutSeconds, and nothing has happened
    assert task(space.until("queued", lambda _: True), "a")["reason"] == "Queued"
    space.patch(JOBS, job["metadata"]["name"], {"spec": {"suspend": False}})
    run = space.finished("queued", 60)
    assert phases(run) == {"a": "Succeeded", "b": "Succeeded"}
    assert (task(run, "a")["attempts"], "attemptRecords" in task(run, "a")) == (1, False)


def test_a_pod_that_the_api_server_refuses_for_a_missing_class_says_so(space: Space) -> None:
    missing = {"priorityClassName": "no-such-class"}
    space.run("missing", container("a", pod=missing, startTimeoutSeconds=6))
    run = space.finished("missing", 60)
    assert (task(run, "a")["reason"], "no-such-class" in task(run, "a")["message"]) == ("PodRefused", True)


def test_what_is_no_field_is_told_in_the_condition_of_the_workflow(space: Space) -> None:
    # The API server takes the free parts as they are.
    affinity = {"nodeAfinity": {}}
    space.workflow("typo", container("a", pod={"affinity": affinity}))
    message = space.kubectl(
        "wait", "workflows.nexus.dev/typo", "--for=condition=Ready=false", "--timeout=20s", "-o", "json"
    )
    assert json.dumps('unknown field "nodeAfinity"; did you mean "nodeAffinity"?')[1:-1] in message
    space.run("typo", container("a", pod={"affinity": affinity}))
    run = space.finished("typo", 30)
    assert run["status"]["reason"] == "WorkflowInvalid"
    assert 'did you mean "nodeAffinity"?' in run["status"]["message"]
