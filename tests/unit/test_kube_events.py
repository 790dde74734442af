"""Events: published in order, by a task of their own, and dropped rather than waited for."""

from __future__ import annotations

import asyncio

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import EVENTS, ServerError
from nexus.adapters.kube.manifests.events import WAITING, BackgroundRecorder, Recorder


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
