"""Prometheus: what is counted, and what gauges show, in the formats that a Prometheus server reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from nexus.runtime.label_limit import LabelLimit
from nexus.runtime.metrics import CATALOGUE, Kind, metric
from nexus.runtime.stats import Reading, Stats

# A series of its own for each counter and histogram, which no query of ours reads. There is a switch for the whole
# process only.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class PrometheusStats(Stats):
    """Stats with a registry of its own. Raises UnknownMetric for what the catalogue does not know.

    What `show` was given is asked for gauges at each scrape. Text of thousands of series takes tens of
    milliseconds, and so it is made in a thread: the operator's own work goes on meanwhile.
    """

    def __init__(self, limit: LabelLimit) -> None:
        self._limit = limit
        self._gauges: Callable[[], Iterable[Reading]] = tuple
        self.registry = CollectorRegistry()
        # The process: CPU, memory, open files, under the names that dashboards know.
        ProcessCollector(registry=self.registry)
        self._shown = _Gauges()
        self.registry.register(self._shown)
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for each in CATALOGUE:
            if each.kind is Kind.COUNTER:
                self._counters[each.key] = Counter(each.name, each.help, each.labels, registry=self.registry)
            elif each.kind is Kind.HISTOGRAM:
                self._histograms[each.key] = Histogram(
                    each.name, each.help, each.labels, registry=self.registry, buckets=each.buckets
                )

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """See Stats."""
        metric(name, Kind.COUNTER, tuple(labels))
        found = self._counters[name]
        (found.labels(**self._limit.bounded(labels)) if labels else found).inc(amount)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """See Stats."""
        metric(name, Kind.HISTOGRAM, tuple(labels))
        found = self._histograms[name]
        (found.labels(**self._limit.bounded(labels)) if labels else found).observe(value)

    def show(self, gauges: Callable[[], Iterable[Reading]]) -> None:
        """Have this asked for what the gauges show."""
        self._gauges = gauges

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all there is, in the format that the Accept header asks for, and its content type."""
        self._shown.take(self._bounded())
        encode, content_type = choose_encoder(accept)
        return await asyncio.to_thread(encode, self.registry), content_type

    def _bounded(self) -> Iterator[Reading]:
        for reading in self._gauges():
            metric(reading.name, Kind.GAUGE, tuple(reading.labels))
            yield Reading(reading.name, reading.value, self._limit.bounded(reading.labels))


class _Gauges(Collector):
    """The readings of the last look."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {}

    def take(self, readings: Iterable[Reading]) -> None:
        """Show these. Two with the same labels, as those of Workflows that share `other`, are one sum."""
        values: dict[str, dict[tuple[str, ...], float]] = {}
        for reading in readings:
            of = values.setdefault(reading.name, {})
            key = tuple(
                reading.labels[label] for label in metric(reading.name, Kind.GAUGE, tuple(reading.labels)).labels
            )
            of[key] = of.get(key, 0.0) + reading.value
        self._values = values

    def describe(self) -> Iterable[Metric]:
        """Yield the gauges without values."""
        return [GaugeMetricFamily(each.name, each.help) for each in CATALOGUE if each.kind is Kind.GAUGE]

    def collect(self) -> Iterable[Metric]:
        """Yield the gauges as they were read."""
        values = self._values
        for each in CATALOGUE:
            if each.kind is Kind.GAUGE:
                family = GaugeMetricFamily(each.name, each.help, labels=each.labels)
                for key, value in values.get(each.key, {}).items():
                    family.add_metric(key, value)
                yield family
