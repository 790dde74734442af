"""What a Prometheus server gets to read."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nexus.adapters.prometheus import PrometheusStats
from nexus.runtime.label_limit import LabelLimit
from nexus.runtime.metrics import CATALOGUE, Kind, UnknownMetric
from nexus.runtime.stats import Counters, Reading, Stats

DOCS = Path(__file__).parents[2] / "docs" / "monitoring.md"
OF_TASK = {"workflow": "sales", "namespace": "default", "task": "load", "type": "sql"}


def samples(stats: PrometheusStats) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, kind = asyncio.run(stats.exposition(""))
    assert kind.startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(body.decode())
    return {(sample.name, frozenset(sample.labels.items())): sample.value for of in families for sample in of.samples}


def value(stats: PrometheusStats, name: str, **labels: str) -> float | None:
    return samples(stats).get((name, frozenset(labels.items())))


def test_the_six_names_are_exactly_these() -> None:
    public = {metric.name: set(metric.labels) for metric in CATALOGUE if not metric.name.startswith("nexus_")}
    assert public.keys() == {
        "workflow_executions_total",
        "workflow_execution_duration_seconds",
        "active_workflows",
        "task_executions_total",
        "task_execution_duration_seconds",
        "task_retries_total",
    }
    assert public["workflow_executions_total"] == {"workflow", "namespace", "status"}


def test_what_is_counted_and_measured_is_shown() -> None:
    stats = PrometheusStats(LabelLimit())
    stats.count("task_executions", 2, **OF_TASK, status="Failed")
    stats.observe("task_execution_duration_seconds", 7, **OF_TASK)
    assert value(stats, "task_executions_total", **OF_TASK, status="Failed") == 2
    assert value(stats, "task_execution_duration_seconds_bucket", **OF_TASK, le="5.0") == 0
    assert value(stats, "task_execution_duration_seconds_bucket", **OF_TASK, le="10.0") == 1
    assert value(stats, "task_execution_duration_seconds_sum", **OF_TASK) == 7
    assert not any(name.endswith("_created") for name, _ in samples(stats))


def test_gauges_are_asked_at_each_look_and_those_that_share_other_are_one_sum() -> None:
    stats, active = PrometheusStats(LabelLimit(workflows=1)), [1, 2, 4]
    stats.show(
        lambda: [
            Reading("active_workflows", number, {"namespace": "a", "workflow": f"w{index}", "phase": "Running"})
            for index, number in enumerate(active)
        ]
    )
    of = {"namespace": "a", "phase": "Running"}
    assert value(stats, "active_workflows", workflow="w0", **of) == 1
    assert value(stats, "active_workflows", workflow="other", **of) == 6
    active.clear()
    assert value(stats, "active_workflows", workflow="w0", **of) is None


def test_the_format_is_the_one_that_is_asked_for() -> None:
    stats = PrometheusStats(LabelLimit())
    body, kind = asyncio.run(stats.exposition("application/openmetrics-text; version=1.0.0"))
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize("stats", [Counters(), PrometheusStats(LabelLimit())], ids=["fake", "real"])
def test_what_the_catalogue_does_not_know_is_refused_by_the_fake_too(stats: Stats) -> None:
    for name, labels in (("tasks", {}), ("queue_depth", {}), ("task_failures", {"reason": "TaskError"})):
        with pytest.raises(UnknownMetric, match=name):
            stats.count(name, 1, **labels)
        with pytest.raises(UnknownMetric, match=name):
            stats.observe(name, 1.0, **labels)


def test_every_metric_is_in_the_documentation_with_its_labels_and_no_other_is() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| (.*?) \| (.*?) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    told = {name: (kind, labels, words) for name, kind, labels, words in rows}
    assert told == {metric.name: (metric.kind.value, ", ".join(metric.labels), metric.help) for metric in CATALOGUE}
    assert all(metric.buckets for metric in CATALOGUE if metric.kind is Kind.HISTOGRAM)
