"""Pools on the fake cluster: never more than fit, in the order of waiting, and no crash leaks a slot."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import spec, task
from tests.effort import sample
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.cache.parse import has_ended
from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, PODS, WORKFLOW_RUNS, Object
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import TaskStatus
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import LABEL_POOL, LABEL_RUN
from nexus.runtime.ports import RunKey

POOL = "warehouse"
LINE = f"nexus-pool-{POOL}"


class Holders:
    """Looks at every change of Jobs and pods: never do more hold a slot than there are."""

    def __init__(self, told: Story, size: int) -> None:
        self.told = told
        self.size = size
        self.most = 0
        self.order: list[str] = []
        """Runs, in the order in which their Jobs were made."""
        told.cluster.subscribe(JOBS, self._see)
        told.cluster.subscribe(PODS, self._see)

    def _see(self, type_: str, body: Object) -> None:
        labels = body["metadata"].get("labels") or {}
        if type_ == "ADDED" and body.get("kind") == "Job" and LABEL_POOL in labels:
            self.order.append(labels[LABEL_RUN])
        held = self.held()
        self.most = max(self.most, len(held))
        assert len(held) <= self.size, sorted(held)

    def held(self) -> set[str]:
        """Names of Jobs that have a pod whose container may run, or may get one."""
        pods: dict[str, list[Object]] = {}
        for body in self.told.cluster.objects(PODS):
            if LABEL_POOL in body["metadata"]["labels"]:
                pods.setdefault(body["metadata"]["labels"]["batch.kubernetes.io/job-name"], []).append(body)
        held = {name for name, found in pods.items() if any(map(_live, found))}
        for body in self.told.cluster.objects(JOBS):
            name, labels = body["metadata"]["name"], body["metadata"]["labels"]
            finished = any(entry["type"] in ("Complete", "Failed") for entry in body["status"].get("conditions") or ())
            if LABEL_POOL in labels and not finished and not pods.get(name):
                held.add(name)
        return held


def _live(pod: Object) -> bool:
    status = pod.get("status", {})
    ended = any("terminated" in entry["state"] for entry in status.get("containerStatuses") or ())
    return not (ended or status.get("phase") in ("Succeeded", "Failed"))


def resize(told: Story, size: str | None, name: str = POOL) -> None:
    """A person writes the sizes."""
    found = told.cluster.find(CONFIG_MAPS, KEY.namespace, "nexus-pools")
    if found is None:
        told.cluster.add(CONFIG_MAPS, {"metadata": {"name": "nexus-pools"}, "data": {name: size} if size else {}})
    else:
        told.cluster.store.patch(CONFIG_MAPS, KEY.namespace, "nexus-pools", {"data": {name: size}})


@contextmanager
def pooled(cel: Evaluator, size: int, runs: int = 0, **fields: Any) -> Iterator[tuple[Story, Holders]]:
    """A Workflow with one task in a pool, and so many runs of it beside the story's own."""
    with story(spec(task("load", pool=POOL, **fields)), cel, by_reference=True) as told:
        resize(told, str(size))
        holders = Holders(told, size)
        add(told, runs)
        yield told, holders


def add(told: Story, runs: int, prefix: str = "run") -> None:
    for number in range(runs):
        body = {"metadata": {"name": f"{prefix}-{number:02}"}, "spec": {"workflowRef": {"name": "sales"}}}
        told.cluster.add(WORKFLOW_RUNS, body)


def names(told: Story) -> list[str]:
    return [body["metadata"]["name"] for body in told.cluster.objects(WORKFLOW_RUNS)]


def all_ended(told: Story) -> bool:
    return all(told.status_of(name).phase.ended for name in names(told))


def entry(told: Story, name: str) -> TaskStatus:
    (found,) = told.status_of(name).tasks or ()
    return found


def in_line(told: Story) -> tuple[list[str], list[str]]:
    """Runs that hold, and runs that wait."""
    body = told.cluster.find(CONFIG_MAPS, KEY.namespace, LINE)
    assert body is not None
    holders, waiting = (
        [json.loads(text)["run"] for text in body["data"][key].splitlines()] for key in ("holders", "waiting")
    )
    return holders, waiting


