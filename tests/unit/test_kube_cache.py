"""The cache: what watches, answers and sweeps make of it, in whatever order they come."""

from __future__ import annotations

from typing import Any

from nexus.adapters.kube.cache.families import depth
from nexus.adapters.kube.cache.runs import Cache
from nexus.api.base import parse_time
from nexus.api.reasons import Reason, TaskPhase
from nexus.core.model.facts import PodFact
from nexus.core.names import child_name, job_name
from nexus.core.tasks.identity import Makes
from nexus.runtime.ports import RunKey

KEY = RunKey("default", "sales")
TIME = "2026-11-23T09:00:00Z"


def run(uid: str = "run-1", version: int = 10, **status: Any) -> dict[str, Any]:
    metadata = {"namespace": "default", "name": "sales", "uid": uid, "resourceVersion": str(version)}
    body: dict[str, Any] = {"metadata": {**metadata, "creationTimestamp": TIME, "generation": 1}}
    body["spec"] = {"workflowRef": {"name": "sales"}}
    return {**body, "status": status} if status else body


def job(uid: str = "job-1", version: int = 20, owner: str = "run-1", name: str = "", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "default",
            "name": name or job_name("sales", owner, "a", 1),
            "uid": uid,
            "resourceVersion": str(version),
            "creationTimestamp": TIME,
            "labels": {"nexus.dev/task": "a", "nexus.dev/attempt": "1"},
            "ownerReferences": [{"kind": "WorkflowRun", "name": "sales", "uid": owner, "controller": True}],
        },
        "status": status,
    }


def pod(uid: str = "pod-1", owner: str = "job-1", exit_code: int | None = None) -> dict[str, Any]:
    state = {"running": {}} if exit_code is None else {"terminated": {"exitCode": exit_code, "finishedAt": TIME}}
    return {
        "metadata": {
            "namespace": "default",
            "name": f"name-of-{uid}",
            "uid": uid,
            "resourceVersion": "30",
            "creationTimestamp": TIME,
            "ownerReferences": [{"kind": "Job", "uid": owner, "controller": True}],
        },
        "status": {"phase": "Running", "containerStatuses": [{"name": "task", "state": state}]},
    }


def empty() -> Cache:
    """A cache that knows what the tasks of a run make: a view of the run says so."""
    cache = Cache()
    cache.expect("run-1", {"a": Makes.JOBS, "call": Makes.CHILDREN})
    return cache


def filled() -> Cache:
    cache = empty()
    cache.see_run(run())
    cache.see_job(job())
    cache.see_pod(pod())
    return cache


def test_every_change_that_matters_tells_which_run_to_look_at() -> None:
    cache = empty()

    assert [cache.see_run(run()), cache.see_job(job()), cache.see_pod(pod())] == [(KEY,), (KEY,), (KEY,)]
    assert cache.see_job(job(version=21, failed=1)) == (KEY,)
    assert cache.see_pod(pod(exit_code=0)) == (KEY,)


def test_what_changes_nothing_that_matters_wakes_nobody() -> None:
    cache = filled()

    assert cache.see_run(run()) == ()
    assert cache.see_job(job(version=21)) == ()
    assert cache.see_pod(pod()) == ()


def test_a_job_is_seen_with_its_pods_as_they_are_now() -> None:
    cache = filled()
    (before,) = cache.jobs("run-1")["a"]
    assert before.pods[0].running

    cache.see_pod(pod(exit_code=3))
    cache.see_job(job(version=21, failed=1))

    (after,) = cache.jobs("run-1")["a"]
    assert (after.failed, after.pods[0].running, after.pods[0].terminated is not None) == (1, False, True)


def test_older_news_than_the_answer_to_our_own_write_is_passed_over() -> None:
    cache = filled()
    cache.see_run(run(version=12, phase="Running", tasksDone="1/1"))

    assert cache.see_run(run(version=11)) == ()
    status = cache.runs[KEY].status
    assert status is not None
    assert status.tasks_done == "1/1"


def test_a_run_made_again_under_the_same_name_inherits_nothing() -> None:
    cache = filled()

    assert cache.see_run(run(uid="run-2", version=40)) == (KEY,)

    assert cache.jobs("run-1") == cache.jobs("run-2") == {}
    assert cache.see_run(run(version=41), gone=True) == (KEY,)
    assert cache.runs[KEY].uid == "run-2"


def test_a_pod_that_ended_proves_what_it_proved_though_it_was_deleted() -> None:
    cache = filled()
    cache.see_pod(pod(exit_code=0))

    cache.see_pod(pod(exit_code=0), gone=True)

    assert cache.jobs("run-1")["a"][0].pods[0].terminated is not None


