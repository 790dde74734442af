"""The fake's Job controller and kubelet, in what takes too long or needs too much of a real cluster.

Each docstring names its source in Kubernetes 1.34. What a real cluster can be asked quickly stands in tests/contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from nexus.adapters.fake import FakeCluster, Outcome
from nexus.adapters.fake.objects import parsed
from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, PODS, BadRequest, NotFound, Object

IGNORE_DISRUPTION = {
    "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
}


def a_job(name: str = "j", *, task: str = "t", pod: Object | None = None, **spec: Any) -> Object:
    """A Job of one pod of a task, replaced only when it has ended."""
    labels = {"nexus.dev/task": task, "nexus.dev/run": "r"}
    container = {"name": "task", "image": "busybox"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [container], **(pod or {})},
    }
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": template, **spec},
    }


def cluster_with(*outcomes: Outcome, **spec: Any) -> FakeCluster:
    """A cluster with one Job whose pods go like this."""
    cluster = FakeCluster()
    cluster.script("t", *outcomes)
    cluster.add(JOBS, a_job(**spec))
    return cluster


def job(cluster: FakeCluster, name: str = "j") -> Object:
    """The Job."""
    found = cluster.find(JOBS, "default", name)
    assert found is not None
    return found


def pods(cluster: FakeCluster) -> list[Object]:
    """All pods, oldest first."""
    return sorted(cluster.objects(PODS), key=lambda pod: int(pod["metadata"]["resourceVersion"]))


def true_conditions(body: Object) -> dict[str, str]:
    """Type and reason of the conditions that are true."""
    known = body.get("status", {}).get("conditions") or []
    return {entry["type"]: entry.get("reason", "") for entry in known if entry["status"] == "True"}


def ended(cluster: FakeCluster) -> Callable[[], bool]:
    """Whether the Job has a terminal condition."""
    return lambda: bool(true_conditions(job(cluster)).keys() & {"Complete", "Failed"})


def seconds_until(cluster: FakeCluster, what: Callable[[], object], limit: float = 10_000) -> float:
    """How long it takes until that."""
    start = cluster.clock.now()
    cluster.run_until(what, limit)
    return (cluster.clock.now() - start).total_seconds()


def running(cluster: FakeCluster) -> Callable[[], bool]:
    """Whether a pod runs."""
    return lambda: any(pod["status"]["phase"] == "Running" for pod in cluster.objects(PODS))


# -- the Job controller ------------------------------------------------------------------------------------------------


def test_failed_pods_back_off_from_10_seconds_doubling_to_600() -> None:
    """backoff_utils.go getRemainingTimeForFailuresCount: counted from the last failure's finish, in whole seconds."""
    cluster = cluster_with(Outcome(seconds=0.5, exit_code=1), backoffLimit=8)
    cluster.run_until(ended(cluster), 10_000)
    finished = sorted(
        parsed(pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]) for pod in pods(cluster)
    )
    created = sorted(parsed(pod["metadata"]["creationTimestamp"]) for pod in pods(cluster))
    waits = [(next_ - last).total_seconds() for last, next_ in zip(finished, created[1:], strict=False)]
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600]
    assert true_conditions(job(cluster)) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert job(cluster)["status"]["failed"] == 9


def test_a_finished_pod_is_counted_before_its_job_is_complete() -> None:
    """job_controller.go trackJobStatusAndRemoveFinalizers: uncounted, without finalizer, counted and complete."""
    cluster = FakeCluster()
    seen: list[tuple[Object, int, list[str]]] = []

    def note(_type: str, body: Object) -> None:
        status = body["status"]
        seen.append(
            (status.get("uncountedTerminatedPods", {}), status.get("succeeded", 0), list(true_conditions(body)))
        )

    cluster.subscribe(JOBS, note)
    cluster.add(JOBS, a_job())
    cluster.run_until(ended(cluster))
    uid = pods(cluster)[0]["metadata"]["uid"]
    assert seen[-2:] == [
        ({"succeeded": [uid]}, 0, ["SuccessCriteriaMet"]),
        ({}, 1, ["SuccessCriteriaMet", "Complete"]),
    ]


