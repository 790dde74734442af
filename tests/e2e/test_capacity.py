"""A cluster that has no room, or refuses: the waiting task says why, and goes on when it can."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.e2e.conftest import operator_for
from tests.e2e.space import Object, Space, container, phases, reasons, task

from nexus.adapters.kube.client.api import Kind

pytestmark = pytest.mark.cluster

QUOTAS = Kind("", "v1", "resourcequotas", "ResourceQuota")
RANGES = Kind("", "v1", "limitranges", "LimitRange")
NODES = Kind("", "v1", "nodes", "Node", namespaced=False)
# Nothing else asks for it, so that taking it away holds up this module's pods alone.
RESOURCE = "nexus.dev/e2e-slots"

Spaces = dict[str, Space]


@pytest.fixture(scope="module")
def spaces(new_space: Callable[[str], Space], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spaces]:
    """A namespace for each kind of scarcity, one operator for them all, and a run in each."""
    spaces = {name: new_space(name) for name in ("pods-quota", "jobs-quota", "no-room", "refused")}
    for name, counted in (("pods-quota", "pods"), ("jobs-quota", "count/jobs.batch")):
        spaces[name].post(QUOTAS, {"metadata": {"name": "none"}, "spec": {"hard": {counted: "0"}}})
    slots = {"type": "Container", "default": {RESOURCE: "1"}, "defaultRequest": {RESOURCE: "1"}}
    spaces["no-room"].post(RANGES, {"metadata": {"name": "slots"}, "spec": {"limits": [slots]}})
    # Pods without a limit are refused by it, as Pod Security would refuse others: the Job gets no pod.
    small = {"type": "Pod", "max": {"cpu": "1m"}}
    spaces["refused"].post(RANGES, {"metadata": {"name": "small"}, "spec": {"limits": [small]}})
    first, *others = spaces.values()
    with operator_for(tmp_path_factory.mktemp("capacity"), first, *others):
        for name, space in spaces.items():
            space.run(name, container("a", startTimeoutSeconds=12), container("b", after=("a",)))
        yield spaces


def waiting(space: Space, name: str, reason: str) -> Object:
    """Task a of the run while it waits for this reason."""
    run = space.until(name, lambda run: task(run, "a").get("reason") == reason, 30)
    assert task(run, "a")["phase"] == "Pending"
    return task(run, "a")


def test_a_quota_on_pods_is_waited_for(spaces: Spaces) -> None:
    space = spaces["pods-quota"]
    assert "exceeded quota" in waiting(space, "pods-quota", "QuotaExceeded")["message"]
    space.remove(QUOTAS, "none")
    assert phases(space.finished("pods-quota", 120)) == {"a": "Succeeded", "b": "Succeeded"}


def test_a_quota_on_jobs_is_waited_for(spaces: Spaces) -> None:
    space = spaces["jobs-quota"]
    assert "exceeded quota" in waiting(space, "jobs-quota", "QuotaExceeded")["message"]
    space.remove(QUOTAS, "none")
    assert phases(space.finished("jobs-quota")) == {"a": "Succeeded", "b": "Succeeded"}


def test_a_full_cluster_is_waited_for_beyond_the_start_timeout(spaces: Spaces) -> None:
    space = spaces["no-room"]
    assert "Insufficient nexus.dev/e2e-slots" in waiting(space, "no-room", "Unschedulable")["message"]
    (node, *_) = space.list(NODES)
    name = node["metadata"]["name"]
    space.patch(NODES, name, {"status": {"capacity": {RESOURCE: "5"}}}, "status")
    try:
        assert phases(space.finished("no-room")) == {"a": "Succeeded", "b": "Succeeded"}
    finally:
        space.patch(NODES, name, {"status": {"capacity": {RESOURCE: None}, "allocatable": {RESOURCE: None}}}, "status")


def test_a_pod_that_is_refused_fails_its_task_in_time(spaces: Spaces) -> None:
    run = spaces["refused"].finished("refused")
    assert reasons(run) == {"a": "PodRefused", "b": "DependencyFailed"}
    assert "maximum cpu usage per Pod is 1m" in task(run, "a")["message"]
    assert spaces["refused"].pods("refused") == []
