"""How large a fan-out's status, stores and looks get: a thousand items, and a run of nothing but fan-outs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.builders import at, definition, ended, entry_of, facts, job, pod, task

from nexus.api.fanout import ItemsStatus
from nexus.api.reasons import TaskPhase
from nexus.api.run import JobRef, TaskStatus, WorkflowRunStatus
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model import indexes
from nexus.core.model.facts import JobFact, PodFact
from nexus.core.model.plan import LoadItems, Plan, StoreItems

KIB = 1024


def whole(name: str, count: int, pods: list[PodFact], failed: frozenset[int] = frozenset()) -> JobFact:
    made = job(name, *pods, items=count, parallelism=count)
    return replace(made, failed_indexes=indexes.text(failed, limit=100_000))


def pods_of(count: int, message: str, failed: frozenset[int] = frozenset()) -> list[PodFact]:
    return [
        replace(
            pod(ended(7, message) if index in failed else ended(0, "{}" if failed else message), uid=f"uid-{index}"),
            index=index,
        )
        for index in range(count)
    ]


def running(name: str, count: int) -> TaskStatus:
    return TaskStatus(
        name=name,
        phase=TaskPhase.RUNNING,
        job=JobRef(name=job(name).name),
        start_time=at(0),
        items=ItemsStatus(total=count),
    )


def look(cel: Evaluator, names: list[str], jobs: list[JobFact], count: int, seconds: float = 60) -> Plan:
    """What is decided of a run of fan-outs that were all started, nothing being stored of them yet."""
    known = definition(*(task(name, forEach={"items": [0]}) for name in names))
    status = WorkflowRunStatus(phase="Running", start_time=at(0), tasks=[running(name, count) for name in names])
    given = facts(*jobs, status=status)
    plan = decide(known, given, at(seconds), cel)
    assert {type(read) for read in plan.reads} <= {LoadItems}
    return decide(known, replace(given, checkpoints=dict.fromkeys(names)), at(seconds), cel) if plan.reads else plan


def size(plan: Plan) -> int:
    return len(json.dumps(plan.status.to_json(), ensure_ascii=False).encode())


def test_a_thousand_items_with_200_bytes_of_output_each_fit(cel: Evaluator) -> None:
    message = json.dumps({"text": "x" * 189})
    plan = look(cel, ["fan"], [whole("fan", 1_000, pods_of(1_000, message))], 1_000)
    assert entry_of(plan.status, "fan").phase == "Succeeded"
    (store,) = plan.stores
    assert isinstance(store, StoreItems)
    assert len(json.loads(store.text)["items"]) == 1_000
    assert size(plan) < 2 * KIB


def test_a_thousand_failed_items_say_little_together(cel: Evaluator) -> None:
    failed = frozenset(range(0, 1_000, 2))
    error = json.dumps({"error": {"type": "ValueError", "message": "x" * 3_000}})
    plan = look(cel, ["fan"], [whole("fan", 1_000, pods_of(1_000, error, failed), failed)], 1_000)
    entry = entry_of(plan.status, "fan")
    assert (entry.reason, entry.items and entry.items.failed) == ("ItemsFailed", 500)
    assert size(plan) < 12 * KIB


def test_a_run_of_500_fan_outs_is_one_object(cel: Evaluator) -> None:
    names = [f"a-fan-out-with-a-long-name-{number}" for number in range(500)]
    failed = frozenset(range(0, 40, 2))
    error = json.dumps({"error": {"type": "ValueError", "message": "x" * 3_000}})
    pods = pods_of(40, error, failed)
    plan = look(cel, names, [whole(name, 40, pods, failed) for name in names], 40)
    assert plan.status.phase == "Failed"
    # Each with an output, numbers and failed indexes of its own: more than 500 tasks without items may take.
    assert size(plan) < 400 * KIB


@pytest.mark.parametrize(("seconds", "stores"), [(9.9, 0), (10.0, 1)])
def test_finished_items_are_stored_ten_seconds_after_the_start(cel: Evaluator, seconds: float, stores: int) -> None:
    pods = [*pods_of(2, "{}"), replace(pod(uid="slow"), index=2)]
    plan = look(cel, ["fan"], [whole("fan", 3, pods)], 3, seconds)
    assert plan.stores == ()  # small ones stand in the status
    assert entry_of(plan.status, "fan").output == ({"items": [{}, {}, None]} if stores else None)
    assert plan.wake_at is None or plan.wake_at >= at(10)
    items = entry_of(plan.status, "fan").items
    assert items is not None
    assert items.succeeded == 2 * stores


def test_nothing_is_stored_again_that_is_stored(cel: Evaluator) -> None:
    """A failed item has no output: its number is written, the ConfigMap is not."""
    failed = frozenset({0})
    pods: list[Any] = [*pods_of(1, "", failed), replace(pod(uid="slow"), index=1)]
    plan = look(cel, ["fan"], [whole("fan", 2, pods, failed)], 2)
    entry = entry_of(plan.status, "fan")
    assert (plan.stores, entry.output_ref, entry.items and entry.items.failed) == ((), None, 1)
