"""The queue, in the time of a loop that loses none: whatever comes in whichever lane, nobody waits for ever."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import looptime
from hypothesis import given
from hypothesis import strategies as st

from nexus.runtime.queue import WorkQueue

WORK = 1.0
"""Seconds that a piece of work takes."""


@dataclass(frozen=True)
class Added:
    """A key, when it is added, and in which lane."""

    at: float
    key: str
    urgent: bool

    @property
    def namespace(self) -> str:
        return self.key.partition("/")[0]


def added(namespaces: str = "ab") -> st.SearchStrategy[list[Added]]:
    """Each key once, so that what it waits for can be counted."""
    entry = st.tuples(st.integers(0, 20), st.sampled_from(namespaces), st.booleans())
    return st.lists(entry, min_size=1, max_size=40).map(
        lambda found: [Added(at, f"{namespace}/{n}", urgent) for n, (at, namespace, urgent) in enumerate(found)]
    )


def begun(story: list[Added], workers: int) -> dict[str, float]:
    """When the work on each key began."""
    loop = looptime.make_event_loop_class(asyncio.SelectorEventLoop)(start=0)
    found: dict[str, float] = {}

    async def work(key: str) -> None:
        found.setdefault(key, round(loop.time(), 3))
        await asyncio.sleep(WORK)

    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(lambda key: key.partition("/")[0])
        running = asyncio.create_task(queue.run(work, workers))
        for entry in sorted(story, key=lambda entry: entry.at):
            await asyncio.sleep(entry.at - loop.time())
            queue.add(entry.key, urgent=entry.urgent)
        await asyncio.sleep(WORK * len(story) + 1)
        running.cancel()
        await asyncio.wait([running])

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return found


@given(added("a"), st.integers(1, 4))
def test_neither_lane_waits_for_more_than_its_own_line_twice_over(story: list[Added], workers: int) -> None:
    """Urgent or not, a key waits for those of its lane that came no later, for as many of the other lane, and for what
    is in work: a stream in one lane, however long, does not keep the other from getting on."""
    when = begun(story, workers)
    assert when.keys() == {entry.key for entry in story}
    for entry in story:
        waiting = [one for one in story if one.at <= entry.at and when[one.key] >= entry.at and one != entry]
        own = sum(one.urgent == entry.urgent for one in waiting)
        # As many of the other lane, one more where it was that lane's turn, and who is in work.
        most = (2 * own + 1) // workers + 2
        assert when[entry.key] - entry.at <= most * WORK


@given(added("ab"), st.integers(1, 4))
def test_what_is_urgent_in_one_namespace_takes_nothing_from_another(story: list[Added], workers: int) -> None:
    """Lanes are a namespace's own: which of its keys are urgent changes when its keys begin, and no other's."""
    calm = [Added(entry.at, entry.key, entry.urgent and entry.namespace != "b") for entry in story]
    hasty = [Added(entry.at, entry.key, entry.urgent or entry.namespace == "b") for entry in story]
    first, second = begun(calm, workers), begun(hasty, workers)
    for entry in story:
        if entry.namespace == "a":
            assert first[entry.key] == second[entry.key]


@given(added("a"))
def test_within_a_lane_who_came_first_is_first(story: list[Added]) -> None:
    when = begun(story, 1)
    for urgent in (True, False):
        lane = sorted((entry for entry in story if entry.urgent == urgent), key=lambda entry: entry.at)
        assert [when[entry.key] for entry in lane] == sorted(when[entry.key] for entry in lane)