def test_a_job_is_complete_seconds_after_its_container_ended() -> None:
    """Measured on a real node: terminated, the phase 1.3 s later, the Job's Complete 0.8 s after that."""
    cluster = cluster_with(Outcome(seconds=1))

    def terminated() -> bool:
        return any("terminated" in str(pod["status"].get("containerStatuses")) for pod in cluster.objects(PODS))

    assert 1.5 < seconds_until(cluster, terminated) < 2.0
    assert cluster.objects(PODS)[0]["status"]["phase"] == "Running"
    assert 0.5 < seconds_until(cluster, lambda: pods(cluster)[0]["status"]["phase"] == "Succeeded") < 1.5
    assert 0.1 < seconds_until(cluster, ended(cluster)) < 1.5


def test_an_ignored_disruption_is_not_counted_but_waits_like_a_failure() -> None:
    """NewBackoffRecord takes failed pods unfiltered, nonIgnoredFailedPodsCount does not count them."""
    cluster = cluster_with(Outcome.drained(2), Outcome(seconds=1), podFailurePolicy=IGNORE_DISRUPTION)
    assert 11 < seconds_until(cluster, ended(cluster)) < 18
    assert job(cluster)["status"].get("failed") is None
    assert true_conditions(job(cluster))["Complete"] == "CompletionsReached"


def test_without_a_policy_a_disruption_uses_up_the_limit() -> None:
    """MatchPodFailurePolicy without a policy counts every failure."""
    cluster = cluster_with(Outcome.drained(2), Outcome(seconds=1))
    cluster.run_until(ended(cluster))
    assert true_conditions(job(cluster))["Failed"] == "BackoffLimitExceeded"


def test_a_pod_evicted_for_node_pressure_stays_with_its_reason() -> None:
    """eviction_manager.go: phase Failed, reason Evicted, DisruptionTarget TerminationByKubelet; nobody deletes it."""
    cluster = cluster_with(Outcome.evicted(2), Outcome(seconds=1), podFailurePolicy=IGNORE_DISRUPTION)
    cluster.run_until(ended(cluster))
    evicted = next(pod for pod in pods(cluster) if pod["status"].get("reason") == "Evicted")
    assert evicted["status"]["phase"] == "Failed"
    assert true_conditions(evicted)["DisruptionTarget"] == "TerminationByKubelet"
    assert evicted["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
    assert true_conditions(job(cluster))["Complete"] == "CompletionsReached"


@pytest.mark.parametrize(("code", "ends"), [(3, "PodFailurePolicy"), (4, "BackoffLimitExceeded")])
def test_the_failure_policy_looks_at_exit_codes(code: int, ends: str) -> None:
    """pod_failure_policy.go matchOnExitCodes: In and NotIn, never 0, of the container named."""
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "task", "operator": "In", "values": [3]}}
    cluster = cluster_with(Outcome(exit_code=code), backoffLimit=1, podFailurePolicy={"rules": [rule]})
    cluster.run_until(ended(cluster))
    assert true_conditions(job(cluster))["Failed"] == ends


def test_not_in_matches_every_other_exit_code_but_0() -> None:
    """IsOnExitCodesOperatorMatching."""
    rule = {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [3]}}
    cluster = cluster_with(
        Outcome(exit_code=3), Outcome(exit_code=0), backoffLimit=1, podFailurePolicy={"rules": [rule]}
    )
    cluster.run_until(ended(cluster))
    assert true_conditions(job(cluster))["Complete"] == "CompletionsReached"


def test_the_first_rule_that_matches_decides() -> None:
    """MatchPodFailurePolicy goes through the rules in order."""
    codes = {"operator": "In", "values": [143]}
    rules = [*IGNORE_DISRUPTION["rules"], {"action": "FailJob", "onExitCodes": codes}]
    cluster = cluster_with(Outcome.drained(1), Outcome(seconds=1), podFailurePolicy={"rules": rules})
    cluster.run_until(ended(cluster))
    assert true_conditions(job(cluster))["Complete"] == "CompletionsReached"


def test_a_pod_that_is_going_is_replaced_at_once_where_the_policy_says_so() -> None:
    """IsPodFailed and manageJob with podReplacementPolicy TerminatingOrFailed: two processes at a time."""
    stubborn = Outcome.hangs(ignores_sigterm=True)
    cluster = cluster_with(stubborn, stubborn, backoffLimit=1, podReplacementPolicy="TerminatingOrFailed")
    cluster.run_until(running(cluster))
    cluster.remove(PODS, pods(cluster)[0]["metadata"]["name"])
    cluster.advance(15)
    assert [pod["status"]["phase"] for pod in pods(cluster)] == ["Running", "Running"]


