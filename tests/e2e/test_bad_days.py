"""Bad days: pods, Jobs, runs and nodes that go while tasks run, and definitions that change."""

from __future__ import annotations

import re
import time

import pytest
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, bash, container, phases, python, reasons, task

from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    JOBS,
    PODS,
    WORKFLOW_RUNS,
    WORKFLOWS,
)
from nexus.core.names import LABEL_RUN

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("before")]

ONE_RETRY = {"limit": 1, "delaySeconds": 0}
# Each ends by itself after some seconds, or at once when it is asked to stop: with an error, or as if all were well.
STUBBORN = ("sh", "-c", "trap 'exit 143' TERM; sleep 10 & wait")
POLITE = ("sh", "-c", "trap 'exit 0' TERM; sleep 10 & wait; echo '{\"done\": true}' > /dev/termination-log")
ENDLESS = ("sh", "-c", "trap 'exit 143' TERM; sleep 300 & wait")
TALKS = "output['text'] = 'x' * 6000"


@pytest.fixture(scope="module")
def before(space: Space, operator: OperatorProcess) -> dict[str, Object]:
    """Everything that is done while tasks run, at once, since each wants them to run; the runs as they were before."""
    assert operator.running
    space.workflow("edited", container("one", *STUBBORN), bash("two", "echo version=old >> $NEXUS_OUTPUT", "one"))
    space.run_of("edited", "pinned")
    retried, lost = container("retried", *STUBBORN, retry=ONE_RETRY), container("lost", *STUBBORN)
    polite = container("polite", *POLITE)
    space.run("pod", retried, lost, polite)
    space.run("job", retried, lost)
    space.run(
        "drained",
        polite,
        container("stubborn", *STUBBORN),
        container("counted", *POLITE, retry={"disruptions": "Count"}),
    )
    space.run("goes", python("big", TALKS), container("long", *ENDLESS, after=("big",)))
    space.run("again", container("long", *ENDLESS))
    runs = {
        "pinned": space.running("pinned", "one"),
        "pod": space.running("pod", "retried", "lost", "polite"),
        "job": space.running("job", "retried", "lost"),
        "drained": space.running("drained", "polite", "stubborn", "counted"),
    }
    for name in ("retried", "lost", "polite"):
        space.remove(PODS, only_pod(space, "pod", name))
    for name in ("retried", "lost"):
        space.remove(JOBS, task(runs["job"], name)["job"]["name"])
    for name in ("polite", "stubborn", "counted"):
        evict(space, only_pod(space, "drained", name))
    new = [container("one"), bash("two", "echo version=new >> $NEXUS_OUTPUT", "one"), container("three")]
    space.patch(WORKFLOWS, "edited", {"spec": {"tasks": new}})
    space.run_of("edited", "fresh")
    runs |= {name: space.running(name, "long") for name in ("again", "goes")}
    return runs


def only_pod(space: Space, run: str, name: str) -> str:
    (pod,) = [pod for pod in space.pods(run, name) if "deletionTimestamp" not in pod["metadata"]]
    return str(pod["metadata"]["name"])


def evict(space: Space, pod: str) -> None:
    """What `kubectl drain` does to each pod of a node."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    answer = space.http.post(PODS.path(space.namespace, pod, "eviction"), json=body)
    assert answer.status_code == 201, answer.text


def test_editing_a_workflow_does_not_change_a_run_under_way(space: Space) -> None:
    fresh, pinned = space.finished("fresh"), space.finished("pinned")
    assert space.output(pinned, "two") == {"version": "old"}
    assert space.output(fresh, "two") == {"version": "new"}
    assert list(phases(pinned)) == ["one", "two"]
    assert list(phases(fresh)) == ["one", "two", "three"]
    revisions = {body["metadata"]["name"] for body in space.list(CONTROLLER_REVISIONS, "nexus.dev/workflow=edited")}
    assert revisions == {pinned["status"]["revision"], fresh["status"]["revision"]}
    assert len(revisions) == 2


def test_a_pod_that_is_deleted_by_hand_is_a_failed_attempt(space: Space) -> None:
    run = space.finished("pod")
    assert phases(run) == {"retried": "Succeeded", "lost": "Failed", "polite": "Failed"}
    assert reasons(run) == {"retried": None, "lost": "PodDeleted", "polite": "PodDeleted"}
    assert [entry["attempts"] for entry in run["status"]["tasks"]] == [2, 1, 1]


def test_a_job_that_is_deleted_by_hand_is_a_failed_attempt(space: Space) -> None:
    run = space.finished("job")
    assert phases(run) == {"retried": "Succeeded", "lost": "Failed"}
    assert reasons(run) == {"retried": None, "lost": "JobDeleted"}
    assert [entry["attempts"] for entry in run["status"]["tasks"]] == [2, 1]


def test_a_drained_node_does_not_count_unless_it_is_said_to(space: Space) -> None:
    run = space.finished("drained")
    # The polite process exited 0 when it was asked to stop: its task has to run again, and then has its output.
    assert phases(run) == {"polite": "Succeeded", "stubborn": "Succeeded", "counted": "Failed"}
    assert space.output(run, "polite") == {"done": True}
    assert reasons(run)["counted"] == "Evicted"
    assert [entry["attempts"] for entry in run["status"]["tasks"]] == [1, 1, 1]


def test_a_run_that_is_deleted_takes_everything_with_it(space: Space) -> None:
    assert len(space.list(CONFIG_MAPS, f"{LABEL_RUN}=goes")) == 1
    space.remove(WORKFLOW_RUNS, "goes")
    deadline = time.monotonic() + 50
    for kind in (JOBS, PODS, CONFIG_MAPS):
        while left := [body["metadata"]["name"] for body in space.list(kind, f"{LABEL_RUN}=goes")]:
            assert time.monotonic() < deadline, f"{left} are still there"
            time.sleep(0.3)
    assert space.get(WORKFLOW_RUNS, "goes") is None


def test_a_run_made_again_under_the_same_name_is_another_run(space: Space, before: dict[str, Object]) -> None:
    old = before["again"]
    space.remove(WORKFLOW_RUNS, "again")
    made = space.run("again", container("long"), bash("next", "true", "long"))
    run = space.finished("again")
    assert run["metadata"]["uid"] == made["metadata"]["uid"] != old["metadata"]["uid"]
    assert phases(run) == {"long": "Succeeded", "next": "Succeeded"}
    assert task(run, "long")["job"]["uid"] != task(old, "long")["job"]["uid"]
    assert re.match(r"again-long-1-\w{10}$", task(run, "long")["job"]["name"])
    assert task(run, "long")["job"]["name"] != task(old, "long")["job"]["name"]
