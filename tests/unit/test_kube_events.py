"""Events: published in order, by a task of their own, and dropped rather than waited for."""

from __future__ import annotations

import asyncio
from typing import Any

import looptime
import pytest

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import EVENTS, ServerError
from nexus.adapters.kube.manifests.events import (
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    PATIENT,
    WAITING,
    BackgroundRecorder,
    Recorder,
)


def body(number: int) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": f"e{number:04}"}, "message": str(number)}


def published(cluster: FakeCluster) -> list[str]:
    return [write.name for write in cluster.writes if write.kind == EVENTS]


def test_an_event_that_is_refused_does_not_keep_the_next_one_back() -> None:
    cluster = FakeCluster()
    cluster.fail_next("create", EVENTS, ServerError("no room", status=500))

    asyncio.run(Recorder(cluster).record([("default", body(1)), ("default", body(2))]))

    assert published(cluster) == ["e0002"]


def test_the_background_publishes_what_it_took_in_order() -> None:
    cluster = FakeCluster()

    async def story() -> list[str]:
        recorder = BackgroundRecorder(cluster)
        await recorder.record([("default", body(number)) for number in range(5)])
        before = published(cluster)
        running = asyncio.create_task(recorder.run())
        await recorder.drained()
        running.cancel()
        return before

    assert asyncio.run(story()) == []
    assert published(cluster) == [f"e{number:04}" for number in range(5)]


def published_at(events: int, busy_for: float) -> list[float]:
    """When each of the Events was published, by an operator that is busy for so long."""
    loop = looptime.make_event_loop_class(asyncio.SelectorEventLoop)(start=0)
    times: list[float] = []

    class Cluster(FakeCluster):
        async def create(self, *given: Any, **more: Any) -> Any:
            times.append(round(loop.time(), 3))
            return await super().create(*given, **more)

    async def story() -> None:
        recorder = BackgroundRecorder(Cluster(), lambda: loop.time() < busy_for)
        running = asyncio.create_task(recorder.run())
        await recorder.record([("default", body(number)) for number in range(events)])
        await recorder.drained()
        running.cancel()

    try:
        loop.run_until_complete(story())
    finally:
        loop.close()
    return times


def test_events_wait_while_runs_wait_but_neither_for_long_nor_in_masses() -> None:
    assert published_at(3, busy_for=0) == [0, 0, 0]
    assert published_at(3, busy_for=2) == [pytest.approx(2, abs=LOOK_SECONDS)] * 3
    assert published_at(3, busy_for=3_600) == [pytest.approx(PATIENCE_SECONDS, abs=LOOK_SECONDS)] * 3
    many = published_at(PATIENT + 10, busy_for=2)
    assert many[:10] == [0] * 10
    assert many[11] == pytest.approx(2, abs=LOOK_SECONDS)


def test_a_storm_beyond_the_bound_is_dropped_not_waited_for() -> None:
    cluster = FakeCluster()

    async def story() -> None:
        recorder = BackgroundRecorder(cluster)
        await recorder.record([("default", body(number)) for number in range(WAITING + 50)])
        running = asyncio.create_task(recorder.run())
        await recorder.drained()
        running.cancel()

    asyncio.run(asyncio.wait_for(story(), 30))
    assert published(cluster) == [f"e{number:04}" for number in range(WAITING)]
