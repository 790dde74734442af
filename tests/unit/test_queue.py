"""The work queue, in the time of a loop that loses none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import looptime
import pytest
from tests.builders import START, at

from nexus.runtime.queue import WorkQueue, seconds_until

Work = Callable[[str], Awaitable[float | None]]


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts what is scheduled on it: a loop that polls schedules without end."""

    scheduled = 0

    def call_at(self, *args: object, **kwargs: object) -> asyncio.TimerHandle:  # type: ignore[override]
        self.scheduled += 1
        return super().call_at(*args, **kwargs)  # type: ignore[arg-type]


@dataclass
class Scene:
    """A queue with workers on it; `log` has (second, key) of each piece of work as it begins."""

    queue: WorkQueue[str]
    loop: CountingLoop
    log: list[tuple[float, str]] = field(default_factory=list)

    def begin(self, key: str) -> None:
        self.log.append((round(self.loop.time(), 4), key))


def play(
    story: Callable[[Scene], Awaitable[None]], work: Callable[[Scene, str], Awaitable[float | None]], workers: int = 2
) -> Scene:
    """Run a story beside a queue whose workers do `work`."""
    loop = looptime.make_event_loop_class(CountingLoop)(start=0)
    scene = Scene(WorkQueue(lambda key: key.partition("/")[0]), loop)

    async def main() -> None:
        async def working(key: str) -> float | None:
            scene.begin(key)
            return await work(scene, key)

        running = asyncio.create_task(scene.queue.run(working, workers))
        try:
            await story(scene)
        finally:
            running.cancel()
            await asyncio.wait([running])

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return scene


async def at_once(_scene: Scene, _key: str) -> float | None:
    return None


async def takes_a_second(_scene: Scene, _key: str) -> float | None:
    await asyncio.sleep(1)
    return None


async def fails(_scene: Scene, key: str) -> float | None:
    if key.startswith("bad"):
        raise RuntimeError(key)
    return None


def test_a_key_that_is_added_twice_before_its_turn_is_worked_on_once() -> None:
    async def story(scene: Scene) -> None:
        for key in ("a", "b", "a", "a"):
            scene.queue.add(key)
        assert len(scene.queue) == 2
        await asyncio.sleep(10)

    assert play(story, at_once).log == [(0, "a"), (0, "b")]


def test_a_key_that_is_added_while_it_is_in_work_is_worked_on_once_more_afterwards() -> None:
    async def story(scene: Scene) -> None:
        scene.queue.add("a")
        await asyncio.sleep(0.5)
        scene.queue.add("a")
        scene.queue.add("a")
        await asyncio.sleep(10)

    assert play(story, takes_a_second).log == [(0, "a"), (1, "a")]


def test_a_key_is_never_in_two_hands() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(8):
            scene.queue.add("a")
            await asyncio.sleep(0.3)
        await asyncio.sleep(10)

    begun = [second for second, _ in play(story, takes_a_second, workers=5).log]
    assert all(after - before >= 1 for before, after in pairwise(begun))


def test_as_many_keys_are_in_work_as_there_are_workers() -> None:
    async def story(scene: Scene) -> None:
        for key in "abcde":
            scene.queue.add(key)
        await asyncio.sleep(10)

    assert play(story, takes_a_second, workers=2).log == [(0, "a"), (0, "b"), (1, "c"), (1, "d"), (2, "e")]


def names(log: list[tuple[float, str]]) -> list[str]:
    return [key for _, key in log]


def test_namespaces_are_served_in_turn_however_many_keys_one_has() -> None:
    async def story(scene: Scene) -> None:
        for number in range(100):
            scene.queue.add(f"many/{number}")
        for number in range(3):
            scene.queue.add(f"few/{number}")
        await asyncio.sleep(200)

    log = play(story, takes_a_second, workers=1).log
    assert names(log)[:7] == ["many/0", "few/0", "many/1", "few/1", "many/2", "few/2", "many/3"]
    assert names(log)[7:] == [f"many/{number}" for number in range(4, 100)]


