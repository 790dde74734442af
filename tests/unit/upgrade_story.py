"""A cluster that an operator leaves in the middle of everything: what `test_upgrade_everywhere` continues.

`python -m tests.unit.upgrade_story > tests/unit/upgrade/COMMIT-everywhere.jsonl` records it with the version that is
checked out. A recording never changes: a later version adds its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.builders import spec, task
from tests.operators import Story, Witness

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.fake import FakeCluster, Outcome
from nexus.adapters.fake.clock import Clock
from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    JOBS,
    PODS,
    WORKFLOW_RUNS,
    WORKFLOWS,
)
from nexus.adapters.kube.owners import owned_by
from nexus.api.base import format_time
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import BACKFILL_ENDS, LABEL_BACKFILL, LABEL_WORKFLOW, scheduled_run_name

KINDS = {kind.plural: kind for kind in (WORKFLOWS, CONTROLLER_REVISIONS, WORKFLOW_RUNS, CONFIG_MAPS, JOBS, PODS)}
LEFT_AFTER = timedelta(seconds=66)
POOL = "warehouse"

EVERY = (
    *("attempt", "backoff", "delayed", "each", "own", "call", "calls", "release", "pause"),
    *("pool-a", "pool-b"),
)
SALES = spec(
    task("first"),
    task("attempt", "first"),
    task("backoff", retry={"limit": 2}),
    task("delayed", retry={"limit": 2, "delaySeconds": 200}),
    task("each", "first", python={"code": "output['n'] = index"}, forEach={"items": [10, 20, 30], "parallelism": 2}),
    task("own", "first", env=[{"name": "ITEM", "value": "${{ item }}"}], forEach={"items": ["a", "b"]}),
    task("call", workflow={"name": "price", "params": {"n": "${{ 1 + 1 }}"}}),
    task("calls", workflow={"name": "price", "params": {"n": "${{ item }}"}}, forEach={"items": [5, 6]}),
    task("release", approval={"message": "Publish?"}),
    task("pause", wait={"seconds": 300}),
    task("pool-a", pool=POOL),
    task("pool-b", pool=POOL),
    task("last", *EVERY),
    maxParallelTasks=50,
)
PRICE = spec(
    task("load"),
    params=[{"name": "n", "type": "integer"}],
    outputs={"n": "${{ params.n }}"},
)
TIDY = spec(task("first"), **{"finally": [task("sweep")]})
NIGHTLY = spec(
    task("tick"),
    schedules=[
        {"name": "often", "cron": "* * * * *", "suspend": False, "catchUp": "Latest"},
        {"name": "hourly", "cron": "@hourly", "jitterSeconds": 5, "exclude": {"weekends": True}},
        {"name": "off", "cron": "* * * * *", "suspend": True},
    ],
    history={"succeeded": 50},
)
TURNS = spec(task("attempt"), concurrency={"policy": "Queue"})

WORKFLOWS_BESIDE: Mapping[str, WorkflowSpec] = {"price": PRICE, "tidy": TIDY, "nightly": NIGHTLY, "turns": TURNS}
RUNS: Mapping[str, Mapping[str, Any]] = {
    "tidy-1": {"workflowRef": {"name": "tidy"}},
    "tidy-held": {"workflowRef": {"name": "tidy"}, "suspend": True},
    "turns-1": {"workflowRef": {"name": "turns"}},
    "turns-2": {"workflowRef": {"name": "turns"}},
}
BACKFILL = "b2tvdglh79"


def script(cluster: FakeCluster) -> None:
    """How pods go, before the operator is left and after."""
    cluster.script("first", Outcome(seconds=3, message='{"rows":5}'))
    for name in ("attempt", "pool-a", "load", "sweep", "own", "tick"):
        cluster.script(name, Outcome(seconds=90))
    cluster.script("each", Outcome(seconds=90, message='{"output":{"n":1}}'))


def fail_first(cluster: FakeCluster) -> None:
    """The first attempts of the tasks that are tried again."""
    cluster.script("backoff", Outcome(exit_code=1, seconds=50), Outcome(seconds=60))
    cluster.script("delayed", Outcome(exit_code=1, seconds=5), Outcome(seconds=5))


def begun(told: Story) -> None:
    """Everything that the operator finds."""
    told.cluster.add(CONFIG_MAPS, {"metadata": {"name": "nexus-pools"}, "data": {POOL: "1"}})
    for name, run in RUNS.items():
        told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": dict(run)})
    nightly = next(body for body in told.cluster.objects(WORKFLOWS) if body["metadata"]["name"] == "nightly")
    uid = nightly["metadata"]["uid"]
    ticks = [told.cluster.clock.now() - timedelta(hours=hours) for hours in (3, 2)]
    names = [scheduled_run_name("nightly", uid, "hourly", tick) for tick in ticks]
    for name, tick in zip(names, ticks, strict=True):
        metadata = {
            "name": name,
            "labels": {LABEL_WORKFLOW: "nightly", LABEL_BACKFILL: BACKFILL},
            "annotations": {BACKFILL_ENDS: names[-1]},
            "ownerReferences": owned_by("Workflow", "nightly", uid),
        }
        as_of = {"schedule": "hourly", "scheduledTime": format_time(tick), "triggeredBy": "backfill"}
        told.cluster.add(WORKFLOW_RUNS, {"metadata": metadata, "spec": {"workflowRef": {"name": "nightly"}, **as_of}})


class Continued(Story):
    """A recorded cluster, from the moment at which its operator was left."""

    def __init__(self, recording: Path, evaluator: Evaluator) -> None:
        head, *lines = map(json.loads, recording.read_text(encoding="utf-8").splitlines())
        self.cluster = FakeCluster(Clock(datetime.fromisoformat(head["time"])))
        self.evaluator = evaluator
        self.operators, self.deaths, self.most, self.objects, self.on_birth = [], 0, 0, 0, None
        self.loop = asyncio.new_event_loop()
        script(self.cluster)
        for line in lines:
            self.cluster.store.restore(KINDS[line["kind"]], line["body"])
        self.witness = Witness(self.cluster, 100)
        self.before = {body["metadata"]["name"] for body in self.cluster.objects(JOBS)}

    def made(self) -> list[str]:
        """The names of the Jobs that were made since, without the hash at their end."""
        names = {body["metadata"]["name"] for body in self.cluster.objects(JOBS)} - self.before
        return sorted(name.rpartition("-")[0] for name in names)


def main() -> None:
    """Print the time, then every object, once the operator has been left."""
    with CelEvaluator() as cel:
        told = Story(SALES, cel, by_reference=True, workflows=WORKFLOWS_BESIDE)
        script(told.cluster)
        fail_first(told.cluster)
        begun(told)
        told.operator()
        told.quiet(LEFT_AFTER.total_seconds())
        lines: list[dict[str, Any]] = [{"time": told.cluster.clock.now().isoformat()}]
        lines += [{"kind": name, "body": body} for name, kind in KINDS.items() for body in told.cluster.objects(kind)]
        told.close()
    for line in lines:
        print(json.dumps(line, separators=(",", ":")))
    status = told.status
    print(*(f"{entry.name} {entry.phase} {entry.reason}" for entry in status.tasks or ()), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
