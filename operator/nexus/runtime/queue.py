"""The work queue: each key at most once in it and at most once in work, with delays and per-key backoff."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from nexus.runtime.lines import Lines

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 30.0
# Less than this cannot be waited for: sums of floats differ by more, and a loop would spin until its clock moves on.
CLOCK_RESOLUTION = 1e-6
# Keys of one namespace that are waited for elsewhere (see `aside`): each keeps what its work has made so far.
MAX_ASIDE = 8


class WorkQueue(Generic[Key]):
    """Keys to be worked on.

    A key that is added while it is in work is worked on once more afterwards: no event is lost between a worker's
    look at the facts and its end. A key whose work fails comes back after 50 ms, doubled with each failure in a row,
    at most 30 s; other keys do not wait for it.

    `namespace_of` a key says in whose line it waits. Namespaces are served in turn, by the time that their work takes:
    one with thousands of keys delays a key of another by one piece of work. Within a namespace, what is `urgent` takes
    turns with all else (see Lines): what the end of a pod sets free does not wait behind hundreds of runs that begin.
    """

    def __init__(self, namespace_of: Callable[[Key], str] = lambda _: "") -> None:
        self._namespace_of = namespace_of
        self._lines: Lines[Key] = Lines()
        # With the time since which each is ready, in the order in which they became it.
        self._queued: dict[Key, float] = {}
        self._working: set[Key] = set()
        self._aside: Counter[str] = Counter()
        # Since when a worker is on a key: what its namespace is charged for.
        self._since: dict[Key, float] = {}
        # Workers that may begin a piece of work, and those that are looking for one.
        self._free = 0
        self._looking = asyncio.Event()
        # Added while in work, and whether urgently.
        self._again: dict[Key, bool] = {}
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._sequence = 0
        self._sooner = asyncio.Event()
        self._stopped = False

    @property
    def in_work(self) -> int:
        """Keys that are worked on."""
        return len(self._working)

    @property
    def stopped(self) -> bool:
        """Whether nothing new is begun."""
        return self._stopped

    def stop(self) -> None:
        """Begin nothing new: `run` ends as soon as what is in work is done."""
        self._stopped = True
        self._sooner.set()
        self._looking.set()

    def add(self, key: Key, delay: float = 0.0, *, urgent: bool = False) -> None:
        """Have a key worked on now, or in `delay` seconds unless it is due earlier already. One that waits already
        becomes `urgent` by being added so; a delayed one is not."""
        if delay > 0:
            self._add_later(key, delay)
            return
        self._due.pop(key, None)
        if key in self._working:
            self._again[key] = urgent or self._again.get(key, False)
        elif urgent or key not in self._queued:
            self._queued.setdefault(key, asyncio.get_running_loop().time())
            self._lines.put(self._namespace_of(key), key, urgent=urgent)
            self._looking.set()

    def _add_later(self, key: Key, delay: float) -> None:
        due = asyncio.get_running_loop().time() + delay
        if key in self._due and due >= self._due[key][0]:
            return
        self._sequence += 1
        self._due[key] = (due, self._sequence)
        heapq.heappush(self._heap, (due, self._sequence, key))
        if len(self._heap) > 2 * len(self._due) + 64:
            # Deadlines lie hours ahead, and each look at a run leaves an entry for its own behind.
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[:2]]
            heapq.heapify(self._heap)
        self._sooner.set()

    def __len__(self) -> int:
        """Return the keys that are ready to be worked on."""
        return len(self._queued)

    def oldest(self) -> float:
        """Return the seconds for which the first of them has been ready, 0 where there is none."""
        since = next(iter(self._queued.values()), None)
        return asyncio.get_running_loop().time() - since if since is not None else 0.0

    @contextlib.asynccontextmanager
    async def aside(self, key: Key) -> AsyncIterator[None]:
        """Where the work on a key waits for its turn elsewhere: its worker is another key's until then. Of one
        namespace 8 keys may be aside; while they are, no more of its keys are begun."""
        namespace, loop = self._namespace_of(key), asyncio.get_running_loop()
        self._lines.charge(namespace, loop.time() - self._since[key])
        self._aside[namespace] += 1
        self._free += 1
        self._looking.set()
        try:
            yield
        finally:
            self._since[key] = loop.time()
            # It continues at once: what is left of it are calls, and those of many others would be before it.
            self._free -= 1
            self._aside[namespace] -= 1
            if not self._aside[namespace]:
                del self._aside[namespace]
            self._looking.set()

    async def run(self, work: Callable[[Key], Awaitable[float | None]], workers: int) -> None:
        """Work until cancelled or stopped. `work` returns the seconds after which its key is queued again, or None."""
        self._free = workers
        async with asyncio.TaskGroup() as group:
            group.create_task(self._clockwork())
            while not self._stopped:
                self._looking.clear()
                while self._free > 0 and (found := self._lines.next(self._may_begin)) is not None:
                    namespace, key = found
                    self._queued.pop(key, None)
                    self._working.add(key)
                    self._free -= 1
                    group.create_task(self._work(namespace, key, work))
                await self._looking.wait()

    def _may_begin(self, namespace: str) -> bool:
        return self._aside[namespace] < MAX_ASIDE

    async def _work(self, namespace: str, key: Key, work: Callable[[Key], Awaitable[float | None]]) -> None:
        loop = asyncio.get_running_loop()
        self._since[key] = loop.time()
        delay: float | None
        try:
            delay = await work(key)
            self._failures.pop(key, None)
        except Exception:  # noqa: BLE001  the work logs what failed; here a failure is a delay
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 20), MAX_BACKOFF_SECONDS)
        finally:
            self._working.discard(key)
            self._free += 1
            self._lines.charge(namespace, loop.time() - self._since.pop(key))
            self._looking.set()
        if key in self._again:
            self.add(key, urgent=self._again.pop(key))
        if delay is not None:
            self.add(key, max(delay, 0.001))

    async def _clockwork(self) -> None:
        """Move keys from the heap to the ready queue when they are due. Nothing polls while nothing is due."""
        loop = asyncio.get_running_loop()
        while not self._stopped:
            self._sooner.clear()
            timeout = self._heap[0][0] - loop.time() if self._heap else None
            if timeout is None or timeout > CLOCK_RESOLUTION:
                # Not wait_for: before Python 3.12 it loses a cancellation that comes with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._sooner.wait()
                continue
            due, number, key = heapq.heappop(self._heap)
            # A key that was added again with an earlier time, or at once, left its older entry behind.
            if self._due.get(key) == (due, number):
                self.add(key)


def seconds_until(when: datetime | None, now: datetime) -> float | None:
    """Return the delay for `WorkQueue.add` until a time, at least a millisecond; None for None."""
    if when is None:
        return None
    return max((when - now) / timedelta(seconds=1), 0.001)
