"""Scale, on played nodes: bursts of runs against bare Jobs, many chains, thousands of live and finished runs.

The Job controller bounds how many Jobs there can be a second: by its own client's rate on a controller manager as it
comes, by the API server with the flags in TUNED. docs/operations.md quotes these rows.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.bench import floor
from tests.bench.cluster import IMAGE, NAMESPACE, NAMESPACES, OperatorProcess, fresh_namespace, run_of
from tests.bench.results import Row
from tests.bench.schedules import p99

from nexus.adapters.kube.client.access import find_access
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, ApiError, Kind, KubeApi
from nexus.adapters.kube.client.http import KubeClient

TUNED = "--kube-api-qps=500 --kube-api-burst=500 --concurrent-job-syncs=20"
PODS_PER_NODE = "1000"
BURST = 200
CHAINS, LENGTH = 60, 5
LIVE = (1_000, 5_000)
NEW_RUNS = 100
NEW_RUN_SECONDS = 0.2
FINISHED = 1_000
IDLE_SECONDS = 300
"""As long as from one sweep to the next: one is in it."""
AT_ONCE = 8
"""Objects that are created at the same time."""
Object = Mapping[str, Any]


def one(**pod: Any) -> dict[str, Any]:
    """The spec of a run with one task."""
    task = {"name": "only", "container": {"image": IMAGE, "command": ["/bin/true"]}}
    return {"tasks": [task | ({"pod": pod} if pod else {})]}


def live() -> dict[str, Any]:
    """A run whose one pod does not end."""
    return one(annotations={"played/duration": "10h"})


def chain() -> dict[str, Any]:
    """t0 → t1 → … → t4."""
    container = {"container": {"image": IMAGE, "command": ["/bin/true"]}}
    return {
        "tasks": [{"name": f"t{n}", **container, **({"dependsOn": [f"t{n - 1}"]} if n else {})} for n in range(LENGTH)]
    }


async def create_all(api: KubeApi, kind: Kind, bodies: Iterable[dict[str, Any]]) -> None:
    """Create objects, so many at once."""
    waiting = iter(bodies)

    async def worker() -> None:
        for body in waiting:
            await api.create(kind, NAMESPACE, body)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def arrived(
    api: KubeApi, kind: Kind, version: str, count: int, name: Callable[[Object], str | None]
) -> dict[str, float]:
    """When each of so many names was first seen; `name` gives None for what does not count (yet)."""
    seen: dict[str, float] = {}
    while len(seen) < count:
        try:
            async for event in api.watch(kind, NAMESPACE, "", version):
                version = event.object["metadata"]["resourceVersion"]
                if (found := name(event.object)) is not None:
                    seen.setdefault(found, time.monotonic())
                if len(seen) == count:
                    break
        except ApiError as error:
            # So soon after the CRDs came the API server may not be ready to watch them.
            if error.status != 429:
                raise
            await asyncio.sleep(0.5)
    return seen


def succeeded(prefix: str) -> Callable[[Object], str | None]:
    """Names of runs that succeeded."""

    def name(run: Object) -> str | None:
        phase = run.get("status", {}).get("phase")
        assert phase != "Failed", run["status"]
        mine = run["metadata"]["name"].startswith(prefix)
        return run["metadata"]["name"] if mine and phase == "Succeeded" else None

    return name


def running(prefix: str) -> Callable[[Object], str | None]:
    """Names of runs whose task runs."""

    def name(run: Object) -> str | None:
        tasks = run.get("status", {}).get("tasks") or [{}]
        mine = run["metadata"]["name"].startswith(prefix)
        return run["metadata"]["name"] if mine and tasks[0].get("phase") == "Running" else None

    return name


def terminated(pod: Object) -> str | None:
    """Names of the bare Jobs whose container has ended."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    ended = any("terminated" in status["state"] for status in statuses)
    labels = pod["metadata"].get("labels") or {}
    return labels.get("bench.nexus.dev/task") if ended and floor.LABEL in labels else None


async def drive(
    api: KubeApi, kind: Kind, bodies: list[dict[str, Any]], seen_in: Kind, name: Callable[[Object], str | None]
) -> float:
    """Seconds from the first POST until the last of them has arrived."""
    version = (await api.list(seen_in, NAMESPACE)).resource_version
    began = time.monotonic()
    watching = asyncio.create_task(arrived(api, seen_in, version, len(bodies), name))
    await create_all(api, kind, bodies)
    return max((await watching).values()) - began


@asynccontextmanager
async def at_work(level: str = "INFO") -> AsyncIterator[tuple[KubeApi, OperatorProcess, Path]]:
    """An empty namespace with an operator in it, and the folder of its log."""
    with tempfile.TemporaryDirectory() as folder:
        async with KubeClient(find_access()) as api:
            await fresh_namespace(api, NAMESPACE)
            operator = OperatorProcess(Path(folder) / "operator.log", level=level)
            try:
                await drive(api, WORKFLOW_RUNS, [run_of("warm-up", one())], WORKFLOW_RUNS, succeeded("warm-up"))
                yield api, operator, Path(folder)
            finally:
                operator.stop()
                await api.delete(NAMESPACES, "", NAMESPACE, None)


async def _settled(api: KubeApi) -> None:
    """Wait until the Job controller has nothing left to do."""
    while True:
        jobs = await api.list(JOBS, NAMESPACE)
        if all(job.get("status", {}).get("conditions") for job in jobs):
            return
        await asyncio.sleep(1)


