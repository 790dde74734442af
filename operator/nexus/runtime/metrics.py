"""The metrics: every name, once, with its labels and what it means. The exporter, the documentation and the tests read
this list.

The six names without the prefix are a public contract of their own; all others begin with nexus_.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What becomes of a metric's values."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


# Seconds. A call of the API server takes milliseconds and at most 10 s; a task seconds to hours; a run up to a day.
FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
WORK = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0)
LAG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3_600.0)

OF_WORKFLOW = ("workflow", "namespace")
OF_TASK = (*OF_WORKFLOW, "task", "type")
OF_SCHEDULE = (*OF_WORKFLOW, "schedule")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `key` is what the code calls it."""

    key: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    prefix: str = "nexus_"

    @property
    def name(self) -> str:
        """What Prometheus calls it: counters end in _total there."""
        return f"{self.prefix}{self.key}{'_total' if self.kind is Kind.COUNTER else ''}"


def _public(key: str, kind: Kind, help: str, labels: tuple[str, ...], buckets: tuple[float, ...] = ()) -> Metric:  # noqa: A002
    return Metric(key, kind, help, labels, buckets, prefix="")


def _counter(key: str, help: str, *labels: str) -> Metric:  # noqa: A002
    return Metric(key, Kind.COUNTER, help, labels)


def _histogram(key: str, help: str, buckets: tuple[float, ...], *labels: str) -> Metric:  # noqa: A002
    return Metric(key, Kind.HISTOGRAM, help, labels, buckets)


def _gauge(key: str, help: str, *labels: str) -> Metric:  # noqa: A002
    return Metric(key, Kind.GAUGE, help, labels)


CATALOGUE = (
    # What users run.
    _public(
        "workflow_executions",
        Kind.COUNTER,
        "Runs that ended; status is their phase: Succeeded, Failed or Cancelled.",
        (*OF_WORKFLOW, "status"),
    ),
    _public(
        "workflow_execution_duration_seconds",
        Kind.HISTOGRAM,
        "From the start of a run to its end.",
        (*OF_WORKFLOW, "status"),
        WORK,
    ),
    _public("active_workflows", Kind.GAUGE, "Runs that have not ended, by phase.", (*OF_WORKFLOW, "phase")),
    _public(
        "task_executions",
        Kind.COUNTER,
        "Tasks that ended; status is their phase: Succeeded, Failed, Skipped, Omitted or Cancelled. A fan-out is one.",
        (*OF_TASK, "status"),
    ),
    _public(
        "task_execution_duration_seconds",
        Kind.HISTOGRAM,
        "From the start of a task's first attempt to its end, delays between attempts included.",
        OF_TASK,
        WORK,
    ),
    _public(
        "task_retries",
        Kind.COUNTER,
        "Attempts after a task's first; those of fan-outs' items and replacements that do not count aside.",
        OF_TASK,
    ),
    _counter("task_failures", "Tasks that ended Failed, by reason (docs/reasons.md).", "namespace", "reason"),
    _gauge("pods_waiting", "Pods of tasks, and Jobs without a pod, that wait to start, by reason.", "reason"),
    # Schedules.
    _histogram(
        "schedule_lag_seconds",
        "How long after its time the run of a tick was made, late ones included.",
        LAG,
        "namespace",
    ),
    _counter("ticks_started", "Ticks whose run was made.", *OF_SCHEDULE),
    _counter("ticks_missed", "Ticks that never get a run, by reason.", *OF_SCHEDULE, "reason"),
    _counter("ticks_dropped", "Ticks that came while another run had not ended, by policy.", *OF_SCHEDULE, "reason"),
    _counter("ticks_refused", "Tries to make the run of a tick that the API server refused.", *OF_SCHEDULE, "reason"),
    _gauge("schedules_failing", "Schedules whose last tick has no run (condition DidNotRun).", *OF_WORKFLOW),
    _counter("runs_pruned", "Ended runs deleted by history limits and ttlSecondsAfterFinished.", *OF_WORKFLOW),
    # The operator itself.
    _gauge("build_info", "1, for the version of the operator.", "version"),
    _gauge("leading", "1 where this operator works, 0 where it stands by and only watches."),
    _histogram(
        "reconcile_duration_seconds",
        "Looks at a run or a Workflow; result is ok, stale (looked again at once) or error.",
        FAST,
        "kind",
        "result",
    ),
    _histogram("reaction_seconds", "From the event that made a task due to the request for its Job.", FAST),
    _histogram(
        "event_loop_lag_seconds",
        "How late the operator's event loop ran a timer of 50 ms; over 0.1 s something holds it up.",
        FAST,
    ),
    _gauge("queue_depth", "Runs and Workflows that are ready to be looked at."),
    _gauge("queue_oldest_seconds", "How long the first in the queue has been ready; 0 where it is empty."),
    _counter(
        "api_requests",
        "Answers of the API server; code is 0 where none came. Watches aside, which kopf makes.",
        "verb",
        "resource",
        "code",
    ),
    _counter(
        "writes_refused",
        "Writes for runs and Workflows that the API server refused, or did not answer; code is rights, quota, "
        "admission, too-large, namespace, unavailable or unknown.",
        "verb",
        "resource",
        "code",
    ),
    _histogram("api_request_duration_seconds", "How long the API server took to answer.", FAST, "verb"),
    _gauge("watch_age_seconds", "Time since a watch last reported anything, or was opened.", "resource"),
)
METRICS = {metric.key: metric for metric in CATALOGUE}


class UnknownMetric(Exception):
    """Something was counted that the catalogue does not know, or with other labels."""


def metric(key: str, kind: Kind, labels: tuple[str, ...]) -> Metric:
    """Return the metric of a key. Raises UnknownMetric where kind or labels are not those of the catalogue."""
    found = METRICS.get(key)
    if found is None or found.kind is not kind or set(found.labels) != set(labels):
        raise UnknownMetric(f"{kind.value} {key} with labels {', '.join(labels) or 'none'}")
    return found
