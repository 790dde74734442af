"""What is known of Workflows: small records, read once a generation, whoever wrote the status."""

from __future__ import annotations

from typing import Any

from tests.builders import START, spec, task

from nexus.adapters.kube.workflow_cache import WorkflowCache, known_status
from nexus.api.base import format_time
from nexus.runtime.ports import RunKey

KEY = RunKey("default", "sales")
HOURLY = {"name": "hourly", "cron": "@hourly"}


def workflow(version: int, generation: int = 1, uid: str = "w", **status: Any) -> dict[str, Any]:
    metadata = {"namespace": "default", "name": "sales", "uid": uid, "creationTimestamp": format_time(START)}
    return {
        "metadata": {**metadata, "resourceVersion": str(version), "generation": generation},
        "spec": spec(task("a"), schedules=[HOURLY]).to_json(),
        "status": status,
    }


def run(version: int, uid: str = "r", owner: str = "w", workflow: str = "sales", **status: Any) -> dict[str, Any]:
    owners = [{"kind": "Workflow", "name": workflow, "uid": owner, "controller": True}] if owner else []
    metadata = {"namespace": "default", "name": uid, "uid": uid, "creationTimestamp": format_time(START)}
    return {
        "metadata": {**metadata, "resourceVersion": str(version), "ownerReferences": owners},
        "spec": {"workflowRef": {"name": workflow}, "triggeredBy": "no such trigger"},
        "status": status,
    }


def test_news_is_news_once_and_the_spec_is_read_once_a_generation() -> None:
    cache = WorkflowCache()
    assert cache.see_workflow(workflow(5)) == (KEY,)
    before = cache.workflows[KEY]
    assert cache.see_workflow(workflow(5)) == cache.see_workflow(workflow(4)) == ()
    assert cache.see_workflow(workflow(6, taskCount=1)) == (KEY,)
    assert cache.workflows[KEY].schedules[0] is before.schedules[0]
    assert cache.see_workflow(workflow(7, generation=2)) == (KEY,)
    assert cache.workflows[KEY].schedules[0] is not before.schedules[0]


def test_another_workflow_of_the_name_is_another_one() -> None:
    cache = WorkflowCache()
    cache.see_workflow(workflow(5, uid="old"))
    assert cache.see_workflow(workflow(3, uid="new")) == (KEY,)
    assert cache.see_workflow(workflow(9, uid="old"), gone=True) == ()
    assert cache.workflows[KEY].uid == "new"
    cache.see_workflow(workflow(9, uid="new"), gone=True)
    assert cache.workflows == {}


def test_runs_are_those_of_the_owner_or_of_nobody_yet() -> None:
    cache = WorkflowCache()
    for body in (run(1, "mine"), run(2, "free", owner=""), run(3, "strange", owner="x"), run(4, "other", workflow="b")):
        cache.see_run(body)
    assert [entry.name for entry in cache.runs(KEY, "w")] == ["mine", "free"]
    assert cache.see_run(run(1, "mine")) == ()
    assert cache.see_run(run(5, "mine", phase="Running")) == (KEY,)
    assert cache.see_run(run(6, "mine", phase="Running", tasksDone="1/2")) == ()
    assert cache.see_run(run(7, "mine"), gone=True) == (KEY,)
    assert [entry.name for entry in cache.runs(KEY, "w")] == ["free"]


def test_a_sweep_drops_what_is_gone_and_keeps_what_is_new() -> None:
    cache = WorkflowCache()
    cache.see_workflow(workflow(1))
    cache.see_run(run(1, "gone"))
    known = cache.known()
    cache.see_run(run(2, "new"))

    assert cache.sweep(known, set(), {"w"}) == [KEY]
    assert [entry.name for entry in cache.runs(KEY, "w")] == ["new"]
    assert cache.sweep(cache.known(), {"new"}, set()) == []
    assert cache.workflows == {}


def test_what_a_newer_operator_wrote_does_not_hide_what_it_knows() -> None:
    times = {"since": format_time(START), "lastScheduleTime": format_time(START), "fromTheFuture": 1}
    schedule = {"name": "hourly", "definition": "x", **times}
    status = known_status({"taskCount": 3, "another": {"new": "field"}, "schedules": [schedule]})
    assert status is not None
    assert status.task_count == 3
    assert (status.schedules or [])[0].last_schedule_time == START
    assert known_status({}) is None
    assert known_status({"taskCount": "many"}) is None
