"""Pools on the real cluster, with two operators at work, one of which dies."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import operator_for
from tests.e2e.space import Object, Space, container, task

from nexus.adapters.kube.client.api import CONFIG_MAPS, PODS, WORKFLOW_RUNS
from nexus.core.names import LABEL_POOL

pytestmark = pytest.mark.cluster

RUNS = 6


def sizes(space: Space, **pools: str) -> Object:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nexus-pools"}, "data": pools}
    return space.post(CONFIG_MAPS, body)


def intervals(space: Space) -> list[tuple[str, str]]:
    """When the containers of the pool's pods ran: RFC 3339 texts, which compare as times do."""
    states = [
        pod["status"]["containerStatuses"][0]["state"]["terminated"]
        for pod in space.list(PODS, LABEL_POOL)
        if pod["status"].get("containerStatuses")
    ]
    return [(state["startedAt"], state["finishedAt"]) for state in states]


def test_a_pool_holds_no_more_than_its_size_with_two_operators_and_through_the_death_of_one(
    new_space: Callable[[str], Space], tmp_path: Path
) -> None:
    space = new_space("pools")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with operator_for(tmp_path / "one", space) as first, operator_for(tmp_path / "two", space):
        space.workflow("load", container("load", "sleep", "3", pool="warehouse"))
        space.run_of("load", "early")
        waiting = space.until("early", lambda run: bool(run.get("status", {}).get("tasks")))
        space.until("early", lambda run: task(run, "load").get("reason") == "PoolMissing")
        assert "startTime" in waiting["status"]
        sizes(space, warehouse="2")
        for number in range(RUNS):
            space.run_of("load", f"load-{number}")
        names = ["early", *(f"load-{number}" for number in range(RUNS))]
        time.sleep(5)
        told = [run for run in space.list(WORKFLOW_RUNS) if not run["status"].get("completionTime")]
        messages = [task(run, "load").get("message", "") for run in told]
        assert any("1st in queue" in message and "held by " in message for message in messages), messages
        first.kill()
        first.start()
        ended = [space.finished(name, 120) for name in names]

    assert {run["status"]["phase"] for run in ended} == {"Succeeded"}
    ran = intervals(space)
    assert len(ran) == RUNS + 1
    at_once = [sum(start <= moment < end for start, end in ran) for moment, _ in ran]
    assert max(at_once) == 2
