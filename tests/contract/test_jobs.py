"""How Jobs and their pods go, of the fake's Job controller and kubelet and of a real node alike.

Source: Kubernetes 1.34, pkg/controller/job (job_controller.go, pod_failure_policy.go, backoff_utils.go), pkg/kubelet.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from tests.contract.servers import Server

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import JOBS, PODS, BadRequest, KubeApi, NotFound, Object

OBEYS = 'trap "exit 0" TERM; sleep 60 & wait'
"""A process that ends with 0 when it is asked to stop, as graceful servers do."""
DISRUPTION_IGNORED = {
    "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
}


def job(container: Object, *, pod: Object | None = None, **spec: Any) -> Object:
    """A Job of one pod, without retries, quick to stop."""
    template = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **(pod or {})}
    return {
        "metadata": {"name": "j"},
        "spec": {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": {"spec": template}, **spec},
    }


def conditions(body: Object) -> dict[str, str]:
    """The reasons of the conditions that are true, in the order in which they came."""
    known = body.get("status", {}).get("conditions") or []
    return {entry["type"]: entry.get("reason", "") for entry in known if entry["status"] == "True"}


def terminated(pod: Object) -> Object:
    """How its container ended; empty while it has not."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        return dict(status["state"].get("terminated") or {})
    return {}


