"""Pools on this machine: a run and its child runs share them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import definition, task
from tests.unit.local_harness import run_here

from nexus.adapters.local.bindings import Bindings
from nexus.adapters.local.pools import read_sizes
from nexus.api.reasons import Reason, RunPhase
from nexus.core.model.definition import Definition


def sizes(**given: str) -> Bindings:
    return Bindings(config_maps={"nexus-pools": given})


def load(name: str, *depends_on: str, **fields: Any) -> Any:
    return task(name, *depends_on, bash={"command": "sleep 0.1"}, pool="warehouse", **fields)


def test_tasks_of_a_pool_of_one_never_overlap_and_say_for_whom_they_wait() -> None:
    ran = run_here(definition(load("a"), load("b"), load("c")), bindings=sizes(warehouse="1"))

    assert ran.phase is RunPhase.SUCCEEDED
    a, b, c = (ran.task(name) for name in "abc")
    for before, after in ((a, b), (b, c)):
        assert before.completion_time is not None
        assert after.start_time is not None
        assert before.completion_time <= after.start_time
    told = [entry for status in ran.watcher.statuses for entry in status.tasks or () if entry.name == "c"]
    (first, *_) = [entry.message for entry in told if entry.reason is Reason.POOL]
    assert first == 'waiting for a slot in pool "warehouse" (1 of 1 in use, 2nd in queue); held by test-x7k2p/a'


def test_child_runs_share_the_pools_of_their_parent() -> None:
    child: Definition = definition(load("deep"))
    parent = definition(load("top", retry={"limit": 1}), task("call", workflow={"name": "below"}))
    ran = run_here(parent, bindings=sizes(warehouse="1"), workflows={"below": child})

    assert ran.phase is RunPhase.SUCCEEDED
    reasons = [task.reason for status in ran.watcher.children["call"] for task in status.tasks or ()]
    assert Reason.POOL in reasons


def test_a_fan_out_and_a_retry_take_turns() -> None:
    fan = load("fan", forEach={"items": [1, 2, 3], "parallelism": 3})
    flaky = task("flaky", bash={"command": "exit 1"}, pool="warehouse", retry={"limit": 1, "delaySeconds": 0})
    ran = run_here(definition(fan, flaky), bindings=sizes(warehouse="1"))

    assert ran.task("flaky").attempts == 2
    assert ran.task("fan").phase == "Succeeded"


@pytest.mark.parametrize("bindings", [Bindings(), sizes(other="1")])
def test_a_pool_without_a_size_has_no_bound_here(bindings: Bindings) -> None:
    ran = run_here(definition(load("a"), load("b")), bindings=bindings)

    a, b = ran.task("a"), ran.task("b")
    assert ran.phase is RunPhase.SUCCEEDED
    assert a.completion_time is not None
    assert b.start_time is not None
    assert b.start_time < a.completion_time


def test_sizes_are_whole_numbers() -> None:
    sizes = {"nexus-pools": {"a": "5", "b": "0", "c": "many"}, "other": {"x": "1"}}
    assert read_sizes(sizes) == {"a": 5, "b": 0}