@pytest.mark.parametrize("operators", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_as_many_run_as_the_pool_has_slots_and_all_get_their_turn(cel: Evaluator, size: int, operators: int) -> None:
    with pooled(cel, size, 9) as (told, holders):
        for _ in range(operators):
            told.operator()
        told.run(until=lambda: all_ended(told))

        assert holders.most == size
        assert {told.status_of(name).phase for name in names(told)} == {RunPhase.SUCCEEDED}
        assert len(holders.order) == 10
        told.quiet(100)
        assert in_line(told)[1] == []


def test_those_who_wait_say_who_holds_and_their_place_and_go_in_that_order(cel: Evaluator) -> None:
    with pooled(cel, 1) as (told, holders):
        told.cluster.script("load", Outcome(seconds=30))
        told.operator()
        told.quiet(2)
        for prefix in ("zz", "aa", "mm"):
            add(told, 1, prefix)
            told.quiet(1)

        first, last = entry(told, "zz-00"), entry(told, "mm-00")
        assert (first.phase, first.reason) == (TaskPhase.PENDING, Reason.POOL)
        assert (
            first.message
            == f'waiting for a slot in pool "{POOL}" (1 of 1 in use, 1st in queue); held by {KEY.name}/load'
        )
        assert last.message == f'waiting for a slot in pool "{POOL}" (1 of 1 in use, at most 2 ahead in the queue)'
        assert in_line(told) == ([KEY.name], ["zz-00", "aa-00", "mm-00"])

        told.run(until=lambda: told.status_of("aa-00").phase.ended)
        assert "1st in queue" in (entry(told, "mm-00").message or "") or told.status_of("mm-00").tasks
        told.run(until=lambda: all_ended(told))
        assert holders.order == [KEY.name, "zz-00", "aa-00", "mm-00"]


def test_a_slot_is_taken_as_soon_as_it_is_free(cel: Evaluator) -> None:
    """A success frees it when the container has ended: two seconds before the Job says so."""
    with pooled(cel, 1, 3) as (told, holders):
        told.cluster.script("load", Outcome(seconds=10))
        told.operator()
        told.run(until=lambda: len(holders.order) == 2)
        (ended,) = [
            state["terminated"]["finishedAt"]
            for body in told.cluster.objects(PODS)
            for state in [(body["status"].get("containerStatuses") or [{}])[0].get("state", {})]
            if "terminated" in state
        ]
        assert ended[:19] == f"{told.cluster.clock.now():%Y-%m-%dT%H:%M:%S}"


def test_who_gets_a_slot_is_urgent_and_who_waits_is_not(cel: Evaluator) -> None:
    """A slot is idle until its Job is made."""
    with pooled(cel, 1, 5) as (told, holders):
        told.cluster.script("load", Outcome(seconds=10))
        operator = told.operator()
        told.run(until=lambda: all_ended(told))
        assert [key.name for key in operator.hurried if isinstance(key, RunKey)] == holders.order[1:]


def containers(*states: dict[str, Any], phase: str = "Running") -> Object:
    return {"status": {"phase": phase, "containerStatuses": [{"name": "task", "state": state} for state in states]}}


@pytest.mark.parametrize(
    ("pod", "ends"),
    [
        ({}, False),
        (containers({"waiting": {"reason": "ImagePullBackOff"}}, phase="Pending"), False),
        (containers({"running": {}}), False),
        (containers({"terminated": {"exitCode": 0}}), True),
        (containers({"terminated": {"exitCode": 1}}), True),
        (containers({"terminated": {"exitCode": 0}}, {"running": {}}), False),
        (containers(phase="Failed"), True),
        ({"status": {"phase": "Succeeded"}}, True),
    ],
)
def test_the_end_of_a_pod_is_that_of_all_its_containers(pod: Object, ends: bool) -> None:
    assert has_ended(pod) is ends


@pytest.mark.parametrize("seed", range(12))
def test_two_operators_with_old_news_let_in_no_more_than_fit(cel: Evaluator, seed: int) -> None:
    """Watch events come late, and one of the two dies now and then."""
    chance = random.Random(seed)
    with pooled(cel, 2, 5) as (told, holders):
        told.cluster.script("load", Outcome(seconds=4))
        operators = [told.operator(queued=True) for _ in range(2)]
        operators[0].api.crash_after(chance.randint(1, 40))
        runs = sorted(names(told))

        def late() -> bool:
            for watch in [watch for operator in told.operators for watch in operator.watches]:
                if chance.random() < 0.6:
                    watch.deliver(chance.randint(0, len(watch.pending)))
            if told.cluster.clock.now() >= next_look[-1]:
                next_look.append(told.cluster.clock.now() + timedelta(seconds=1))
                told.cluster.clock.at(next_look[-1], lambda: None)
            return all_ended(told)

        next_look = [told.cluster.clock.now()]
        told.run(until=late)
        assert sorted(holders.order) == runs


@pytest.mark.parametrize("operators", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_whoever_dies_at_whatever_write_the_pool_holds_and_everybody_gets_a_turn(
    cel: Evaluator, when: str, operators: int
) -> None:
    for write in sample(range(1, 40, 2)):
        with pooled(cel, 2, 4) as (told, holders):
            first = told.operator()
            for _ in range(operators - 1):
                told.operator()
            (first.api.crash_before if when == "before" else first.api.crash_after)(write)
            told.run(until=lambda told=told: all_ended(told))
            assert sorted(holders.order) == sorted(names(told))


@pytest.mark.parametrize("every", [3, 5, 7])
def test_operators_that_die_again_and_again_leak_no_slot(cel: Evaluator, every: int) -> None:
    with pooled(cel, 2, 6) as (told, holders):
        told.cluster.script("load", Outcome(seconds=4))
        told.on_birth = lambda story: story.operators[-1].api.crash_after(every) if story.deaths < 12 else None
        runs = sorted(names(told))
        told.operator()
        told.run(until=lambda: all_ended(told))
        assert sorted(holders.order) == runs
        assert told.deaths > 2


def test_retries_give_the_slot_back_and_wait_for_another(cel: Evaluator) -> None:
    with pooled(cel, 1, 1, retry={"limit": 1}) as (told, holders):
        told.cluster.script("load", Outcome(exit_code=1), Outcome(), Outcome())
        told.operator()
        told.run(until=lambda: all_ended(told))

        failed_first = holders.order[0]
        assert holders.order[1] != failed_first
        assert holders.order[2] == failed_first
        assert entry(told, failed_first).attempts == 2


def test_a_fan_out_takes_turns_with_the_runs_that_wait_beside_it(cel: Evaluator) -> None:
    fan = {"items": list(range(6)), "parallelism": 6}
    with pooled(cel, 2, forEach=fan) as (told, holders):
        told.cluster.script("load", Outcome(seconds=10))
        told.operator()
        told.quiet(2)
        assert len(holders.held()) == 2
        single = {"tasks": [task("load", pool=POOL).to_json()]}
        told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "single"}, "spec": {"workflowSpec": single}})
        told.run(until=lambda: all_ended(told))

        # The fan-out stands in line with one item at a time.
        assert holders.order.index("single") <= 3
        assert len(holders.order) == 7
        assert told.status.phase is RunPhase.SUCCEEDED


