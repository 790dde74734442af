"""What the operator keeps for long is not searched for cycles with every full collection, and dead cycles still go."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import looptime

from nexus.app.heap import LOOK_SECONDS, PATIENCE, Heap


def elsewhere(function: Callable[[Any], Any], argument: object) -> Any:
    """The result of a function in a process of its own: there is one collector a process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, argument).result(60)


class Record:
    """Something that refers to another."""

    other: object = None


def most_searched(watched: bool) -> int:
    """How many objects the largest full collection searched while 300,000 were made and kept."""
    searched = [0]

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "start" and info["generation"] == 2:
            searched.append(sum(len(gc.get_objects(generation)) for generation in range(3)))

    gc.callbacks.append(note)
    heap = Heap()
    if watched:
        heap.watch()
        searched.clear()
    records = [Record() for _ in range(300_000)]
    if watched:
        heap.leave()
    assert len(records) == 300_000
    return max(searched)


def test_what_is_kept_is_searched_once() -> None:
    assert elsewhere(most_searched, True) < 100_000 < elsewhere(most_searched, False)


def what_is_left_of_a_cycle(few: int) -> tuple[bool, bool, bool, bool]:
    """Whether a cycle that died after it was set aside is there, and all of it due to be searched: before and after it
    was."""
    heap = Heap(few)
    heap.watch()
    one, another = Record(), Record()
    one.other, another.other = another, one
    found = weakref.ref(one)
    gc.collect()  # sets it aside
    del one, another
    gc.collect()
    before = heap.due
    there = found() is not None
    count = gc.get_freeze_count() + few
    records = [Record() for _ in range(count)]
    gc.collect()
    after = heap.due
    if after:
        heap.search()
    left = found() is not None
    assert len(records) == count
    heap.leave()
    return before, there, after, left


def test_a_cycle_that_was_set_aside_goes_when_enough_is() -> None:
    assert elsewhere(what_is_left_of_a_cycle, 1_000) == (False, True, True, False)


class Worn(Heap):
    """One that says when it is due."""

    def __init__(self) -> None:
        super().__init__()
        self.searches: list[float] = []

    @property
    def due(self) -> bool:
        return not self.searches

    def search(self) -> None:
        self.searches.append(asyncio.get_running_loop().time())


def searched_at(idle: Callable[[float], bool]) -> list[float]:
    heap = Worn()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        keeping = asyncio.create_task(heap.keep(lambda: idle(loop.time())))
        await asyncio.sleep(100 * LOOK_SECONDS)
        keeping.cancel()

    loop = looptime.make_event_loop_class(asyncio.SelectorEventLoop)(start=0)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return heap.searches


def test_everything_is_searched_in_an_idle_moment_if_there_is_one() -> None:
    assert searched_at(lambda now: now > 100) == [4 * LOOK_SECONDS]
    assert searched_at(lambda _: False) == [(PATIENCE + 1) * LOOK_SECONDS]
