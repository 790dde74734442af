"""The figures on the real cluster: latency against bare Jobs, API writes, the operator's memory and CPU."""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import floor
from tests.bench.results import Row

from nexus.adapters.kube.client.access import find_access
from nexus.adapters.kube.client.api import JOBS, WORKFLOW_RUNS, Kind, KubeApi, NotFound
from nexus.adapters.kube.client.http import KubeClient

NAMESPACE = "bench"
NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
IMAGE = "nexus/task-bash:dev"
CHAIN = 10
FAN = 30
ROUNDS = 3
FINISHED_RUNS = 100
LIVE_RUNS = 10
IDLE_SECONDS = 20
AGENT = "nexus-operator"

Dag = Mapping[str, Sequence[str]]


def chain() -> Dag:
    """t0 → t1 → … → t9."""
    return {f"t{number}": [f"t{number - 1}"] if number else [] for number in range(CHAIN)}


def fan() -> Dag:
    """First → 30 at once → last."""
    middle = [f"m{number}" for number in range(FAN)]
    return {"first": [], **{name: ["first"] for name in middle}, "last": middle}


def run_body(name: str, dag: Dag, command: Sequence[str] = ("/bin/true",)) -> dict[str, Any]:
    """A WorkflowRun with the DAG inline."""
    tasks = [
        {"name": task, "container": {"image": IMAGE, "command": list(command)}}
        | ({"dependsOn": list(dependencies)} if dependencies else {})
        for task, dependencies in dag.items()
    ]
    return run_of(name, {"tasks": tasks, "maxParallelTasks": FAN})


