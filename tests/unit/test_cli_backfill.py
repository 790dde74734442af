"""`nexus backfill`: which ticks, how many at a time, and going on with it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.cli_harness import bash, workflow

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, Object
from nexus.cli import backfill as filling
from nexus.cli import new_run
from nexus.cli.ending import Exit, UsageError
from nexus.core.names import BACKFILL_ENDS, LABEL_BACKFILL

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DAILY = {"name": "daily", "cron": "30 2 * * *", "params": {"day": "${{ date(run.intervalStart) }}"}}
SALES = workflow(bash("a"), params=[{"name": "day"}], schedules=[DAILY])
FROM, TO = "2026-11-10T00:00:00Z", "2026-11-15T00:00:00Z"


@pytest.fixture
def fake() -> FakeCluster:
    cluster = FakeCluster()
    cluster.add(WORKFLOWS, SALES)
    return cluster


async def fill(fake: FakeCluster, parallel: int = 1, to: str = TO, **options: Any) -> Exit:
    source = await new_run.schedules_of(fake, "default", "sales")
    wanted = filling.asked(source, options.pop("schedule", None), options.pop("start", FROM), to, NOW)
    options = {"dry_run": False, "yes": True, "as_json": False, **options}
    return await filling.backfill(fake, "default", wanted, parallel, **options)


def runs(fake: FakeCluster) -> list[Object]:
    return sorted(fake.objects(WORKFLOW_RUNS), key=lambda run: str(run["spec"]["scheduledTime"]))


def days(fake: FakeCluster) -> list[str]:
    return [run["spec"]["scheduledTime"][8:10] for run in runs(fake)]


async def ends(fake: FakeCluster, most: list[int], phase: str = "Succeeded") -> None:
    """An operator that ends each run as soon as the command has had its turn; notes how many were under way."""
    while True:
        for _ in range(20):
            await asyncio.sleep(0)
        live = [run for run in runs(fake) if "status" not in run]
        most.append(len(live))
        if live:
            name = live[0]["metadata"]["name"]

            def edit(body: Object) -> None:
                body["status"] = {"phase": phase}

            fake.store.change(WORKFLOW_RUNS, "default", name, edit)


def with_operator(fake: FakeCluster, *args: Any, phase: str = "Succeeded", **options: Any) -> tuple[Exit, int]:
    async def story() -> tuple[Exit, int]:
        most: list[int] = []
        operator = asyncio.create_task(ends(fake, most, phase))
        try:
            async with asyncio.timeout(20):
                return await fill(fake, *args, **options), max(most, default=0)
        finally:
            operator.cancel()

    return asyncio.run(story())


def test_each_tick_gets_a_run_that_carries_its_time(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    code, most = with_operator(fake)

    assert (code, most) == (Exit.SUCCEEDED, 1)
    assert days(fake) == ["10", "11", "12", "13", "14"]
    first, last = runs(fake)[0], runs(fake)[-1]
    assert first["spec"] == {
        "workflowRef": {"name": "sales"},
        "triggeredBy": "backfill",
        "schedule": "daily",
        "scheduledTime": "2026-11-10T02:30:00.000Z",
        "intervalStart": "2026-11-09T02:30:00.000Z",
        "intervalEnd": "2026-11-10T02:30:00.000Z",
        "timeZone": "UTC",
        "params": {"day": "2026-11-09"},
    }
    assert first["metadata"]["annotations"] == {BACKFILL_ENDS: last["metadata"]["name"]}
    assert len({run["metadata"]["labels"][LABEL_BACKFILL] for run in runs(fake)}) == 1
    out = capsys.readouterr().out
    assert "2026-11-10 02:30 UTC" in out
    assert f"{last['metadata']['name']} Succeeded" in out


def test_so_many_are_under_way_at_once(fake: FakeCluster) -> None:
    assert with_operator(fake, 3) == (Exit.SUCCEEDED, 3)


def test_one_that_fails_is_seen_in_the_exit_status(fake: FakeCluster) -> None:
    assert with_operator(fake, phase="Failed")[0] is Exit.FAILED
    assert len(runs(fake)) == 5


def test_the_same_command_goes_on_with_a_backfill_that_was_stopped(fake: FakeCluster) -> None:
    async def stopped() -> None:
        command = asyncio.create_task(fill(fake, 2))
        for _ in range(50):
            await asyncio.sleep(0)
        command.cancel()

    asyncio.run(stopped())
    assert days(fake) == ["10", "11"]

    assert with_operator(fake, 2) == (Exit.SUCCEEDED, 2)
    assert days(fake) == ["10", "11", "12", "13", "14"]
    ends_with = {run["metadata"]["annotations"][BACKFILL_ENDS] for run in runs(fake)}
    assert ends_with == {runs(fake)[-1]["metadata"]["name"]}
    assert asyncio.run(fill(fake)) is Exit.SUCCEEDED


def test_a_tick_that_has_a_run_is_left_alone(fake: FakeCluster) -> None:
    with_operator(fake, to="2026-11-12T00:00:00Z")
    before = {run["metadata"]["uid"] for run in runs(fake)}
    with_operator(fake)
    assert before < {run["metadata"]["uid"] for run in runs(fake)}
    assert days(fake) == ["10", "11", "12", "13", "14"]


def test_a_name_that_is_not_the_ticks_is_said_before_anything_is_made(fake: FakeCluster) -> None:
    with_operator(fake, to="2026-11-11T00:00:00Z")
    (first,) = runs(fake)
    fake.remove(WORKFLOW_RUNS, first["metadata"]["name"])
    metadata = {key: first["metadata"][key] for key in ("name", "labels", "ownerReferences")}
    fake.add(WORKFLOW_RUNS, {"metadata": metadata, "spec": {**first["spec"], "triggeredBy": "manual"}})
    with pytest.raises(UsageError, match=f"{metadata['name']} exists and is not the run of its tick"):
        asyncio.run(fill(fake))
    assert len(runs(fake)) == 1


def test_a_name_that_is_taken_meanwhile_is_said(fake: FakeCluster) -> None:
    with_operator(fake, to="2026-11-11T00:00:00Z")
    (first,) = runs(fake)
    name = first["metadata"]["name"]
    fake.remove(WORKFLOW_RUNS, name)
    # Without the label no list of the Workflow's runs has it.
    fake.add(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": first["spec"]})
    with pytest.raises(UsageError, match=f"{name} exists and is not the run of its tick"):
        asyncio.run(fill(fake))


def test_a_dry_run_lists_and_makes_nothing(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(fill(fake, dry_run=True, as_json=True)) is Exit.SUCCEEDED
    ticks = json.loads(capsys.readouterr().out)["ticks"]
    assert [(tick["time"], tick["exists"]) for tick in ticks][:1] == [("2026-11-10T02:30:00.000Z", False)]
    assert len(ticks) == 5
    assert runs(fake) == []


def test_nothing_is_made_without_a_yes(fake: FakeCluster) -> None:
    with pytest.raises(UsageError, match=r"create 5 runs\? no terminal to ask on; confirm with --yes"):
        asyncio.run(fill(fake, yes=False))
    assert runs(fake) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"start": TO, "to": FROM}, "--to must be after --from"),
        ({"to": "2027-01-01T00:00:00Z"}, "is in the future"),
        ({"start": "2026-11-10"}, "has no offset"),
        ({"schedule": "dayly"}, r"sales has no schedule dayly \(known: daily"),
        ({"start": "1999-01-01T00:00:00Z"}, "more than 1,000 ticks"),
    ],
)
def test_what_cannot_be_meant_is_refused(fake: FakeCluster, given: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        asyncio.run(fill(fake, **given))
    assert runs(fake) == []


def test_of_several_schedules_one_is_named(fake: FakeCluster) -> None:
    both = {"spec": {"schedules": [DAILY, {**DAILY, "name": "other"}]}}
    fake.store.patch(WORKFLOWS, "default", "sales", both)
    with pytest.raises(UsageError, match="select one with --schedule daily or other"):
        asyncio.run(fill(fake))
    assert with_operator(fake, schedule="other")[0] is Exit.SUCCEEDED


def test_params_that_do_not_fit_are_refused_before_anything_is_made(fake: FakeCluster) -> None:
    fake.store.patch(WORKFLOWS, "default", "sales", {"spec": {"params": [{"name": "day", "pattern": "^x"}]}})
    with pytest.raises(UsageError, match="does not match the pattern"):
        asyncio.run(fill(fake))
    assert runs(fake) == []


def test_time_is_asked_of_the_machine() -> None:
    assert abs(filling.now() - datetime.now(UTC)) < timedelta(minutes=1)