def test_whose_work_takes_long_is_served_less_often() -> None:
    async def long_ones(_scene: Scene, key: str) -> float | None:
        await asyncio.sleep(10 if key.startswith("long") else 1)
        return 0.0

    async def story(scene: Scene) -> None:
        for key in ("long/a", "long/b", "short/a", "short/b"):
            scene.queue.add(key)
        await asyncio.sleep(400)

    seconds = {"long": 10, "short": 1}
    log = play(story, long_ones, workers=1).log
    spent = {name: sum(key.startswith(name) for _, key in log) * seconds[name] for name in seconds}
    assert abs(spent["long"] - spent["short"]) <= 10


@pytest.mark.parametrize("hogs", [1, 2, 5])
def test_a_key_that_comes_late_waits_for_one_piece_of_work_of_the_others(hogs: int) -> None:
    async def again(_scene: Scene, key: str) -> float | None:
        await asyncio.sleep(0.01 if key == "innocent/a" else 1)
        return None if key == "innocent/a" else 0.0

    async def story(scene: Scene) -> None:
        for hog in range(hogs):
            for number in range(50):
                scene.queue.add(f"hog{hog}/{number}")
        await asyncio.sleep(30.5)
        for _ in range(20):
            scene.queue.add("innocent/a")
            await asyncio.sleep(2.5)

    begun = [second for second, key in play(story, again, workers=2).log if key == "innocent/a"]
    assert len(begun) == 20
    assert all(second - (30.5 + 2.5 * number) <= 1.01 for number, second in enumerate(begun))


def test_a_namespace_that_asked_for_nothing_has_no_credit_for_it() -> None:
    async def again(_scene: Scene, _key: str) -> float | None:
        await asyncio.sleep(1)
        return 0.0

    async def story(scene: Scene) -> None:
        scene.queue.add("old/a")
        await asyncio.sleep(100.5)
        scene.queue.add("new/a")
        await asyncio.sleep(20)

    late = names([entry for entry in play(story, again, workers=1).log if entry[0] > 100.5])
    assert abs(late.count("old/a") - late.count("new/a")) <= 1


def test_an_end_of_a_pod_does_not_wait_behind_hundreds_of_runs_that_begin() -> None:
    async def story(scene: Scene) -> None:
        for number in range(300):
            scene.queue.add(f"a/begin-{number}")
        await asyncio.sleep(5.5)
        scene.queue.add("a/end", urgent=True)
        await asyncio.sleep(300)

    log = play(story, takes_a_second, workers=2).log
    assert (6, "a/end") in log
    assert len(log) == 301


def test_runs_that_begin_get_every_second_turn_under_a_stream_of_ends() -> None:
    async def story(scene: Scene) -> None:
        for number in range(20):
            scene.queue.add(f"a/begin-{number}")
        for number in range(60):
            scene.queue.add(f"a/end-{number}-a", urgent=True)
            scene.queue.add(f"a/end-{number}-b", urgent=True)
            await asyncio.sleep(1)
        await asyncio.sleep(200)

    log = names(play(story, takes_a_second, workers=1).log)
    assert [key.partition("-")[0] for key in log[:40]] == ["a/end", "a/begin"] * 20


def test_a_key_in_work_to_which_something_urgent_happens_is_urgent_afterwards() -> None:
    async def story(scene: Scene) -> None:
        for key in ("n/a", "n/b", "n/c"):
            scene.queue.add(key)
        await asyncio.sleep(0.5)
        scene.queue.add("n/a", urgent=True)
        scene.queue.add("n/a")
        await asyncio.sleep(10)

    assert names(play(story, takes_a_second, workers=1).log) == ["n/a", "n/a", "n/b", "n/c"]


async def waits_elsewhere(scene: Scene, key: str) -> float | None:
    if key.startswith("hog"):
        async with scene.queue.aside(key):
            await asyncio.sleep(100)
    return None


