"""A rerun on the real cluster, by the command that users have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Space, bash, phases, python, reasons, task

from nexus.adapters.kube.client.api import CONFIG_MAPS, WORKFLOW_RUNS

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]


def nexus(space: Space, *words: str) -> str:
    command = [sys.executable, "-m", "nexus.cli", *words, "-n", space.namespace, "--kubeconfig", str(space.kubeconfig)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "operator")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_rerun_runs_the_failed_item_alone_and_keeps_large_outputs_after_the_earlier_run(
    space: Space, operator: OperatorProcess
) -> None:
    assert operator.running
    fan = {
        **bash("fan", 'test "$TRIGGER$ITEM" != manual2 && echo "item:=$ITEM" >> "$NEXUS_OUTPUT"', "big"),
        "forEach": {"items": [1, 2, 3]},
        "env": [{"name": "TRIGGER", "value": "${{ run.trigger }}"}],
    }
    count = python(
        "count", "output['n'] = len(input['big']['x']); output['items'] = input['fan']['items']", "big", "fan"
    )
    space.workflow("again", python("big", "output['x'] = 'x' * 9000"), fan, count)
    space.run_of("again", "earlier")
    earlier = space.finished("earlier")
    assert phases(earlier) == {"big": "Succeeded", "fan": "Failed", "count": "Omitted"}

    name = nexus(space, "rerun", "earlier")
    space.until(name, lambda run: "startTime" in run.get("status", {}))
    space.remove(WORKFLOW_RUNS, "earlier")
    run = space.finished(name)

    assert phases(run) == {"big": "Succeeded", "fan": "Succeeded", "count": "Succeeded"}
    assert reasons(run)["big"] == "Reused"
    assert [job["metadata"]["labels"]["nexus.dev/index"] for job in space.jobs(name, "fan")] == ["1"]
    assert task(run, "count")["output"] == {"n": 9000, "items": [{"item": 1}, {"item": 2}, {"item": 3}]}
    assert run["spec"]["scheduledTime"][:19] == earlier["metadata"]["creationTimestamp"][:19]
    stored = space.get(CONFIG_MAPS, task(run, "big")["outputRef"]["configMap"])
    assert stored is not None
    assert stored["metadata"]["ownerReferences"][0]["name"] == name
