"""A pool of 5 shared by 200 runs that wait, on played nodes: how many it holds at most, and how long a slot is idle.

The pool is opened when all of them wait. As a watch tells it: a slot is taken when its Job is there, and free when the
container of its pod has ended. Of those that are free the one that has been so for longest is taken first.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.cluster import IMAGE, NAMESPACE, NAMESPACES, OperatorProcess, fresh_namespace
from tests.bench.results import Row

from nexus.adapters.kube.client.access import find_access
from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind, KubeApi, NotFound
from nexus.adapters.kube.client.http import KubeClient
from nexus.api.base import API_VERSION
from nexus.core.names import LABEL_POOL

POOL, RUNS, SIZE = "warehouse", 200, 5


@dataclass
class _Slots:
    """What the watches have told."""

    held: int = 0
    most: int = 0
    ended: set[str] = field(default_factory=set)
    free: deque[float] = field(default_factory=deque)
    idle: list[float] = field(default_factory=list)

    def take(self) -> None:
        """A Job is there."""
        self.held += 1
        self.most = max(self.most, self.held)
        if self.free:
            self.idle.append(time.monotonic() - self.free.popleft())

    def leave(self, pod: str) -> None:
        """The container of a pod has ended."""
        if pod not in self.ended:
            self.ended.add(pod)
            self.held -= 1
            self.free.append(time.monotonic())


async def pool_of_5() -> list[Row]:
    """The rows."""
    with tempfile.TemporaryDirectory() as folder:
        async with KubeClient(find_access()) as api:
            await fresh_namespace(api, NAMESPACE)
            sizes = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nexus-pools"}}
            await api.create(CONFIG_MAPS, NAMESPACE, {**sizes, "data": {POOL: "0"}})
            operator = OperatorProcess(Path(folder) / "operator.log")
            try:
                slots = await _all_runs(api)
                cpu = operator.cpu_seconds()
            finally:
                operator.stop()
                await api.delete(NAMESPACES, "", NAMESPACE, None)
    return [
        Row("pool_of_5_most_held", slots.most, "pods", target=SIZE),
        Row("pool_of_5_longest_idle", max(slots.idle), "s", target=1.0),
        Row("pool_of_5_median_idle", sorted(slots.idle)[len(slots.idle) // 2] * 1000, "ms"),
        Row("pool_of_5_cpu_a_run", cpu * 1000 / RUNS, "ms"),
    ]


async def _all_runs(api: KubeApi) -> _Slots:
    slots = _Slots()
    watching = [asyncio.create_task(_watch(api, kind, slots)) for kind in (JOBS, PODS)]
    task = {"name": "load", "container": {"image": IMAGE, "command": ["/bin/true"]}, "pool": POOL}
    try:
        await api.create(WORKFLOWS, NAMESPACE, _object("Workflow", "load", {"tasks": [task]}))
        for number in range(RUNS):
            run = _object("WorkflowRun", f"load-{number}", {"workflowRef": {"name": "load"}})
            await api.create(WORKFLOW_RUNS, NAMESPACE, run)
        while await _waiting(api) < RUNS:  # noqa: ASYNC110  only the cluster tells
            await asyncio.sleep(0.5)
        await api.patch(CONFIG_MAPS, NAMESPACE, "nexus-pools", {"data": {POOL: str(SIZE)}})
        while len(slots.ended) < RUNS:
            await asyncio.sleep(0.1)
            for watch in watching:
                if watch.done():
                    watch.result()
    finally:
        for watch in watching:
            watch.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return slots


async def _waiting(api: KubeApi) -> int:
    """How many stand in line."""
    try:
        line = await api.get(CONFIG_MAPS, NAMESPACE, f"nexus-pool-{POOL}")
    except NotFound:
        return 0
    return len(line["data"]["waiting"].splitlines())


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


async def _watch(api: KubeApi, kind: Kind, slots: _Slots) -> None:
    version = (await api.list(kind, NAMESPACE, LABEL_POOL)).resource_version
    async for event in api.watch(kind, NAMESPACE, LABEL_POOL, version):
        if kind == JOBS and event.type == "ADDED":
            slots.take()
        elif kind == PODS and _has_ended(event.object):
            slots.leave(event.object["metadata"]["uid"])


def _has_ended(pod: dict[str, Any]) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return any("terminated" in status["state"] for status in statuses)
