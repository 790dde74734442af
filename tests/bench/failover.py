"""The leader of two operators is killed with 1,000 live runs, on played nodes: how long until the other one goes on.

Each run has a task that takes minutes and one after it. The kill comes when the first tasks have ended and the second
ones are being started, so that there is something to be late with, and something to do twice.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench.cluster import IMAGE, NAMESPACE, NAMESPACES, OperatorProcess, fresh_namespace, run_of
from tests.bench.results import Row

from nexus.adapters.kube.client.access import find_access
from nexus.adapters.kube.client.api import JOBS, LEASES, WORKFLOW_RUNS, KubeApi
from nexus.adapters.kube.client.http import KubeClient
from nexus.core.names import LABEL_RUN, LABEL_TASK

RUNS = 1_000
# The Job controller starts 13 a second, so the last of the first tasks starts as the first one ends.
MINUTES = "2m"
# What was on its way to the API server when the leader died still arrives.
IN_FLIGHT = 1.0
LEASE = {"NEXUS_LEASE": "nexus", "NEXUS_LEASE_NAMESPACE": NAMESPACE}


async def failover() -> list[Row]:
    """From the kill to the next Job; from SIGTERM to the end of a busy operator; and Jobs that were made twice."""
    with tempfile.TemporaryDirectory() as folder:
        async with KubeClient(find_access()) as api:
            await fresh_namespace(api, NAMESPACE)
            operators = [OperatorProcess(Path(folder) / "leader.log", settings=LEASE)]
            try:
                await _leads(api)
                operators.append(OperatorProcess(Path(folder) / "standby.log", settings=LEASE))
                for number in range(RUNS):
                    await api.create(WORKFLOW_RUNS, NAMESPACE, _run(f"live-{number}"))
                await _jobs(api, "second", RUNS // 20)
                seconds = await _goes_on(api, operators.pop(0))
                await _jobs(api, "second", RUNS)
                stop = _stopped(operators.pop(0))  # in the midst of what ended last
                made = await _made(api)
            finally:
                for operator in operators:
                    operator.stop()
                await api.delete(NAMESPACES, "", NAMESPACE, None)
    return [
        Row("failover_seconds", seconds, "s", target=20),
        Row("stop_seconds", stop, "s", target=5),
        Row("failover_duplicate_jobs", sum(count - 1 for count in made.values()), "Jobs", target=0),
    ]


def _run(name: str) -> dict[str, Any]:
    container = {"container": {"image": IMAGE, "command": ["/bin/true"]}}
    first = {"name": "first", **container, "pod": {"annotations": {"played/duration": MINUTES}}}
    return run_of(name, {"tasks": [first, {"name": "second", "dependsOn": ["first"], **container}]})


async def _leads(api: KubeApi) -> None:
    """Wait until somebody does."""
    async for event in api.watch(LEASES, NAMESPACE):
        if event.object["spec"].get("holderIdentity"):
            return


async def _jobs(api: KubeApi, task: str, count: int) -> None:
    """Wait until so many Jobs of a task are there."""
    names: set[str] = set()
    while len(names) < count:
        async for event in api.watch(JOBS, NAMESPACE, f"{LABEL_TASK}={task}"):
            names.add(event.object["metadata"]["name"])
            if len(names) >= count:
                return


async def _goes_on(api: KubeApi, leader: OperatorProcess) -> float:
    """Kill the leader; the seconds until there is a Job that it did not make."""
    listing = await api.list(JOBS, NAMESPACE)
    leader.kill()
    died = time.monotonic()
    async for event in api.watch(JOBS, NAMESPACE, "", listing.resource_version):
        if event.type == "ADDED" and time.monotonic() > died + IN_FLIGHT:
            return time.monotonic() - died
    raise RuntimeError("nobody went on within five minutes")


def _stopped(operator: OperatorProcess) -> float:
    """Stop it as Kubernetes does; the seconds that took."""
    began = time.monotonic()
    operator.stop()
    return time.monotonic() - began


async def _made(api: KubeApi) -> Counter[tuple[str, str]]:
    """How many Jobs each task of each run has."""
    labels = [job["metadata"]["labels"] for job in await api.list(JOBS, NAMESPACE)]
    return Counter((entry[LABEL_RUN], entry[LABEL_TASK]) for entry in labels)
