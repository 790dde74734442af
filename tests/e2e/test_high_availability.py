"""Two operators and one Lease: one works, the other one takes over from it, dead or told to stop. And the probes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.e2e.conftest import operator_for
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Space, container
from tests.e2e.test_kills import each_job_once

from nexus.adapters.kube.client.api import LEASES

pytestmark = pytest.mark.cluster

NAME = "nexus"
SECONDS = 6


@dataclass
class Pair:
    """Two operators of one namespace."""

    space: Space
    first: OperatorProcess
    second: OperatorProcess

    def holder(self) -> str:
        """Who leads, as its log has it."""
        lease = self.space.get(LEASES, NAME)
        return str(lease["spec"]["holderIdentity"]) if lease is not None else ""

    def leads(self, process: OperatorProcess, seconds: float) -> float:
        """Wait until one of them leads; the seconds that took."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            holder = self.holder()
            if holder and process.log().rpartition("leading as ")[2].startswith(holder):
                return time.monotonic() - began
            time.sleep(0.1)
        pytest.fail(f"it does not lead within {seconds} s\n{process.tail()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def pair(new_space: Callable[[str], Space], tmp_path: Path) -> Iterator[Pair]:
    """Two operators, none of which is started."""
    space = new_space("ha")
    lease = {"NEXUS_LEASE": NAME, "NEXUS_LEASE_NAMESPACE": space.namespace, "NEXUS_LEASE_SECONDS": str(SECONDS)}
    settings = [lease | {"NEXUS_HTTP_PORT": str(free_port()), "NEXUS_LOG_FORMAT": form} for form in ("text", "json")]
    with operator_for(tmp_path, space, start=False, settings=settings[0]) as first:
        space.operator = None  # which of the two works is what this is about
        second = OperatorProcess(first.kubeconfig, tmp_path / "second.log", space.namespace, settings=settings[1])
        try:
            yield Pair(space, first, second)
        finally:
            second.stop()
        assert not second.alarms(), "\n".join(second.alarms())


def probe(process: OperatorProcess, path: str) -> int:
    """The status of a probe, 0 where nobody listens."""
    try:
        return httpx.get(f"http://127.0.0.1:{process.settings['NEXUS_HTTP_PORT']}{path}", timeout=10).status_code
    except httpx.TransportError:
        return 0


def ready(process: OperatorProcess, seconds: float = 40) -> None:
    """Wait until an operator is."""
    deadline = time.monotonic() + seconds
    while probe(process, "/readyz") != 200:
        assert time.monotonic() < deadline, f"not ready within {seconds} s\n{process.tail()}"
        time.sleep(0.2)


def test_the_one_that_stands_by_goes_on_where_the_other_one_was_killed_or_stopped(pair: Pair) -> None:
    space, first, second = pair.space, pair.first, pair.second
    first.start()
    pair.leads(first, 40)
    second.start()
    ready(second)
    assert probe(second, "/healthz") == 200
    assert "leading" not in second.log()

    names = [f"run-{number}" for number in range(4)]
    for name in names:
        tasks = [container(f"t{i}", "sleep", "2", after=(f"t{i - 1}",) if i else ()) for i in range(5)]
        space.run(name, *tasks)
    space.running(names[-1], "t0")
    first.kill()
    assert pair.leads(second, 60) < 20
    space.running(names[-1], "t2")

    first.start()
    ready(first)
    assert second.stop() == 0
    assert pair.leads(first, 60) < SECONDS  # nobody waited for a Lease that was given back
    for name in names:
        each_job_once(space, space.finished(name))
    lines = [json.loads(line) for line in second.log().splitlines()]
    started = next(line for line in lines if line.get("task") == "t2" and "react_ms" in line)
    assert (started["run"] in names, started["namespace"], started["attempt"]) == (True, space.namespace, 1)
    assert "TaskSucceeded" in {line.get("reason") for line in lines}


def test_a_leader_that_was_frozen_stops_when_it_goes_on(pair: Pair) -> None:
    space, first, second = pair.space, pair.first, pair.second
    first.start()
    pair.leads(first, 40)
    second.start()
    ready(second)
    first.freeze()
    pair.leads(second, 60)
    space.run("meanwhile", container("t0"), container("t1", after=("t0",)))
    space.until("meanwhile", lambda run: bool(run.get("status", {}).get("tasks")))
    first.thaw()
    assert first.ended(20) == 1
    assert "stopping: " in first.log()
    each_job_once(space, space.finished("meanwhile"))
    first.log_file.unlink()  # the end that was asked for is an error in it