def test_a_pod_that_is_going_is_replaced_after_its_end_where_only_failed_ones_are() -> None:
    """onlyReplaceFailedPods: with podReplacementPolicy Failed there are never two processes."""
    stubborn = Outcome.hangs(ignores_sigterm=True)
    cluster = cluster_with(stubborn, stubborn, backoffLimit=1)
    cluster.run_until(running(cluster))
    cluster.remove(PODS, pods(cluster)[0]["metadata"]["name"])
    cluster.advance(25)
    assert len(pods(cluster)) == 1
    assert job(cluster)["status"]["terminating"] == 1
    cluster.advance(20)
    assert len(pods(cluster)) == 1
    assert "deletionTimestamp" not in pods(cluster)[0]["metadata"]


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period() -> None:
    """Kuberuntime killContainer: SIGKILL after terminationGracePeriodSeconds, exit code 137."""
    cluster = cluster_with(Outcome.hangs(ignores_sigterm=True), activeDeadlineSeconds=10)
    last: list[Object] = []
    cluster.subscribe(PODS, lambda _type, body: last.append(body))
    assert 39 <= seconds_until(cluster, ended(cluster)) <= 43
    assert last[-1]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
    assert true_conditions(job(cluster))["Failed"] == "DeadlineExceeded"


def test_the_deadline_of_a_job_runs_on_through_its_backoff() -> None:
    """PastActiveDeadline counts from status.startTime, whatever pods there were."""
    cluster = cluster_with(Outcome(exit_code=1), backoffLimit=6, activeDeadlineSeconds=25)
    assert 24 <= seconds_until(cluster, ended(cluster)) <= 27
    assert true_conditions(job(cluster))["Failed"] == "DeadlineExceeded"


def test_a_job_keeps_as_many_pods_as_its_parallelism_until_its_completions() -> None:
    """manageJob: wantActive = min(parallelism, completions - succeeded)."""
    cluster = cluster_with(Outcome(seconds=5), parallelism=2, completions=3)
    cluster.run_until(running(cluster))
    assert len(pods(cluster)) == 2
    cluster.run_until(ended(cluster))
    assert (len(pods(cluster)), job(cluster)["status"]["succeeded"]) == (3, 3)


def test_a_suspended_job_has_no_pods_until_it_is_resumed() -> None:
    """ManageJob deletes the active pods of a suspended Job (Kueue creates and holds Jobs that way)."""
    cluster = cluster_with(Outcome(seconds=1), suspend=True)
    cluster.advance(60)
    assert (pods(cluster), true_conditions(job(cluster))) == ([], {"Suspended": "JobSuspended"})
    asyncio.run(cluster.patch(JOBS, "default", "j", {"spec": {"suspend": False}}))
    cluster.run_until(ended(cluster))
    assert true_conditions(job(cluster))["Complete"] == "CompletionsReached"


def test_a_pod_whose_job_is_gone_loses_its_finalizer_and_goes() -> None:
    """syncOrphanPod, and the garbage collector after it."""
    cluster = cluster_with(Outcome.hangs())
    cluster.run_until(running(cluster))
    cluster.remove(JOBS, "j")
    cluster.advance(5)
    assert pods(cluster) == []


# -- the kubelet -------------------------------------------------------------------------------------------------------


def test_the_nth_pod_of_a_task_gets_the_nth_outcome_and_the_last_is_repeated() -> None:
    cluster = cluster_with(Outcome(exit_code=1), Outcome(exit_code=2), backoffLimit=3)
    cluster.run_until(ended(cluster), 1000)
    codes = [pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] for pod in pods(cluster)]
    assert sorted(codes) == [1, 2, 2, 2]


