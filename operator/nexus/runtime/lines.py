"""Lines: who is served next where several namespaces want the same thing.

Each namespace has a line of its own, first in, first out. Served next is the head of the line of the namespace that has
had least, in seconds of service (start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996): however much one
namespace asks for, another waits for no more than what is in service.

A namespace's line has two lanes. While items wait in both, the lanes are served alternately: an urgent item waits for
at most as many others as there are urgent items before it, and a stream of urgent ones takes every second turn at most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

# Namespaces without a line that are remembered beside those with one.
_REMEMBERED = 64


class _Line(Generic[Item]):
    """The two lanes of one namespace: items in the order in which they came, each in one of them."""

    def __init__(self) -> None:
        # Not deques: an item that becomes urgent is taken from amid thousands.
        self._urgent: OrderedDict[Item, None] = OrderedDict()
        self._others: OrderedDict[Item, None] = OrderedDict()
        self._urgent_is_next = True

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def put(self, item: Item, *, urgent: bool) -> None:
        """Add an item at the end of its lane; one that waits already keeps its place, unless it becomes urgent."""
        if urgent:
            self._others.pop(item, None)
            self._urgent.setdefault(item)
        elif item not in self._urgent:
            self._others.setdefault(item)

    def next(self) -> Item:
        """Take the next item; there must be one."""
        lane = self._urgent if self._urgent and (self._urgent_is_next or not self._others) else self._others
        self._urgent_is_next = lane is self._others
        return lane.popitem(last=False)[0]


class Lines(Generic[Item]):
    """Items that wait, by namespace. Not safe for threads: whoever shares one holds a lock."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line[Item]] = {}
        # Seconds of service, counted from a start that is the same for all.
        self._had: dict[str, float] = {}
        # What the namespace served last had had by then. Who comes anew starts from here: not to have asked for
        # anything yesterday gives no right to everything today.
        self._floor = 0.0
        # When each was served last, as a count: of those that had the same, whoever waits longest for that is next.
        self._served: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        """Items that wait."""
        return sum(map(len, self._lines.values()))

    def __bool__(self) -> bool:
        """Return whether any item waits."""
        return bool(self._lines)

    def put(self, namespace: str, item: Item, *, urgent: bool = False) -> None:
        """Add an item at the end of a lane of its namespace's line. One that waits already becomes urgent, or stays."""
        if namespace not in self._lines:
            self._lines[namespace] = _Line()
            self._had[namespace] = max(self._had.get(namespace, 0.0), self._floor)
        self._lines[namespace].put(item, urgent=urgent)

    def next(self, may: Callable[[str], bool] = lambda _: True) -> tuple[str, Item] | None:
        """Take the next item, and its namespace, of those that `may` be served; None where there is none."""
        namespace = min(filter(may, self._lines), key=self._rank, default=None)
        if namespace is None:
            return None
        line = self._lines[namespace]
        item = line.next()
        if not line:
            del self._lines[namespace]
        self._count += 1
        self._served[namespace] = self._count
        self._floor = max(self._floor, self._had[namespace])
        return namespace, item

    def charge(self, namespace: str, seconds: float) -> None:
        """Note service that a namespace has had."""
        self._had[namespace] = max(self._had.get(namespace, 0.0), self._floor) + seconds
        if len(self._had) > 2 * len(self._lines) + _REMEMBERED:
            self._had = {name: had for name, had in self._had.items() if had > self._floor or name in self._lines}
            self._served = {name: count for name, count in self._served.items() if name in self._had}

    def _rank(self, namespace: str) -> tuple[float, int]:
        return self._had[namespace], self._served.get(namespace, 0)