def waiting(pod: Object) -> str:
    """Why its container does not start."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        return str(status["state"].get("waiting", {}).get("reason", ""))
    return ""


class Cluster:
    """What these tests wait for."""

    def __init__(self, api: KubeApi, namespace: str, server: Server) -> None:
        self.api, self.namespace, self.server = api, namespace, server

    async def start(self, command: str, outcome: Outcome, *, pod: Object | None = None, **spec: Any) -> Object:
        """Create the Job."""
        return await self.api.create(
            JOBS, self.namespace, job(self.server.container(command, outcome), pod=pod, **spec)
        )

    async def pods(self) -> list[Object]:
        """All pods, oldest first."""
        return sorted(
            await self.api.list(PODS, self.namespace), key=lambda pod: int(pod["metadata"]["resourceVersion"])
        )

    async def no_pods(self) -> bool:
        """Whether all are gone."""
        return not await self.pods()

    async def no_live_pods(self) -> bool:
        """Whether none of them runs any more."""
        return all(pod.get("status", {}).get("phase") in ("Succeeded", "Failed") for pod in await self.pods())

    async def running(self) -> Object:
        """The pod, once its process runs."""

        async def check() -> Object | None:
            found = [pod for pod in await self.pods() if pod.get("status", {}).get("phase") == "Running"]
            return found[0] if found else None

        pod: Object = await self.server.eventually(check)
        return pod

    async def pod(self, name: str, what: Any) -> Object:
        """The pod of this name, once `what` is true of it."""

        async def check() -> Object | None:
            pod = await self.api.get(PODS, self.namespace, name)
            return pod if what(pod) else None

        found: Object = await self.server.eventually(check)
        return found

    async def only_pod(self, what: Any) -> Object:
        """The only pod, once there is one and `what` is true of it."""

        async def check() -> Object | None:
            pods = await self.pods()
            return pods[0] if len(pods) == 1 and what(pods[0]) else None

        found: Object = await self.server.eventually(check)
        return found

    async def ended(self) -> Object:
        """The Job, once it is Complete or Failed."""

        async def check() -> Object | None:
            body = await self.api.get(JOBS, self.namespace, "j")
            return body if conditions(body).keys() & {"Complete", "Failed"} else None

        found: Object = await self.server.eventually(check)
        return found


@pytest.fixture
def cluster(api: KubeApi, namespace: str, server: Server) -> Cluster:
    """The cluster under test."""
    return Cluster(api, namespace, server)


async def test_a_job_that_succeeds_is_complete_after_its_pod_says_so(cluster: Cluster) -> None:
    outcome = Outcome(seconds=0.5, message='{"output":{"n":1}}', log=b"hello\n")
    made = await cluster.start('echo hello; printf \'{"output":{"n":1}}\' > /dev/termination-log; sleep 0.5', outcome)
    early = await cluster.only_pod(terminated)
    assert terminated(early)["exitCode"] == 0
    assert terminated(early)["message"] == '{"output":{"n":1}}'
    assert terminated(early)["reason"] == "Completed"
    assert "Complete" not in conditions(await cluster.api.get(JOBS, cluster.namespace, "j"))
    done = await cluster.ended()
    assert list(conditions(done)) == ["SuccessCriteriaMet", "Complete"]
    assert conditions(done)["Complete"] == "CompletionsReached"
    assert (done["status"]["succeeded"], done["status"].get("failed"), done["status"].get("active")) == (1, None, None)
    assert done["status"]["completionTime"]
    pod = (await cluster.pods())[0]
    assert pod["status"]["phase"] == "Succeeded"
    assert "finalizers" not in pod["metadata"]
    owner = pod["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"], owner["kind"]) == (made["metadata"]["uid"], True, "Job")
    assert pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == made["metadata"]["uid"]
    assert pod["metadata"]["name"].startswith("j-")
    assert await cluster.api.logs(cluster.namespace, pod["metadata"]["name"]) == b"hello\n"


async def test_the_next_pod_comes_ten_seconds_after_a_failed_one(cluster: Cluster) -> None:
    await cluster.start("echo no >&2; exit 3", Outcome(seconds=0, exit_code=3), backoffLimit=1)
    done = await cluster.ended()
    assert list(conditions(done)) == ["FailureTarget", "Failed"]
    assert conditions(done)["Failed"] == "BackoffLimitExceeded"
    assert (done["status"]["failed"], done["status"].get("succeeded")) == (2, None)
    first, second = await cluster.pods()
    assert {terminated(pod)["exitCode"] for pod in (first, second)} == {3}
    assert {pod["status"]["phase"] for pod in (first, second)} == {"Failed"}
    finished, created = terminated(first)["finishedAt"], second["metadata"]["creationTimestamp"]
    assert 9 <= _seconds(created) - _seconds(finished) <= 13


async def test_an_exit_code_of_the_failure_policy_ends_the_job_at_once(cluster: Cluster) -> None:
    codes = {"containerName": "task", "operator": "In", "values": [3, 240]}
    policy = {"rules": [*DISRUPTION_IGNORED["rules"], {"action": "FailJob", "onExitCodes": codes}]}
    await cluster.start("exit 3", Outcome(seconds=0, exit_code=3), backoffLimit=5, podFailurePolicy=policy)
    done = await cluster.ended()
    pods = await cluster.pods()
    assert conditions(done) == {"FailureTarget": "PodFailurePolicy", "Failed": "PodFailurePolicy"}
    assert done["status"]["conditions"][-1]["message"] == (
        f"Container task for pod {cluster.namespace}/{pods[0]['metadata']['name']} failed with exit code 3 "
        "matching FailJob rule at index 1"
    )
    assert (len(pods), done["status"]["failed"]) == (1, 1)


async def test_a_job_past_its_deadline_deletes_its_pod_whatever_the_process_says(cluster: Cluster) -> None:
    await cluster.start(OBEYS, Outcome.hangs(sigterm_exit_code=0), activeDeadlineSeconds=3)
    done = await cluster.ended()
    assert conditions(done) == {"FailureTarget": "DeadlineExceeded", "Failed": "DeadlineExceeded"}
    assert done["status"]["conditions"][-1]["message"] == "Job was active longer than specified deadline"
    assert (done["status"]["failed"], done["status"].get("succeeded")) == (1, None)
    assert await cluster.server.eventually(cluster.no_pods)


async def test_a_pod_past_its_deadline_has_failed_though_its_process_ended_with_0(cluster: Cluster) -> None:
    await cluster.start(OBEYS, Outcome.hangs(sigterm_exit_code=0), pod={"activeDeadlineSeconds": 3})
    done = await cluster.ended()
    assert conditions(done)["Failed"] == "BackoffLimitExceeded"
    pod = (await cluster.pods())[0]
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert pod["status"]["message"] == "Pod was active on the node longer than the specified deadline"
    assert terminated(pod)["exitCode"] == 0
    assert "deletionTimestamp" not in pod["metadata"]


async def test_a_pod_deleted_by_hand_counts_as_failed_and_is_replaced(cluster: Cluster) -> None:
    command = 'if [ -e /dev/shm/x ]; then exit 0; fi; trap "exit 143" TERM; sleep 60 & wait'
    await cluster.start(command, Outcome.hangs(), backoffLimit=1)
    first = (await cluster.running())["metadata"]
    await cluster.api.delete(PODS, cluster.namespace, first["name"], first["uid"])

    async def replaced() -> Object | None:
        found = [pod for pod in await cluster.pods() if pod["metadata"]["uid"] != first["uid"]]
        return found[0] if found else None

    second = await cluster.server.eventually(replaced)
    assert second["metadata"]["name"] != first["name"]
    assert (await cluster.api.get(JOBS, cluster.namespace, "j"))["status"]["failed"] == 1
    with pytest.raises(NotFound):
        await cluster.api.get(PODS, cluster.namespace, first["name"])


async def test_a_pod_deleted_by_hand_whose_process_ends_with_0_completes_its_job(cluster: Cluster) -> None:
    await cluster.start(OBEYS, Outcome.hangs(sigterm_exit_code=0), backoffLimit=1)
    pod = (await cluster.running())["metadata"]
    await cluster.api.delete(PODS, cluster.namespace, pod["name"], pod["uid"])
    done = await cluster.ended()
    assert conditions(done)["Complete"] == "CompletionsReached"
    assert done["status"]["succeeded"] == 1
    assert await cluster.server.eventually(cluster.no_pods)


async def test_a_disrupted_pod_is_replaced_and_not_counted(cluster: Cluster) -> None:
    command = 'trap "exit 143" TERM; sleep 60 & wait'
    await cluster.start(command, Outcome.hangs(), podFailurePolicy=DISRUPTION_IGNORED)
    name = (await cluster.running())["metadata"]["name"]
    await cluster.server.evict(name)

    async def replaced() -> Object | None:
        found = [pod for pod in await cluster.pods() if pod["metadata"]["name"] != name]
        return found[0] if found else None

    assert await cluster.server.eventually(replaced)
    body = await cluster.api.get(JOBS, cluster.namespace, "j")
    assert body["status"].get("failed") is None
    assert conditions(body) == {}


async def test_an_image_that_cannot_be_pulled_never_fails_the_job_by_itself(cluster: Cluster) -> None:
    container = cluster.server.container("true", Outcome.image_pull_backoff("nowhere.invalid/nope:1"))
    body = job({**container, "image": "nowhere.invalid/nope:1"})
    await cluster.api.create(JOBS, cluster.namespace, body)
    pod = await cluster.only_pod(lambda pod: waiting(pod) == "ImagePullBackOff")
    assert pod["status"]["phase"] == "Pending"
    assert conditions(await cluster.api.get(JOBS, cluster.namespace, "j")) == {}
    with pytest.raises(BadRequest, match="is waiting to start"):
        await cluster.api.logs(cluster.namespace, pod["metadata"]["name"])


async def test_a_missing_secret_keeps_the_container_waiting(cluster: Cluster) -> None:
    container = cluster.server.container("true", Outcome.config_error('secret "nope" not found'))
    await cluster.api.create(JOBS, cluster.namespace, job({**container, "envFrom": [{"secretRef": {"name": "nope"}}]}))
    pod = await cluster.only_pod(lambda pod: waiting(pod) == "CreateContainerConfigError")
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] == 'secret "nope" not found'
    assert pod["status"]["phase"] == "Pending"


async def test_a_pod_that_fits_nowhere_is_unschedulable(cluster: Cluster) -> None:
    container = cluster.server.container("true", Outcome.never_schedules())
    await cluster.api.create(JOBS, cluster.namespace, job({**container, "resources": {"requests": {"cpu": "1000"}}}))
    pod = await cluster.only_pod(lambda pod: pod.get("status", {}).get("conditions"))
    entry = pod["status"]["conditions"][0]
    assert (entry["type"], entry["status"], entry["reason"]) == ("PodScheduled", "False", "Unschedulable")
    assert "nodes are available" in entry["message"]
    assert pod["status"]["phase"] == "Pending"
    await cluster.api.delete(JOBS, cluster.namespace, "j", None)

    assert await cluster.server.eventually(cluster.no_pods)


async def test_a_command_that_is_not_there_fails_with_128(cluster: Cluster) -> None:
    container = cluster.server.container("", Outcome.cannot_start())
    await cluster.api.create(JOBS, cluster.namespace, job({**container, "command": ["nope"]}))
    done = await cluster.ended()
    pod = (await cluster.pods())[0]
    assert conditions(done)["Failed"] == "BackoffLimitExceeded"
    assert terminated(pod)["exitCode"] == 128
    assert terminated(pod)["reason"] == "StartError"
    assert "executable file not found in $PATH" in terminated(pod)["message"]


async def test_a_running_pod_goes_with_its_job(cluster: Cluster) -> None:
    made = await cluster.start(OBEYS, Outcome.hangs())
    await cluster.running()
    await cluster.api.delete(JOBS, cluster.namespace, "j", made["metadata"]["uid"])

    assert await cluster.server.eventually(cluster.no_pods)
    with pytest.raises(NotFound):
        await cluster.api.get(JOBS, cluster.namespace, "j")


async def test_logs_can_be_followed_to_their_end_and_cut(cluster: Cluster) -> None:
    text = b"".join(b"line %d\n" % number for number in range(5))
    command = "for i in 0 1 2 3 4; do echo line $i; done; sleep 1"
    await cluster.start(command, Outcome(seconds=1, log=text))
    name = (await cluster.running())["metadata"]["name"]

    async def follow() -> bytes:
        return b"".join([chunk async for chunk in cluster.api.stream_logs(cluster.namespace, name)])

    following = asyncio.create_task(follow())
    await cluster.ended()
    assert await asyncio.wait_for(following, 10) == text
    assert await cluster.api.logs(cluster.namespace, name, tail_lines=2) == b"line 3\nline 4\n"
    assert await cluster.api.logs(cluster.namespace, name, keep_bytes=9) == b"3\nline 4\n"
    assert await cluster.api.logs(cluster.namespace, name, tail_lines=1, keep_bytes=90) == b"line 4\n"
    streamed = [chunk async for chunk in cluster.api.stream_logs(cluster.namespace, name, tail_lines=2, follow=False)]
    assert b"".join(streamed) == b"line 3\nline 4\n"
    with pytest.raises(BadRequest, match="container other is not valid for pod"):
        await cluster.api.logs(cluster.namespace, name, container="other")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_a_suspended_job_takes_its_pod_back_and_counts_no_failure(cluster: Cluster) -> None:
    await cluster.start("trap 'exit 143' TERM; sleep 60 & wait", Outcome.hangs())
    first = await cluster.running()
    await cluster.api.patch(JOBS, cluster.namespace, "j", {"spec": {"suspend": True}})

    def taken_back(pod: Object) -> bool:
        return "deletionTimestamp" in pod["metadata"]

    going = await cluster.pod(first["metadata"]["name"], taken_back)
    # The Job controller lets go of it before: it was not for its own fault.
    assert "finalizers" not in going["metadata"]
    await cluster.server.eventually(cluster.no_pods)
    held = await cluster.api.get(JOBS, cluster.namespace, "j")
    assert (held["status"].get("failed"), conditions(held)) == (None, {"Suspended": "JobSuspended"})
    await cluster.api.patch(JOBS, cluster.namespace, "j", {"spec": {"suspend": False}})
    second = await cluster.running()
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    resumed = await cluster.api.get(JOBS, cluster.namespace, "j")
    assert (resumed["status"].get("failed"), conditions(resumed)) == (None, {})
    assert resumed["status"]["startTime"] >= held["status"]["conditions"][0]["lastTransitionTime"]
