"""The engine as a state machine: whatever happens, in whatever order, to any DAG, and what must hold even so.

Hypothesis chooses a workflow, how its pods go, and then what happens between one moment and the next: time passes,
people suspend, cancel and decide, pods and Jobs vanish, nodes are drained, operators die at a write, others start. The
whole of the operator runs, on the fake cluster; `Witness` looks at every change as it happens.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.effort import effort
from tests.operators import KEY, Story
from tests.property.workflows import CHILD, Case, cases, holds

from nexus.adapters.fake import Clock
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, Kind, Object
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import item_job_name, job_name

# Ten thousand runs where there is time; in CI a tenth of them; at a desk as many as one waits for.
RUNS = effort(fast=60, normal=1_000 if os.environ.get("CI") else 200, long=10_000)
# Hypothesis remembers all it has tried: in one search of ten thousand that is a gigabyte, and slow.
PARTS = 20
STEPS = 12


class Life(RuleBasedStateMachine):
    """One run from its creation to its end, and what comes in between."""

    evaluator: Evaluator

    def __init__(self) -> None:
        super().__init__()
        self.case: Case
        self.story: Story | None = None
        self.cancelled = False
        self.approvals: list[dict[str, str]] = []
        self.forged = 0

    @property
    def told(self) -> Story:
        assert self.story is not None
        return self.story

    def own(self, kind: Kind) -> list[Object]:
        return [body for body in self.told.cluster.objects(kind) if body["metadata"]["namespace"] == KEY.namespace]

    @property
    def clock(self) -> Clock:
        return self.told.cluster.clock

    @initialize(case=cases(timed=True))
    def begin(self, case: Case) -> None:
        self.case = case
        self.story = Story(case.spec, self.evaluator, workflows={"child": CHILD})
        case.told_on(self.told)
        self.told.operator()

    # -- what goes on by itself ----------------------------------------------------------------------------------------

    @rule(events=st.integers(1, 8))
    def time_passes(self, events: int) -> None:
        for _ in range(events):
            self.told.settle()
            self.clock.step()
        self.told.settle()

    # -- what people do ------------------------------------------------------------------------------------------------

    @rule(suspend=st.booleans())
    def suspend_or_resume(self, suspend: bool) -> None:
        self.told.steer(suspend=suspend)

    @precondition(lambda self: not self.cancelled)
    @rule(how=st.sampled_from(["Graceful", "Immediate"]))
    def cancel(self, how: str) -> None:
        self.cancelled = True
        self.told.steer(cancel=how)

    @rule(which=st.integers(0, 20), decision=st.sampled_from(["Approved", "Rejected"]))
    def decide(self, which: int, decision: str) -> None:
        """About any task, whether it waits for approval or not."""
        names = [entry.name for _, entry in self.case.spec.every_task()]
        known = self.approvals
        name = names[which % len(names)]
        if name not in {approval["task"] for approval in known}:
            self.approvals = [*known, {"task": name, "decision": decision, "by": "ann"}]
            self.told.steer(approvals=self.approvals)

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    @rule(writes=st.integers(1, 4), before=st.booleans(), which=st.integers(0, 1))
    def an_operator_is_to_die(self, writes: int, before: bool, which: int) -> None:
        api = self.told.operators[which % len(self.told.operators)].api
        (api.crash_before if before else api.crash_after)(writes)

    @precondition(lambda self: self.story is not None and len(self.story.operators) < 2)
    @rule()
    def a_second_operator_starts(self) -> None:
        self.told.operator()

    @precondition(lambda self: self.story is not None and len(self.story.operators) < 2)
    @rule()
    def a_newborn_operator_has_nothing_to_add(self) -> None:
        """All that is known is in the API server: who has seen nothing else comes to the same conclusions."""
        self.told.settle()
        if self.clock.next_due() == self.clock.now():
            return  # what is due at this very instant has not happened yet
        newborn = self.told.operator()
        self.told.settle()
        assert newborn.api.writes == []
        newborn.die()
        self.told.operators.remove(newborn)

    @rule(which=st.integers(0, 20))
    def a_job_is_deleted(self, which: int) -> None:
        jobs = self.own(JOBS)
        if jobs:
            self.told.cluster.remove(JOBS, jobs[which % len(jobs)]["metadata"]["name"])

    @rule(which=st.integers(0, 20))
    def a_pod_is_deleted(self, which: int) -> None:
        pods = self.own(PODS)
        if pods:
            self.told.cluster.remove(PODS, pods[which % len(pods)]["metadata"]["name"])

    @rule(which=st.integers(0, 20))
    def a_node_is_drained(self, which: int) -> None:
        running = [pod for pod in self.own(PODS) if pod["status"].get("phase") == "Running"]
        if running:
            self.told.cluster.evict(running[which % len(running)]["metadata"]["name"])

    @rule(
        which=st.integers(0, 20),
        kind=st.sampled_from([JOBS, WORKFLOW_RUNS]),
        far=st.booleans(),
        number=st.integers(1, 3),
    )
    def somebody_forges_an_object(self, which: int, kind: Kind, far: bool, number: int) -> None:
        """Of the run, by its labels and its owner; in another namespace by its name too."""
        run = self.told.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name)
        assert run is not None
        uid, names = run["metadata"]["uid"], [entry.name for _, entry in self.case.spec.every_task()]
        task = names[which % len(names)]
        named = item_job_name(KEY.name, uid, task, 0, number) if which % 2 else job_name(KEY.name, uid, task, number)
        self.forged += 1
        labels = {"task": task, "attempt": str(number), **({"items": "9", "index": "8"} if which % 3 == 0 else {})}
        owner = {"apiVersion": "nexus.dev/v1alpha1", "kind": "WorkflowRun", "name": KEY.name, "uid": uid}
        pod = {"restartPolicy": "Never", "containers": [{"name": "task", "image": "forged"}]}
        body = {
            "metadata": {
                "name": f"{named}-{self.forged}" if far and which % 5 else named if far else f"forged-{self.forged}",
                "labels": {f"nexus.dev/{label}": value for label, value in labels.items()},
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": False}],
            },
            "spec": {"template": {"metadata": {}, "spec": pod}} if kind is JOBS else {"workflowRef": {"name": "child"}},
        }
        namespace = f"far-{self.forged}" if far else KEY.namespace
        self.told.cluster.add(kind, body, namespace)

    def teardown(self) -> None:
        """Left alone from here on, the run comes to its end."""
        if self.story is None:
            return
        try:
            for operator in self.told.operators:
                operator.api.revive()
            self.told.steer(suspend=False)
            self.told.run()
            holds(self.told, self.case)
        finally:
            self.told.close()


@pytest.mark.parametrize("part", range(PARTS))
def test_every_life_of_a_run_comes_to_its_end_and_keeps_the_promises(cel: Evaluator, part: int) -> None:
    number = int(os.environ["NEXUS_SEED"]) + part
    print(f"replay with NEXUS_SEED={number - part}")
    life = seed(number)(type("Life", (Life,), {"evaluator": cel}))
    few = settings(max_examples=RUNS // PARTS, stateful_step_count=STEPS, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(life, settings=few)