def test_a_cancelled_holder_keeps_its_slot_until_its_pod_is_gone(cel: Evaluator) -> None:
    with pooled(cel, 1, 1) as (told, holders):
        told.cluster.script("load", Outcome.hangs(ignores_sigterm=True))
        told.operator()
        told.run(until=lambda: len(holders.order) == 1)
        told.quiet(3)
        told.cluster.script("load", Outcome())
        holder = holders.order[0]
        other = next(name for name in names(told) if name != holder)
        told.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, holder, {"spec": {"cancel": "Graceful"}})
        told.run(until=lambda: told.status_of(other).phase.ended)
        assert told.status_of(holder).phase is RunPhase.CANCELLED


@pytest.mark.parametrize("change", ["cancel", "suspend", "delete"])
def test_who_leaves_the_line_is_in_nobodys_way(cel: Evaluator, change: str) -> None:
    with pooled(cel, 1) as (told, _):
        told.cluster.script("load", Outcome(seconds=20))
        told.operator()
        told.quiet(2)
        add(told, 1, "leaves")
        told.quiet(1)
        add(told, 1, "stays")
        told.quiet(1)
        if change == "delete":
            told.cluster.remove(WORKFLOW_RUNS, "leaves-00")
        else:
            steer = {"cancel": "Graceful"} if change == "cancel" else {"suspend": True}
            told.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, "leaves-00", {"spec": steer})

        told.run(until=lambda: told.status_of("stays-00").phase.ended)

        if change == "suspend":
            assert in_line(told)[0] != ["leaves-00"]
            told.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, "leaves-00", {"spec": {"suspend": False}})
            told.run(until=lambda: all_ended(told))


def test_the_run_that_holds_is_deleted(cel: Evaluator) -> None:
    with pooled(cel, 1, 1) as (told, holders):
        told.cluster.script("load", Outcome.hangs())
        told.operator()
        told.run(until=lambda: len(holders.order) == 1)
        told.quiet(3)
        told.cluster.script("load", Outcome())
        told.cluster.remove(WORKFLOW_RUNS, holders.order[0])
        told.run(until=lambda: all_ended(told))


