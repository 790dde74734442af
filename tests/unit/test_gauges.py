"""What the gauges show of the caches and of the queue."""

from __future__ import annotations

import asyncio

from tests.builders import spec, task
from tests.operators import Story, story
from tests.unit.test_ticks import HOUR, HOURLY, MINUTE, START, away, scheduled, until

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import WORKFLOW_RUNS
from nexus.app.gauges import readings
from nexus.core.expressions.templates import Evaluator
from nexus.runtime.queue import WorkQueue


def shown(told: Story, *ages: tuple[str, float]) -> dict[tuple[str, str], float]:
    """Name, and values of the labels, of each gauge of the story's last operator."""

    async def look() -> dict[tuple[str, str], float]:
        operator = told.operators[-1]
        found = readings(operator.cache, operator.workflows, WorkQueue(), ages)
        return {(reading.name, " ".join(reading.labels.values())): reading.value for reading in found}

    return asyncio.run(look())


def test_runs_under_way_are_counted_by_workflow_and_phase(cel: Evaluator) -> None:
    with story(spec(task("a")), cel, by_reference=True) as told:
        told.cluster.script("a", Outcome.hangs())
        told.cluster.add(
            WORKFLOW_RUNS, {"metadata": {"name": "own"}, "spec": {"workflowSpec": spec(task("b")).to_json()}}
        )
        told.operator()
        told.run(until=lambda: told.phases.get("a") == "Running")
        found = shown(told)
        assert found["active_workflows", "default sales Running"] == 1
        assert found["active_workflows", "default  Running"] == 1
        told.steer(cancel="Immediate")
        told.run()
        assert ("active_workflows", "default sales Running") not in shown(told)


def test_pods_that_wait_are_counted_by_reason_those_that_run_are_not(cel: Evaluator) -> None:
    with story(spec(*(task(name) for name in ("big", "huge", "pulls", "runs"))), cel) as told:
        told.cluster.script("big", Outcome.never_schedules())
        told.cluster.script("huge", Outcome.never_schedules())
        told.cluster.script("pulls", Outcome.image_pull_backoff())
        told.cluster.script("runs", Outcome.hangs())
        told.operator()
        told.run(until=lambda: told.phases.get("runs") == "Running")
        told.quiet(20)
        waiting = {reason: value for (name, reason), value in shown(told).items() if name == "pods_waiting"}
        assert waiting == {"Unschedulable": 2, "ImagePull": 1}


def test_of_several_watches_of_a_kind_the_oldest_counts(cel: Evaluator) -> None:
    with story(spec(task("a")), cel) as told:
        told.operator()
        found = shown(told, ("pods", 3.0), ("pods", 70.0), ("pods", 5.0), ("jobs", 1.0))
        assert (found["watch_age_seconds", "pods"], found["watch_age_seconds", "jobs"]) == (70, 1)


def test_a_schedule_whose_tick_has_no_run_is_shown_until_one_has(cel: Evaluator) -> None:
    with scheduled(cel, {**HOURLY, "startingDeadlineSeconds": 300}) as told:
        told.operator()
        away(told, HOUR + 6 * MINUTE)
        assert shown(told)["schedules_failing", "default sales"] == 1
        until(told, START + 2 * HOUR + MINUTE)
        assert ("schedules_failing", "default sales") not in shown(told)


def test_the_queue_tells_for_how_long_its_first_has_been_ready() -> None:
    async def story() -> tuple[float, float, float]:
        queue: WorkQueue[str] = WorkQueue()
        empty = queue.oldest()
        queue.add("a")
        await asyncio.sleep(0.02)
        queue.add("b")
        two = queue.oldest()
        working = asyncio.create_task(queue.run(lambda _: asyncio.sleep(0, None), 1))
        await asyncio.sleep(0.02)
        working.cancel()
        return empty, two, queue.oldest()

    empty, two, worked = asyncio.run(story())
    assert (empty, worked) == (0, 0)
    assert two >= 0.02
