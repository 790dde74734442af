"""`make bench`: measure on the local cluster and on this machine, print a table, write build/bench.json.

Times are compared with a floor that is measured in the same run, because the machine may be shared and noisy.
Exit status 1 where a target is missed.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import cluster, decide, failover, foreach, lint, local, schedules  # noqa: E402
from tests.bench.results import table, write  # noqa: E402

CLUSTER = [sys.executable, str(ROOT / "tests/cluster/cluster.py")]


# Played nodes for what needs many pods. The Job controller's own rates would be all that is measured there.
PLAYED = {"KWOK": "1", "NEXUS_KCM_ARGS": "--kube-api-qps=100 --kube-api-burst=150"}


def _cluster(verb: str, **settings: str) -> str:
    done = subprocess.run([*CLUSTER, verb], check=True, stdout=subprocess.PIPE, text=True, env=os.environ | settings)
    return done.stdout


def _is_up(**settings: str) -> bool:
    asked = [*CLUSTER, "status"]
    return subprocess.run(asked, check=False, capture_output=True, env=os.environ | settings).returncode == 0


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


def main() -> int:
    """Run everything; the cluster is left as it was found."""
    was_up, was_played = _is_up(), _is_up(**PLAYED)
    rows = [local.local_chain(), lint.lint_500(), *decide.decide_500(), *schedules.next_fire()]
    _cluster("up")
    try:
        environment = _prepared()
        rows = asyncio.run(cluster.measure(Path(environment["NEXUS_AUDIT_LOG"]), foreach.foreach_100)) + rows
        rows += asyncio.run(schedules.measure())
    finally:
        if not was_up:
            _cluster("down")
    _cluster("up", **PLAYED)
    try:
        _prepared(**PLAYED)
        rows += asyncio.run(foreach.foreach_1000())
        rows += asyncio.run(failover.failover())
    finally:
        if not was_played:
            _cluster("down", **PLAYED)
    print(table(rows))
    write(rows, ROOT / "build" / "bench.json")
    return 0 if all(row.ok is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