def test_a_pod_that_was_deleted_while_it_ran_is_gone() -> None:
    cache = filled()

    assert cache.see_pod(pod(), gone=True) == (KEY,)
    assert cache.jobs("run-1")["a"][0].pods == ()


def test_a_sweep_drops_what_the_watches_never_said_is_gone() -> None:
    cache = filled()

    assert cache.sweep(cache.known(), {"runs": {"run-1"}, "jobs": set(), "pods": set()}) == [KEY]
    assert cache.jobs("run-1") == {}
    assert cache.sweep(cache.known(), {"runs": set(), "jobs": set(), "pods": set()}) == [KEY]
    assert cache.runs == {}


def test_a_sweep_leaves_what_was_made_while_it_listed() -> None:
    cache = empty()
    known = cache.known()
    cache.see_run(run())
    cache.see_job(job())
    cache.see_pod(pod())

    assert cache.sweep(known, {"runs": set(), "jobs": set(), "pods": set()}) == []
    assert cache.jobs("run-1")["a"][0].pods


def test_a_sweep_that_finds_everything_there_wakes_nobody() -> None:
    cache = filled()

    assert cache.sweep(cache.known(), {"runs": {"run-1"}, "jobs": {"job-1"}, "pods": {"pod-1"}}) == []
    assert cache.jobs("run-1")["a"][0].pods


def deleted(body: dict[str, Any], at: str, grace: int) -> dict[str, Any]:
    """The pod with a deletion; `at` is when its grace period ends."""
    return {**body, "metadata": {**body["metadata"], "deletionTimestamp": at, "deletionGracePeriodSeconds": grace}}


def only_pod(cache: Cache) -> PodFact:
    (one,) = cache.jobs("run-1")["a"]
    (pod_fact,) = one.pods
    return pod_fact


def test_a_pod_was_asked_to_stop_when_its_grace_period_began() -> None:
    cache = filled()
    cache.see_pod(deleted(pod(exit_code=0), at="2026-11-23T09:00:30Z", grace=30))
    assert only_pod(cache).deleted_at == parse_time(TIME)


def test_the_kubelets_own_deletion_does_not_hide_that_somebody_asked_before() -> None:
    # Its period of 0 moves the end to now: as if the pod had been asked to stop after its container had ended.
    late = deleted(pod(exit_code=0), at="2026-11-23T09:00:05Z", grace=0)
    cache = filled()
    cache.see_pod(deleted(pod(), at="2026-11-23T09:00:30Z", grace=30))
    cache.see_pod(late)
    assert only_pod(cache).deleted_at == parse_time(TIME)
    fresh = filled()  # an operator that was not there in between cannot know: any time since the pod's creation
    fresh.see_pod(late)
    assert only_pod(fresh).deleted_at == parse_time(TIME)


def test_a_pod_that_had_ended_is_not_made_doubtful_by_its_deletion() -> None:
    cache = filled()
    cache.see_pod(pod(exit_code=0))
    cache.see_pod(deleted(pod(exit_code=0), at="2026-11-23T09:00:05Z", grace=0), gone=True)
    assert only_pod(cache).deleted_at is None


# -- child runs -------------------------------------------------------------------------------------------------------

CHILD = RunKey("default", child_name("sales", "run-1", "call", 1))


def child(uid: str = "child-1", version: int = 50, labelled: bool = True, **status: Any) -> dict[str, Any]:
    labels = {"nexus.dev/task": "call", "nexus.dev/attempt": "1", "nexus.dev/depth": "1"}
    metadata = {
        "namespace": "default",
        "name": CHILD.name,
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": TIME,
        "generation": 1,
        "labels": labels if labelled else {},
        "ownerReferences": [{"kind": "WorkflowRun", "name": "sales", "uid": "run-1", "controller": True}],
    }
    return {"metadata": metadata, "spec": {"workflowRef": {"name": "price"}}, **({"status": status} if status else {})}


def test_news_of_a_child_run_is_news_for_its_parent() -> None:
    cache = filled()

    assert cache.see_run(child()) == (CHILD, KEY)
    assert cache.see_run(child(version=51, phase="Running", tasksDone="0/3")) == (CHILD, KEY)
    assert cache.see_run(child(version=52, phase="Running", tasksDone="1/3")) == (CHILD,)
    assert cache.see_run(child(version=53, phase="Failed", reason="TaskFailed", message="x")) == (CHILD, KEY)
    assert cache.see_run(child(version=53), gone=True) == (CHILD, KEY)
    assert cache.sorted("run-1").children == {}


