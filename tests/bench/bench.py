"""`make bench`: measure on the local cluster and on this machine, print a table, write build/bench.json.

`make bench ONLY=scale` measures one part of it: engine, store, cluster, hostile, memory, played or scale.

Times are compared with a floor that is measured in the same run, because the machine may be shared and noisy.
Exit status 1 where a target is missed.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import (  # noqa: E402
    artifacts,
    cluster,
    commands,
    decide,
    failover,
    foreach,
    local,
    memory,
    neighbour,
    pools,
    scale,
    schedules,
)
from tests.bench.results import Row, table, write  # noqa: E402

CLUSTER = [sys.executable, str(ROOT / "tests/cluster/cluster.py")]


# Played nodes for what needs many pods. The Job controller's own rates would be all that is measured there.
PLAYED = {"KWOK": "1", "NEXUS_KCM_ARGS": "--kube-api-qps=100 --kube-api-burst=150"}


def _cluster(verb: str, **settings: str) -> str:
    done = subprocess.run([*CLUSTER, verb], check=True, stdout=subprocess.PIPE, text=True, env=os.environ | settings)
    return done.stdout


def _is_up(**settings: str) -> bool:
    asked = [*CLUSTER, "status"]
    return subprocess.run(asked, check=False, capture_output=True, env=os.environ | settings).returncode == 0


@contextmanager
def _cluster_up(**settings: str) -> Iterator[None]:
    """A cluster with these settings; it stays up where it was up before."""
    was_up = _is_up(**settings)
    _cluster("up", **settings)
    try:
        yield
    finally:
        if not was_up:
            _cluster("down", **settings)


def _prepared(**settings: str) -> dict[str, str]:
    """The variables of a cluster that is up, our CRDs on it and our way into it in this process."""
    environment = _environment(_cluster("env", **settings))
    os.environ.update({name: value for name, value in environment.items() if name != "PATH"})
    kubectl = ["kubectl", "apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds")]
    path = environment.get("PATH", "").replace("$PATH", os.environ["PATH"]) or os.environ["PATH"]
    subprocess.run(kubectl, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PATH": path})
    return environment


def _environment(text: str) -> dict[str, str]:
    """The variables of `export NAME=value` lines."""
    found = {}
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if len(words) == 2 and words[0] == "export":
            name, _, value = words[1].partition("=")
            found[name] = value
    return found


def engine() -> list[Row]:
    """What needs no cluster."""
    return [local.local_chain(), *commands.short_commands(), *decide.decide_500(), *schedules.next_fire()]


def on_cluster() -> list[Row]:
    """What needs a real node."""
    with _cluster_up():
        environment = _prepared()
        rows = asyncio.run(cluster.measure(Path(environment["NEXUS_AUDIT_LOG"]), foreach.foreach_100))
        return rows + asyncio.run(schedules.measure())


def hostile() -> list[Row]:
    """What others do to a run, on a real node."""
    with _cluster_up():
        _prepared()
        return asyncio.run(neighbour.hostile_neighbour())


def played() -> list[Row]:
    """A fan-out too big for a real node, and the way to another leader."""
    with _cluster_up(**PLAYED):
        _prepared(**PLAYED)
        rows = asyncio.run(foreach.foreach_1000()) + asyncio.run(failover.failover())
        return rows + asyncio.run(pools.pool_of_5())


def at_scale() -> list[Row]:
    """Many runs: on a controller manager as it comes, then on one with flags."""
    rows = []
    for flags, measure in (("", scale.burst_default), (scale.TUNED, scale.tuned)):
        settings = {"KWOK": "1", "NEXUS_KCM_ARGS": flags, "NEXUS_KWOK_PODS": scale.PODS_PER_NODE}
        with _cluster_up(**settings):
            _prepared(**settings)
            rows += asyncio.run(measure())
    return rows


PARTS = {
    "engine": engine,
    "store": artifacts.artifact_1gib,
    "cluster": on_cluster,
    "hostile": hostile,
    "memory": memory.hostile_rss,
    "played": played,
    "scale": at_scale,
}


def main(names: list[str]) -> int:
    """Measure these parts, or all of them; clusters are left as they were found."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"there is no part {unknown[0]}: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    rows = [row for name in names or PARTS for row in PARTS[name]()]
    print(table(rows))
    write(rows, ROOT / "build" / "bench.json")
    return 0 if all(row.ok is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
