"""Which ended runs go, and which versions of the definition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import START, at, spec, task
from tests.operators import KEY, Story, story

from nexus.adapters.kube.client.api import CONFIG_MAPS, CONTROLLER_REVISIONS, JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS
from nexus.api.reasons import RunPhase
from nexus.api.run import Trigger
from nexus.core.expressions.templates import Evaluator
from nexus.core.workflow.facts import RunPolicy, RunSummary
from nexus.core.workflow.history import BACKFILL_PATIENCE, LOCK_TIME, SEEN_TIME, Prune, Revision, outdated, prune

NOW = at(10_000)
POLICY = RunPolicy(succeeded=2, failed=1)
HOUR = 3_600


def run(name: str, created: float = 0, **fields: Any) -> RunSummary:
    return RunSummary(name, f"uid-of-{name}", at(created), **fields)


def over(
    name: str, ended: float, phase: RunPhase = RunPhase.SUCCEEDED, created: float = 0, **fields: Any
) -> RunSummary:
    times = {"started_at": at(created), "completed_at": at(ended)}
    return run(name, created, phase=phase, **times, **fields)


def failed(name: str, ended: float, **fields: Any) -> RunSummary:
    return over(name, ended, RunPhase.FAILED, **fields)


TICK = {"trigger": Trigger.SCHEDULE}
FILL = {"trigger": Trigger.BACKFILL, "backfill": "x", "backfill_ends": "f3"}


@pytest.mark.parametrize(
    ("runs", "gone"),
    [
        ([], []),
        ([run("a"), run("b"), run("c"), run("d")], []),
        ([over("a", 1), over("b", 2)], []),
        ([over("a", 1), over("b", 2), over("c", 3), over("d", 4)], ["a", "b"]),
        ([failed("a", 1), failed("b", 2), over("c", 3)], ["a"]),
        # A run that was cancelled has not succeeded.
        ([failed("a", 1), over("b", 2, RunPhase.CANCELLED)], ["a"]),
        # Each trigger for itself.
        ([over("a", 1), over("b", 2), over("t", 3, **TICK), over("u", 4, **TICK), over("v", 5, **TICK)], ["t"]),
        # Child runs are their parents' own.
        ([over(name, 1, trigger=Trigger.WORKFLOW, parent="up", child=True) for name in "abcd"], []),
        # So are those of which that is not known, or not yet: the garbage collector takes them when their owner goes.
        ([over(name, 1, trigger=Trigger.WORKFLOW, parent="up", child=False) for name in "abcd"], []),
        # A backfill's stay until it ends: its last run is made and all have ended.
        ([over("f0", 1, **FILL), over("f1", 2, **FILL), over("f2", 3, **FILL)], []),
        ([over("f0", 1, **FILL), over("f1", 2, **FILL), over("f2", 3, **FILL), run("f3", **FILL)], []),
        ([over(f"f{number}", number, **FILL) for number in range(4)], ["f0", "f1"]),
    ],
)
def test_the_newest_of_each_kind_stay(runs: list[RunSummary], gone: list[str]) -> None:
    assert [entry.name for entry in prune(runs, POLICY, NOW).runs] == gone
    assert [entry.name for entry in prune(runs[::-1], POLICY, NOW).runs] == gone


def test_a_stay_ends_with_its_time() -> None:
    policy = RunPolicy(ttl_seconds=60)
    runs = [over("a", 100), over("b", 130), run("c")]

    assert prune(runs, policy, at(159)) == Prune((), at(160))
    assert prune(runs, policy, at(160)) == Prune((runs[0],), at(190))
    assert prune(runs, policy, at(190)) == Prune((runs[0], runs[1]))


def test_the_run_of_a_tick_stays_while_somebody_may_be_about_to_make_it() -> None:
    policy = RunPolicy(ttl_seconds=0)
    runs = [over("tick", 5, **TICK), over("by-hand", 5)]
    free = START + LOCK_TIME

    assert prune(runs, policy, at(6)) == Prune((runs[1],), free)
    assert prune(runs[:1], policy, free) == Prune((runs[0],))


def test_a_run_stays_long_enough_for_those_who_wait_for_its_end() -> None:
    runs, free = [over("a", 5)], at(5) + SEEN_TIME

    assert prune(runs, RunPolicy(succeeded=0), at(6)) == Prune((), free)
    assert prune(runs, RunPolicy(succeeded=0), free) == Prune((runs[0],))
    assert prune(runs, RunPolicy(succeeded=0, ttl_seconds=10), at(15)) == Prune((runs[0],))


def test_a_backfill_that_nobody_goes_on_with_is_given_up() -> None:
    runs = [over(f"f{number}", number, **FILL) for number in range(3)]
    late = at(2) + BACKFILL_PATIENCE

    assert prune(runs, POLICY, late - timedelta(seconds=1)).runs == ()
    assert [entry.name for entry in prune(runs, POLICY, late).runs] == ["f0"]


def test_versions_that_are_old_and_that_nobody_names_go() -> None:
    revisions = [Revision(f"r{number}", f"uid-{number}", number) for number in range(6)]

    assert [entry.name for entry in outdated(revisions, [over("a", 1, revision="r0")], "r5", 2)] == ["r1", "r2"]
    assert [entry.name for entry in outdated(revisions, [run("a", revision="r1")], "r5", 2)] == ["r0", "r2"]
    assert [entry.name for entry in outdated(revisions, [over("refused", 1)], "r5", 4)] == ["r0"]
    assert outdated(revisions, [run("about-to-name-one")], "r5", 0) == ()
    assert outdated(revisions, (), "r5", 5) == ()
    assert [entry.name for entry in outdated(revisions, (), "r0", 0)] == ["r1", "r2", "r3", "r4", "r5"]


# -- with operators on the fake cluster -------------------------------------------------------------------------------


def again(told: Story, name: str) -> None:
    """One run after the other, as an hourly schedule would."""
    told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": {"workflowRef": {"name": "sales"}}})
    told.run(until=lambda: told.cluster.find(WORKFLOW_RUNS, KEY.namespace, name) is None or ended(told, name))
    told.quiet(180)


def ended(told: Story, name: str) -> bool:
    return told.status_of(name).phase.ended


def names(told: Story) -> list[str]:
    return [body["metadata"]["name"] for body in told.cluster.objects(WORKFLOW_RUNS)]


def test_after_many_runs_the_cluster_holds_what_it_held_before(cel: Evaluator) -> None:
    with story(spec(task("a", python={"code": "..."})), cel, by_reference=True) as told:
        told.operator()
        held = []
        for number in range(16):
            # Each run has another definition, as if somebody edited it every day.
            label = {"spec": {"labels": {"day": str(number)}}}
            told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", label)
            again(told, f"run-{number:02}")
            kinds = (WORKFLOW_RUNS, JOBS, PODS, CONFIG_MAPS)
            held.append([len(told.cluster.objects(kind)) for kind in kinds])

        assert held[-1] == held[4]
        assert names(told) == ["run-13", "run-14", "run-15"]
        # Ten beside those three that runs name.
        assert len(told.cluster.objects(CONTROLLER_REVISIONS)) == 13


@pytest.mark.parametrize("die", ["before", "after"])
def test_what_is_over_its_stay_goes_though_operators_die(cel: Evaluator, die: str) -> None:
    for write in range(1, 14):
        subject = spec(task("a"), history={"succeeded": 0}, ttlSecondsAfterFinished=30)
        with story(subject, cel, by_reference=True) as told:
            api = told.operator().api
            (api.crash_before if die == "before" else api.crash_after)(write)
            told.run(until=lambda told=told: names(told) == [])
            told.quiet(60)
            assert [told.cluster.objects(kind) for kind in (JOBS, PODS)] == [[], []]
            assert "active" not in told.cluster.objects(WORKFLOWS)[0]["status"]


def test_the_time_of_a_stay_is_waited_for(cel: Evaluator) -> None:
    with story(spec(task("a"), ttlSecondsAfterFinished=300), cel, by_reference=True) as told:
        told.operator()
        over_at = told.run().completion_time
        assert over_at is not None

        told.run(until=lambda: names(told) == [])

        assert told.cluster.clock.now() == over_at + timedelta(seconds=300)


def test_a_stranger_of_the_same_name_is_not_deleted_in_its_place(cel: Evaluator) -> None:
    with story(spec(task("a"), history={"succeeded": 0}), cel, by_reference=True) as told:
        operator = told.operator(queued=True)
        for _ in range(200):
            for watch in operator.watches:
                watch.deliver()
            told.settle()
            if told.status_of(KEY.name).phase.ended:
                break
            told.cluster.clock.step()
        told.cluster.remove(WORKFLOW_RUNS, KEY.name)
        told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": KEY.name}, "spec": {"workflowRef": {"name": "sales"}}})
        for watch in operator.watches:
            watch.deliver(len(watch.pending) - 2 if watch.kind is WORKFLOW_RUNS else None)

        told.settle()

        assert names(told) == [KEY.name]
