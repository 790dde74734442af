"""Reruns: what succeeded is taken over, the rest runs again, and what cannot be is refused before anything starts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import definition, entry_of, facts, run_with, spec, states, task
from tests.operators import KEY, Story, story
from tests.unit.test_crashes import FRAME, LINE, ROWS

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import CONFIG_MAPS, CONTROLLER_REVISIONS, JOBS, WORKFLOW_RUNS, WORKFLOWS
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import RerunOf, TaskStatus, WorkflowRunStatus
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import Earlier
from nexus.core.model.plan import LoadOutput, Plan
from nexus.core.names import LABEL_INDEX, LABEL_RUN, LABEL_TASK

DIAMOND = (task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c", triggerRule="AllDone"), task("other"))


def earlier(phases: dict[str, str], tasks: list[str] | None = None, **fields: Any) -> Earlier:
    entries = [TaskStatus(name=name, phase=TaskPhase(phase), output={"n": 1}) for name, phase in phases.items()]
    phase = fields.pop("phase", RunPhase.FAILED)
    status = WorkflowRunStatus(phase=phase, tasks=entries)
    return Earlier(
        RerunOf(name="old", tasks=tasks),
        **{"uid": "old-uid", "workflow": "sales", "status": status, "definition": spec(*DIAMOND), **fields},
    )


def planned(cel: Evaluator, known: Earlier, *tasks: Any, params: dict[str, Any] | None = None) -> Plan:
    run = run_with(params or {})
    declared = [{"name": name, "required": False} for name in params or {}]
    subject = definition(*(tasks or DIAMOND), params=declared)
    return decide(subject, facts(run=run, earlier=known), run.created_at, cel)


@pytest.mark.parametrize(
    ("phases", "tasks", "again"),
    [
        ("a+ b+ c- d+ o+", None, "c d"),
        ("a+ b+ c- d- o+", None, "c d"),
        ("a- b- c- d- o-", None, "a b c d o"),
        ("a+ b+ c+ d+ o-", None, "o"),
        ("a+ b+ c+ d+ o+", ["b"], "b d"),
        ("a+ b+ c+ d+ o-", ["b"], "b d o"),
        ("a+ b+ c+ d+ o+", ["a"], "a b c d"),
        ("a+ bs c+ d+ o-", None, "o"),
        ("a+ b+ c+ o+", None, "d"),
        ("", None, "a b c d o"),
    ],
)
def test_what_runs_again(cel: Evaluator, phases: str, tasks: list[str] | None, again: str) -> None:
    words = {"+": "Succeeded", "-": "Failed", "s": "Skipped"}
    names = {"o": "other"}
    known = {names.get(one[0], one[0]): words[one[1]] for one in phases.split()}
    plan = planned(cel, earlier(known, tasks))

    kept = {entry.name for entry in plan.status.tasks or () if entry.reason is Reason.REUSED}
    assert {entry.name for entry in plan.status.tasks or ()} - kept == {names.get(one, one) for one in again.split()}
    assert plan.status.rerun_of is not None
    assert plan.status.rerun_of.reused == len(kept)
    for name in kept:
        entry = entry_of(plan.status, name)
        assert (entry.phase.value, entry.output, entry.start_time) == (known[name], {"n": 1}, None)


def test_what_changed_since_is_named(cel: Evaluator) -> None:
    changed = (*DIAMOND[:1], task("b", "a", env=[{"name": "X", "value": "1"}]), *DIAMOND[2:4], task("new"))
    before = earlier(dict.fromkeys("abcd", "Succeeded") | {"other": "Failed"}, params={"day": "1", "same": "x"})
    plan = planned(cel, before, *changed, params={"day": "2", "same": "x", "more": None})

    assert plan.status.rerun_of is not None
    assert plan.status.rerun_of.changed_params == ["day", "more"]
    assert plan.status.rerun_of.changed_tasks == ["b", "new", "other"]


ALL = dict.fromkeys(("a", "b", "c", "d", "other"), "Succeeded")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (earlier(ALL, problem="there is no run old in namespace default"), "there is no run old"),
        (earlier(ALL, phase=RunPhase.RUNNING), "run old has not ended (Running); wait for it to end"),
        (earlier(ALL, workflow="stock"), "run old is a run of Workflow stock, and this run is not"),
        (earlier(ALL, workflow=""), "run old is a run with a definition of its own"),
        (earlier(ALL), "every task of run old succeeded; name those to run again in rerunOf.tasks"),
        (earlier(ALL, ["othr"]), 'rerunOf.tasks: unknown task "othr"; did you mean "other"?'),
        (earlier(ALL, ["zzz"]), 'rerunOf.tasks: unknown task "zzz"; tasks are a, b, c, d, other'),
    ],
)
def test_what_cannot_be_run_again_is_refused_before_anything_starts(cel: Evaluator, known: Earlier, words: str) -> None:
    plan = planned(cel, known)

    assert (plan.status.phase, plan.status.reason) == (RunPhase.FAILED, Reason.RERUN_REFUSED)
    assert words in (plan.status.message or "")
    assert (plan.starts, plan.stores) == ((), ())


def test_an_output_that_is_gone_refuses_the_run_and_says_how_to_have_it_again(cel: Evaluator) -> None:
    status = WorkflowRunStatus.model_validate(
        {"phase": "Failed", "tasks": [{"name": "a", "phase": "Succeeded", "outputRef": {"configMap": "x", "size": 9}}]}
    )
    known = earlier({}, status=status)
    assert planned(cel, known).reads == (LoadOutput("a", "x"),)

    run = run_with({})
    plan = decide(definition(*DIAMOND), facts(run=run, earlier=known, outputs={"a": None}), run.created_at, cel)
    assert plan.status.reason is Reason.RERUN_REFUSED
    assert "the output of task a of run old is gone (ConfigMap x was deleted): name a in rerunOf.tasks" in (
        plan.status.message or ""
    )


# -- with operators on the fake cluster -------------------------------------------------------------------------------

FAN = {"items": ["x", "y", "z"], "parallelism": 3}


def flow() -> Any:
    """A large output, a fan-out of which an item fails, and what is after it."""
    return spec(
        task("big", python={"code": "..."}),
        task("small"),
        task("fan", "small", forEach=FAN, env=[{"name": "I", "value": "${{ item }}"}]),
        task("after", "big", "fan", env=[{"name": "N", "value": "${{ tasks.big.output.rows.size() }}"}]),
        **{"finally": [{"name": "last", "container": {"image": "work:1"}}]},
    )


def script(told: Story, *, fail: bool) -> None:
    def item(pod: Any) -> Outcome:
        index = pod["metadata"]["labels"][LABEL_INDEX]
        return Outcome(exit_code=1 if fail and index == "1" else 0, message=json.dumps({"item": index, "fail": fail}))

    told.cluster.script("big", Outcome(message=FRAME, log=b"hello" + LINE))
    told.cluster.script("small", Outcome(message='{"v":1}'))
    told.cluster.script("fan", item)


def again(told: Story, name: str = "again", run: str = KEY.name, **fields: Any) -> None:
    wanted = {"workflowRef": {"name": "sales"}, "rerunOf": {"name": run, **fields}, "triggeredBy": "rerun"}
    told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": wanted})


def made_by(told: Story, run: str) -> list[str]:
    labels = [body["metadata"]["labels"] for body in told.cluster.objects(JOBS)]
    names = [f"{of[LABEL_TASK]}{of.get(LABEL_INDEX, '')}" for of in labels if of[LABEL_RUN] == run]
    return sorted(names)


def first_run(told: Story) -> None:
    script(told, fail=True)
    told.operator()
    status = told.run()
    assert (status.phase, states(status)["fan"]) == (RunPhase.FAILED, "Failed ItemsFailed")
    script(told, fail=False)


def assert_taken_over(told: Story) -> None:
    status = told.status_of("again")
    assert status.phase is RunPhase.SUCCEEDED, status.to_json()
    assert made_by(told, "again") == ["after", "fan1", "last"]
    assert states(status)["big"] == "Succeeded Reused"
    assert entry_of(status, "small").output == {"v": 1}
    fan = entry_of(status, "fan")
    assert fan.items is not None
    assert (fan.items.total, fan.items.succeeded, fan.items.reused) == (3, 3, 2)
    assert fan.output == {
        "items": [{"item": "0", "fail": True}, {"item": "1", "fail": False}, {"item": "2", "fail": True}]
    }
    assert status.rerun_of is not None
    assert status.rerun_of.reused == 2
    reference = entry_of(status, "big").output_ref
    assert reference is not None
    stored = told.cluster.find(CONFIG_MAPS, KEY.namespace, reference.config_map)
    assert stored is not None
    assert json.loads(stored["data"]["output.json"]) == json.loads(ROWS)
    assert stored["metadata"]["ownerReferences"][0]["name"] == "again"


def test_a_rerun_has_what_succeeded_even_when_the_earlier_run_is_gone(cel: Evaluator) -> None:
    with story(flow(), cel, by_reference=True) as told:
        first_run(told)
        again(told)
        told.run(until=lambda: told.status_of("again").start_time is not None)
        told.cluster.remove(WORKFLOW_RUNS, KEY.name)
        told.run(until=lambda: told.status_of("again").phase.ended)
        told.quiet(5)

        assert_taken_over(told)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_write_a_rerun_ends_as_if_nothing_had_happened(cel: Evaluator, when: str) -> None:
    deaths = 0
    for write in range(1, 22):
        with story(flow(), cel, by_reference=True) as told:
            first_run(told)
            told.quiet(5)
            api = told.operators[0].api
            (api.crash_after if when == "after" else api.crash_before)(write)
            again(told)
            told.run(until=lambda told=told: told.status_of("again").phase.ended)
            assert_taken_over(told)
            deaths += told.deaths
    assert deaths > 12


def test_two_operators_make_one_rerun(cel: Evaluator) -> None:
    with story(flow(), cel, by_reference=True) as told:
        first_run(told)
        told.operator()
        again(told)
        told.run(until=lambda: told.status_of("again").phase.ended)
        assert_taken_over(told)


def test_the_rerun_of_a_rerun_begins_with_what_both_have(cel: Evaluator) -> None:
    with story(flow(), cel, by_reference=True) as told:
        first_run(told)
        again(told)
        told.run(until=lambda: told.status_of("again").phase.ended)
        again(told, "third", "again", tasks=["after"])
        told.run(until=lambda: told.status_of("third").phase.ended)

        assert told.status_of("third").phase is RunPhase.SUCCEEDED
        assert made_by(told, "third") == ["after", "last"]


def test_all_items_run_again_where_the_fan_out_is_another_one(cel: Evaluator) -> None:
    with story(flow(), cel, by_reference=True) as told:
        first_run(told)
        changed = flow().to_json()
        changed["tasks"][2]["forEach"]["items"] = ["x", "y"]
        told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": changed})
        again(told)
        told.run(until=lambda: told.status_of("again").phase.ended)

        status = told.status_of("again")
        assert made_by(told, "again") == ["after", "fan0", "fan1", "last"]
        assert status.rerun_of is not None
        assert status.rerun_of.changed_tasks == ["fan"]


def test_many_small_items_lie_in_a_config_map_of_their_own_until_others_join_them(cel: Evaluator) -> None:
    many = {"items": list(range(60)), "parallelism": 10}
    subject = spec(task("fan", forEach=many, env=[{"name": "I", "value": "${{ item }}"}]))

    def item(pod: Any) -> Outcome:
        index = int(pod["metadata"]["labels"][LABEL_INDEX])
        return Outcome(exit_code=int(fail and index % 20 == 7), message=json.dumps({"text": "x" * 50}))

    with story(subject, cel, by_reference=True) as told:
        fail = True
        told.cluster.script("fan", item)
        told.operator()
        told.run()
        fail = False
        again(told)
        told.on_birth = lambda story: story.operators[-1].api.crash_after(3) if story.deaths < 4 else None
        told.operators[0].api.crash_after(2)
        told.run(until=lambda: told.status_of("again").phase.ended)

        assert told.status_of("again").phase is RunPhase.SUCCEEDED
        assert made_by(told, "again") == ["fan27", "fan47", "fan7"]
        assert told.deaths > 2


@pytest.mark.parametrize("gone", ["run", "definition", "output"])
def test_what_is_gone_is_told_and_nothing_starts(cel: Evaluator, gone: str) -> None:
    with story(flow(), cel, by_reference=True) as told:
        first_run(told)
        status = told.status
        if gone == "run":
            told.cluster.remove(WORKFLOW_RUNS, KEY.name)
        elif gone == "definition":
            told.cluster.remove(CONTROLLER_REVISIONS, status.revision or "")
            # The revision of one that was not changed is made again, by the new run.
            told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": {"maxParallelTasks": 5}})
        else:
            reference = entry_of(status, "big").output_ref
            assert reference is not None
            told.cluster.remove(CONFIG_MAPS, reference.config_map)
        again(told)
        told.run(until=lambda: told.status_of("again").phase.ended)

        refused = told.status_of("again")
        assert (refused.phase, refused.reason) == (RunPhase.FAILED, Reason.RERUN_REFUSED)
        words = {"run": "not found", "definition": "ControllerRevision", "output": "the output of task big"}
        assert words[gone] in (refused.message or "")
        assert made_by(told, "again") == []
