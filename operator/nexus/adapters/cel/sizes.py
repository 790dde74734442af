"""How large a value of an expression can be: the basis of its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Amount(NamedTuple):
    """How large a value is: characters of text in it, parts, and its elements, entries or characters."""

    characters: float = 0.0
    parts: float = 1.0
    length: float = 0.0

    def plus(self, other: Amount) -> Amount:
        """Return both together."""
        return Amount(self.characters + other.characters, self.parts + other.parts, self.length + other.length)

    def scaled(self, factor: float) -> Amount:
        """Return the size of `factor` times as much."""
        return Amount(self.characters * factor, self.parts * factor, self.length * factor)

    def listed(self, count: float) -> Amount:
        """Return a list of `count` of it."""
        return Amount(self.characters * count, 1 + self.parts * count, count)

    def most(self, other: Amount) -> Amount:
        """Return what is as large as either."""
        return Amount(*map(max, self, other))

    def least(self, other: Amount) -> Amount:
        """Return what is as small as either."""
        return Amount(*map(min, self, other))


ONE, NOTHING, SCALAR = Amount(), Amount(0.0, 0.0, 0.0), Amount(32.0)
"""The last is a number or a time: at most this many characters as a string."""


class Value:
    """What is known of a value. `most` holds in each round, `mean` over all rounds of the innermost
    comprehension: of a list with one long text and a thousand short ones, not each round reads the long one.

    `nodes` are the JSON values that it can be, where it is a part of those given (of an integer, one that is not
    smaller), `rounds` how many rounds there are where it is another one in each. `element` is one of its elements,
    where that is known, `part` how much of them is likely to be there. Of what is given sizes are only found where they
    are asked for.
    """

    __slots__ = ("_elements", "_entry", "_mean", "_most", "element", "nodes", "part", "rounds")

    def __init__(
        self,
        most: Amount | Callable[[], Amount] | None = None,
        mean: Amount | None = None,
        nodes: tuple[Any, ...] | None = None,
        element: Value | None = None,
        rounds: float = 0.0,
        part: float = 1.0,
    ) -> None:
        self._most, self._mean = most, mean
        self._elements: Value | None = None
        self._entry: Value | None = None
        self.nodes, self.element, self.rounds, self.part = nodes, element, rounds, part

    @property
    def uneven(self) -> bool:
        """Whether `mean` differs from `most`."""
        return self._mean is not None or self.rounds > 0

    @property
    def most(self) -> Amount:
        """As large as it can be."""
        if callable(self._most):
            self._most = self._most()
        elif self._most is None:
            self._measure()
        assert isinstance(self._most, Amount)
        return self._most

    @property
    def mean(self) -> Amount:
        """As large as it is in the mean of all rounds."""
        if self._mean is None and self.rounds:
            self._measure()
        return self.most if self._mean is None else self._mean

    def _measure(self) -> None:
        if self.nodes is None:
            self._most = ONE
            return
        total, most = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
        for node in self.nodes:
            for place, size in enumerate(_amount(node)):
                total[place] += size
                most[place] = max(most[place], size)
        self._most = Amount(*most)
        if self.rounds:
            self._mean = Amount(*total).scaled(1 / self.rounds).least(self._most)

    @property
    def lengths(self) -> tuple[float, float]:
        """Its elements, at most and in the mean."""
        if self.nodes is None:
            return self.most.length, self.mean.length
        found = [len(node) for node in self.nodes if isinstance(node, list | dict)]
        most = max(found, default=0)
        return most, min(most, sum(found) / self.rounds) if self.rounds else most

    def outside(self) -> Value:
        """Return the same in the rounds of a comprehension that does not go over it."""
        return Value(self._most, None, self.nodes, self.element, part=self.part) if self.uneven else self

    def either(self, other: Value) -> Value:
        """Return what is one of two."""
        element = other.element if self.element is None else self.element
        if self.element is not None and other.element is not None:
            element = self.element.either(other.element)
        if self.nodes is not None and other.nodes is not None:
            # Each once: what is one of eight that are the same, eight times over, would be millions.
            return Value(
                nodes=tuple({id(node): node for node in (*self.nodes, *other.nodes)}.values()), element=element
            )
        mean = self.mean.most(other.mean) if self.uneven or other.uneven else None
        return Value(self.most.most(other.most), mean, None, element)

    def elements(self) -> Value:
        """Return what a comprehension over it goes through."""
        if self._elements is None:
            self._elements = self._new_elements()
        return self._elements

    def _new_elements(self) -> Value:
        if self.nodes is not None:
            found = tuple(element for node in self.nodes if isinstance(node, list | dict) for element in node)
            # Of several lists it is unknown which it is, unless it is another one each time.
            return Value(nodes=found, rounds=len(found) if self.rounds or len(self.nodes) == 1 else 0)
        # No element is larger than the whole.
        return Value(self.most) if self.element is None else self.element

    def field(self, name: str) -> Value:
        """Return a field of it."""
        if self.nodes is None:
            return self.elements().outside()
        found = tuple(node[name] for node in self.nodes if isinstance(node, dict) and name in node)
        return Value(nodes=found, rounds=self.rounds)

    def entry(self) -> Value:
        """Return what an index gives, of which the value is unknown."""
        if self.nodes is None:
            return self.elements().outside()
        if self._entry is None:
            inner: list[Any] = []
            for node in self.nodes:
                if isinstance(node, list | dict):
                    inner += node.values() if isinstance(node, dict) else node
            self._entry = Value(nodes=tuple(inner))
        return self._entry


def _amount(value: Any) -> Amount:
    if isinstance(value, str | bytes):
        return Amount(len(value), 1.0, len(value))
    if not isinstance(value, list | dict):
        return SCALAR
    characters, parts = 0, 0
    waiting: list[Any] = [value]
    while waiting:
        inner = waiting.pop()
        parts += 1
        if isinstance(inner, str):
            characters += len(inner)
        elif isinstance(inner, list):
            waiting += inner
        elif isinstance(inner, dict):
            parts += len(inner)
            characters += sum(map(len, inner))
            waiting += inner.values()
        else:
            characters += int(SCALAR.characters)
    return Amount(characters, parts, len(value))
