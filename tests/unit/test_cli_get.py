"""`nexus get`: which runs are listed, and in which order."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.builders import START
from tests.unit.cli_harness import bash, workflow
from typer.testing import CliRunner

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, BadRequest, Kind
from nexus.api.base import format_time
from nexus.cli import cluster, listing
from nexus.cli.ending import Exit, UsageError
from nexus.cli.main import app

NOW = START + timedelta(days=10)
FIELDS: dict[str, dict[str, Any]] = {
    "sales": {"category": "reporting", "tags": ["daily", "eu"]},
    "stock": {"category": "reporting", "tags": ["daily"]},
    "tidy": {},
}
# By name: Workflow, phase, hours before NOW, seconds that it took.
RUNS: dict[str, tuple[str, str | None, int, int]] = {
    "sales-a": ("sales", "Succeeded", 72, 50),
    "tidy-b": ("tidy", "Failed", 48, 10),
    "stock-c": ("stock", "Failed", 24, 90),
    "sales-d": ("sales", "Failed", 2, 5),
    "sales-e": ("sales", None, 1, 0),
    "stock-f": ("stock", "Running", 0, 30),
}


class Older(FakeCluster):
    """A cluster whose CRDs have no selectable fields."""

    asked: int = 0

    async def list(self, kind: Kind, namespace: str | None, label_selector: str = "", **given: Any) -> Any:
        if given.get("field_selector"):
            self.asked += 1
            raise BadRequest("field label not supported: status.phase")
        return await super().list(kind, namespace, label_selector, **given)


def filled(fake: FakeCluster) -> FakeCluster:
    for name, fields in FIELDS.items():
        body = workflow(bash("a"), **fields)
        fake.add(WORKFLOWS, {**body, "metadata": {"name": name}})
    for name, (of, phase, hours, seconds) in RUNS.items():
        fake.add(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": {"workflowRef": {"name": of}}})
        created = NOW - timedelta(hours=hours)
        times = {"startTime": format_time(created), "completionTime": format_time(created + timedelta(seconds=seconds))}

        def edit(body: dict[str, Any], status: Any = {"phase": phase, **times} if phase else None) -> None:
            if status:
                body["status"] = status

        body = fake.store.get(WORKFLOW_RUNS, "default", name)
        fake.store.restore(
            WORKFLOW_RUNS, {**body, "metadata": {**body["metadata"], "creationTimestamp": format_time(created)}}
        )
        fake.store.change(WORKFLOW_RUNS, "default", name, edit)
    return fake


@pytest.fixture(params=[FakeCluster, Older])
def fake(request: pytest.FixtureRequest) -> FakeCluster:
    return filled(request.param())


CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "sales-a tidy-b stock-c sales-d sales-e stock-f"),
    ({"status": ["Failed"]}, "tidy-b stock-c sales-d"),
    ({"status": ["failed,RUNNING"]}, "tidy-b stock-c sales-d stock-f"),
    ({"status": ["Failed", "Running"]}, "tidy-b stock-c sales-d stock-f"),
    ({"status": ["Pending"]}, "sales-e"),
    ({"workflow": "sales"}, "sales-a sales-d sales-e"),
    ({"workflow": "nope"}, ""),
    ({"workflow": "a,b=c"}, ""),
    ({"category": "reporting"}, "sales-a stock-c sales-d sales-e stock-f"),
    ({"category": "other"}, ""),
    ({"tags": ["daily"]}, "sales-a stock-c sales-d sales-e stock-f"),
    ({"tags": ["daily", "eu"]}, "sales-a sales-d sales-e"),
    ({"category": "reporting", "tags": ["eu"], "status": ["Failed"]}, "sales-d"),
    ({"category": "reporting", "workflow": "tidy"}, ""),
    ({"since": "3h"}, "sales-d sales-e stock-f"),
    ({"since": "1d"}, "stock-c sales-d sales-e stock-f"),
    ({"since": format_time(NOW - timedelta(minutes=90))}, "sales-e stock-f"),
    ({"since": "999999999w"}, "sales-a tidy-b stock-c sales-d sales-e stock-f"),
    ({"limit": 2}, "sales-e stock-f"),
    ({"limit": 100}, "sales-a tidy-b stock-c sales-d sales-e stock-f"),
    ({"limit": 2, "status": ["Failed"], "sort": "-created"}, "sales-d stock-c"),
    ({"sort": "name"}, "sales-a sales-d sales-e stock-c stock-f tidy-b"),
    ({"sort": "workflow"}, "sales-a sales-d sales-e stock-c stock-f tidy-b"),
    ({"sort": "-duration"}, "stock-c sales-a stock-f tidy-b sales-d sales-e"),
    ({"sort": "status", "workflow": "sales"}, "sales-d sales-e sales-a"),
]


@pytest.mark.parametrize(("options", "names"), CASES)
def test_filters_combine(
    fake: FakeCluster, options: dict[str, Any], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = listing.filters(NOW, **options)
    found = asyncio.run(listing.fitting(fake, "default", wanted, in_brief=True, now=NOW))
    assert [run["metadata"]["name"] for run in found] == names.split()

    assert asyncio.run(cluster.list_runs(fake, "default", as_json=True, wanted=wanted)) is Exit.SUCCEEDED
    items = json.loads(capsys.readouterr().out)["items"]
    assert [run["metadata"]["name"] for run in items] == names.split()


def test_an_older_cluster_was_asked_for_what_it_cannot_select() -> None:
    fake = filled(Older())
    asyncio.run(listing.fitting(fake, "default", listing.filters(NOW, ["Failed"]), in_brief=True, now=NOW))
    assert isinstance(fake, Older)
    assert fake.asked == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"status": ["Faild"]}, '--status: unknown status "Faild"; did you mean "Failed"?'),
        ({"status": ["xyz"]}, '--status: unknown status "xyz"; expected one of Pending, Running, Suspended,'),
        ({"status": [""]}, '--status: unknown status ""; expected one of Pending'),
        ({"since": "yesterday"}, '--since: invalid time "yesterday"; expected a duration such as 30m'),
        ({"since": "-3h"}, '--since: invalid time "-3h"'),
        ({"since": "2026-11-23T02:30:00"}, '--since: invalid time "2026-11-23T02:30:00"'),
        ({"limit": 0}, "--limit: must be at least 1, got 0"),
        ({"limit": -5}, "--limit: must be at least 1, got -5"),
        ({"sort": "nam"}, '--sort: unknown column "nam"; did you mean "name"?'),
        ({"sort": ""}, '--sort: unknown column ""; expected one of created, name'),
    ],
)
def test_a_bad_value_is_told_with_what_is_expected(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        listing.filters(NOW, **options)
    (found,) = caught.value.problems
    assert found.startswith(problem)


def test_all_bad_values_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        listing.filters(datetime.now(UTC), ["x"], since="x", limit=0, sort="x")
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("option", [["--status", "Failed"], ["--tag", "x"], ["--limit", "1"], ["--sort", "-created"]])
def test_one_run_takes_no_filters(option: list[str]) -> None:
    result = CliRunner().invoke(app, ["get", "sales-x7k2p", *option])
    assert result.exit_code == Exit.REFUSED
    assert "filters apply to the list of runs" in result.stderr


def test_nothing_that_fits_is_told_apart_from_no_runs(capsys: pytest.CaptureFixture[str]) -> None:
    fake = filled(FakeCluster())
    asyncio.run(cluster.list_runs(fake, "default", as_json=False, wanted=listing.filters(NOW, workflow="nope")))
    asyncio.run(cluster.list_runs(FakeCluster(), "default", as_json=False, wanted=listing.filters(NOW, limit=3)))
    said = capsys.readouterr().err.splitlines()
    assert said == ["No runs match the filters in namespace default.", "No runs found in namespace default."]
