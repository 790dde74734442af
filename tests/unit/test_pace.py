"""The pace of calls, in the time of a loop that loses none."""

from __future__ import annotations

import asyncio

import looptime
import pytest

from nexus.adapters.kube.client.rate_limit import RateLimiter


def ends(qps: float, burst: int, *pauses: float) -> list[float]:
    """When calls go that come after these pauses, each whether or not the one before it has gone."""

    async def story() -> list[float]:
        loop, pace = asyncio.get_running_loop(), RateLimiter(qps, burst)
        gone: list[float] = []

        async def call() -> None:
            await pace.turn()
            gone.append(round(loop.time(), 3))

        calls = []
        for pause in pauses:
            await asyncio.sleep(pause)
            calls.append(asyncio.create_task(call()))
        await asyncio.gather(*calls)
        return gone

    loop = looptime.new_event_loop(start=0)
    try:
        return loop.run_until_complete(story())
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("qps", "burst", "pauses", "expected"),
    [
        (10, 3, (0, 0, 0), [0, 0, 0]),
        (10, 3, (0, 0, 0, 0, 0), [0, 0, 0, 0.1, 0.2]),
        (10, 1, (0, 0.05, 0.2), [0, 0.1, 0.25]),
        (10, 3, (0, 0, 0, 0, 10, 0, 0, 0), [0, 0, 0, 0.1, 10, 10, 10, 10.1]),  # a pause fills it, and no more than that
        (2, 1, (0, 0, 0), [0, 0.5, 1]),
        (10, 0, (0, 0), [0, 0.1]),
    ],
)
def test_pace(qps: float, burst: int, pauses: tuple[float, ...], expected: list[float]) -> None:
    assert ends(qps, burst, *pauses) == expected
