"""The figures of schedules: how late 500 of one minute are, what 5,000 cost while idle, what finding the next takes.

The lateness is compared with that of 500 bare creates of the same runs in the same minute of the machine.
"""

from __future__ import annotations

import asyncio
import heapq
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench.cluster import NAMESPACES, OperatorProcess, fresh_namespace
from tests.bench.results import Row

from nexus.adapters.kube.client.access import find_access
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, KubeApi
from nexus.adapters.kube.client.http import KubeClient
from nexus.api.schedule import Schedule
from nexus.core.schedule.timetable import Timetable

NAMESPACE = "bench-schedules"
FLOOR_NAMESPACE = "bench-floor"
WORKFLOW_COUNT = 500
SCHEDULES_EACH = 10
AT_ONCE = 8
"""Calls at once, as the operator has workers."""
IDLE_SECONDS = 20
STEPS = 50_000
# No pod: what is measured is the tick, not the node.
TASKS = [{"name": "nothing", "wait": {"seconds": 3_600}}]


def workflow(number: int, tick: datetime) -> dict[str, Any]:
    """One schedule is due at the tick, the others are on other days."""
    others = [
        {"name": f"idle-{other}", "cron": f"{(7 * number + other) % 60} {other} {tick.day % 28 + 1} 1 *"}
        for other in range(1, SCHEDULES_EACH)
    ]
    due = {"name": "due", "cron": f"{tick.minute} {tick.hour} * * *"}
    return {
        "apiVersion": "nexus.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": f"w{number}"},
        "spec": {"schedules": [due, *others], "tasks": TASKS},
    }


def bare_run(number: int) -> dict[str, Any]:
    """A run as a tick makes it, but of a Workflow that is not there."""
    return {
        "apiVersion": "nexus.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": f"w{number}-due", "labels": {"nexus.dev/workflow": f"w{number}"}},
        "spec": {
            "workflowRef": {"name": f"w{number}"},
            "triggeredBy": "schedule",
            "schedule": "due",
            "scheduledTime": "2026-11-23T09:00:00Z",
        },
    }


async def arrivals(api: KubeApi, namespace: str, version: str) -> list[float]:
    """When each of the runs was first seen, by this machine's clock."""
    seen: dict[str, float] = {}
    async for event in api.watch(WORKFLOW_RUNS, namespace, "", version):
        seen.setdefault(event.object["metadata"]["name"], time.time())
        if len(seen) == WORKFLOW_COUNT:
            break
    return sorted(seen.values())


async def create_all(api: KubeApi, namespace: str, bodies: list[dict[str, Any]], *, kind: Any) -> None:
    """Create objects, so many at once."""
    waiting = iter(bodies)

    async def worker() -> None:
        for body in waiting:
            await api.create(kind, namespace, body)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


def p99(values: list[float]) -> float:
    """The 99th percentile of sorted values."""
    return values[min(len(values) - 1, int(len(values) * 0.99))]


async def measure() -> list[Row]:
    """All rows that need the cluster; it has no other operator meanwhile."""
    async with KubeClient(find_access()) as api:
        for namespace in (NAMESPACE, FLOOR_NAMESPACE):
            await fresh_namespace(api, namespace)
        with tempfile.TemporaryDirectory() as folder:
            operator = OperatorProcess(Path(folder) / "schedules.log", NAMESPACE)
            try:
                return await _ticks(api, operator)
            finally:
                operator.stop()
                for namespace in (NAMESPACE, FLOOR_NAMESPACE):
                    await api.delete(NAMESPACES, "", namespace, None)


async def _ticks(api: KubeApi, operator: OperatorProcess) -> list[Row]:
    tick = (datetime.now(UTC) + timedelta(minutes=3)).replace(second=0, microsecond=0)
    await create_all(api, NAMESPACE, [workflow(number, tick) for number in range(WORKFLOW_COUNT)], kind=WORKFLOWS)
    await _ready(api)
    await asyncio.sleep(5)
    cpu, began = operator.cpu_seconds(), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    idle = (operator.cpu_seconds() - cpu) / (time.monotonic() - began)
    floor = await _floor(api)
    left = tick.timestamp() - time.time()
    assert left > 0, f"the machine took {-left:.0f} s too long to get ready for the tick"
    version = (await api.list(WORKFLOW_RUNS, NAMESPACE)).resource_version
    seen = await asyncio.wait_for(arrivals(api, NAMESPACE, version), left + 120)
    late = [at - tick.timestamp() for at in seen]
    return [
        Row("schedule_skew_p99", p99(late), "s", floor=floor, target=round(floor + 1, 3)),
        Row("schedule_idle_cpu", 100 * idle, "% of a core", target=1),
    ]


async def _ready(api: KubeApi) -> None:
    """Wait until the operator has looked at all Workflows."""
    while True:
        bodies = await api.list(WORKFLOWS, NAMESPACE)
        if all(body.get("status", {}).get("nextScheduleTime") for body in bodies):
            return
        await asyncio.sleep(1)


async def _floor(api: KubeApi) -> float:
    """How late the API server alone makes the 99th of a hundred."""
    version = (await api.list(WORKFLOW_RUNS, FLOOR_NAMESPACE)).resource_version
    watching = asyncio.create_task(arrivals(api, FLOOR_NAMESPACE, version))
    await asyncio.sleep(0.5)
    began = time.time()
    bodies = [bare_run(number) for number in range(WORKFLOW_COUNT)]
    await create_all(api, FLOOR_NAMESPACE, bodies, kind=WORKFLOW_RUNS)
    return p99(await asyncio.wait_for(watching, 120)) - began


def next_fire() -> list[Row]:
    """The next of 5,000 schedules, again and again: found, and its own next put in its place."""
    zones = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
    tables = [Timetable(_schedule(number, zones[number % 4])) for number in range(WORKFLOW_COUNT * SCHEDULES_EACH)]
    start = datetime(2026, 3, 1, tzinfo=UTC)
    firsts = [(table.next(start), number) for number, table in enumerate(tables)]
    heap = [(tick.time, number) for tick, number in firsts if tick is not None]
    heapq.heapify(heap)
    began = time.perf_counter()
    for _ in range(STEPS):
        at, number = heap[0]
        tick = tables[number].next(at)
        assert tick is not None
        heapq.heapreplace(heap, (tick.time, number))
    return [Row("schedule_next_us", 1e6 * (time.perf_counter() - began) / STEPS, "µs", target=50)]


def _schedule(number: int, zone: str) -> Schedule:
    crons: Mapping[int, str] = {0: "*/5 * * * *", 1: f"{number % 60} * * * *", 2: f"{number % 60} {number % 24} * * *"}
    cron = crons.get(number % 4, f"30 {number % 24} * * 1-5")
    return Schedule.model_validate({"name": "s", "cron": cron, "timeZone": zone})
