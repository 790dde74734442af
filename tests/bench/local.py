"""The local figures: whole `nexus run --local` commands, start of the program included."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.results import Row

TASKS = 40
ROUNDS = 5


def chain_manifest(length: int) -> dict[str, object]:
    """A chain of python tasks, each counting on from the one before."""
    tasks: list[dict[str, object]] = [{"name": "t0", "python": {"code": "output['n'] = 0"}}]
    for number in range(1, length):
        code = f"output['n'] = input['t{number - 1}']['n'] + 1"
        tasks.append({"name": f"t{number}", "dependsOn": [f"t{number - 1}"], "python": {"code": code}})
    return {
        "apiVersion": "nexus.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "chain"},
        "spec": {"tasks": tasks},
    }


def local_chain() -> Row:
    """A chain of 40 python tasks on this machine; the floor is starting that many interpreters that do nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.yaml"
        path.write_text(json.dumps(chain_manifest(TASKS)), encoding="utf-8")
        command = [sys.executable, "-m", "nexus.cli", "run", "-f", str(path), "--local", "-o", "json"]
        ours, floors = [], []
        for _ in range(ROUNDS):
            began = time.monotonic()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            ours.append(time.monotonic() - began)
            last = json.loads(done.stdout)["status"]["tasks"][-1]
            assert last["output"] == {"n": TASKS - 1}, last
            began = time.monotonic()
            for _ in range(TASKS):
                subprocess.run([sys.executable, "-c", "import json"], check=True)
            floors.append(time.monotonic() - began)
    return Row(
        "local_chain_40", statistics.median(ours), "s", floor=statistics.median(floors), target=1.05, by_ratio=True
    )
