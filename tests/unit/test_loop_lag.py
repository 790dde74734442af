"""The event loop goes on while the worst objects arrive: the handlers, kopf and the caches of a real operator."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import kopf
import pytest

from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.adapters.kube.client.access import Access, FixedCredentials
from nexus.app.handlers import register
from nexus.app.heap import Heap
from nexus.app.loop_lag import BEAT, beat, measure
from nexus.app.watch_ages import WatchAges
from nexus.app.watching import Watching
from nexus.runtime.ports import nobody
from nexus.runtime.stats import Counters

ROOT = Path(__file__).resolve().parents[2]
STALL = 0.1
AMOUNT = 100 if os.environ.get("NEXUS_LONG") else 20
SECONDS = 60


class Watchdog:
    """The longest that the loop was held up by this process itself.

    The machine is shared: a beat that comes late because another process had the core says nothing of us. So of the
    time that it was late no more counts than this process has used of a CPU since the beat before: a step of the loop's
    own, and a thread that held the interpreter, are in both.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._used = time.process_time()

    def late(self, seconds: float) -> None:
        """A beat came."""
        used = time.process_time()
        self.longest = max(self.longest, min(seconds, used - self._used))
        self._used = used


@pytest.fixture(params=["new", "deep", "nested", "workflows", "statuses"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A server with the worst objects of a kind, in a process of its own."""
    command = [sys.executable, "-m", "tests.hostile", request.param, str(AMOUNT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def test_the_worst_objects_never_hold_the_loop_up(port: int) -> None:
    address = f"http://127.0.0.1:{port}"
    cache, workflows, watchdog = Cache(), WorkflowCache(), Watchdog()
    ages = WatchAges(address, ())

    def filled(registry: kopf.OperatorRegistry) -> None:
        register(registry, cache, nobody, workflows, lambda _: None, ages)

    async def seen(amount: int) -> None:
        async with asyncio.timeout(SECONDS):
            while len(cache.runs) + len(workflows.workflows) - 1 < amount:  # noqa: ASYNC110  no watch tells of it
                await asyncio.sleep(BEAT)

    async def main() -> None:
        watching = Watching(Access(address, None, "default", FixedCredentials({})), (), ages)
        await watching.start(filled)
        beating = asyncio.create_task(beat(watchdog.late))
        try:
            await seen(AMOUNT // 2)
            async with aiohttp.ClientSession() as session, session.get(f"{address}/late"):
                pass
            await seen(AMOUNT)
        finally:
            beating.cancel()
            await watching.stop()

    # As the operator does: the collector need not search what the test session has loaded.
    heap = Heap()
    heap.watch()
    try:
        asyncio.run(main())
    finally:
        heap.leave()
    assert watchdog.longest < STALL


def test_the_watchdog_sees_a_step_that_is_too_long() -> None:
    watchdog = Watchdog()

    async def main() -> None:
        beating = asyncio.create_task(beat(watchdog.late))
        await asyncio.sleep(2 * BEAT)
        end = time.process_time() + 3 * STALL
        while time.process_time() < end:
            pass
        await asyncio.sleep(2 * BEAT)
        beating.cancel()

    asyncio.run(main())
    assert watchdog.longest > 2 * STALL


def test_the_lag_is_counted() -> None:
    stats = Counters()

    async def main() -> None:
        measuring = asyncio.create_task(measure(stats))
        await asyncio.sleep(4.5 * BEAT)
        measuring.cancel()

    asyncio.run(main())
    beats, total, longest = stats.observed["event_loop_lag_seconds", ()]
    assert beats >= 1
    assert 0 <= longest <= total
