"""Schedules on a real cluster: every minute, with each policy, though the operator is killed at the tick."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.e2e.conftest import REPOSITORY, operator_for
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, bash, container

from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS
from nexus.api.base import parse_time

pytestmark = pytest.mark.cluster

POLICIES = ("Allow", "Forbid", "Replace", "Queue")
MINUTE = [{"name": "often", "cron": "* * * * *"}]


def until_second(second: float) -> None:
    """Wait until the clock shows so many seconds past a minute, at least a moment from now."""
    now = time.time()
    time.sleep((second - now % 60) % 60)


def runs(space: Space, workflow: str) -> dict[str, Object]:
    """The scheduled runs of a Workflow by their tick."""
    found = [run for run in space.list(WORKFLOW_RUNS, f"nexus.dev/workflow={workflow}") if "schedule" in run["spec"]]
    return {run["spec"]["scheduledTime"][11:16]: run for run in sorted(found, key=lambda run: run["metadata"]["name"])}


def under_way(run: Object) -> bool:
    status = run.get("status", {})
    return "startTime" in status and "completionTime" not in status


def minutes(count: int, first: float) -> list[str]:
    return [datetime.fromtimestamp(first + 60 * number, UTC).strftime("%H:%M") for number in range(count)]


def test_every_minute_with_each_policy_though_the_operator_is_killed_at_the_tick(
    new_space: Callable[[str], Space], tmp_path: Path
) -> None:
    space = new_space("schedules")
    with operator_for(tmp_path, space) as operator:
        until_second(40)
        first = time.time() // 60 * 60 + 60
        for policy in POLICIES:
            # Longer than a minute: each tick finds the run of the one before under way.
            spec = {"concurrency": {"policy": policy}, "schedules": MINUTE, "history": {"succeeded": 20, "failed": 20}}
            space.workflow(policy.lower(), container("a", "sleep", "75"), **spec)
        space.workflow("short", container("a"), schedules=MINUTE, history={"succeeded": 0}, ttlSecondsAfterFinished=0)
        overlap = 0
        for tick in range(3):
            until_second(59.5 if tick == 0 else 59.9)
            if tick:
                # At the tick, or a moment after it: runs are made, or not, recorded, or not.
                time.sleep(0.1 + 0.08 * tick)
                operator.kill()
                operator.start()
            time.sleep(8)
            for policy in POLICIES[1:]:
                live = [run for run in runs(space, policy.lower()).values() if under_way(run)]
                overlap = max(overlap, len(live))
        until_second(15)
        ticks = minutes(3, first)
        seen = {policy: runs(space, policy.lower()) for policy in POLICIES}
        assert list(seen["Allow"]) == list(seen["Queue"]) == list(seen["Replace"]) == ticks
        assert list(seen["Forbid"]) == [ticks[0], ticks[2]]
        assert overlap <= 1
        assert seen["Replace"][ticks[0]]["status"]["phase"] == "Cancelled"
        assert seen["Queue"][ticks[2]]["status"]["reason"] == "Concurrency"
        for policy in POLICIES:
            for run in seen[policy].values():
                late = parse_time(run["metadata"]["creationTimestamp"]) - parse_time(run["spec"]["scheduledTime"])
                assert late.total_seconds() < 20, "an operator that was killed came back in less than that"
                assert len(space.jobs(run["metadata"]["name"])) <= 1
        status = (space.get(WORKFLOWS, "forbid") or {})["status"]
        assert status["schedules"][0]["lastScheduleTime"][11:16] == ticks[2]
        assert len(status["schedules"][0]["nextScheduleTimes"]) == 5
        columns = space.kubectl("get", "workflows.nexus.dev", "forbid", "-o", "wide").splitlines()
        assert {"ACTIVE", "LAST", "NEXT", "SUSPENDED", "CONCURRENCY"} <= set(columns[0].split())
        # Those of `short` have ended long ago: for seven minutes they are kept as locks.
        assert list(runs(space, "short")) == ticks
        _stop(space, operator)


def _stop(space: Space, operator: OperatorProcess) -> None:
    """A Workflow goes with all that is its."""
    assert operator.running
    for workflow in space.list(WORKFLOWS):
        space.remove(WORKFLOWS, workflow["metadata"]["name"])
    deadline = time.monotonic() + 60
    kinds = (WORKFLOW_RUNS, JOBS, PODS, CONTROLLER_REVISIONS)
    while (left := [len(space.list(kind)) for kind in kinds]) != [0] * len(kinds):
        assert time.monotonic() < deadline, f"left after a minute: {left}"
        time.sleep(1)


def test_a_backfill_makes_the_runs_that_are_missing(new_space: Callable[[str], Space], tmp_path: Path) -> None:
    space = new_space("backfill")
    with operator_for(tmp_path, space):
        daily = {"name": "daily", "cron": "30 2 * * *", "params": {"day": "${{ date(run.scheduledTime) }}"}}
        tell = bash("tell", 'echo "day=$PARAM_DAY" >> "$NEXUS_OUTPUT"')
        space.workflow("sales", tell, schedules=[daily], params=[{"name": "day"}], history={"succeeded": 1})
        words = ["sales", "--from", "2026-01-10T00:00:00Z", "--to", "2026-01-13T00:00:00Z", "--parallel", "2", "--yes"]
        out = _nexus(space, "backfill", *words)
        assert out.count("to be created") == 3
        assert out.count(" Succeeded") == 3
        # All of them are there: runs of a tick are kept for seven minutes, whatever `history` says.
        made = space.list(WORKFLOW_RUNS, "nexus.dev/workflow=sales")
        assert len(made) == 3
        for run in made:
            assert space.output(run, "tell") == {"day": run["spec"]["scheduledTime"][:10]}
        assert "has a run, Succeeded" in _nexus(space, "backfill", *words, "--dry-run")


def _nexus(space: Space, command: str, *words: str) -> str:
    options = ["--namespace", space.namespace, "--kubeconfig", str(space.kubeconfig)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "operator")}
    arguments = [sys.executable, "-m", "nexus.cli", command, *words, *options]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
