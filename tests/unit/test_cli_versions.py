"""`nexus history` and `nexus diff`, and what is said of a change in short."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.builders import spec, task
from tests.operators import KEY, story

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, WORKFLOW_RUNS, WORKFLOWS
from nexus.adapters.kube.owners import owned_by
from nexus.cli.ending import Exit, UsageError
from nexus.cli.versions import print_diff, print_history
from nexus.core.expressions.templates import Evaluator
from nexus.core.workflow.changes import changes
from nexus.services import versions

A, B = {"name": "a", "bash": {"command": "x"}}, {"name": "b", "dependsOn": ["a"], "bash": {"command": "y"}}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"tasks": [A]}, {"tasks": [A]}, []),
        ({"tasks": [A, B]}, {"tasks": [B, A]}, []),
        ({"tasks": [A]}, {"tasks": [A, B]}, ["task b added"]),
        ({"tasks": [A, B]}, {"tasks": [A]}, ["task b removed"]),
        ({"tasks": [B]}, {"tasks": [{**A, "name": "b", "retry": {"limit": 1}}]}, ["task b (bash, retry, dependsOn)"]),
        ({"tasks": [A]}, {"tasks": [A], "finally": [B]}, ["finally task b added"]),
        (
            {"params": [{"name": "n"}], "description": "x", "suspend": True},
            {"params": [{"name": "n", "default": "1"}], "description": "y", "labels": {}},
            ["param n (default)", "description changed", "labels added", "suspend removed"],
        ),
        ({"schedules": [{"name": "s", "cron": "@daily"}]}, {}, ["schedule s removed"]),
    ],
)
def test_a_change_is_told_in_short(old: dict[str, Any], new: dict[str, Any], told: list[str]) -> None:
    assert changes(old, new) == told


def edited(told: Any, *tasks: Any, **fields: Any) -> None:
    told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": spec(*tasks, **fields).to_json()})


def again(told: Any, name: str) -> None:
    told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": {"workflowRef": {"name": "sales"}}})
    told.run(until=lambda: told.status_of(name).phase.ended)


@pytest.fixture
def kept(cel: Evaluator) -> FakeCluster:
    """A Workflow with runs of two versions, edited once more since."""
    with story(spec(task("a", bash={"command": "one\ntwo"})), cel, by_reference=True) as told:
        told.operator()
        told.run()
        again(told, "second")
        edited(told, task("a", bash={"command": "one\nthree"}), task("b", "a"))
        again(told, "third")
        edited(told, task("a", bash={"command": "one\nthree"}), task("b", "a"), description="Now with words.")
        told.quiet(1)
        return told.cluster


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_history_tells_versions_their_runs_and_what_changed(
    kept: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asyncio.run(print_history(kept, KEY.namespace, "sales", as_json=False)) is Exit.SUCCEEDED
    head, *rows = printed(capsys)
    assert head == "REVISION AGE RUNS CHANGED"
    assert rows[0] == "3 (current) none yet description added"
    assert rows[1].startswith("2 ")
    assert rows[1].endswith(" third task a (bash); task b added")
    assert rows[2].startswith("1 ")
    assert rows[2].endswith(f" second, {KEY.name}")


def test_a_run_names_its_revision_and_history_has_it(kept: FakeCluster) -> None:
    found = asyncio.run(versions.versions(kept, kept.objects(WORKFLOWS)[0]))
    named = {run["metadata"]["name"]: run["status"]["revision"] for run in kept.objects(WORKFLOW_RUNS)}
    assert {run: version.name for version in found for run in version.runs} == named
    assert len(kept.objects(CONTROLLER_REVISIONS)) == 2


def test_diff_is_unified_yaml_against_the_current_version_or_another(
    kept: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(*revisions: str | None) -> list[str]:
        old, new = revisions
        assert asyncio.run(print_diff(kept, KEY.namespace, "sales", str(old), new)) is Exit.FAILED
        return capsys.readouterr().out.splitlines()

    assert lines("1", "third") == [
        "--- sales revision 1",
        "+++ sales revision 2",
        "@@ -3,4 +3,9 @@",
        "   bash:",
        "     command: |-",
        "       one",
        "-      two",
        "+      three",
        "+- name: b",
        "+  dependsOn:",
        "+  - a",
        "+  container:",
        "+    image: work:1",
    ]
    current = lines("2", None)
    assert current[:2] == ["--- sales revision 2", "+++ sales revision 3 (current)"]
    assert "+description: Now with words." in current
    assert asyncio.run(print_diff(kept, KEY.namespace, "sales", "2", "2")) is Exit.SUCCEEDED
    with pytest.raises(
        UsageError, match=r"Workflow sales has no revision 7: there are 3, 2, 1 \(nexus history sales\)"
    ):
        asyncio.run(print_diff(kept, KEY.namespace, "sales", "7", None))


def test_a_definition_that_came_back_is_the_old_revision_again(
    kept: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    first = next(body for body in kept.objects(CONTROLLER_REVISIONS) if body["revision"] == 1)
    kept.store.change(WORKFLOWS, KEY.namespace, "sales", lambda body: body.update(spec=first["data"]["spec"]))
    asyncio.run(print_history(kept, KEY.namespace, "sales", as_json=False))
    assert [row.split()[0] for row in printed(capsys)] == ["REVISION", "1", "2"]
    found = asyncio.run(versions.versions(kept, kept.objects(WORKFLOWS)[0]))
    assert [(version.number, version.current) for version in found] == [(1, True), (2, False)]


def test_a_null_that_was_written_is_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = FakeCluster()
    body = {"apiVersion": "nexus.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "sales"}}
    cluster.add(WORKFLOWS, {**body, "spec": {"params": [{"name": "n", "nullable": True}], "tasks": [A]}})
    workflow = cluster.objects(WORKFLOWS)[0]
    owner = owned_by("Workflow", "sales", workflow["metadata"]["uid"])
    data = {"spec": {"params": [{"name": "n", "nullable": True, "default": None}], "tasks": [A]}}
    metadata = {"name": "sales-1", "labels": {"nexus.dev/workflow": "sales"}, "ownerReferences": owner}
    cluster.add(CONTROLLER_REVISIONS, {"metadata": metadata, "data": data, "revision": 0})
    assert asyncio.run(print_diff(cluster, "default", "sales", "0", None)) is Exit.FAILED
    assert "-  default: null" in capsys.readouterr().out