def test_a_pool_that_shrinks_lets_those_who_hold_finish_and_nobody_follow(cel: Evaluator) -> None:
    with pooled(cel, 3, 5) as (told, holders):
        told.cluster.script("load", Outcome(seconds=30))
        told.operator()
        told.quiet(5)
        assert len(holders.held()) == 3
        resize(told, "0")
        told.quiet(120)

        assert len(holders.order) == 3
        waiting = [name for name in names(told) if not told.status_of(name).phase.ended]
        assert len(waiting) == 3
        assert {entry(told, name).message for name in waiting} >= {
            f'waiting for a slot in pool "{POOL}" (0 of 0 in use, 1st in queue)'
        }
        resize(told, "1")
        told.run(until=lambda: all_ended(told))


def test_a_pool_that_is_gone_lets_nobody_start_and_says_so(cel: Evaluator) -> None:
    with pooled(cel, 1, 1) as (told, holders):
        told.cluster.script("load", Outcome(seconds=10))
        told.operator()
        told.quiet(2)
        resize(told, None)
        told.quiet(60)

        assert len(holders.order) == 1
        (waiting,) = [name for name in names(told) if not told.status_of(name).phase.ended]
        assert entry(told, waiting).reason is Reason.POOL_MISSING
        assert entry(told, waiting).message == (
            f'unknown pool "{POOL}" in ConfigMap nexus-pools; add {POOL}: "5" or its number of slots'
        )
        resize(told, "2")
        told.run(until=lambda: all_ended(told))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (
            "many",
            'invalid size of pool "warehouse" in ConfigMap nexus-pools (expected an integer from 0 to 10000',
        ),
        ("-1", 'got "-1"'),
    ],
)
def test_a_size_that_is_none_is_named(cel: Evaluator, size: str, words: str) -> None:
    with story(spec(task("load", pool=POOL)), cel) as told:
        told.operator()
        told.quiet(2)
        assert "no ConfigMap nexus-pools in namespace default" in (entry(told, KEY.name).message or "")
        assert told.cluster.find(CONFIG_MAPS, KEY.namespace, LINE) is None
        resize(told, "1", "warehause")
        told.quiet(15)
        assert 'unknown pool "warehouse" in ConfigMap nexus-pools; did you mean "warehause"?' in (
            entry(told, KEY.name).message or ""
        )
        resize(told, size)
        told.quiet(15)
        assert words in (entry(told, KEY.name).message or "")
        resize(told, "1")
        assert told.run().phase is RunPhase.SUCCEEDED


@pytest.mark.parametrize("harm", ["delete", "scribble"])
def test_a_line_that_somebody_destroyed_is_made_anew_from_the_jobs(cel: Evaluator, harm: str) -> None:
    with pooled(cel, 2, 4) as (told, holders):
        told.cluster.script("load", Outcome(seconds=20))
        told.operator()
        told.quiet(2)
        if harm == "delete":
            told.cluster.remove(CONFIG_MAPS, LINE)
        else:
            told.cluster.store.patch(CONFIG_MAPS, KEY.namespace, LINE, {"data": {"holders": "{"}})
        told.run(until=lambda: all_ended(told))
        assert sorted(holders.order) == sorted(names(told))


def test_somebody_elses_config_map_is_no_line_and_stays_as_it_is(cel: Evaluator) -> None:
    with story(spec(task("load", pool=POOL)), cel) as told:
        resize(told, "1")
        told.cluster.add(CONFIG_MAPS, {"metadata": {"name": LINE}, "data": {"mine": "yes"}})
        told.operator()
        told.quiet(2)
        assert f"a ConfigMap {LINE} exists and is not the queue of a pool" in (entry(told, KEY.name).message or "")
        found = told.cluster.find(CONFIG_MAPS, KEY.namespace, LINE)
        assert found is not None
        assert found["data"] == {"mine": "yes"}


def test_a_slot_goes_on_to_the_next_where_its_run_has_other_tasks_running(cel: Evaluator) -> None:
    """MaxParallelTasks was used up while its task stood in line."""
    tasks = (task("load", pool=POOL), task("first"), task("other", "first"))
    with story(spec(*tasks, maxParallelTasks=1), cel, by_reference=True) as told:
        resize(told, "1")
        told.cluster.script("load", Outcome(seconds=30))
        told.cluster.script("other", Outcome(seconds=300))
        single = {"tasks": [task("load", pool=POOL).to_json()]}
        told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "aa"}, "spec": {"workflowSpec": single}})
        told.operator()
        told.run(until=lambda: told.status_of("aa").phase.ended and told.ended)
        assert told.status.phase is RunPhase.SUCCEEDED
