"""What is known of Workflows: small records, read once a generation, whoever wrote the status."""

from __future__ import annotations

from typing import Any

from tests.builders import START, at, spec, task

from nexus.adapters.kube.cache.workflows import WorkflowCache, known_status
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


def run(
    version: int,
    uid: str = "r",
    owner: str = "w",
    workflow: str = "sales",
    owner_name: str = "",
    seconds: float = 0,
    **status: Any,
) -> dict[str, Any]:
    owners = [{"kind": "Workflow", "name": owner_name or workflow, "uid": owner, "controller": True}] if owner else []
    metadata = {"namespace": "default", "name": uid, "uid": uid, "creationTimestamp": format_time(at(seconds))}
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
    cache.see_workflow(workflow(1))
    record = cache.workflows[KEY]
    for body in (
        run(1, "mine"),
        run(2, "free", owner=""),
        run(3, "before", owner="x", seconds=-1),
        run(4, "other", workflow="b"),
        run(5, "forged", owner="x", seconds=1),
        run(6, "foreign", owner="x", owner_name="b", seconds=-1),
    ):
        cache.see_run(body)
    assert [entry.name for entry in cache.runs(record)] == ["mine", "free", "forged", "foreign"]
    assert cache.see_run(run(1, "mine")) == ()
    assert cache.see_run(run(5, "mine", phase="Running")) == (KEY,)
    assert cache.see_run(run(6, "mine", phase="Running", tasksDone="1/2")) == ()
    assert cache.see_run(run(7, "mine"), gone=True) == (KEY,)
    assert [entry.name for entry in cache.runs(record)] == ["free", "forged", "foreign"]


def test_a_run_that_lost_its_label_is_still_a_run_of_its_workflow() -> None:
    cache = WorkflowCache()
    cache.see_workflow(workflow(1))
    record = cache.workflows[KEY]
    cache.see_run(run(2, "mine"))

    assert [entry.name for entry in cache.all_runs(record, ())] == ["mine"]
    assert [entry.name for entry in cache.all_runs(record, cache.runs(record))] == ["mine"]


def test_a_child_is_who_was_made_by_the_run_that_it_names() -> None:
    cache = WorkflowCache()
    cache.see_workflow(workflow(1))
    for uid in ("child", "claims"):
        body = run(2, uid)
        body["metadata"]["ownerReferences"] = [
            {"kind": "WorkflowRun", "name": "up", "uid": "up-uid", "controller": True}
        ]
        body["spec"]["triggeredBy"] = "workflow"
        cache.see_run(body)
    cache.is_child = lambda namespace, parent, uid: (namespace, parent, uid) == ("default", "up-uid", "child")

    assert {entry.name: entry.child for entry in cache.runs(cache.workflows[KEY])} == {"child": True, "claims": False}


def test_a_sweep_drops_what_is_gone_and_keeps_what_is_new() -> None:
    cache = WorkflowCache()
    cache.see_workflow(workflow(1))
    cache.see_run(run(1, "gone"))
    record = cache.workflows[KEY]
    known = cache.known()
    cache.see_run(run(2, "new"))

    assert cache.sweep(known, set(), {"w"}) == [KEY]
    assert [entry.name for entry in cache.runs(record)] == ["new"]
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
