"""Stats: what is counted, for whoever publishes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from nexus.runtime.metrics import Kind, metric

Labels = tuple[tuple[str, str], ...]


class Stats(Protocol):
    """Takes what happened. Names and their labels are those of nexus.runtime.metrics."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Count a number of further events."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """One value of something that is measured, as a delay in seconds."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a gauge shows at the moment."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Counters(Stats):
    """Keeps the sums. Raises UnknownMetric for what the catalogue does not know."""

    counts: dict[tuple[str, Labels], int] = field(default_factory=lambda: defaultdict(int))
    observed: dict[tuple[str, Labels], tuple[int, float, float]] = field(default_factory=dict)
    """How many values there were, their sum, and the largest."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """See Stats."""
        metric(name, Kind.COUNTER, tuple(labels))
        self.counts[name, _key(labels)] += amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        """See Stats."""
        metric(name, Kind.HISTOGRAM, tuple(labels))
        number, total, most = self.observed.get((name, _key(labels)), (0, 0.0, value))
        self.observed[name, _key(labels)] = number + 1, total + value, max(most, value)

    def total(self, name: str, **labels: str) -> int:
        """Return the sum of a count over all labels but these."""
        wanted = set(labels.items())
        return sum(amount for (counted, of), amount in self.counts.items() if counted == name and wanted <= set(of))


def _key(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