def test_a_key_that_waits_elsewhere_takes_no_worker() -> None:
    async def story(scene: Scene) -> None:
        for key in ("hog/a", "hog/b", "hog/a", "innocent/a"):
            scene.queue.add(key)
        await asyncio.sleep(50)
        scene.queue.add("hog/a")
        scene.queue.add("innocent/a")
        await asyncio.sleep(300)

    log = play(story, waits_elsewhere, workers=1).log
    assert log == [(0, "hog/a"), (0, "innocent/a"), (0, "hog/b"), (50, "innocent/a"), (100, "hog/a")]


def test_a_namespace_begins_no_more_while_eight_of_its_keys_wait_elsewhere() -> None:
    async def story(scene: Scene) -> None:
        for number in range(10):
            scene.queue.add(f"hog/{number}")
        await asyncio.sleep(1)
        scene.queue.add("innocent/a")
        await asyncio.sleep(300)

    log = play(story, waits_elsewhere, workers=1).log
    assert log[:9] == [*((0, f"hog/{number}") for number in range(8)), (1, "innocent/a")]
    assert log[9:] == [(100, "hog/8"), (100, "hog/9")]


def test_what_waits_elsewhere_and_fails_gives_its_place_back() -> None:
    async def fails_aside(scene: Scene, key: str) -> float | None:
        async with scene.queue.aside(key):
            await asyncio.sleep(1)
            raise RuntimeError(key)

    async def story(scene: Scene) -> None:
        for number in range(20):
            scene.queue.add(f"hog/{number}")
        await asyncio.sleep(1.02)
        assert len(scene.log) == 16

    play(story, fails_aside, workers=1)


def test_a_delay_is_kept_to_the_millisecond() -> None:
    async def story(scene: Scene) -> None:
        scene.queue.add("late", 600)
        scene.queue.add("soon", 0.25)
        await asyncio.sleep(1_000)

    assert play(story, at_once).log == [(0.25, "soon"), (600, "late")]


def test_the_earliest_of_several_delays_counts_and_the_others_are_forgotten() -> None:
    async def story(scene: Scene) -> None:
        scene.queue.add("a", 30)
        scene.queue.add("a", 10)
        scene.queue.add("a", 20)
        await asyncio.sleep(100)

    assert play(story, at_once).log == [(10, "a")]


def test_an_addition_without_delay_calls_the_delayed_one_off() -> None:
    async def story(scene: Scene) -> None:
        scene.queue.add("a", 10)
        await asyncio.sleep(1)
        scene.queue.add("a")
        await asyncio.sleep(100)

    assert play(story, at_once).log == [(1, "a")]


def test_work_can_ask_for_its_key_back() -> None:
    async def thrice(scene: Scene, _key: str) -> float | None:
        return 60 if len(scene.log) < 3 else None

    async def story(scene: Scene) -> None:
        scene.queue.add("a")
        await asyncio.sleep(1_000)

    assert play(story, thrice).log == [(0, "a"), (60, "a"), (120, "a")]


def test_a_key_that_fails_comes_back_later_each_time_and_at_most_30_seconds_later() -> None:
    async def story(scene: Scene) -> None:
        scene.queue.add("bad")
        await asyncio.sleep(200)

    begun = [second for second, _ in play(story, fails).log]
    pauses = [round(after - before, 3) for before, after in pairwise(begun)]
    assert pauses[:11] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30]
    assert set(pauses[11:]) == {30}


def test_a_success_forgets_the_failures_before_it() -> None:
    async def fails_four_times_but_the_third(scene: Scene, _key: str) -> float | None:
        if len(scene.log) in (1, 2, 4, 5):
            raise RuntimeError("no")
        return 10 if len(scene.log) == 3 else None

    async def story(scene: Scene) -> None:
        scene.queue.add("a")
        await asyncio.sleep(100)

    begun = [second for second, _ in play(story, fails_four_times_but_the_third).log]
    assert begun == [0, 0.05, 0.15, 10.15, 10.2, 10.3]


