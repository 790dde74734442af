"""How Indexed Jobs go, of the fake's Job controller and of the real one alike.

Source: Kubernetes 1.34, pkg/controller/job (indexed_job_utils.go, backoff_utils.go, job_controller.go).
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract.servers import Server
from tests.contract.test_jobs import DISRUPTION_IGNORED, Cluster, conditions, job

from nexus.adapters.fake import Outcome
from nexus.adapters.fake.outcome import Behaviour
from nexus.adapters.kube.client.api import JOBS, KubeApi, Object

LABEL = "batch.kubernetes.io/job-completion-index"


def index_of(pod: Object) -> int:
    return int(pod["metadata"]["labels"][LABEL])


@pytest.fixture
def cluster(api: KubeApi, namespace: str, server: Server) -> Cluster:
    """The cluster under test."""
    return Cluster(api, namespace, server)


async def start(cluster: Cluster, count: int, command: str, behaviour: Behaviour, **spec: Any) -> None:
    """An Indexed Job as ours are."""
    fields = {"completionMode": "Indexed", "completions": count, "parallelism": count, "backoffLimitPerIndex": 0}
    body = job(cluster.server.container(command, behaviour), **{**fields, **spec})
    del body["spec"]["backoffLimit"]
    await cluster.api.create(JOBS, cluster.namespace, body)


def failing(*indexes: int, code: int = 3) -> Behaviour:
    return lambda pod: Outcome(seconds=0, exit_code=code if index_of(pod) in indexes else 0)


async def test_every_index_has_a_pod_that_knows_it(cluster: Cluster) -> None:
    await start(cluster, 3, 'echo "$JOB_COMPLETION_INDEX"', Outcome(seconds=0))
    done = await cluster.ended()
    assert conditions(done) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert (done["status"]["succeeded"], done["status"]["completedIndexes"]) == (3, "0-2")
    assert done["status"].get("failedIndexes", "") == ""
    pods = await cluster.pods()
    assert sorted(index_of(pod) for pod in pods) == [0, 1, 2]
    for pod in pods:
        assert pod["metadata"]["annotations"][LABEL] == str(index_of(pod))
        assert pod["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] == "0"
        assert pod["metadata"]["name"].startswith(f"j-{index_of(pod)}-")
        env = {entry["name"]: entry for entry in pod["spec"]["containers"][0]["env"]}
        assert env["JOB_COMPLETION_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{LABEL}']"


async def test_the_job_fails_when_all_indexes_have_ended_and_one_failed(cluster: Cluster) -> None:
    await start(cluster, 4, '[ "$JOB_COMPLETION_INDEX" != 1 ] || exit 3', failing(1))
    done = await cluster.ended()
    assert conditions(done) == {"FailureTarget": "FailedIndexes", "Failed": "FailedIndexes"}
    assert done["status"]["conditions"][-1]["message"] == "Job has failed indexes"
    assert (done["status"]["completedIndexes"], done["status"]["failedIndexes"]) == ("0,2,3", "1")
    assert (done["status"]["succeeded"], done["status"]["failed"]) == (3, 1)


async def test_an_index_is_retried_ten_seconds_later_and_others_are_not(cluster: Cluster) -> None:
    await start(cluster, 2, '[ "$JOB_COMPLETION_INDEX" != 1 ] || exit 3', failing(1), backoffLimitPerIndex=1)
    done = await cluster.ended()
    assert (done["status"]["completedIndexes"], done["status"]["failedIndexes"]) == ("0", "1")
    pods = await cluster.pods()
    assert sorted(index_of(pod) for pod in pods) == [0, 1, 1]
    counts = [pod["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] for pod in pods]
    assert sorted(counts) == ["0", "0", "1"]
    assert done["status"]["failed"] == 2


async def test_an_exit_code_can_end_an_index_at_once(cluster: Cluster) -> None:
    codes = {"containerName": "task", "operator": "In", "values": [3]}
    policy = {"rules": [*DISRUPTION_IGNORED["rules"], {"action": "FailIndex", "onExitCodes": codes}]}
    command = '[ "$JOB_COMPLETION_INDEX" != 0 ] || exit 3'
    await start(cluster, 2, command, failing(0), backoffLimitPerIndex=3, podFailurePolicy=policy)
    done = await cluster.ended()
    assert (done["status"]["completedIndexes"], done["status"]["failedIndexes"]) == ("1", "0")
    assert len(await cluster.pods()) == 2


async def test_too_many_failed_indexes_end_the_job_with_what_runs(cluster: Cluster) -> None:
    def behave(pod: Object) -> Outcome:
        return Outcome(seconds=0, exit_code=3) if index_of(pod) == 0 else Outcome.hangs()

    command = '[ "$JOB_COMPLETION_INDEX" != 0 ] || exit 3; trap "exit 143" TERM; sleep 60 & wait'
    await start(cluster, 3, command, behave, maxFailedIndexes=0)
    done = await cluster.ended()
    assert conditions(done)["Failed"] == "MaxFailedIndexesExceeded"
    assert done["status"]["failedIndexes"] == "0"
    assert await cluster.server.eventually(cluster.no_live_pods)


async def test_a_raised_parallelism_brings_more_pods(cluster: Cluster) -> None:
    await start(cluster, 4, "sleep 3", Outcome(seconds=3), parallelism=1)

    async def pods(count: int) -> bool:
        return len(await cluster.pods()) == count

    assert await cluster.server.eventually(lambda: pods(1))
    await cluster.api.patch(JOBS, cluster.namespace, "j", {"spec": {"parallelism": 3}})
    assert await cluster.server.eventually(lambda: pods(3))
    assert conditions(await cluster.ended())["Complete"] == "CompletionsReached"


async def test_an_index_whose_pod_was_drained_is_replaced_and_not_counted(cluster: Cluster) -> None:
    command = 'trap "exit 143" TERM; sleep 60 & wait'
    await start(cluster, 1, command, Outcome.hangs(), podFailurePolicy=DISRUPTION_IGNORED)
    name = (await cluster.running())["metadata"]["name"]
    await cluster.server.evict(name)

    async def replaced() -> Object | None:
        found = [pod for pod in await cluster.pods() if pod["metadata"]["name"] != name]
        return found[0] if found else None

    annotations = (await cluster.server.eventually(replaced))["metadata"]["annotations"]
    assert annotations["batch.kubernetes.io/job-index-failure-count"] == "0"
    assert annotations["batch.kubernetes.io/job-index-ignored-failure-count"] == "1"
