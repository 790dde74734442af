"""The gauges: what the operator's caches and its queue hold at the time of a scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from nexus import __version__
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.api.reasons import RunPhase
from nexus.runtime.ports import RunKey
from nexus.runtime.queue import WorkQueue
from nexus.runtime.stats import Reading
from nexus.runtime.workflows import WorkflowKey


def readings(
    cache: Cache,
    workflows: WorkflowCache,
    queue: WorkQueue[RunKey | WorkflowKey],
    watch_ages: Iterable[tuple[str, float]],
    *,
    leading: bool = True,
) -> Iterator[Reading]:
    """Return every gauge. `watch_ages`: resources, and how many seconds ago a watch of each was heard of. Who is not
    `leading` says only how it is itself: the runs are the same as the leader's, and a sum would count them twice."""
    yield Reading("build_info", 1, {"version": __version__})
    yield Reading("leading", int(leading))
    yield Reading("queue_depth", len(queue))
    yield Reading("queue_oldest_seconds", queue.oldest())
    oldest: dict[str, float] = {}
    for resource, age in watch_ages:
        oldest[resource] = max(age, oldest.get(resource, 0.0))
    for resource, age in oldest.items():
        yield Reading("watch_age_seconds", age, {"resource": resource})
    if not leading:
        return
    for (namespace, workflow, phase), amount in _active(cache).items():
        yield Reading("active_workflows", amount, {"namespace": namespace, "workflow": workflow, "phase": phase})
    for reason, amount in Counter(cache.waiting()).items():
        yield Reading("pods_waiting", amount, {"reason": reason.value})
    for key, record in workflows.workflows.items():
        schedules = record.status.schedules or () if record.status is not None else ()
        if failing := sum(schedule.failing is not None for schedule in schedules):
            yield Reading("schedules_failing", failing, {"namespace": key.namespace, "workflow": key.name})


def _active(cache: Cache) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for record in cache.runs.values():
        if not record.ended:
            reference = record.spec.workflow_ref if record.spec is not None else None
            phase = record.status.phase if record.status is not None else RunPhase.PENDING
            found[record.key.namespace, reference.name if reference is not None else "", phase.value] += 1
    return found
