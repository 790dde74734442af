"""Approvals in reruns: one counts again only where what it allowed is what is done, and has not been done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import RUN, at, facts, spec, states, task
from tests.operators import KEY, Story, story

from nexus.adapters.kube.client.api import JOBS, WORKFLOW_RUNS
from nexus.api.reasons import RunPhase, TaskPhase
from nexus.api.run import RerunOf, TaskStatus, WorkflowRunStatus
from nexus.api.workflow import WorkflowSpec
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import prepare
from nexus.core.model.facts import Earlier, RunFact

RELEASE = spec(
    task("build"),
    task("go-ahead", "build", approval={}),
    task("eu", "go-ahead"),
    task("us", "eu"),
    task("aside", "build"),
    params=[
        {"name": "version", "type": "number", "default": 3},
        {"name": "day", "default": "${{ date(run.scheduledTime) }}"},
    ],
    **{"finally": [{"name": "tell", "container": {"image": "work:1"}}]},
)
OLD = replace(RUN, name="old", uid="old-uid", created_at=at(-100), params={"version": 1})
NEW = replace(RUN, params={"version": 1.0}, scheduled_time=at(-100))
ENDED_BADLY = {"build": "+", "go-ahead": "+", "eu": "-", "us": "o", "aside": "+", "tell": "+"}
WORDS = {"+": TaskPhase.SUCCEEDED, "-": TaskPhase.FAILED, "o": TaskPhase.OMITTED, "s": TaskPhase.SKIPPED}


def first_look(
    cel: Evaluator,
    *,
    run: RunFact = NEW,
    before: RunFact | None = OLD,
    phases: dict[str, str] = ENDED_BADLY,
    tasks: list[str] | None = None,
    was: WorkflowSpec | None = RELEASE,
    now: WorkflowSpec = RELEASE,
    revisions: tuple[str | None, str | None] = ("v1", "v1"),
    **fields: Any,
) -> dict[str, str]:
    entries = [TaskStatus(name=name, phase=WORDS[sign]) for name, sign in phases.items()]
    status = WorkflowRunStatus(phase=RunPhase.FAILED, tasks=entries, revision=revisions[0])
    known = Earlier(
        RerunOf(name="old", tasks=tasks), "old-uid", "sales", {"version": 1}, status, was, run=before, **fields
    )
    found = facts(run=run, earlier=known, status=WorkflowRunStatus(revision=revisions[1]))
    return states(decide(prepare(now), found, at(0), cel).status)


REUSED = "Succeeded Reused"
ASKED = "Running AwaitingApproval"


def test_an_approval_of_the_same_that_was_not_done_counts(cel: Evaluator) -> None:
    found = first_look(cel)

    assert (found["build"], found["go-ahead"], found["aside"]) == (REUSED, REUSED, REUSED)
    assert found["eu"].startswith("Running")


@pytest.mark.parametrize(
    "changed",
    [
        {"run": replace(NEW, params={"version": 2})},
        {"run": replace(NEW, params={})},
        {"run": replace(NEW, scheduled_time=at(-101))},
        {"run": replace(NEW, scheduled_time=None)},
        {"run": replace(NEW, interval_start=at(-200))},
        {"run": replace(NEW, interval_end=at(-50))},
        {"run": replace(NEW, time_zone="Europe/Vienna")},
        {"revisions": ("v1", "v2")},
        {"revisions": (None, "v1")},
        {"was": RELEASE.model_copy(update={"deadline_seconds": 7})},
        {"was": None},
        {"before": None},
        {"before": replace(OLD, params={"unknown": 1})},
        {"phases": {**ENDED_BADLY, "us": "+"}},
        {"phases": {**ENDED_BADLY, "eu": "+", "us": "-"}},
        {"phases": {**ENDED_BADLY, "eu": "+", "us": "+"}, "tasks": ["eu"]},
        {"phases": {**ENDED_BADLY, "go-ahead": "s", "eu": "-"}, "run": replace(NEW, params={"version": 2})},
    ],
)
def test_it_is_asked_for_again_where_anything_is_not_as_it_was(cel: Evaluator, changed: dict[str, Any]) -> None:
    found = first_look(cel, **changed)

    assert (found["build"], found["go-ahead"], found["aside"]) == (REUSED, ASKED, REUSED)
    assert {found["eu"], found["us"]} == {"Pending Dependencies"}


def test_it_is_asked_for_again_behind_a_task_that_runs_again(cel: Evaluator) -> None:
    found = first_look(cel, tasks=["build"])

    assert (found["go-ahead"], found["eu"]) == ("Pending Dependencies", "Pending Dependencies")


def test_what_is_not_behind_it_may_have_succeeded(cel: Evaluator) -> None:
    assert first_look(cel, phases={**ENDED_BADLY, "aside": "+", "tell": "+"})["go-ahead"] == REUSED


CALLS = spec(
    task("release", workflow={"name": "release"}),
    task("deploy", "release"),
    params=[{"name": "version", "type": "integer", "default": 1}],
)


@pytest.mark.parametrize(("below", "state"), [(frozenset(), REUSED), (frozenset({"release"}), "Running")])
def test_one_that_was_given_in_a_child_run_is_no_better(cel: Evaluator, below: frozenset[str], state: str) -> None:
    found = first_look(
        cel,
        run=replace(NEW, params={"version": 2}),
        before=replace(OLD, params={}),
        was=CALLS,
        now=CALLS,
        phases={"release": "+", "deploy": "-"},
        approved_below=below,
    )

    assert found["release"] == state


# -- with an operator on the fake cluster -----------------------------------------------------------------------------


def approved(told: Story, name: str) -> None:
    told.run(until=lambda: told.status_of(name).reason == "AwaitingApproval")
    body = {"spec": {"approvals": [{"task": "go-ahead", "decision": "Approved", "by": "boss"}]}}
    told.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, name, body)


def again(told: Story, **fields: Any) -> None:
    wanted = {"workflowRef": {"name": "sales"}, **fields, "rerunOf": {"name": KEY.name, "tasks": ["deploy"]}}
    told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "again"}, "spec": wanted})
    told.quiet(30)


def deploys(told: Story) -> int:
    return sum(body["metadata"]["labels"]["nexus.dev/task"] == "deploy" for body in told.cluster.objects(JOBS))


def test_who_may_only_start_runs_does_not_deploy_with_the_approval_of_another(cel: Evaluator) -> None:
    release = spec(
        task("go-ahead", approval={"message": "release ${{ params.version }}?"}),
        task("deploy", "go-ahead", env=[{"name": "V", "value": "${{ params.version }}"}]),
        params=[{"name": "version", "default": "1.0"}],
    )
    with story(release, cel, by_reference=True) as told:
        told.operator()
        approved(told, KEY.name)
        told.run()
        again(told, params={"version": "evil"})

        assert states(told.status_of("again")) == {"go-ahead": ASKED, "deploy": "Pending Dependencies"}
        assert deploys(told) == 1


def test_an_approval_in_a_child_run_is_asked_for_again_too(cel: Evaluator) -> None:
    release = spec(
        task("ask", workflow={"name": "ask"}), task("deploy", "ask"), params=[{"name": "version", "default": "1.0"}]
    )
    with story(release, cel, by_reference=True, workflows={"ask": spec(task("go-ahead", approval={}))}) as told:
        told.operator()
        told.run(until=lambda: bool(told.witness.children))
        approved(told, told.witness.children[0])
        told.run()
        again(told, params={"version": "evil"})

        assert states(told.status_of("again")) == {"ask": ASKED, "deploy": "Pending Dependencies"}
        assert deploys(told) == 1