def run_of(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A WorkflowRun with this definition inline."""
    return {
        "apiVersion": "nexus.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": name},
        "spec": {"workflowSpec": dict(spec)},
    }


async def drive(api: KubeApi, name: str, dag: Dag) -> float:
    """Seconds from the POST of a run until its status says that it succeeded."""
    return await finished(api, name, run_body(name, dag))


async def finished(
    api: KubeApi, name: str, body: dict[str, Any], see: Callable[[Mapping[str, Any]], None] = lambda _: None
) -> float:
    """The same of any run; `see` is called with each status of it."""
    listing = await api.list(WORKFLOW_RUNS, NAMESPACE)
    began = time.monotonic()
    await api.create(WORKFLOW_RUNS, NAMESPACE, body)
    async for event in api.watch(WORKFLOW_RUNS, NAMESPACE, "", listing.resource_version):
        if event.object["metadata"]["name"] != name:
            continue
        see(event.object.get("status", {}))
        phase = event.object.get("status", {}).get("phase")
        if phase in ("Succeeded", "Failed"):
            assert phase == "Succeeded", event.object["status"]
            return time.monotonic() - began
    raise RuntimeError("the watch ended before the run did")


class OperatorProcess:
    """The operator as a process of its own, told apart in the audit log by its user agent."""

    def __init__(
        self,
        log: Path,
        namespace: str = NAMESPACE,
        level: str = "INFO",
        settings: Mapping[str, str] | None = None,
        more: Sequence[str] = (),
    ) -> None:
        """`more` are further namespaces."""
        self.log = log
        self._file = log.open("wb")
        namespaces = [word for name in (namespace, *more) for word in ("--namespace", name)]
        command = [sys.executable, "-m", "nexus.cli", "operator", *namespaces]
        environment = os.environ | {"NEXUS_LOG_LEVEL": level, **(settings or {})}
        self._child = subprocess.Popen(command, stdout=self._file, stderr=subprocess.STDOUT, env=environment)

    def tree(self) -> list[int]:
        """The operator and its children (the expression workers)."""
        found = [self._child.pid]
        for pid in found:
            # A child is its thread's.
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text(encoding="utf-8").split()]
        return found

    def rss_mib(self) -> float:
        """Resident memory of all of them together, in MiB."""
        kib = 0
        for pid in self.tree():
            text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            kib += int(re.search(r"^VmRSS:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
        return kib / 1024

    def cpu_seconds(self) -> float:
        """CPU time that all of them have used."""
        ticks = 0
        for pid in self.tree():
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def reconciles_ms(self) -> list[tuple[float, float]]:
        """How long each look at a run took, calls of the API server and all, and the CPU time to decide in it; the log
        has them at level DEBUG."""
        pattern = r" reconciled in ([\d.]+) ms, ([\d.]+) ms of CPU"
        return [(float(wall), float(cpu)) for wall, cpu in re.findall(pattern, self.log.read_text(encoding="utf-8"))]

    def reactions_ms(self) -> list[float]:
        """Event seen → Job posted, for each task that a termination started."""
        found = re.findall(r"react_ms=([\d.]+) cause=termination", self.log.read_text(encoding="utf-8"))
        return [float(text) for text in found]

    def kill(self) -> None:
        """Kill -9: it finishes nothing and tells nobody."""
        self._child.kill()
        self._child.wait(30)
        self._file.close()

    def stop(self) -> None:
        """Tell it to stop and wait."""
        self._child.terminate()
        self._child.wait(30)
        self._file.close()


class AuditLog:
    """The API server's audit log from a point on: writes that succeeded, by user agent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = path.stat().st_size

    def writes(self) -> Counter[str]:
        """Writes since the point, by the first word of the user agent, those of this benchmark aside."""
        counted: Counter[str] = Counter()
        with self._path.open("rb") as log:
            log.seek(self._start)
            for line in log:
                entry = json.loads(line)
                agent = str(entry.get("userAgent", "")).partition("/")[0]
                namespace = entry.get("objectRef", {}).get("namespace")
                ours = entry.get("user", {}).get("username") == "admin" and agent != AGENT
                read = entry["verb"] in ("get", "list", "watch")
                if namespace == NAMESPACE and not ours and not read and entry["responseStatus"]["code"] < 300:
                    counted[agent] += 1
        return counted


async def measure(audit: Path, *more: Callable[[KubeApi, Path], Awaitable[list[Row]]]) -> list[Row]:
    """All rows that need the cluster; `more` are measured with the same operator at work."""
    async with KubeClient(find_access()) as api:
        await fresh_namespace(api, NAMESPACE)
        with tempfile.TemporaryDirectory() as folder:
            operator = OperatorProcess(Path(folder) / "operator.log")
            try:
                await drive(api, "warm-up", {"t": []})
                rows = await _latency(api)
                rows += await _writes(api, audit)
                for each in more:
                    rows += await each(api, audit)
                rows += await _footprint(api, operator, audit)
                return rows + _reactions(operator)
            finally:
                operator.stop()
                await api.delete(NAMESPACES, "", NAMESPACE, None)


async def fresh_namespace(api: KubeApi, name: str) -> None:
    """A namespace with nothing in it; one with thousands of objects takes minutes to go."""
    for _ in range(900):
        try:
            await api.get(NAMESPACES, "", name)
        except NotFound:
            break
        await asyncio.sleep(1)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await api.create(NAMESPACES, "", body)


async def _latency(api: KubeApi) -> list[Row]:
    """Ours and the floor in turn, so that a slow minute of the machine meets both; the medians are compared."""
    rows = []
    for name, dag, divisor, unit, target in (
        ("chain_step", chain(), CHAIN, "s/step", 1.1),
        ("fan", fan(), 1, "s", 1.25),
    ):
        ours, floors = [], []
        for number in range(ROUNDS):
            shape = f"{name.replace('_', '-')}-{number}"
            floors.append(await floor.drive(api, NAMESPACE, f"floor-{shape}", dag, IMAGE))
            await settled(api)
            ours.append(await drive(api, shape, dag))
            await settled(api)
        value, base = statistics.median(ours) / divisor, statistics.median(floors) / divisor
        rows.append(Row(name, value, unit, floor=base, target=target, by_ratio=True))
    return rows


async def settled(api: KubeApi) -> None:
    """Wait until every Job is finished, so that one measurement's tail is not the next one's start."""
    while True:
        jobs = await api.list(JOBS, NAMESPACE)
        if all(job.get("status", {}).get("conditions") for job in jobs):
            return
        await asyncio.sleep(0.5)


async def _writes(api: KubeApi, audit: Path) -> list[Row]:
    bare = AuditLog(audit)
    await floor.drive(api, NAMESPACE, "floor-writes", chain(), IMAGE)
    await settled(api)
    base = sum(bare.writes().values()) / CHAIN
    ours = AuditLog(audit)
    await drive(api, "writes", chain())
    await settled(api)
    counted = ours.writes()
    own = counted[AGENT]
    budget = 3 + 4 / CHAIN
    return [
        Row(
            "writes_per_task",
            sum(counted.values()) / CHAIN,
            "writes",
            floor=base,
            target=round(base + CHAIN + budget, 1),
        ),
        Row("operator_writes_per_task", own / CHAIN, "writes", target=budget),
    ]


async def _footprint(api: KubeApi, operator: OperatorProcess, audit: Path) -> list[Row]:
    """Memory with 100 finished and 10 live runs, CPU a task on the way there, writes while nothing happens."""
    cpu = operator.cpu_seconds()
    for number in range(FINISHED_RUNS):
        await api.create(WORKFLOW_RUNS, NAMESPACE, run_body(f"finished-{number}", {"only": []}))
    await _ended(api, "finished-", FINISHED_RUNS)
    cpu = operator.cpu_seconds() - cpu
    for number in range(LIVE_RUNS):
        await api.create(WORKFLOW_RUNS, NAMESPACE, run_body(f"live-{number}", {"a": [], "b": ["a"]}, ["sleep", "60"]))
    await asyncio.sleep(15)
    memory = operator.rss_mib()
    idle = AuditLog(audit)
    await asyncio.sleep(IDLE_SECONDS)
    return [
        Row("operator_rss", memory, "MiB", target=128),
        Row("operator_cpu_per_task", 1000 * cpu / FINISHED_RUNS, "ms"),
        Row("operator_idle_writes", idle.writes()[AGENT], "writes", target=0),
    ]


async def _ended(api: KubeApi, prefix: str, count: int) -> None:
    while True:
        runs = [run for run in await api.list(WORKFLOW_RUNS, NAMESPACE) if run["metadata"]["name"].startswith(prefix)]
        phases = Counter(run.get("status", {}).get("phase") for run in runs)
        if phases["Failed"]:
            raise RuntimeError(f"runs failed: {phases}")
        if phases["Succeeded"] == count:
            return
        await asyncio.sleep(2)


def _reactions(operator: OperatorProcess) -> list[Row]:
    found = sorted(operator.reactions_ms())
    if len(found) < CHAIN:
        raise RuntimeError(f"the operator's log holds only {len(found)} reactions")
    p99 = found[min(len(found) - 1, int(len(found) * 0.99))]
    return [
        Row("react_p50", statistics.median(found), "ms", target=20),
        Row("react_p99", p99, "ms", target=100),
    ]