def test_other_keys_do_not_wait_for_one_that_fails() -> None:
    async def story(scene: Scene) -> None:
        scene.queue.add("bad")
        scene.queue.add("good")
        await asyncio.sleep(0.01)
        scene.queue.add("good")
        await asyncio.sleep(0.01)

    assert play(story, fails, workers=1).log == [(0, "bad"), (0, "good"), (0.01, "good")]


def test_an_event_does_not_wait_for_the_end_of_a_backoff() -> None:
    async def story(scene: Scene) -> None:
        scene.queue.add("bad")
        await asyncio.sleep(6)  # the pause is 6.4 s by now
        scene.queue.add("bad")
        await asyncio.sleep(0.1)

    assert play(story, fails).log[-1] == (6, "bad")


def test_nothing_polls() -> None:
    """An idle hour, with one key due at its end, schedules a handful of timers."""

    async def story(scene: Scene) -> None:
        scene.queue.add("a")
        scene.queue.add("b", 3_600)
        await asyncio.sleep(3_700)

    scene = play(story, at_once)
    assert scene.log == [(0, "a"), (3_600, "b")]
    assert scene.loop.scheduled < 10


def test_a_key_that_is_due_far_ahead_again_and_again_is_kept_once() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(10_000):
            scene.queue.add("a", 86_400)
            scene.queue.add("a")
        await asyncio.sleep(1)
        assert len(scene.queue._heap) < 100
        scene.queue.add("a", 5)
        await asyncio.sleep(100)

    assert play(story, at_once).log == [(0, "a"), (6, "a")]


@pytest.mark.parametrize(("when", "seconds"), [(None, None), (at(5), 5.0), (START, 0.001), (at(-60), 0.001)])
def test_the_delay_until_a_time(when: datetime | None, seconds: float | None) -> None:
    assert seconds_until(when, START) == seconds
    assert seconds_until(START + timedelta(milliseconds=2), START) == 0.002


@pytest.mark.parametrize("turns", range(5))
def test_a_queue_that_is_stopped_ends_though_a_key_comes_at_the_same_moment(turns: int) -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()

        async def work(_: str) -> float | None:
            return None

        queue.add("later", 60)
        running = asyncio.create_task(queue.run(work, 1))
        await asyncio.sleep(0.01)
        queue.add("sooner", 50)
        for _ in range(turns):  # the clockwork is told, and on its way to being awake
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running], timeout=1)
        assert running.cancelled()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()


def test_a_queue_that_is_stopped_ends_what_is_in_work_and_begins_nothing_new() -> None:
    ended: list[str] = []

    async def work(key: str) -> float | None:
        await asyncio.sleep(2)
        ended.append(key)
        return 5.0

    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        loop = asyncio.get_running_loop()
        running = asyncio.create_task(queue.run(work, 2))
        for key in ("a", "b", "c"):
            queue.add(key)
        queue.add("later", 1.0)
        await asyncio.sleep(0.5)
        queue.stop()
        began = loop.time()
        await running
        assert loop.time() - began == pytest.approx(1.5)

    loop = looptime.new_event_loop(start=0)
    loop.run_until_complete(story())
    loop.close()
    assert sorted(ended) == ["a", "b"]


def test_a_queue_that_is_stopped_while_idle_or_before_it_runs_ends_at_once() -> None:
    async def work(_: str) -> None:
        raise AssertionError("there is nothing to do")

    async def story() -> None:
        for early in (True, False):
            queue: WorkQueue[str] = WorkQueue()
            queue.add("later", 60.0)
            if early:
                queue.stop()
            running = asyncio.create_task(queue.run(work, 3))
            await asyncio.sleep(1)
            queue.stop()
            await asyncio.wait_for(running, 1)

    loop = looptime.new_event_loop(start=0)
    loop.run_until_complete(story())
    loop.close()
