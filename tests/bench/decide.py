"""How long decisions about a large run take, and how large its object gets: no cluster, nothing but the engine."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.bench.results import Row
from tests.builders import RUN, START, ended, pod, spec, task

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api.run import WorkflowRunStatus
from nexus.api.tasks import Task
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition, prepare
from nexus.core.model.facts import Facts, JobFact, PodFact
from nexus.core.model.plan import Plan

LAYERS = 10
WIDTH = 50
PARALLEL = 50
KIB = 1024


def layered() -> Definition:
    """500 tasks in 10 layers, each depending on five of the layer before; every tenth asks for an output in `when`."""
    tasks: list[Task] = []
    for layer in range(LAYERS):
        for position in range(WIDTH):
            before = [f"extract-and-load-{layer - 1}-{(position + step) % WIDTH}" for step in range(5)] if layer else []
            fields: dict[str, Any] = {"retry": {"limit": 3, "delaySeconds": 1}}
            if before and position % 10 == 0:
                identifier = before[0].replace("-", "_")
                fields["when"] = f"${{{{ tasks.{identifier}.output.rows > 0 }}}}"
            tasks.append(task(f"extract-and-load-{layer}-{position}", *before, **fields))
    return prepare(spec(*tasks, maxParallelTasks=PARALLEL))


class Drive:
    """A run from one decision to the next: one task ends, one decision follows, its Jobs are there at once."""

    def __init__(self, definition: Definition, evaluator: Evaluator, *endings: tuple[int, str]) -> None:
        """`endings` are exit codes and messages; the containers take turns with them."""
        self.definition, self.evaluator = definition, evaluator
        self.endings = itertools.cycle(endings)
        self.jobs: dict[str, tuple[JobFact, ...]] = {}
        self.running: list[str] = []
        self.status: WorkflowRunStatus | None = None
        self.now = START
        self.seconds: list[float] = []
        self.largest = 0

    def facts(self) -> Facts:
        return Facts(run=RUN, status=self.status, jobs=self.jobs)

    def decide(self) -> Plan:
        facts = self.facts()
        began = time.perf_counter()
        plan = decide(self.definition, facts, self.now, self.evaluator)
        self.seconds.append(time.perf_counter() - began)
        return plan

    def step(self) -> None:
        """Decide until nothing is started any more, and store the status."""
        while (plan := self.decide()).starts:
            for start in plan.starts:
                job = JobFact(start.job_name, f"uid-{start.job_name}", start.task, start.attempt_number, self.now)
                pods = (pod(name=f"{start.job_name}-x7k2p", running=True, created_at=self.now),)
                self.jobs[start.task] = (*self.jobs.get(start.task, ()), replace(job, pods=pods))
                self.running.append(start.task)
        self.status = plan.status
        self.largest = max(self.largest, len(json.dumps(run_object(plan.status)).encode()))

    def end_one(self) -> None:
        """The container of the task that has run longest ends."""
        name = self.running.pop(0)
        *others, job = self.jobs[name]
        self.now += timedelta(milliseconds=100)
        exit_code, message = next(self.endings)
        done: PodFact = pod(ended(exit_code, message, after=(self.now - START).total_seconds()))
        failed = {"failed": 1, "failure": "BackoffLimitExceeded", "finished_at": self.now} if exit_code else {}
        self.jobs[name] = (*others, replace(job, pods=(done,), **failed))

    def run(self) -> WorkflowRunStatus:
        """To the end."""
        self.step()
        while self.status is not None and not self.status.phase.ended:
            if self.running:
                self.end_one()
            else:
                self.now += timedelta(seconds=60)  # every retry is due
            self.step()
        assert self.status is not None
        return self.status


def run_object(status: WorkflowRunStatus) -> Mapping[str, Any]:
    """A run of a Workflow as the API server holds it, managed fields aside."""
    return {
        "apiVersion": "nexus.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": RUN.name, "namespace": RUN.namespace, "uid": RUN.uid},
        "spec": {"workflowRef": {"name": RUN.workflow}},
        "status": status.to_json(),
    }


def decide_500() -> list[Row]:
    """Runs of 500 tasks: all succeed with an output, all fail with all there is to say, and the worst mix of both."""
    definition = layered()
    flat = prepare(spec(*(_doomed(entry) for entry in definition.spec.tasks), maxParallelTasks=PARALLEL))
    with CelEvaluator() as evaluator:
        good = Drive(definition, evaluator, (0, json.dumps({"rows": 12, "file": "part-00017.parquet"})))
        assert good.run().phase == "Succeeded"
        error = {"error": {"type": "ValueError", "message": "no such column: " + "x" * 2_000, "line": 17}}
        bad = Drive(flat, evaluator, (1, json.dumps(error)))
        assert bad.run().phase == "Failed"
        large = (0, json.dumps({"output": {"text": "x" * 1_000}}))
        mixed = Drive(flat, evaluator, large, *[(1, json.dumps(error))] * 8)
        assert mixed.run().phase == "Failed"
    times = sorted([*good.seconds, *bad.seconds, *mixed.seconds])
    p99 = times[int(len(times) * 0.99)]
    return [
        Row("decide_500_p99", p99 * 1000, "ms", target=50),
        Row("run_object_500", good.largest / KIB, "KiB", target=256),
        Row("run_object_500_failed", bad.largest / KIB, "KiB", target=256),
        Row("run_object_500_mixed", mixed.largest / KIB, "KiB", target=256),
    ]


def _doomed(entry: Task) -> Task:
    """A python task without dependencies that is tried three times."""
    return task(entry.name, python={"code": "raise ValueError"}, retry={"limit": 2, "delaySeconds": 1})
