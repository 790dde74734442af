"""`nexus schedule next`, and `nexus run --at`: what they show, refuse and make."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_harness import bash, nexus, workflow, workflow_run, write

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, Object
from nexus.cli import cluster as commands
from nexus.cli import new_run
from nexus.cli.ending import Exit, UsageError
from nexus.cli.schedule import is_file, print_next

NIGHTLY = {
    "name": "nightly",
    "cron": "30 2 * * *",
    "timeZone": "Europe/Berlin",
    "params": {"day": "${{ date(run.intervalStart) }}"},
    "exclude": {"holidays": [{"country": "DE"}]},
}
PARAMS = [{"name": "day"}, {"name": "zone", "default": "${{ strftime(run.scheduledTime, '%H:%M') }}"}]
SHOW = 'echo "day=$PARAM_DAY" >> "$NEXUS_OUTPUT"; echo "zone=$PARAM_ZONE $AT" >> "$NEXUS_OUTPUT"'
AT = {"name": "AT", "value": "${{ strftime(run.scheduledTime, '%H:%M') }}"}


def sales(*schedules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return workflow(bash("show", SHOW, env=[AT]), params=PARAMS, schedules=list(schedules or (NIGHTLY,)), **fields)


def rows(*arguments: str | Path) -> list[str]:
    answer = nexus("schedule", "next", *arguments)
    assert answer.code == 0, answer.stderr
    return [" ".join(line.split()) for line in answer.stdout.splitlines() if not line.startswith("─")]


def test_ticks_of_a_file_are_shown_in_local_time_and_utc_with_why_one_moved(tmp_path: Path) -> None:
    file = write(tmp_path, sales())
    assert rows(file, "-n", "2", "--from", "2026-03-28T12:00:00Z") == [
        "LOCAL TIME UTC NOTE",
        "Sun 2026-03-29 03:00 CEST 2026-03-29 01:00 02:30 does not exist on this day: runs when clocks jump, at 03:00",
        "Mon 2026-03-30 02:30 CEST 2026-03-30 00:30",
    ]


def test_what_is_skipped_is_shown_between_and_is_not_counted(tmp_path: Path) -> None:
    file = write(tmp_path, sales())
    assert rows("-f", file, "-n", "2", "--from", "2026-12-24T00:00:00+01:00")[1:] == [
        "Thu 2026-12-24 02:30 CET 2026-12-24 01:30",
        "Fri 2026-12-25 02:30 CET 2026-12-25 01:30 skipped: Christmas Day (DE)",
        "Sat 2026-12-26 02:30 CET 2026-12-26 01:30 skipped: Second Day of Christmas (DE)",
        "Sun 2026-12-27 02:30 CET 2026-12-27 01:30",
    ]


def test_schedules_are_shown_together_in_the_order_of_time(tmp_path: Path) -> None:
    hourly = {"name": "hourly", "cron": "@hourly", "params": {"day": "today"}, "suspend": True}
    file = write(tmp_path, sales(NIGHTLY, hourly))
    assert rows(file, "-n", "3", "--from", "2026-11-24T00:30:00Z") == [
        "LOCAL TIME UTC SCHEDULE NOTE",
        "Tue 2026-11-24 01:00 UTC 2026-11-24 01:00 hourly suspended: does not run",
        "Tue 2026-11-24 02:30 CET 2026-11-24 01:30 nightly",
        "Tue 2026-11-24 02:00 UTC 2026-11-24 02:00 hourly suspended: does not run",
    ]


def test_json_has_each_tick_with_its_interval(tmp_path: Path) -> None:
    file = write(tmp_path, sales())
    answer = nexus("schedule", "next", file, "-n", "1", "--from", "2026-10-24T12:00:00Z", "-o", "json")
    assert answer.json["ticks"] == [
        {
            "workflow": "sales",
            "schedule": "nightly",
            "time": "2026-10-25T00:30:00Z",
            "localTime": "2026-10-25T02:30:00+02:00",
            "timeZone": "Europe/Berlin",
            "skipped": False,
            "note": "02:30 comes twice: runs at the first",
            "intervalStart": "2026-10-24T00:30:00Z",
            "intervalEnd": "2026-10-25T00:30:00Z",
        }
    ]


def test_a_schedule_that_is_over_says_so(tmp_path: Path) -> None:
    file = write(tmp_path, sales({**NIGHTLY, "until": "2020-01-01T00:00:00Z"}))
    assert rows(file) == ["sales/nightly: no tick is left: it ended at 2020-01-01T00:00:00Z (until)"]


def test_of_much_that_is_skipped_the_first_lines_and_a_number_are_shown(tmp_path: Path) -> None:
    weekly = {**NIGHTLY, "cron": "0 2 * * SAT", "exclude": {"weekends": True}}
    found = rows(write(tmp_path, sales(weekly)), "--from", "2026-11-24T00:30:00Z")
    assert found[1] == "Sat 2026-11-28 02:00 CET 2026-11-28 01:00 skipped: a Saturday"
    assert re.fullmatch(r"\d\d more skipped", found[5])
    assert found[6:] == ["sales/nightly: no tick is left: all days that fit cron are excluded"]


@pytest.mark.parametrize(
    ("count", "words"),
    [
        ("prod", "expected a number of ticks, got 'prod'; for a namespace write --namespace prod"),
        ("0", "0 is out of range: from 1 to 1000"),
    ],
)
def test_a_count_is_a_number_and_no_namespace(count: str, words: str, tmp_path: Path) -> None:
    answer = nexus("schedule", "next", write(tmp_path, sales()), "-n", count)
    assert (answer.code, answer.stdout) == (2, "")
    assert words in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "yesterday"], '--from: invalid time "yesterday"; write it as 2026-11-22T02:30:00Z'),
        (
            ["--from", "2026-11-22T02:30"],
            '--from: time "2026-11-22T02:30" has no offset; write it as 2026-11-22T02:30:00Z, or',
        ),
        (
            ["--from", "2026-11-24"],
            '--from: time "2026-11-24" has no offset; write it as 2026-11-24T00:00:00Z, or with',
        ),
        (["--from", "2026-11-34"], '--from: invalid time "2026-11-34"; write it as 2026-11-22T02:30:00Z'),
        (["--from", "0001-01-01T00:00:00+14:00"], '--from: time "0001-01-01T00:00:00+14:00" is out of range'),
    ],
)
def test_a_time_is_an_instant(arguments: list[str], words: str, tmp_path: Path) -> None:
    answer = nexus("schedule", "next", write(tmp_path, sales()), *arguments)
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(words)


def test_a_time_in_a_manifest_is_an_instant_too(tmp_path: Path) -> None:
    def lint(text: str) -> str:
        return nexus("lint", write(tmp_path, sales({**NIGHTLY, "from": text}))).stdout

    assert 'schedule nightly, from: invalid time "soon"; write it as 2026-11-22T02:30:00Z' in lint("soon")
    assert 'schedule nightly, from: time "2026-01-01" has no offset; write it as 2026-01-01T00:00:00Z' in lint(
        "2026-01-01"
    )
    assert "is out of range" in lint("0001-01-01T00:00:00+14:00")


def test_a_file_with_mistakes_is_refused_with_their_places(tmp_path: Path) -> None:
    text = write(tmp_path, sales({**NIGHTLY, "cron": "30 2 * * MNO"}))
    answer = nexus("schedule", "next", text)
    assert answer.code == 2
    assert 'schedule nightly, cron: day of the week MNO: unknown value "MNO"; did you mean "MON"?' in answer.stderr


def test_a_file_without_schedules_is_refused(tmp_path: Path) -> None:
    answer = nexus("schedule", "next", write(tmp_path, workflow(bash("one"))))
    assert answer.code == 2
    assert answer.stderr.startswith("sales has no schedules; add spec.schedules")


@pytest.mark.parametrize(("target", "file"), [("-", True), ("a.yaml", True), ("x/y", True), ("sales", False)])
def test_a_name_without_a_suffix_is_a_workflow_in_the_cluster(target: str, file: bool) -> None:
    assert is_file(target) is file


def test_a_run_as_of_a_tick_has_its_schedules_params_and_zone(tmp_path: Path) -> None:
    answer = nexus("run", "-f", write(tmp_path, sales()), "--local", "--at", "2026-11-24T02:30:00+01:00", "-o", "json")
    assert answer.code == 0, answer.stderr
    assert answer.json["status"]["tasks"][0]["output"] == {"day": "2026-11-23", "zone": "02:30 02:30"}
    assert "as of 2026-11-24T01:30:00Z, a tick of schedule nightly" in answer.stderr
    spec = answer.json["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("nightly", "Europe/Berlin")
    assert (spec["intervalStart"], spec["scheduledTime"]) == ("2026-11-23T01:30:00.000Z", "2026-11-24T01:30:00.000Z")


def test_a_run_as_of_another_time_is_for_that_instant_alone(tmp_path: Path) -> None:
    file = write(tmp_path, sales())
    refused = nexus("run", "-f", file, "--local", "--at", "2026-11-24T12:00:00Z")
    assert refused.code == 2  # the schedule's params are for its ticks
    assert "params.day: missing value, and no default" in refused.stderr
    answer = nexus("run", "-f", file, "--local", "--at", "2026-11-24T12:00:00Z", "-p", "day=x", "-o", "json")
    assert answer.json["status"]["tasks"][0]["output"] == {"day": "x", "zone": "12:00 12:00"}
    assert "no schedule has a tick" in answer.stderr
    assert "the last one before is 2026-11-24T01:30:00Z" in answer.stderr


def test_a_workflow_run_in_a_file_says_what_it_is_for(tmp_path: Path) -> None:
    run = workflow_run(params={"day": "x"}, scheduledTime="2026-11-24T12:00:00Z", timeZone="Asia/Kolkata")
    answer = nexus("run", "-f", write(tmp_path, sales(), run), "--local", "-o", "json")
    assert answer.json["status"]["tasks"][0]["output"] == {"day": "x", "zone": "17:30 17:30"}


def test_a_runs_own_definition_has_no_schedules(tmp_path: Path) -> None:
    answer = nexus("lint", write(tmp_path, workflow_run(workflowSpec=sales()["spec"])))
    assert answer.code == 1
    assert "a run's own definition is executed once: schedules are for a Workflow" in answer.stdout


# -- in the cluster ---------------------------------------------------------------------------------------------------


@pytest.fixture
def fake() -> FakeCluster:
    cluster = FakeCluster()
    cluster.add(WORKFLOWS, sales())
    return cluster


def start(fake: FakeCluster, *params: str, at: str) -> Object:
    work = new_run.run_workflow(fake, "default", "sales", params, at=at, output=None, watch=False)
    assert asyncio.run(work) is Exit.SUCCEEDED
    (body,) = fake.objects(WORKFLOW_RUNS)
    return body


def test_in_the_cluster_a_run_as_of_a_tick_is_told_of_it(fake: FakeCluster) -> None:
    assert start(fake, at="2026-11-24T02:30:00+01:00")["spec"] == {
        "workflowRef": {"name": "sales"},
        "triggeredBy": "manual",
        "params": {"day": "2026-11-23"},
        "scheduledTime": "2026-11-24T01:30:00.000Z",
        "intervalStart": "2026-11-23T01:30:00.000Z",
        "intervalEnd": "2026-11-24T01:30:00.000Z",
        "schedule": "nightly",
        "timeZone": "Europe/Berlin",
    }


def test_what_a_run_is_for_is_shown_with_it(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    name = start(fake, at="2026-11-24T02:30:00+01:00")["metadata"]["name"]
    assert asyncio.run(commands.show_run(fake, "default", name, as_json=False)) is Exit.SUCCEEDED
    assert "As of:        2026-11-24T01:30:00.000Z (schedule nightly)" in capsys.readouterr().out


def test_what_is_given_by_hand_wins_over_the_schedules_params(fake: FakeCluster) -> None:
    assert start(fake, "day=x", at="2026-11-24T02:30:00+01:00")["spec"]["params"] == {"day": "x"}


def test_as_of_no_time_makes_no_run(fake: FakeCluster) -> None:
    with pytest.raises(UsageError, match='--at: invalid time "tomorrow"'):
        start(fake, at="tomorrow")


def test_ticks_of_a_workflow_in_the_cluster_are_shown(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    source = asyncio.run(new_run.schedules_of(fake, "default", "sales"))
    assert print_next([source], 1, "2026-11-24T00:00:00Z", as_json=True) is Exit.SUCCEEDED
    assert json.loads(capsys.readouterr().out)["ticks"][0]["time"] == "2026-11-24T01:30:00Z"
