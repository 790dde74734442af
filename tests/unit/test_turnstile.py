"""The turnstile, in the time of a loop that loses none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import looptime

from nexus.runtime.turnstile import Turnstile


def play(story: Callable[[], Awaitable[None]]) -> None:
    loop = looptime.new_event_loop(start=0)
    try:
        loop.run_until_complete(story())
    finally:
        loop.close()


async def hold(turnstile: Turnstile, namespace: str, log: list[tuple[float, str]], seconds: float = 1) -> None:
    async with turnstile.place(namespace):
        log.append((asyncio.get_running_loop().time(), namespace))
        await asyncio.sleep(seconds)


def test_no_more_are_in_it_than_there_are_places_and_namespaces_take_turns() -> None:
    async def story() -> None:
        turnstile, log = Turnstile(2), list[tuple[float, str]]()
        hog = [asyncio.create_task(hold(turnstile, "hog", log)) for _ in range(100)]
        await asyncio.sleep(0.5)
        await asyncio.gather(*(hold(turnstile, "innocent", log) for _ in range(3)))
        assert log[:6] == [(0, "hog"), (0, "hog"), (1, "innocent"), (1, "innocent"), (2, "innocent"), (2, "hog")]
        await asyncio.gather(*hog)
        assert max(sum(second == other for other, _ in log) for second, _ in log) == 2
        assert len(log) == 103

    play(story)


def test_who_stops_waiting_takes_no_place() -> None:
    async def story() -> None:
        turnstile, log = Turnstile(1), list[tuple[float, str]]()
        tasks = [asyncio.create_task(hold(turnstile, name, log)) for name in "abc"]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert log == [(0, "a"), (1, "c")]

        # At the moment at which it is given a place.
        first, second, third = (asyncio.create_task(hold(turnstile, name, log)) for name in "def")
        await asyncio.sleep(0.5)
        (place,) = turnstile._lines._lines["e"]._others
        place.add_done_callback(lambda _: second.cancel())
        await asyncio.gather(first, second, third, return_exceptions=True)
        assert [name for _, name in log[2:]] in (["d", "f"], ["d", "e", "f"])
        await hold(turnstile, "g", log)
        assert log[-1][1] == "g"

    play(story)
