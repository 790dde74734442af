"""Whose turn it is, where the runs of a Workflow go one at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.builders import at, spec, task
from tests.effort import sample
from tests.operators import KEY, Operator, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, Object
from nexus.api.policies import ConcurrencyPolicy
from nexus.api.reasons import Reason, RunPhase
from nexus.api.run import Trigger, WorkflowRunStatus
from nexus.core.expressions.templates import Evaluator
from nexus.core.workflow.admission import Admit, Wait, admit
from nexus.core.workflow.facts import RunPolicy, RunSummary

FORBID, REPLACE, QUEUE = (
    RunPolicy(concurrency=policy)
    for policy in (ConcurrencyPolicy.FORBID, ConcurrencyPolicy.REPLACE, ConcurrencyPolicy.QUEUE)
)
ALLOW = RunPolicy()


def run(name: str, created: float = 0, **fields: Any) -> RunSummary:
    return RunSummary(name, f"uid-of-{name}", at(created), **fields)


def going(name: str, created: float = 0, **fields: Any) -> RunSummary:
    return run(name, created, phase=RunPhase.RUNNING, started_at=at(created + 1), **fields)


def ended(name: str, created: float = 0, **fields: Any) -> RunSummary:
    return run(name, created, phase=RunPhase.SUCCEEDED, started_at=at(created), completed_at=at(created + 1), **fields)


ME = run("me", 10)
TICK = {"trigger": Trigger.SCHEDULE}
CHILD = {"trigger": Trigger.WORKFLOW, "child": True}


@pytest.mark.parametrize("policy", [FORBID, REPLACE, QUEUE], ids=str)
@pytest.mark.parametrize(
    ("others", "holder", "waits_for"),
    [
        ([], "", None),
        ([ME], "", None),
        ([ended("a")], "", None),
        ([ended("a")], "uid-of-a", None),
        ([going("a")], "", "a, which is in progress"),
        ([going("a", 20)], "", "a, which is in progress"),  # it was let in under another policy
        ([run("a")], "", "a, which is queued ahead of it"),
        ([run("a", 10)], "", "a, which is queued ahead of it"),
        ([run("z", 10)], "", None),
        ([run("z", 10)], "uid-of-z", "z, which is in progress"),
        ([run("a", 20)], "", None),
        ([going("a"), run("b", 5), run("c", 6), run("z", 20)], "", "c, which is queued ahead of it"),
        ([going("a")], "uid-of-me", None),
        ([going("a", **CHILD), run("b", **CHILD)], "", None),
    ],
)
def test_a_run_waits_for_those_before_it(
    policy: RunPolicy, others: list[RunSummary], holder: str, waits_for: str | None
) -> None:
    answer = admit(ME, others, policy, "sales", [holder])

    if waits_for is None:
        assert answer == Admit(exclusive=True)
    else:
        assert isinstance(answer, Wait)
        assert (answer.reason, answer.replaces) == (Reason.CONCURRENCY, ())
        assert answer.message == (
            f"waiting for run {waits_for}; concurrency of Workflow sales is {policy.concurrency.value}"
        )


def test_under_allow_nobody_waits_and_a_child_never_does() -> None:
    assert admit(ME, [going("a")], ALLOW, "sales") == Admit(exclusive=False)
    assert admit(run("child", **CHILD), [going("a")], FORBID, "sales") == Admit(exclusive=False)


@pytest.mark.parametrize("who", [ME, run("child", **CHILD), run("tick", **TICK)])
def test_in_a_suspended_workflow_nobody_begins(who: RunSummary) -> None:
    answer = admit(who, [], RunPolicy(suspend=True), "sales", [who.uid])

    assert isinstance(answer, Wait)
    assert answer.reason is Reason.SUSPENDED
    assert "Workflow sales is suspended" in answer.message


@pytest.mark.parametrize(
    ("policy", "me", "replaced"),
    [
        (REPLACE, run("me", 10, **TICK), ["ticked", "waits"]),
        (REPLACE, run("me", 10), []),
        (REPLACE, run("me", 10, trigger=Trigger.BACKFILL), []),
        (QUEUE, run("me", 10, **TICK), []),
        (FORBID, run("me", 10, **TICK), []),
    ],
)
def test_a_tick_replaces_the_ticks_before_it_and_nothing_else(
    policy: RunPolicy, me: RunSummary, replaced: list[str]
) -> None:
    others = [
        going("ticked", 1, **TICK),
        run("waits", 2, **TICK),
        going("by-hand", 3),
        run("filled", 4, trigger=Trigger.BACKFILL),
        going("stopped", 5, cancelled=True, **TICK),
        run("later", 11, **TICK),
        ended("over", 1, **TICK),
    ]
    answer = admit(me, others, policy, "sales")

    assert isinstance(answer, Wait)
    assert [other.name for other in answer.replaces] == replaced


@pytest.mark.parametrize(
    ("limit", "others", "beginning", "waits_for"),
    [
        (2, [going("a")], [], None),
        (2, [going("a"), going("b")], [], "b, which is in progress"),
        (2, [going("a"), run("b")], [], "b, which is queued ahead of it"),
        (3, [going("a"), run("b")], [], None),
        (2, [going("a"), run("z", 20)], ["uid-of-z"], "z, which is in progress"),
        (2, [ended("a"), ended("b"), going("c")], ["uid-of-a", "uid-of-b"], None),
    ],
)
def test_as_many_go_together_as_the_limit_says(
    limit: int, others: list[RunSummary], beginning: list[str], waits_for: str | None
) -> None:
    answer = admit(ME, others, replace(QUEUE, limit=limit), "sales", beginning)

    if waits_for is None:
        assert answer == Admit(exclusive=True)
    else:
        assert isinstance(answer, Wait)
        assert answer.message == f"waiting for run {waits_for}; concurrency of Workflow sales is Queue, limit {limit}"


def test_each_key_has_a_line_of_its_own() -> None:
    me = replace(ME, key="eu")

    assert admit(me, [going("a", key="us"), going("b")], QUEUE, "sales") == Admit(exclusive=True)
    answer = admit(me, [going("a", key="eu"), going("b", key="us")], QUEUE, "sales")
    assert isinstance(answer, Wait)
    assert answer.message.startswith("waiting for run a, which is in progress;")
    assert answer.message.endswith(", for key eu")


@pytest.mark.parametrize(("limit", "replaced"), [(1, ["a", "b", "c"]), (2, ["a", "b"]), (3, ["a"])])
def test_a_tick_replaces_no_more_ticks_than_it_needs_room_for(limit: int, replaced: list[str]) -> None:
    others = [going(name, created, **TICK) for created, name in enumerate("abc")]
    answer = admit(run("me", 10, **TICK), others, replace(REPLACE, limit=limit), "sales")

    assert isinstance(answer, Wait)
    assert [other.name for other in answer.replaces] == replaced
    stopped = [replace(others[0], cancelled=True), *others[1:]]
    answer = admit(run("me", 10, **TICK), stopped, replace(REPLACE, limit=limit), "sales")
    assert isinstance(answer, Wait)
    assert [other.name for other in answer.replaces] == replaced[1:] if limit > 1 else ["b", "c"]


# -- with operators on the fake cluster -------------------------------------------------------------------------------


def add(told: Story, name: str, **fields: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"workflowRef": {"name": "sales"}, **fields}}
    told.cluster.add(WORKFLOW_RUNS, body)


def one_at_a_time(cel: Evaluator, policy: str = "Queue", **fields: Any) -> Any:
    return story(spec(task("a"), task("b", "a"), concurrency={"policy": policy}, **fields), cel, by_reference=True)


class Line:
    """Looks at every change of the runs: never are more under way, for any key, than may be."""

    def __init__(self, told: Story, limit: int = 1) -> None:
        self.told = told
        self.limit = limit
        self.most = 0
        self.began: list[str] = []
        told.cluster.subscribe(WORKFLOW_RUNS, self._see)

    def _see(self, type_: str, body: Object) -> None:
        name = body["metadata"]["name"]
        if type_ == "MODIFIED" and body.get("status", {}).get("startTime") and name not in self.began:
            self.began.append(name)
        live = [body for body in self.told.cluster.objects(WORKFLOW_RUNS) if under_way(body)]
        keys = Counter(body["status"].get("concurrencyKey") for body in live)
        self.most = max(self.most, *keys.values(), 0)
        assert self.most <= self.limit, [body["metadata"]["name"] for body in live]

    @property
    def all_ended(self) -> bool:
        return all(self.told.status_of(name).phase.ended for name in names(self.told))


def under_way(body: Object) -> bool:
    status = WorkflowRunStatus.model_validate(body.get("status") or {})
    return status.start_time is not None and not status.phase.ended


def names(told: Story) -> list[str]:
    return [body["metadata"]["name"] for body in told.cluster.objects(WORKFLOW_RUNS)]


@pytest.mark.parametrize("policy", ["Forbid", "Replace", "Queue"])
def test_runs_made_by_hand_go_one_after_the_other_and_say_for_whom_they_wait(cel: Evaluator, policy: str) -> None:
    with one_at_a_time(cel, policy) as told:
        line = Line(told)
        told.operator()
        told.settle()
        for name in ("second", "third"):
            told.cluster.advance(1)
            add(told, name)
        told.settle()

        second, third = told.status_of("second"), told.status_of("third")
        assert (second.phase, second.reason, second.start_time) == (RunPhase.PENDING, Reason.CONCURRENCY, None)
        assert f"waiting for run {KEY.name}, which is in progress" in (second.message or "")
        assert "waiting for run second, which is queued ahead of it" in (third.message or "")

        told.run(until=lambda: line.all_ended)
        assert line.began == [KEY.name, "second", "third"]
        assert told.status_of("third").reason is None


def test_a_deadline_does_not_count_while_a_run_waits(cel: Evaluator) -> None:
    with one_at_a_time(cel, deadlineSeconds=60) as told:
        told.cluster.script("a", Outcome(seconds=50))
        told.operator()
        add(told, "second")

        told.run(until=lambda: told.status_of("second").phase.ended)

        assert told.status_of("second").phase is RunPhase.SUCCEEDED


def test_a_suspended_workflow_holds_its_runs_until_it_is_resumed(cel: Evaluator) -> None:
    with story(spec(task("a"), suspend=True), cel, by_reference=True) as told:
        told.operator()
        told.quiet(60)
        assert (told.status.phase, told.status.reason) == (RunPhase.PENDING, Reason.SUSPENDED)

        told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": {"suspend": False}})

        assert told.run().phase is RunPhase.SUCCEEDED


def test_a_run_that_is_cancelled_before_its_turn_never_begins(cel: Evaluator) -> None:
    with one_at_a_time(cel) as told:
        told.cluster.script("a", Outcome(seconds=50))
        told.operator()
        add(told, "second")
        told.settle()
        told.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, "second", {"spec": {"cancel": "Graceful"}})

        told.settle()

        second = told.status_of("second")
        assert (second.phase, second.reason, second.tasks) == (RunPhase.CANCELLED, Reason.CANCELLED, None)
        assert told.run().phase is RunPhase.SUCCEEDED


def test_the_run_that_is_waited_for_may_be_deleted(cel: Evaluator) -> None:
    with one_at_a_time(cel) as told:
        told.cluster.script("a", Outcome.hangs())
        told.operator()
        add(told, "second")
        told.settle()
        told.cluster.script("a", Outcome())
        told.cluster.remove(WORKFLOW_RUNS, KEY.name)

        told.run(until=lambda: told.status_of("second").phase.ended)


@pytest.mark.parametrize("die", ["before", "after"])
def test_one_at_a_time_though_operators_die_and_two_are_at_work(cel: Evaluator, die: str) -> None:
    for write in sample(range(1, 16)):
        with one_at_a_time(cel) as told:
            line = Line(told)
            for name in ("aa", "zz", "second"):
                add(told, name)
            first: Operator = told.operator()
            told.operator()
            (first.api.crash_before if die == "before" else first.api.crash_after)(write)
            told.run(until=lambda line=line: line.all_ended)
            assert sorted(line.began) == sorted([KEY.name, "aa", "zz", "second"])
            assert told.deaths == 1


def test_a_child_run_of_a_suspended_workflow_waits_and_goes_on(cel: Evaluator) -> None:
    parent, child = spec(task("call", workflow={"name": "below"})), spec(task("a"), suspend=True)
    with story(parent, cel, workflows={"below": child}) as told:
        told.operator()
        told.quiet(60)
        (name,) = [name for name in names(told) if name != KEY.name]
        assert told.status_of(name).reason is Reason.SUSPENDED

        told.cluster.store.patch(WORKFLOWS, KEY.namespace, "below", {"spec": {"suspend": None}})

        assert told.run().phase is RunPhase.SUCCEEDED


@pytest.mark.parametrize("die", ["before", "after"])
def test_the_limit_holds_though_operators_die_and_two_are_at_work(cel: Evaluator, die: str) -> None:
    most = 0
    for write in sample(range(1, 20, 2)):
        concurrency = {"policy": "Queue", "limit": 2}
        with story(spec(task("a"), task("b", "a"), concurrency=concurrency), cel, by_reference=True) as told:
            line = Line(told, 2)
            for name in ("aa", "bb", "cc", "zz"):
                add(told, name)
            first: Operator = told.operator()
            told.operator()
            (first.api.crash_before if die == "before" else first.api.crash_after)(write)
            told.run(until=lambda line=line: line.all_ended)
            assert len(line.began) == 5
            assert told.deaths == 1
            most = max(most, line.most)
    assert most == 2


ENV = {"name": "env", "default": "prod"}


def keyed(cel: Evaluator, policy: str = "Queue", **fields: Any) -> Any:
    concurrency = {"policy": policy, "key": "${{ params.env }}"}
    return story(spec(task("a"), concurrency=concurrency, params=[ENV], **fields), cel, by_reference=True)


@pytest.mark.parametrize("operators", [1, 2])
def test_runs_of_different_keys_go_side_by_side_and_those_of_one_in_turn(cel: Evaluator, operators: int) -> None:
    with keyed(cel) as told:
        told.cluster.script("a", Outcome(seconds=20))
        line = Line(told)
        for name, env in (("z", "prod"), ("s1", "staging"), ("s2", "staging"), ("t1", "test")):
            add(told, name, params={"env": env})
        for _ in range(operators):
            told.operator()
        told.quiet(5)

        assert sorted(line.began) == ["s1", KEY.name, "t1"]
        waiting = told.status_of("z")
        assert (waiting.reason, waiting.concurrency_key) == (Reason.CONCURRENCY, "prod")
        assert f"waiting for run {KEY.name}" in (waiting.message or "")
        told.run(until=lambda: line.all_ended)
        assert len(line.began) == 5


def test_a_run_under_way_keeps_its_key_when_the_workflow_gets_another_default(cel: Evaluator) -> None:
    with keyed(cel) as told:
        told.cluster.script("a", Outcome(seconds=50))
        told.operator()
        told.quiet(2)
        changed = {"spec": {"params": [{"name": "env", "default": "test"}]}}
        told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", changed)
        add(told, "prod", params={"env": "prod"})
        add(told, "test")
        told.quiet(5)

        assert told.status_of("prod").reason is Reason.CONCURRENCY
        assert told.status_of("test").phase is RunPhase.RUNNING


def test_a_run_whose_key_cannot_be_told_is_refused_and_in_nobodys_way(cel: Evaluator) -> None:
    with keyed(cel) as told:
        told.cluster.script("a", Outcome(seconds=50))
        add(told, "bad", params={"enf": "prod"})
        told.operator()
        told.quiet(5)

        bad = told.status_of("bad")
        assert (bad.phase, bad.reason) == (RunPhase.FAILED, Reason.PARAMS_INVALID)
        assert 'unknown param "enf"; did you mean "env"?' in (bad.message or "")
        assert told.status.phase is RunPhase.RUNNING


def test_under_forbid_a_tick_is_dropped_for_a_run_of_its_own_key_only(cel: Evaluator) -> None:
    schedules = [
        {"name": name, "cron": "* * * * *", "params": {"env": env}} for name, env in (("p", "prod"), ("t", "test"))
    ]
    with keyed(cel, "Forbid", schedules=schedules) as told:
        told.cluster.script("a", Outcome(seconds=80))
        told.operator()
        told.quiet(75)

        ticks = [name for name in names(told) if name != KEY.name]
        assert [told.status_of(name).concurrency_key for name in ticks] == ["test"]
