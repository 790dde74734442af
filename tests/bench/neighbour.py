"""Two hostile Workflows that take all the evaluator that they may, beside a run that needs little of it.

Measured is how long the next Job of a chain comes after its task ended, as watches of this process tell it: first
without the two, then with both of them. Their runs never come to a Job; what a node or the API server have to do for
thousands of pods is a matter of quotas.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.cluster import IMAGE, NAMESPACES, OperatorProcess, fresh_namespace, run_of
from tests.bench.results import Row
from tests.bench.schedules import p99

from nexus.adapters.kube.client.access import find_access
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind, KubeApi
from nexus.adapters.kube.client.http import KubeClient
from nexus.api.base import API_VERSION
from nexus.core.names import LABEL_RUN, LABEL_TASK

INNOCENT, HOSTILE = "bench-innocent", ("bench-hostile-1", "bench-hostile-2")
CHAINS, LENGTH = 4, 26
RUNS = 50
"""Runs of each hostile Workflow, at once."""
SETTLE_SECONDS = 15
CHANGE_SECONDS = 2
Object = Mapping[str, Any]

# As costly as one may be: some 80 ms each. 240 of them in a field, for each of 1,000 items.
COSTLY = "${{ range(80).all(i, size(range(10000)) > index) }}"


def chain() -> dict[str, Any]:
    """t0 → t1 → …, each with expressions of its own."""
    container = {"image": IMAGE, "command": ["/bin/true"], "args": ["${{ run.name }}", "${{ run.phase + '!' }}"]}
    return {
        "tasks": [
            {"name": f"t{n}", "container": container} | ({"dependsOn": [f"t{n - 1}"]} if n else {})
            for n in range(LENGTH)
        ]
    }


def hostile(change: int) -> dict[str, Any]:
    """A definition that takes long to check, and 100 days to render."""
    fields = {f"f{n}": COSTLY * 240 for n in range(4)}
    fan_out = {"name": "fan-out", "forEach": {"items": list(range(1_000))}, "python": {"call": "a:b", "with": fields}}
    many = {
        "name": "t",
        "container": {
            "image": IMAGE,
            "args": [f"${{{{ run.name + '{change}' + string({n} * 2) }}}}" for n in range(40)],
        },
    }
    return {"tasks": [fan_out, *({**many, "name": f"t{n}", "dependsOn": ["fan-out"]} for n in range(200))]}


async def hostile_neighbour() -> list[Row]:
    """The row."""
    async with KubeClient(find_access()) as api:
        for namespace in (INNOCENT, *HOSTILE):
            await fresh_namespace(api, namespace)
        with tempfile.TemporaryDirectory() as folder:
            operator = OperatorProcess(Path(folder) / "operator.log", INNOCENT, more=HOSTILE)
            try:
                alone = await _waits(api, "alone")
                async with _at_work(api):
                    await asyncio.sleep(SETTLE_SECONDS)
                    beside = await _waits(api, "beside")
            finally:
                operator.stop()
                for namespace in (INNOCENT, *HOSTILE):
                    await api.delete(NAMESPACES, "", namespace, None)
    return [Row("hostile_neighbour", p99(beside), "ms", floor=p99(alone), target=1_000)]


@contextlib.asynccontextmanager
async def _at_work(api: KubeApi) -> AsyncIterator[None]:
    """Both Workflows with all their runs, and a new definition of each every two seconds."""
    for namespace in HOSTILE:
        await api.create(WORKFLOWS, namespace, _workflow(0))
        for number in range(RUNS):
            body = run_of(f"hostile-{number}", {})
            await api.create(WORKFLOW_RUNS, namespace, {**body, "spec": {"workflowRef": {"name": "hostile"}}})
    changing = asyncio.create_task(_change(api))
    try:
        yield
    finally:
        changing.cancel()
        await asyncio.wait([changing])


def _workflow(change: int) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "Workflow", "metadata": {"name": "hostile"}, "spec": hostile(change)}


async def _change(api: KubeApi) -> None:
    for change in range(1, 1_000):
        for namespace in HOSTILE:
            await api.patch(WORKFLOWS, namespace, "hostile", {"spec": hostile(change)})
        await asyncio.sleep(CHANGE_SECONDS)


async def _waits(api: KubeApi, prefix: str) -> list[float]:
    """Milliseconds from the end of each task until the Job of the next one, in order of length."""
    ended: dict[tuple[str, int], float] = {}
    begun: dict[tuple[str, int], float] = {}

    def see_pod(pod: Object) -> None:
        states = pod.get("status", {}).get("containerStatuses") or ()
        if any("terminated" in state["state"] for state in states):
            ended.setdefault(_place(pod), time.monotonic())

    def see_job(job: Object) -> None:
        begun.setdefault(_place(job), time.monotonic())

    watching = [
        asyncio.create_task(_watch(api, PODS, see_pod)),
        asyncio.create_task(_watch(api, JOBS, see_job)),
    ]
    await asyncio.sleep(1)
    for number in range(CHAINS):
        await api.create(WORKFLOW_RUNS, INNOCENT, run_of(f"{prefix}-{number}", chain()))
    wanted = [(f"{prefix}-{number}", task) for number in range(CHAINS) for task in range(1, LENGTH)]
    while not all(place in begun for place in wanted):
        await asyncio.sleep(0.2)
        for task in watching:
            if task.done():
                task.result()
    for task in watching:
        task.cancel()
    await asyncio.wait(watching)
    return sorted(max(0.0, begun[run, task] - ended[run, task - 1]) * 1_000 for run, task in wanted)


def _place(body: Object) -> tuple[str, int]:
    labels = body["metadata"].get("labels") or {}
    return labels.get(LABEL_RUN, ""), int(labels.get(LABEL_TASK, "t-1").removeprefix("t"))


async def _watch(api: KubeApi, kind: Kind, see: Callable[[Object], None]) -> None:
    version = (await api.list(kind, INNOCENT)).resource_version
    async for event in api.watch(kind, INNOCENT, "", version):
        see(event.object)
    raise RuntimeError("the watch ended before the runs did")
