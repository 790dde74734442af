"""Pods whose containers come one after the other, as those that move data do: of the fake's kubelet and of a real one.

Source: Kubernetes 1.34, pkg/kubelet/kuberuntime (computePodActions), pkg/kubelet/kubelet_pods.go (getPhase).
"""

from __future__ import annotations

import pytest
from tests.contract.servers import Server
from tests.contract.test_jobs import Cluster, conditions

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.cache.parse import pod_fact
from nexus.adapters.kube.client.api import JOBS, KubeApi, Object
from nexus.adapters.kube.containers import FETCH, PUT

LEAVES = "sleep 3; printf left > /dev/termination-log"
TOLD = [{"name": "NEXUS_TRANSFER", "value": '{"put": []}'}]


@pytest.fixture
def cluster(api: KubeApi, namespace: str, server: Server) -> Cluster:
    """The cluster under test."""
    return Cluster(api, namespace, server)


async def start(cluster: Cluster, outcome: Outcome, *, fetch: str = "", put: str) -> None:
    """A Job whose pod has the task's container in the middle; `fetch` and `put` are the commands around it."""
    task = cluster.server.container(LEAVES, outcome)

    def other(name: str, command: str) -> Object:
        return {**task, "name": name, "command": ["sh", "-c", command], "env": TOLD}

    before = [other(FETCH, fetch)] if fetch else []
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "initContainers": [*before, task],
        "containers": [other(PUT, put)],
    }
    body = {"metadata": {"name": "j"}, "spec": {"backoffLimit": 0, "template": {"spec": spec}}}
    await cluster.api.create(JOBS, cluster.namespace, body)


async def test_the_pod_is_pending_while_its_task_runs_and_succeeded_after_the_last_container(cluster: Cluster) -> None:
    await start(cluster, Outcome(seconds=3, message="left"), fetch="true", put="printf stored > /dev/termination-log")

    at_work = pod_fact(await cluster.only_pod(lambda pod: pod_fact(pod).running and not pod_fact(pod).terminated))
    assert at_work.phase == "Pending"
    ended = pod_fact(await cluster.only_pod(lambda pod: pod_fact(pod).phase == "Succeeded"))

    assert ended.terminated is not None
    assert (ended.terminated.exit_code, ended.terminated.message) == (0, "left")
    assert ended.transfer is not None
    assert ended.transfer.exit_code == 0
    assert "Complete" in conditions(await cluster.ended())


async def test_a_last_container_that_fails_fails_the_pod_and_its_job(cluster: Cluster) -> None:
    await start(
        cluster, Outcome(seconds=3, message="left", put="down"), put="printf down > /dev/termination-log; exit 1"
    )

    ended = pod_fact(await cluster.only_pod(lambda pod: pod_fact(pod).phase == "Failed"))

    assert ended.terminated is not None
    assert ended.terminated.exit_code == 0
    assert ended.transfer is not None
    assert (ended.transfer.exit_code, ended.transfer.message) == (1, "down")
    assert conditions(await cluster.ended())["Failed"] == "BackoffLimitExceeded"


async def test_where_the_first_container_fails_the_task_never_runs(cluster: Cluster) -> None:
    await start(cluster, Outcome(fetch="down"), fetch="printf down > /dev/termination-log; exit 1", put="exit 7")

    ended = pod_fact(await cluster.only_pod(lambda pod: pod_fact(pod).phase == "Failed"))

    assert ended.terminated is None
    assert ended.transfer is not None
    assert (ended.transfer.exit_code, ended.transfer.message) == (1, "down")
    assert "Failed" in conditions(await cluster.ended())
