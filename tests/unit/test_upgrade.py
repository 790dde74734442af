"""An upgrade with live runs: what an operator of an earlier version has written, continued by this one.

`upgrade/c26f654.jsonl` is all that a cluster held when that commit's operator was stopped: of the Workflow below, with
its runs half done. The first line is the time, the others are objects. It was written by that commit and never changes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.builders import states
from tests.operators import KEY, Story, Witness

from nexus.adapters.fake import FakeCluster, Outcome
from nexus.adapters.fake.clock import Clock
from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    JOBS,
    PODS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    Object,
)
from nexus.adapters.kube.runs import definitions
from nexus.api.codes import Code
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.problem import Problem
from nexus.core.names import LABEL_RUN, LABEL_TASK
from nexus.core.text.json_text import dump
from nexus.core.text.sha256 import sha256

BEFORE = Path(__file__).parent / "upgrade" / "c26f654.jsonl"
KINDS = {kind.plural: kind for kind in (WORKFLOWS, CONTROLLER_REVISIONS, WORKFLOW_RUNS, CONFIG_MAPS, JOBS, PODS)}
ITEM = {"pad": "y" * 700}
WHO = "the first the first 5 4"


class Continued(Story):
    """The story of that cluster, from the moment at which the operator of the earlier version was stopped."""

    def __init__(self, evaluator: Evaluator) -> None:
        head, *lines = map(json.loads, BEFORE.read_text(encoding="utf-8").splitlines())
        self.cluster = FakeCluster(Clock(datetime.fromisoformat(head["time"])))
        self.evaluator = evaluator
        self.operators, self.deaths, self.most, self.objects, self.on_birth = [], 0, 0, 0, None
        self.loop = asyncio.new_event_loop()
        self.script()
        for line in lines:
            self.cluster.store.restore(KINDS[line["kind"]], line["body"])
        self.witness = Witness(self.cluster, 100)
        self.before = {body["metadata"]["name"] for body in self.cluster.objects(JOBS)}

    def script(self) -> None:
        """How pods go that have not ended, as on the cluster that this one continues."""
        for task in ("each", "own"):
            self.cluster.script(task, lambda pod: Outcome(seconds=20, message=dump({"n": _index(pod), **ITEM})))
        for task in ("long", "slow"):
            self.cluster.script(task, Outcome(seconds=30))
        for task in ("big", "deep"):
            self.cluster.script(task, Outcome(message=dump({"who": "the first", "pad": "x" * 1500})))
        self.cluster.script("read", Outcome(message='{"lines":0}\n'))

    @property
    def runs(self) -> list[str]:
        """The runs that were under way, children aside."""
        bodies = self.cluster.objects(WORKFLOW_RUNS)
        made_before = [body for body in bodies if body["metadata"]["creationTimestamp"] <= "2026-11-23T09:01:06Z"]
        return [body["metadata"]["name"] for body in made_before if body["spec"]["workflowRef"]["name"] == "sales"]

    def made(self, run: str) -> list[str]:
        """The tasks of a run for which Jobs were made since."""
        jobs = self.cluster.objects(JOBS, label_selector=f"{LABEL_RUN}={run}")
        return sorted(
            job["metadata"]["labels"][LABEL_TASK] for job in jobs if job["metadata"]["name"] not in self.before
        )

    def suspend(self) -> None:
        """Let no tick make another run."""
        self.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": {"suspend": True}})


def _index(pod: Object) -> int:
    labels = {**pod["metadata"].get("annotations", {}), **pod["metadata"]["labels"]}
    return int(labels.get("batch.kubernetes.io/job-completion-index", labels.get("nexus.dev/index", 0)))


@pytest.fixture
def continued(cel: Evaluator) -> Iterator[Continued]:
    told = Continued(cel)
    yield told
    told.close()


ALL = ("small", "big", "each", "own", "long", "flaky", "call", "after", "read")


@pytest.mark.parametrize("stricter", [False, True])
def test_runs_of_the_version_before_end_well_and_nothing_is_done_twice(
    continued: Continued, monkeypatch: pytest.MonkeyPatch, stricter: bool
) -> None:
    if stricter:
        monkeypatch.setattr(
            definitions, "problems", lambda *_: [Problem(("tasks", 0), Code.INVALID_VALUE, "not any more")]
        )
    runs = continued.runs
    assert len(runs) == 2
    continued.operator()
    continued.suspend()
    continued.quiet(300)
    for run in runs:
        status = continued.status_of(run)
        assert states(status) == dict.fromkeys(ALL, "Succeeded")
        assert status.phase == "Succeeded"
        assert status.outputs == {"who": "the first"}
        assert continued.made(run) == ["after", "read"]
        env = {
            variable["name"]: variable.get("value")
            for job in continued.cluster.objects(JOBS, label_selector=f"{LABEL_RUN}={run},{LABEL_TASK}=after")
            for variable in job["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        assert env["WHO"] == WHO


def test_every_item_has_the_output_that_its_pod_gave(continued: Continued) -> None:
    continued.operator()
    continued.suspend()
    continued.quiet(300)
    for run in continued.runs:
        for entry in continued.status_of(run).tasks or ():
            if entry.items is None:
                continue
            assert entry.output_ref is not None
            body = continued.cluster.find(CONFIG_MAPS, KEY.namespace, entry.output_ref.config_map)
            assert body is not None
            text = body["data"]["output.json"]
            assert [item["n"] for item in json.loads(text)["items"]] == list(range(entry.items.total))
            assert entry.output_ref.sha256 == sha256(text)


def test_what_was_stored_before_counts_though_its_pods_are_gone(continued: Continued) -> None:
    for pod in continued.cluster.objects(PODS):
        if pod.get("status", {}).get("phase") == "Succeeded":

            def let_go(body: dict[str, Any]) -> None:
                body["metadata"]["finalizers"] = []

            continued.cluster.store.change(PODS, KEY.namespace, pod["metadata"]["name"], let_go)
            continued.cluster.remove(PODS, pod["metadata"]["name"], grace_seconds=0)
    continued.operator()
    continued.suspend()
    continued.quiet(300)
    assert states(continued.status_of(KEY.name)) == dict.fromkeys(ALL, "Succeeded")
    assert continued.made(KEY.name) == ["after", "read"]


def test_an_ended_run_of_the_version_before_can_be_rerun(continued: Continued) -> None:
    continued.operator()
    continued.suspend()
    continued.quiet(300)
    continued.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": {"suspend": False}})

    def older(body: dict[str, Any]) -> None:
        body["status"].pop("revisionHash", None)
        for task in body["status"]["tasks"]:
            task.get("outputRef", {}).pop("sha256", None)

    continued.witness._ended.clear()
    continued.witness._run_ended = None
    continued.cluster.store.change(WORKFLOW_RUNS, KEY.namespace, KEY.name, older)
    again = {"workflowRef": {"name": "sales"}, "rerunOf": {"name": KEY.name, "tasks": ["read"]}}
    continued.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "again"}, "spec": again})
    continued.quiet(10)
    assert states(continued.status_of("again")) == {**dict.fromkeys(ALL, "Succeeded Reused"), "read": "Succeeded"}
    assert continued.made("again") == ["read"]


def test_the_schedule_goes_on_where_it_was(continued: Continued) -> None:
    continued.operator()
    continued.quiet(150)
    specs = [body["spec"] for body in continued.cluster.objects(WORKFLOW_RUNS)]
    ticks = [spec["scheduledTime"][11:16] for spec in specs if "scheduledTime" in spec]
    assert sorted(ticks) == ["09:01", "09:02", "09:03"]
    conditions = continued.cluster.objects(WORKFLOWS)[1]["status"]["conditions"]
    assert not [entry for entry in conditions if entry["type"] == "DidNotRun"]