def test_what_an_ended_child_came_to_is_kept_until_its_parent_has_ended() -> None:
    cache = filled()
    cache.see_run(child(phase="Succeeded", outputs={"n": 1}, message="well"))
    record = cache.runs[CHILD]
    assert record.status is not None
    assert record.status.outputs is None
    assert (record.adopted, record.depth) == (True, 1)

    (kept,) = cache.sorted("run-1").children["call"]
    cache.see_run(run(version=60, phase="Succeeded", tasks=[{"name": "call", "phase": "Succeeded"}]))
    cache.compact("run-1")
    (compacted,) = cache.sorted("run-1").children["call"]

    assert (kept.outputs, kept.message) == ({"n": 1}, "well")
    assert (compacted.outputs, compacted.message, compacted.phase) == (None, "", "Succeeded")


def test_a_child_that_is_seen_before_its_parent_is_there_when_that_comes() -> None:
    cache = empty()

    assert cache.see_run(child()) == (CHILD,)
    assert cache.see_run(run()) == (KEY,)
    assert [found.name for found in cache.sorted("run-1").children["call"]] == [CHILD.name]


def test_a_child_made_again_under_the_same_name_is_another() -> None:
    cache = filled()
    cache.see_run(child(phase="Failed", message="x"))

    assert cache.see_run(child(uid="child-2", version=60)) == (CHILD, KEY)
    (found,) = cache.sorted("run-1").children["call"]
    assert (found.uid, found.phase, found.message) == ("child-2", "Pending", "")


def test_a_child_without_our_labels_is_known_by_its_name() -> None:
    cache = filled()

    assert cache.see_run(child(labelled=False)) == (CHILD, KEY)
    assert [found.attempt_number for found in cache.sorted("run-1").children["call"]] == [1]
    assert depth(cache, cache.runs[CHILD]) == 1


def test_a_sweep_tells_the_parent_of_a_child_that_is_gone() -> None:
    cache = filled()
    cache.see_run(child())

    assert cache.sweep(cache.known(), {"runs": {"run-1"}, "jobs": {"job-1"}, "pods": {"pod-1"}}) == [KEY, CHILD]
    assert cache.sorted("run-1").children == {}


def test_an_ended_run_keeps_how_its_children_are_to_be_cancelled() -> None:
    cache = empty()
    body = run(phase="Cancelled")
    body["spec"]["cancel"] = "Immediate"
    cache.see_run(body)

    assert cache.runs[KEY].fact().cancel == "Immediate"


def test_a_run_for_a_tick_is_told_of_it() -> None:
    cache = empty()
    body = run()
    times = {"scheduledTime": TIME, "intervalStart": "2026-11-22T09:00:00Z", "intervalEnd": TIME}
    body["spec"] = {**body["spec"], **times, "schedule": "nightly", "timeZone": "Europe/Berlin"}
    cache.see_run(body)
    fact = cache.runs[KEY].fact()
    assert fact.scheduled_time == fact.interval_end == parse_time(TIME)
    assert fact.interval_start == parse_time("2026-11-22T09:00:00Z")
    assert fact.time_zone == "Europe/Berlin"


def test_what_a_newer_operator_wrote_of_a_run_does_not_fail_it_after_a_rollback() -> None:
    failures = [{"index": 1, "reason": "FromTheFuture"}]
    items = {"total": 2, "succeeded": 1, "failed": 1, "running": 0, "failures": failures, "new": {"field": 1}}
    task = {"name": "a", "phase": "Failed", "reason": "FromTheFuture", "later": 1, "items": items}
    cache = empty()
    cache.see_run(run(tasks=[task], another=[{"new": "field"}], reason="FromTheFuture"))
    (record,) = cache.runs.values()
    assert record.invalid == ""
    assert record.status is not None
    (known,) = record.status.tasks or ()
    assert (known.phase, known.reason, record.status.reason) == (TaskPhase.FAILED, None, None)
    assert known.items is not None
    assert [failure.reason for failure in known.items.failures or ()] == [Reason.TASK_ERROR]


def test_a_status_that_nobody_can_have_written_is_said_to_be_invalid() -> None:
    cache = empty()
    cache.see_run(run(tasks=[{"name": "a", "phase": "Sideways", "new": 1}]))
    (record,) = cache.runs.values()
    assert "phase" in record.invalid


def test_of_a_run_that_ended_without_entries_what_is_left_is_still_known() -> None:
    """Its status had no room for them, or none was written: its Jobs are to be stopped all the same."""
    cache = Cache()
    cache.see_run(run(version=10, phase="Failed"))
    cache.see_job(job())
    cache.see_job(job(uid="job-2", version=21, name="forged"))

    found = cache.sorted("run-1")
    assert [one.uid for one in found.jobs["a"]] == ["job-1"]
    assert [one.uid for one in found.forged] == ["job-2"]