def test_every_run_goes_through_the_script_from_its_beginning() -> None:
    cluster = FakeCluster()
    cluster.script("t", Outcome(exit_code=1), Outcome())
    for name in ("one", "two"):
        owner = cluster.add(CONFIG_MAPS, {"metadata": {"name": name}})["metadata"]["uid"]
        body = a_job(name, backoffLimit=1)
        body["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner}]
        cluster.add(JOBS, body)
    cluster.advance(60)
    assert [job(cluster, name)["status"]["failed"] for name in ("one", "two")] == [1, 1]
    assert [job(cluster, name)["status"]["succeeded"] for name in ("one", "two")] == [1, 1]


def test_an_outcome_can_be_made_of_what_the_pod_was_given() -> None:
    cluster = FakeCluster()
    cluster.script("t", lambda pod: Outcome(message=pod["spec"]["containers"][0]["image"]))
    cluster.add(JOBS, a_job())
    cluster.run_until(ended(cluster))
    assert pods(cluster)[0]["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "busybox"


def test_a_script_needs_an_outcome() -> None:
    with pytest.raises(ValueError, match="at least one Outcome"):
        FakeCluster().script("t")


def test_a_termination_message_is_cut_at_4096_bytes() -> None:
    """Kuberuntime limits the message it reads of the file."""
    cluster = cluster_with(Outcome(message="é" * 3000))
    cluster.run_until(ended(cluster))
    message = pods(cluster)[0]["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    assert message == "é" * 2048


def test_a_container_out_of_memory_is_no_disruption() -> None:
    """The kernel's OOM killer gives 137 and OOMKilled, and no condition that a policy could ignore."""
    cluster = cluster_with(Outcome.oom(), podFailurePolicy=IGNORE_DISRUPTION)
    cluster.run_until(ended(cluster))
    state = pods(cluster)[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")
    assert true_conditions(job(cluster))["Failed"] == "BackoffLimitExceeded"


def test_a_pod_deleted_before_it_had_a_node_is_ended_by_the_garbage_collector() -> None:
    """Podgc gc_controller.go gcUnscheduledTerminating, every 20 s: the finalizer holds the pod until then."""
    cluster = cluster_with(Outcome.never_schedules())
    cluster.advance(1)
    cluster.remove(PODS, pods(cluster)[0]["metadata"]["name"])
    cluster.advance(5)
    assert pods(cluster)[0]["status"]["phase"] == "Pending"
    cluster.advance(30)
    assert pods(cluster) == []
    assert job(cluster)["status"]["failed"] == 1


def test_a_pod_that_never_started_ends_when_it_is_deleted() -> None:
    """A waiting container of a pod that is going counts as failed (kubelet getPhase with podIsTerminal)."""
    cluster = cluster_with(Outcome.image_pull_backoff())
    cluster.advance(5)
    cluster.remove(JOBS, "j")
    cluster.advance(5)
    assert pods(cluster) == []


def test_a_pod_deleted_between_its_process_and_its_phase_keeps_how_it_ended() -> None:
    cluster = cluster_with(Outcome(seconds=1))
    cluster.run_until(lambda: "terminated" in str(cluster.objects(PODS)))
    last: list[Object] = []
    cluster.subscribe(PODS, lambda _type, body: last.append(body))
    cluster.remove(PODS, pods(cluster)[0]["metadata"]["name"])
    cluster.run_until(ended(cluster))
    assert last[-1]["status"]["phase"] == "Succeeded"
    assert true_conditions(job(cluster))["Complete"] == "CompletionsReached"


def test_deleting_a_pod_by_force_waits_for_no_grace() -> None:
    cluster = cluster_with(Outcome.hangs(ignores_sigterm=True), Outcome(seconds=1), backoffLimit=1)
    cluster.run_until(running(cluster))
    first = pods(cluster)[0]["metadata"]
    cluster.remove(PODS, first["name"], grace_seconds=0)
    cluster.advance(3)
    assert cluster.find(PODS, "default", first["name"]) is None


def test_a_log_is_there_when_its_process_has_ended() -> None:
    cluster = cluster_with(Outcome(seconds=5, log=b"one\ntwo\n"))
    cluster.run_until(running(cluster))
    name = pods(cluster)[0]["metadata"]["name"]
    assert asyncio.run(cluster.logs("default", name)) == b""
    cluster.run_until(ended(cluster))
    assert asyncio.run(cluster.logs("default", name)) == b"one\ntwo\n"
    assert asyncio.run(cluster.logs("default", name, tail_lines=1)) == b"two\n"


def test_a_process_that_hangs_has_written_its_log_at_the_start() -> None:
    cluster = cluster_with(Outcome.hangs(log=b"waiting"))
    cluster.run_until(running(cluster))
    assert asyncio.run(cluster.logs("default", pods(cluster)[0]["metadata"]["name"])) == b"waiting"


def test_a_container_that_has_not_started_has_no_log() -> None:
    cluster = cluster_with(Outcome.config_error())
    cluster.advance(5)
    with pytest.raises(BadRequest, match="is waiting to start: CreateContainerConfigError"):
        asyncio.run(cluster.logs("default", pods(cluster)[0]["metadata"]["name"]))
    with pytest.raises(NotFound):
        asyncio.run(cluster.logs("default", "nope"))
