"""Families of runs: workflows that call workflows, made up by hypothesis, and what holds of all of them together."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from tests.builders import spec
from tests.operators import KEY, Story
from tests.property.test_engine import ENGINE, mortal
from tests.property.workflows import dags, exits, troubles

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS
from nexus.api.tasks import ChildWorkflow, Task
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.runtime.ports import RunKey

# No two tasks of a family have the same name: scripts are by name.
WORKFLOWS = {"leaf": ("p", "q"), "middle": ("r", "s", "t")}
CALLS = {"top": ("leaf", "middle"), "middle": ("leaf", "nowhere")}


@dataclass(frozen=True)
class Family:
    """A workflow, those that it may call, and how the pods of each task go."""

    top: WorkflowSpec
    workflows: Mapping[str, WorkflowSpec]
    outcomes: Mapping[str, list[Outcome]]

    def story(self, cel: Evaluator) -> Story:
        told = Story(self.top, cel, workflows=self.workflows)
        told.witness.cap = 1_000  # each run has its own
        for name, outcomes in self.outcomes.items():
            told.cluster.script(name, *outcomes)
        return told


@st.composite
def families(draw: st.DrawFn, *, timed: bool) -> Family:
    """Three levels: tasks with pods, and here and there a call."""

    def calling(entry: Task, callees: tuple[str, ...]) -> Task:
        if entry.container is None or draw(st.integers(0, 1)):
            return entry
        call = ChildWorkflow(name=draw(st.sampled_from(callees)))
        no_pod = {"container": None, "start_timeout_seconds": None, "record_log_lines": None, "env": None}
        return entry.model_copy(update={**no_pod, "workflow": call})

    def level(name: str, names: tuple[str, ...]) -> list[Task]:
        return [
            calling(entry, CALLS[name]) if name in CALLS else entry for entry in draw(dags(timed=timed, names=names))
        ]

    policy = draw(st.sampled_from([{}, {"failurePolicy": "FailFast"}] if timed else [{}]))
    outputs = draw(st.sampled_from([{}, {"outputs": {"n": "${{ 1 }}"}}, {"outputs": {"big": "${{ range(600) }}"}}]))
    workflows = {name: spec(*level(name, names), **outputs) for name, names in WORKFLOWS.items()}
    top = spec(*level("top", ("a", "b", "c", "d")), **policy)
    tasks = [entry.name for one in (top, *workflows.values()) for entry in one.tasks]
    outcomes = {name: [*draw(st.lists(troubles, max_size=1)), draw(exits)] for name in tasks}
    return Family(top, workflows, outcomes)


def holds(told: Story) -> None:
    """What is true when the run has ended and all that it left behind has come to its end."""
    assert told.status.phase.ended
    told.quiet(1_500)
    for name in told.witness.children:
        found = told.cluster.find(WORKFLOW_RUNS, KEY.namespace, name)
        assert found is None or told.status_of(name).phase.ended, f"{name} goes on for ever"
    live = [pod for pod in told.cluster.objects(PODS) if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    assert live == []
    before = told.writes()
    for operator in told.operators:
        for name in (KEY.name, *told.witness.children):
            operator.mark(RunKey(KEY.namespace, name))
    told.settle()
    assert told.writes() == before, "looking once more writes something"


@ENGINE
@given(family=families(timed=True), seed=st.integers(0, 2**32), every=st.integers(1, 6), two=st.booleans())
def test_every_family_ends_though_operators_die_again_and_again(
    cel: Evaluator, family: Family, seed: int, every: int, two: bool
) -> None:
    told = family.story(cel)
    try:
        told.on_birth = mortal(random.Random(seed), every)
        told.operator()
        if two:
            told.operator()
        told.run()
        told.on_birth = None
        for operator in told.operators:
            operator.api.revive()
        holds(told)
    finally:
        told.close()


@ENGINE
@given(family=families(timed=False), seed=st.integers(0, 2**32), every=st.integers(1, 6))
def test_a_family_ends_the_same_with_deaths_as_without(cel: Evaluator, family: Family, seed: int, every: int) -> None:
    def summary(told: Story) -> object:
        tasks = [(entry.name, entry.phase, entry.reason, entry.attempts) for entry in told.status.tasks or ()]
        return told.status.phase, tasks, sorted(told.witness.order), len(told.witness.children)

    calm, troubled = family.story(cel), family.story(cel)
    try:
        calm.operator()
        calm.run()
        troubled.on_birth = mortal(random.Random(seed), every)
        troubled.operator()
        troubled.run()
        assert summary(troubled) == summary(calm)
    finally:
        calm.close()
        troubled.close()


@ENGINE
@given(family=families(timed=True), seed=st.integers(0, 2**32))
def test_every_family_ends_though_somebody_deletes_and_cancels_its_members(
    cel: Evaluator, family: Family, seed: int
) -> None:
    chance = random.Random(seed)
    told = family.story(cel)
    try:
        told.operator()

        def strike() -> None:
            runs = [body["metadata"]["name"] for body in told.cluster.objects(WORKFLOW_RUNS)]
            jobs = [body["metadata"]["name"] for body in told.cluster.objects(JOBS)]
            children = [name for name in runs if name != KEY.name]
            what = chance.choice(["delete", "cancel", "job", "all"])
            if what == "delete" and children:
                told.cluster.remove(WORKFLOW_RUNS, chance.choice(children))
            elif what == "job" and jobs:
                told.cluster.remove(JOBS, chance.choice(jobs))
            elif what in ("cancel", "all") and children:
                name = chance.choice(children) if what == "cancel" else KEY.name
                mode = chance.choice(["Graceful", "Immediate"])
                if "cancel" not in (told.cluster.find(WORKFLOW_RUNS, KEY.namespace, name) or {}).get("spec", {}):
                    told.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, name, {"spec": {"cancel": mode}})

        for _ in range(5):
            told.cluster.clock.after(chance.uniform(0, 30), strike)
        told.run()
        holds(told)
    finally:
        told.close()
