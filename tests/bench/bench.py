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

from tests.bench import cluster, decide, local, schedules  # noqa: E402
from tests.bench.results import table, write  # noqa: E402

CLUSTER = [sys.executable, str(ROOT / "tests/cluster/cluster.py")]


def _cluster(verb: str) -> str:
    return subprocess.run([*CLUSTER, verb], check=True, stdout=subprocess.PIPE, text=True).stdout


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
    was_up = subprocess.run([*CLUSTER, "status"], check=False, capture_output=True).returncode == 0
    rows = [local.local_chain(), *decide.decide_500(), *schedules.next_fire()]
    _cluster("up")
    try:
        environment = _environment(_cluster("env"))
        os.environ.update({name: value for name, value in environment.items() if name != "PATH"})
        kubectl = ["kubectl", "apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds")]
        path = environment.get("PATH", "").replace("$PATH", os.environ["PATH"]) or os.environ["PATH"]
        subprocess.run(kubectl, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PATH": path})
        rows = asyncio.run(cluster.measure(Path(environment["NEXUS_AUDIT_LOG"]))) + rows
        rows += asyncio.run(schedules.measure())
    finally:
        if not was_up:
            _cluster("down")
    print(table(rows))
    write(rows, ROOT / "build" / "bench.json")
    return 0 if all(row.ok is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
