"""`nexus why`: from a task that waits or failed to where that comes from, and what to do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.unit.cli_harness import bash, workflow, workflow_run

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import EVENTS, PODS, WORKFLOW_RUNS, Forbidden
from nexus.cli.cluster import show_run
from nexus.cli.ending import Exit, UsageError
from nexus.cli.why import print_why

NOW = "2026-11-23T09:00:05.000Z"
SPEC = workflow(
    bash("extract"),
    bash("price", "true", "extract"),
    bash("load", "true", "price"),
    bash("alone"),
    bash("last", "true", "load", "alone"),
)["spec"]
BLOCKED = [
    {"name": "extract", "phase": "Succeeded"},
    {
        "name": "price",
        "phase": "Running",
        "reason": "ImagePull",
        "message": "its image cannot be pulled: not found",
        "startTime": NOW,
        "attempts": 1,
        "job": {"name": "j", "uid": "job-uid"},
    },
    {"name": "load", "phase": "Pending", "reason": "Dependencies", "message": "waits for price"},
    {"name": "alone", "phase": "Failed", "reason": "TaskError", "message": "exit code 3", "attempts": 2},
    {"name": "last", "phase": "Pending", "reason": "Dependencies", "message": "waits for load"},
]


def cluster(*tasks: Any, **status: Any) -> FakeCluster:
    fake = FakeCluster()
    run = workflow_run(workflowSpec=SPEC)
    fake.add(WORKFLOW_RUNS, {**run, "metadata": {"name": "sales-1"}})

    def edit(body: Any) -> None:
        body["status"] = {
            "observedGeneration": 1,
            "phase": "Running",
            "tasksDone": "2/5",
            "tasks": list(tasks),
            **status,
        }

    fake.store.change(WORKFLOW_RUNS, "default", "sales-1", edit)
    return fake


def why(fake: FakeCluster, capsys: pytest.CaptureFixture[str], task: str | None = None) -> list[str]:
    assert asyncio.run(print_why(fake, "default", "sales-1", task)) is Exit.SUCCEEDED
    return capsys.readouterr().out.split("\n\n")


def test_without_a_task_it_tells_those_that_hold_the_others_up(capsys: pytest.CaptureFixture[str]) -> None:
    head, price, alone = why(cluster(*BLOCKED), capsys)
    assert head == "sales-1 is Running (2/5 tasks)"
    first, message, todo, behind = price.splitlines()
    assert first.startswith("price: Running ImagePull, ")
    assert message == "  its image cannot be pulled: not found"
    assert todo.startswith("  To do: ")
    assert "`" not in todo
    assert behind == "  wait for it, or ended because of it: load, last"
    assert alone.splitlines()[:2] == ["alone: Failed TaskError, 2 attempts", "  exit code 3"]
    assert "nexus logs sales-1 alone" in alone


def test_of_a_task_it_tells_what_that_comes_from_too(capsys: pytest.CaptureFixture[str]) -> None:
    head, last, price = why(cluster(*BLOCKED), capsys, "last")
    assert head.startswith("sales-1 is Running")
    assert last.splitlines()[:2] == ["last: Pending Dependencies", "  waits for load"]
    assert price.startswith("price: Running ImagePull")


def test_warnings_about_its_pods_are_told_where_they_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    fake = cluster(*BLOCKED)
    labels = {"nexus.dev/run": "sales-1", "nexus.dev/task": "price"}
    containers = [{"name": "task", "image": "x"}]
    fake.add(
        PODS,
        {"metadata": {"name": "p", "labels": labels}, "spec": {"containers": containers, "restartPolicy": "Never"}},
    )
    uid = fake.objects(PODS)[0]["metadata"]["uid"]
    for number, kind in enumerate(("Normal", "Warning")):
        about = {"kind": "Pod", "name": "p", "namespace": "default", "uid": uid}
        event = {"involvedObject": about, "type": kind, "reason": "Failed", "message": f"{kind}\nx"}
        fake.add(EVENTS, {"metadata": {"name": f"e{number}"}, **event})
    told = why(fake, capsys, "price")[1]
    assert "  Pod p: Failed: Warning x" in told.splitlines()
    assert "Normal" not in told
    fake.fail_next("list", PODS, Forbidden("no"))
    assert "Pod p" not in why(fake, capsys, "price")[1]


def test_what_went_well_and_what_nobody_took_up(capsys: pytest.CaptureFixture[str]) -> None:
    done = [{"name": "extract", "phase": "Succeeded"}, {"name": "price", "phase": "Skipped", "reason": "WhenFalse"}]
    assert why(cluster(*done, phase="Succeeded"), capsys)[0].splitlines()[1] == (
        "All tasks are done: 1 Succeeded, 1 Skipped"
    )
    head = why(cluster(phase="Pending", reason="Concurrency", message="waiting for run sales-0"), capsys)[
        0
    ].splitlines()
    assert head[0] == "sales-1 is Pending (2/5 tasks): Concurrency: waiting for run sales-0"
    assert head[1].startswith("To do: ")
    assert "is an operator running" in why(cluster(observedGeneration=None), capsys)[0]
    with pytest.raises(UsageError, match='unknown task "prise"; did you mean "price"'):
        asyncio.run(print_why(cluster(*BLOCKED), "default", "sales-1", "prise"))


def test_as_json_it_has_the_codes_beside_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(print_why(cluster(*BLOCKED), "default", "sales-1", "load", as_json=True)) is Exit.SUCCEEDED
    document = json.loads(capsys.readouterr().out)

    assert (document["name"], document["phase"]) == ("sales-1", "Running")
    assert [(entry["name"], entry["reason"]) for entry in document["tasks"]] == [
        ("load", "Dependencies"),
        ("price", "ImagePull"),
    ]
    price = document["tasks"][1]
    assert (price["message"], price["blocks"]) == ("its image cannot be pulled: not found", ["load", "last"])
    assert price["todo"].startswith("Correct the image name or tag")


def test_a_status_of_a_newer_version_is_read_without_what_it_added(capsys: pytest.CaptureFixture[str]) -> None:
    task = {"name": "a", "phase": "Failed", "reason": "FromTheFuture", "message": "exit code 3", "novel": {"x": [1]}}
    fake = cluster(task, phase="Failed", novel=1)
    head, explained = why(fake, capsys)
    assert head == "sales-1 is Failed (2/5 tasks)"
    assert explained.splitlines()[:2] == ["a: Failed", "  exit code 3"]
    asyncio.run(print_why(fake, "default", "sales-1", None, as_json=True))
    assert [entry["message"] for entry in json.loads(capsys.readouterr().out)["tasks"]] == ["exit code 3"]
    asyncio.run(show_run(fake, "default", "sales-1", as_json=False))
    assert "Failed" in capsys.readouterr().out


def test_a_status_that_cannot_be_read_is_refused_by_its_field() -> None:
    with pytest.raises(UsageError, match=r'the status of run sales-1 was written by another version.* value "Novel"'):
        asyncio.run(print_why(cluster(phase="Novel"), "default", "sales-1", None))