async def _burst(api: KubeApi, shape: str) -> tuple[float, float]:
    """Seconds for so many one-task runs, and for so many bare Jobs until their containers ended."""
    bodies = [floor.job(f"floor-{shape}", str(number), IMAGE) for number in range(BURST)]
    bare = await drive(api, JOBS, bodies, PODS, terminated)
    await _settled(api)
    runs = [run_of(f"{shape}-{number}", one()) for number in range(BURST)]
    ours = await drive(api, WORKFLOW_RUNS, runs, WORKFLOW_RUNS, succeeded(f"{shape}-"))
    await _settled(api)
    return ours, bare


async def burst_default() -> list[Row]:
    """So many runs at once on a controller manager as it comes."""
    async with at_work() as (api, _, _):
        ours, bare = await _burst(api, "burst")
    return [
        Row("scale_burst_default", BURST / ours, "runs/s", floor=BURST / bare, target=0.9, by_ratio=True, least=True)
    ]


async def tuned() -> list[Row]:
    """What else there is, on a controller manager with TUNED."""
    async with at_work() as (api, operator, _):
        ours, bare = await _burst(api, "burst")
        rows = [
            Row("scale_burst_tuned", BURST / ours, "runs/s", floor=BURST / bare, target=0.75, by_ratio=True, least=True)
        ]
        rows += await _chains(api, operator)
    async with at_work() as (api, operator, _):
        rows += await _finished(api, operator)
    async with at_work() as (api, operator, folder):
        before = 0
        for count in LIVE:
            rows += await _live(api, operator, before, count)
            operator.stop()
            operator, before = OperatorProcess(folder / f"started-{count}.log", level="DEBUG"), count
            try:
                rows += await _started(operator, count)
            except BaseException:
                operator.stop()
                raise
        operator.stop()
    return rows


async def _chains(api: KubeApi, operator: OperatorProcess) -> list[Row]:
    before, cpu = len(operator.reactions_ms()), operator.cpu_seconds()
    runs = [run_of(f"chain-{number}", chain()) for number in range(CHAINS)]
    await drive(api, WORKFLOW_RUNS, runs, WORKFLOW_RUNS, succeeded("chain-"))
    await _settled(api)
    cpu = operator.cpu_seconds() - cpu
    reactions = sorted(operator.reactions_ms()[before:])
    return [
        Row("scale_chains_cpu_per_task", 1_000 * cpu / (CHAINS * LENGTH), "ms", target=25),
        Row("scale_chains_react_p50", statistics.median(reactions), "ms"),
        Row("scale_chains_react_p99", p99(reactions), "ms", target=500),
    ]


async def _live(api: KubeApi, operator: OperatorProcess, before: int, count: int) -> list[Row]:
    """Memory with so many live runs, of which some were there before, and how long a new one waits for its Job."""
    bodies = [run_of(f"live-{count}-{number}", live()) for number in range(count - before)]
    await drive(api, WORKFLOW_RUNS, bodies, WORKFLOW_RUNS, running(f"live-{count}-"))
    await asyncio.sleep(10)
    memory = operator.rss_mib()
    waits = await _new_runs(api, f"new-{count}-")
    name = f"scale_{count}_live"
    return [
        Row(f"{name}_rss", memory, "MiB", target=128 + count * 20 / 1024),
        Row(f"{name}_new_run_p50", statistics.median(waits), "ms"),
        Row(f"{name}_new_run_p99", p99(waits), "ms", target=250),
    ]


async def _new_runs(api: KubeApi, prefix: str) -> list[float]:
    """Milliseconds from the answer to the POST of a run until its Job is seen, in order of length."""

    def name(job: Object) -> str | None:
        run = (job["metadata"].get("labels") or {}).get("nexus.dev/run", "")
        return run if run.startswith(prefix) else None

    version = (await api.list(JOBS, NAMESPACE)).resource_version
    watching = asyncio.create_task(arrived(api, JOBS, version, NEW_RUNS, name))
    posted: dict[str, float] = {}
    for number in range(NEW_RUNS):
        await api.create(WORKFLOW_RUNS, NAMESPACE, run_of(f"{prefix}{number}", one()))
        posted[f"{prefix}{number}"] = time.monotonic()
        await asyncio.sleep(NEW_RUN_SECONDS)
    seen = await watching
    return sorted(1_000 * max(at - posted[run], 0.0) for run, at in seen.items())


async def _started(operator: OperatorProcess, count: int) -> list[Row]:
    """How long an operator that starts takes until it works on runs."""
    began, first = time.monotonic(), None
    while True:
        done = len(operator.reconciles_ms())
        if done and first is None:
            first = time.monotonic() - began
        if done >= count and first is not None:
            break
        await asyncio.sleep(0.1 if first is None else 1)
    return [
        Row(f"scale_{count}_live_start", first, "s", target=20),
        Row(f"scale_{count}_live_start_all", time.monotonic() - began, "s"),
        Row(f"scale_{count}_live_start_rss", operator.rss_mib(), "MiB", target=128 + count * 20 / 1024),
    ]


async def _finished(api: KubeApi, operator: OperatorProcess) -> list[Row]:
    """What an operator does with so many runs that have ended, and nothing else."""
    runs = [run_of(f"finished-{number}", one()) for number in range(FINISHED)]
    await drive(api, WORKFLOW_RUNS, runs, WORKFLOW_RUNS, succeeded("finished-"))
    await _settled(api)
    await asyncio.sleep(10)
    cpu, began = operator.cpu_seconds(), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    idle = (operator.cpu_seconds() - cpu) / (time.monotonic() - began)
    return [
        Row("scale_finished_idle_cpu", 100 * idle, "% of a core", target=1),
        Row("scale_finished_rss", operator.rss_mib(), "MiB"),
    ]
