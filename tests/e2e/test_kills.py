"""The operator killed again and again, and running twice: every Job is made once, and the run does not notice."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import operator_for
from tests.e2e.operator_process import OperatorProcess, survivors
from tests.e2e.space import Object, Space, bash, container, is_finished, phases, python, task

from nexus.adapters.kube.client.api import JOBS, WORKFLOW_RUNS
from nexus.core.names import LABEL_TASK

pytestmark = pytest.mark.cluster

TALKS = "output['text'] = 'x' * 6000"


def fifty() -> list[Object]:
    """Ten columns of five tasks, each row after the one above it, some with large outputs, some that are skipped."""
    tasks: list[Object] = []
    for row in range(5):
        for column in range(10):
            name, above = f"r{row}c{column}", f"r{row - 1}c{column}"
            after = (above,) if row else ()
            if row == 0 and column < 2:
                tasks.append(python(name, TALKS))
            elif row == 1 and column < 2:
                tasks.append(bash(name, 'echo "size:=$(wc -c < "$NEXUS_CONTEXT")" >> "$NEXUS_OUTPUT"', *after))
            elif row == 3 and column == 5:
                tasks.append({**container(name, after=after), "when": f"${{{{ tasks.{above}.phase == 'Failed' }}}}"})
            else:
                tasks.append(container(name, after=after))
    return tasks


def each_job_once(space: Space, run: Object) -> None:
    """Every task that ran has one Job and one attempt, and ended once."""
    name = run["metadata"]["name"]
    ran = {entry["name"] for entry in run["status"]["tasks"] if entry["phase"] == "Succeeded"}
    jobs = Counter(job["metadata"]["labels"][LABEL_TASK] for job in space.jobs(name))
    assert jobs == dict.fromkeys(ran, 1)
    assert {entry["name"]: entry.get("attempts") for entry in run["status"]["tasks"] if entry["name"] in ran} == jobs
    ended = Counter(event["message"] for event in space.events(run, "TaskSucceeded"))
    assert set(ended.values()) <= {1}, "an ending was told twice"


def test_a_run_of_fifty_tasks_does_not_notice_that_its_operator_is_killed_again_and_again(
    new_space: Callable[[str], Space], tmp_path: Path
) -> None:
    space, chance = new_space("kills"), random.Random(3)
    with operator_for(tmp_path, space, start=False) as operator:
        space.run("fifty", *fifty(), maxParallelTasks=25)
        deadline, kills, sessions = time.monotonic() + 200, 0, []
        while not is_finished(space.get(WORKFLOW_RUNS, "fifty") or {}):
            assert time.monotonic() < deadline, f"not finished after {kills} kills"
            operator.start()
            sessions.append(operator.pid)
            # Python needs a second to start: some live from then on for a moment, the others die at any time.
            lines = len(operator.log())
            until = time.monotonic() + 5
            while kills % 3 and len(operator.log()) == lines and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(chance.uniform(0.02, 1.0) if kills % 3 else chance.uniform(0.5, 1.5))
            operator.kill()
            kills += 1
        assert [line for session in sessions for line in survivors(session)] == []
        run = space.finished("fifty")
        # The row below the skipped task is skipped as well.
        wanted = {entry["name"]: "Skipped" if entry["name"] in ("r3c5", "r4c5") else "Succeeded" for entry in fifty()}
        assert phases(run) == wanted
        assert space.output(run, "r1c1")["size"] > 6_000
        each_job_once(space, run)
    assert kills >= 5


def test_two_operators_at_once_start_every_job_once(new_space: Callable[[str], Space], tmp_path: Path) -> None:
    space = new_space("twice")
    with operator_for(tmp_path, space) as one:
        two = OperatorProcess(one.kubeconfig, tmp_path / "two.log", space.namespace)
        two.start()
        try:
            time.sleep(2.5)  # both are up: neither is to find the work done
            tasks = [entry for entry in fifty() if entry["name"][:2] in ("r0", "r1", "r2")]
            retried = container("retried", "false", retry={"limit": 2, "delaySeconds": 0})
            space.run("twice", *tasks, retried, maxParallelTasks=20)
            run = space.finished("twice", 120)
            assert two.running
        finally:
            two.stop()
        assert two.alarms() == []
        assert Counter(phases(run).values()) == {"Succeeded": 30, "Failed": 1}
        assert task(run, "retried")["attempts"] == len(space.jobs("twice", "retried")) == 3
        for job in space.jobs("twice", "retried"):
            space.remove(JOBS, job["metadata"]["name"])
        each_job_once(space, run)
