"""Fan-outs: 1 → 100 → 1 against the same with bare Jobs, API writes of both, and 1,000 items on played nodes."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import floor
from tests.bench.cluster import (
    AGENT,
    IMAGE,
    NAMESPACE,
    NAMESPACES,
    ROUNDS,
    AuditLog,
    OperatorProcess,
    finished,
    fresh_namespace,
    run_of,
    settled,
)
from tests.bench.results import Row

from nexus.adapters.kube.client.access import find_access
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, KubeApi
from nexus.adapters.kube.client.http import KubeClient

ITEMS = 100
MANY = 1_000
OUTPUT = '{"text":"%s"}' % ("x" * 189)
"""200 bytes: what each of the many items leaves behind."""


def fan(count: int, image: str = IMAGE, **fields: Any) -> dict[str, Any]:
    """The spec of a run: first → so many items → last."""
    container = {"container": {"image": image, "command": ["/bin/true"]}}
    middle = {"name": "each", "dependsOn": ["first"], "forEach": {"items": f"${{{{ range({count}) }}}}"}}
    tasks = [
        {"name": "first", **container},
        {**middle, **container, **fields},
        {"name": "last", "dependsOn": ["each"], **container},
    ]
    return {"tasks": tasks, "maxParallelTasks": max(count, 10)}


async def _bare(api: KubeApi, shape: str) -> float:
    """Seconds from the first POST to the end of the last container: a Job, an Indexed Job of 100, a Job."""
    began = time.monotonic()
    for name, count in (("first", 1), ("each", ITEMS), ("last", 1)):
        body = floor.job(shape, name, IMAGE)
        if count > 1:
            body["spec"] |= {"completionMode": "Indexed", "completions": count, "parallelism": count}
        selector = f"{floor.LABEL}={shape},bench.nexus.dev/task={name}"
        listing = await api.list(PODS, NAMESPACE, selector)
        await api.create(JOBS, NAMESPACE, body)
        done: set[str] = set()
        async for event in api.watch(PODS, NAMESPACE, selector, listing.resource_version):
            statuses = event.object.get("status", {}).get("containerStatuses") or ()
            if any("terminated" in status["state"] for status in statuses):
                done.add(event.object["metadata"]["uid"])
            if len(done) == count:
                break
    return time.monotonic() - began


async def foreach_100(api: KubeApi, audit: Path) -> list[Row]:
    """Time and writes of 1 → 100 → 1, ours and the floor in turn."""
    base = AuditLog(audit)
    await finished(api, "foreach-two", run_of("foreach-two", _two()))
    await settled(api)
    without = base.writes()[AGENT]
    ours, floors, writes, bare, own = [], [], [], [], []
    for number in range(ROUNDS):
        log = AuditLog(audit)
        floors.append(await _bare(api, f"floor-foreach-{number}"))
        await settled(api)
        bare.append(sum(log.writes().values()))
        log, name = AuditLog(audit), f"foreach-{number}"
        checkpoints: set[str] = set()
        ours.append(await finished(api, name, run_of(name, fan(ITEMS)), partial(_note, checkpoints)))
        await settled(api)
        counted = log.writes()
        writes.append(sum(counted.values()))
        own.append(counted[AGENT] - without - len(checkpoints))
    least = statistics.median(bare)
    return [
        Row("foreach_100", statistics.median(ours), "s", floor=statistics.median(floors), target=1.25, by_ratio=True),
        Row("foreach_writes", statistics.median(writes), "writes", floor=least, target=1.1, by_ratio=True),
        # Beyond those of a run without the fan-out, and one a checkpoint.
        Row("foreach_operator_writes", max(own), "writes", target=3),
    ]


def _note(checkpoints: set[str], status: Mapping[str, Any]) -> None:
    """When outputs were stored while items ran."""
    for entry in status.get("tasks") or ():
        if (at := entry.get("items", {}).get("checkpointTime")) is not None:
            checkpoints.add(at)


def _two() -> dict[str, Any]:
    """The same run without the fan-out in the middle."""
    first, _, last = fan(0)["tasks"]
    return {"tasks": [first, {**last, "dependsOn": ["first"]}], "maxParallelTasks": ITEMS}


async def foreach_1000() -> list[Row]:
    """A fan-out of 1,000 items on played nodes: the longest look at it, and the largest that its object becomes."""
    with tempfile.TemporaryDirectory() as folder:
        async with KubeClient(find_access()) as api:
            await fresh_namespace(api, NAMESPACE)
            operator = OperatorProcess(Path(folder) / "operator.log", level="DEBUG")
            try:
                fields = {"pod": {"annotations": {"played/message": OUTPUT}}}
                await finished(api, "many", run_of("many", fan(MANY, **fields)))
                largest = len(json.dumps(await api.get(WORKFLOW_RUNS, NAMESPACE, "many"), ensure_ascii=False).encode())
            finally:
                operator.stop()
                await api.delete(NAMESPACES, "", NAMESPACE, None)
            walls, cpus = zip(*operator.reconciles_ms(), strict=True)
            # What a look costs is held to the target. How long it waits, for an API server and two controllers that
            # share the machine with it, is only told.
            return [
                Row("foreach_1000_reconcile_max", max(cpus), "ms", target=250),
                Row("foreach_1000_reconcile_wall_p99", sorted(walls)[int(len(walls) * 0.99)], "ms"),
                Row("foreach_1000_reconcile_wall_max", max(walls), "ms"),
                Row("foreach_1000_run_object", largest / 1024, "KiB", target=64),
            ]
