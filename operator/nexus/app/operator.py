"""The operator: kopf watches, the queue orders, the reconciler works."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import kopf

from nexus.adapters.kube.cache.live_pods import LivePods
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.adapters.kube.client.api import KubeApi, NotLeading
from nexus.adapters.kube.manifests.events import BackgroundRecorder
from nexus.adapters.kube.manifests.job import Images
from nexus.adapters.kube.runs.backend import KubeBackend, wall_clock
from nexus.adapters.kube.workflows.backend import KubeWorkflows
from nexus.adapters.prometheus import PrometheusStats
from nexus.app.gauges import readings
from nexus.app.handlers import register
from nexus.app.logs import about
from nexus.app.settings import Settings
from nexus.app.sweep import sweep
from nexus.app.takeover import News
from nexus.app.watch_ages import WatchAges
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition
from nexus.core.model.plan import Start, StartTask
from nexus.core.pods.policy import PodPolicy
from nexus.runtime.ports import Refused, RunKey, Stale, View
from nexus.runtime.queue import WorkQueue, seconds_until
from nexus.runtime.reconcile import Reconciler
from nexus.runtime.share import share_of
from nexus.runtime.stats import Reading
from nexus.runtime.turns import Turns
from nexus.runtime.workflows import WorkflowKey, WorkflowReconciler

log = logging.getLogger("nexus")

# For Events that wait to be published when the operator is asked to stop.
DRAIN_SECONDS = 1.0


class SharedEvaluator(Evaluator, Turns, Protocol):
    """An evaluator that namespaces take turns at."""


def namespace_of(key: RunKey | WorkflowKey) -> str:
    """Return the namespace in whose queue a piece of work waits."""
    return key.namespace if isinstance(key, RunKey) else key.key.namespace


@dataclass
class Operator:
    """What one operator knows and does.

    Its caches follow the watches from the start. It works on runs only while `work` is running, which another replica's
    lead may hold back for days; what the watches report meanwhile is in the caches then.
    """

    settings: Settings
    api: KubeApi
    evaluator: SharedEvaluator
    stats: PrometheusStats
    ages: WatchAges
    cache: Cache = field(default_factory=Cache)
    queue: WorkQueue[RunKey | WorkflowKey] = field(default_factory=lambda: WorkQueue(namespace_of))
    working: bool = False
    """Whether it looks at runs, or only watches while another one does."""
    _news: News = field(default_factory=News)
    _seen_at: dict[RunKey, float] = field(default_factory=dict)
    _working_on: dict[RunKey, float] = field(default_factory=dict)
    _deciding: dict[RunKey, float] = field(default_factory=dict)
    """CPU seconds that the decisions of a reconcile under way have taken."""

    def __post_init__(self) -> None:
        self.stats.show(self._readings)
        self.recorder = BackgroundRecorder(self.api, self._busy)
        self.workflows = WorkflowCache(self.settings.defaults)
        images = Images(self.settings.task_images, dict(self.settings.task_image_digests))
        policy = PodPolicy(self.settings.pod_forbidden, baseline=self.settings.pod_security == "baseline")
        self.cache.live = LivePods(self.settings.max_task_pods)
        backend = KubeBackend(
            self.api,
            self.cache,
            self.evaluator,
            images,
            recorder=self.recorder,
            wake=self._queue,
            workflows=self.workflows,
            pod_policy=policy,
            defaults=self.settings.defaults,
            pools=self.settings.pools,
            max_objects=self.settings.max_namespace_objects,
            output_store=self.settings.output_store,
        )
        self.reconciler = Reconciler(
            backend, self.evaluator, stats=self.stats, started=self._started, decided=self._decided
        )
        workflows = KubeWorkflows(self.api, self.workflows, self.evaluator, wall_clock, self._queue, self.recorder)
        self.workflow_reconciler = WorkflowReconciler(workflows, self.stats)

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Add the handlers that fill the caches."""
        register(registry, self.cache, self._queue, self.workflows, self._queue_workflow, self.ages)

    async def work(self) -> None:
        """Look at all there is, and from then on at what changes, until `finish` or a cancellation."""
        self.working = True
        for key in self._news.first(self.cache.runs, time.monotonic()):
            self._queue(key)
        for key in tuple(self.workflows.workflows):
            self._queue_workflow(key)
        recording = asyncio.create_task(self.recorder.run())
        try:
            await self.queue.run(self._work, self.settings.workers)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.recorder.drained(), DRAIN_SECONDS)
        finally:
            self.working = False
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)

    def finish(self) -> None:
        """Begin nothing new: `work` ends when what is under way is done and its Events are published."""
        self.queue.stop()

    async def sweep(self) -> None:
        """Keep the caches free of what is gone, for ever."""
        await sweep(
            self.api,
            self.settings.namespaces,
            self.settings.sweep_seconds,
            self.cache,
            self._queue,
            self.workflows,
            self._queue_workflow,
        )

    def _readings(self) -> Iterable[Reading]:
        ages = ((kind.plural, age) for (kind, _), age in self.ages.ages().items())
        return readings(self.cache, self.workflows, self.queue, ages, leading=self.working)

    def _queue(self, key: RunKey, *, urgent: bool = False) -> None:
        if not self.working:
            self._stand_by(key)
            return
        self._seen_at.setdefault(key, time.monotonic())
        self.queue.add(key, urgent=urgent)

    def _queue_workflow(self, key: RunKey) -> None:
        if self.working:
            self.queue.add(WorkflowKey(key))

    def _busy(self) -> bool:
        """Return whether half of the workers have work at once, or would; False at the end, when no work is begun."""
        return len(self.queue) + self.queue.in_work > self.settings.workers // 2 and not self.queue.stopped

    def _stand_by(self, key: RunKey) -> None:
        """Remember that there is news, and do what the look at an ended run does besides: let go of its pods, thousands
        of them in a few days."""
        self._news.note(key, time.monotonic())
        record = self.cache.runs.get(key)
        if record is not None and record.ended:
            self.cache.compact(record.uid)

    async def _work(self, key: RunKey | WorkflowKey) -> float | None:
        if isinstance(key, WorkflowKey):
            subject = {"namespace": key.key.namespace, "workflow": key.key.name}
        else:
            subject = {"namespace": key.namespace, "run": key.name}
        share = share_of(namespace_of(key), self.evaluator, partial(self.queue.aside, key))
        with about(**subject), share:
            return await self._reconcile(key)

    async def _reconcile(self, key: RunKey | WorkflowKey) -> float | None:
        if isinstance(key, RunKey) and key in self._seen_at:
            self._working_on[key] = self._seen_at.pop(key)
        began, result = time.monotonic(), "error"
        try:
            if isinstance(key, WorkflowKey):
                wake_at = await self.workflow_reconciler.reconcile(key.key)
                result = "ok"
                return seconds_until(wake_at, wall_clock())
            wake_at = await self.reconciler.reconcile(key)
            taken, deciding = (time.monotonic() - began) * 1000, self._deciding.get(key, 0.0) * 1000
            result = "ok"
            log.debug("%s: reconciled in %.1f ms, %.1f ms of CPU to decide", key, taken, deciding)
            return seconds_until(wake_at, wall_clock())
        except Refused as error:
            log.debug("%s: %s", key, error)  # the first time it was a warning, or was too short for one
            raise
        except (Stale, NotLeading) as error:
            result = "stale"
            log.debug("%s: %s", key, error)
            raise
        except Exception:
            log.exception("%s: failed; retrying", key)
            raise
        finally:
            kind = "run" if isinstance(key, RunKey) else "workflow"
            self.stats.observe("reconcile_duration_seconds", time.monotonic() - began, kind=kind, result=result)
            if isinstance(key, RunKey):
                self._working_on.pop(key, None)
                self._deciding.pop(key, None)

    def _decided(self, key: RunKey, seconds: float) -> None:
        self._deciding[key] = self._deciding.get(key, 0.0) + seconds

    def _started(self, view: View, start: Start) -> None:
        """Tell how long the first event of this reconcile had waited when the Job is posted."""
        seen, react = self._working_on.get(view.key), None
        if seen is not None:
            waited = time.monotonic() - seen
            self.stats.observe("reaction_seconds", waited)
            react = round(waited * 1000, 1)
        assert isinstance(view.definition, Definition)
        name = start.job_name if isinstance(start, StartTask) else start.run_name
        cause = "termination" if view.definition.nodes[start.task].depends_on else "run"
        log.info(
            "run %s: start task %s as %s react_ms=%s cause=%s",
            view.key,
            start.task,
            name,
            "-" if react is None else react,
            cause,
            extra={"task": start.task, "attempt": start.attempt_number, "job": name, "react_ms": react, "cause": cause},
        )
