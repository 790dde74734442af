"""The operator: kopf watches, the queue orders, the reconciler works."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import aiohttp
import kopf

from nexus import __version__
from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.access import Access
from nexus.adapters.kube.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, ApiError, Forbidden, Kind, KubeApi, NotFound
from nexus.adapters.kube.cache import Cache
from nexus.adapters.kube.client import KubeClient
from nexus.adapters.kube.events import BackgroundRecorder
from nexus.adapters.kube.job import Images
from nexus.adapters.kube.place import KubePlace, wall_clock
from nexus.adapters.kube.workflow_cache import WorkflowCache
from nexus.adapters.kube.workflow_place import KubeWorkflows
from nexus.adapters.prometheus import PrometheusStats
from nexus.app.gauges import readings
from nexus.app.handlers import configure, register
from nexus.app.settings import Settings
from nexus.app.watch_ages import WatchAges
from nexus.app.web import WebServer
from nexus.core.definition import Definition
from nexus.core.names import LABEL_RUN
from nexus.core.plan import Start, StartTask
from nexus.core.pod_policy import PodPolicy
from nexus.runtime.label_limit import LabelLimit
from nexus.runtime.ports import RunKey, Stale, View
from nexus.runtime.queue import WorkQueue, seconds_until
from nexus.runtime.reconcile import Reconciler
from nexus.runtime.stats import Reading, Stats
from nexus.runtime.workflows import WorkflowKey, WorkflowReconciler

log = logging.getLogger("nexus")

# How the API server's audit log tells the operator's calls apart from those of a person with the CLI.
AGENT = "nexus-operator"
# For Events that wait to be published when the operator is told to stop.
DRAIN_SECONDS = 2.0


class StartRefused(Exception):
    """The operator cannot work here; the message says why, and what to do."""


@dataclass
class Operator:
    """One operator process. `run` ends when kopf is told to stop by a signal."""

    settings: Settings
    access: Access
    api: KubeApi
    evaluator: CelEvaluator
    stats: PrometheusStats
    cache: Cache = field(default_factory=Cache)
    workflows: WorkflowCache = field(default_factory=WorkflowCache)
    queue: WorkQueue[RunKey | WorkflowKey] = field(default_factory=WorkQueue)
    _seen_at: dict[RunKey, float] = field(default_factory=dict)
    _working_on: dict[RunKey, float] = field(default_factory=dict)
    _deciding: dict[RunKey, float] = field(default_factory=dict)
    """CPU seconds that the decisions of a reconcile under way have taken."""

    def __post_init__(self) -> None:
        self.ages = WatchAges(self.access.server, self.settings.namespaces)
        self.web = WebServer(self.ages, self.stats.exposition)
        self.stats.show(self._readings)
        self.recorder = BackgroundRecorder(self.api)
        images = Images(self.settings.task_images)
        policy = PodPolicy(self.settings.pod_forbidden, baseline=self.settings.pod_security == "baseline")
        place = KubePlace(
            self.api,
            self.cache,
            self.evaluator,
            images,
            recorder=self.recorder,
            wake=self._queue,
            workflows=self.workflows,
            pod_policy=policy,
        )
        self.reconciler = Reconciler(
            place, self.evaluator, stats=self.stats, started=self._started, decided=self._decided
        )
        workflows = KubeWorkflows(self.api, self.workflows, self.evaluator, wall_clock, self._queue, self.recorder)
        self.workflow_reconciler = WorkflowReconciler(workflows, self.stats)

    async def run(self) -> None:
        """Work until a signal comes. Raises StartRefused."""
        await self._listen()
        working = asyncio.create_task(self.queue.run(self._work, self.settings.workers))
        sweeping = asyncio.create_task(self._sweep())
        recording = asyncio.create_task(self.recorder.run())
        try:
            await self._watch()
        finally:
            await self.web.stop()
            for task in (working, sweeping):
                task.cancel()
            await asyncio.gather(working, sweeping, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.recorder.drained(), DRAIN_SECONDS)
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)

    async def _listen(self) -> None:
        port = self.settings.http_port
        if not port:
            return
        try:
            await self.web.start(port)
        except OSError as error:
            raise StartRefused(f"NEXUS_HTTP_PORT={port}: {error.strerror}") from error

    async def _watch(self) -> None:
        registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
        configure(settings)
        register(registry, self.cache, self._queue, self.workflows, self._queue_workflow, self.ages)
        kopf.on.login(registry=registry)(self._login)
        await kopf.operator(
            registry=registry,
            settings=settings,
            standalone=True,
            clusterwide=not self.settings.namespaces,
            namespaces=self.settings.namespaces,
        )

    async def _login(self, **_: object) -> kopf.AiohttpSession:
        """Kopf's watches go by the same way as our own calls; kopf asks again after a 401."""
        headers = dict(await self.access.credentials.headers(refused=False))
        connector = aiohttp.TCPConnector(limit=0, ssl=self.access.tls if self.access.tls is not None else True)
        session = aiohttp.ClientSession(
            connector=connector,
            headers={**headers, "User-Agent": f"{AGENT}/{__version__}"},
            proxy=self.access.proxy,
            trace_configs=[self.ages.trace()],
        )
        return kopf.AiohttpSession(
            server=self.access.server, default_namespace=self.access.namespace, aiohttp_session=session
        )

    def _readings(self) -> Iterable[Reading]:
        ages = ((kind.plural, age) for (kind, _), age in self.ages.ages().items())
        return readings(self.cache, self.workflows, self.queue, ages)

    def _queue(self, key: RunKey) -> None:
        self._seen_at.setdefault(key, time.monotonic())
        self.queue.add(key)

    def _queue_workflow(self, key: RunKey) -> None:
        self.queue.add(WorkflowKey(key))

    async def _work(self, key: RunKey | WorkflowKey) -> float | None:
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
        except Stale as error:
            result = "stale"
            log.debug("%s: %s", key, error)
            raise
        except Exception:
            log.exception("%s: failed, and will be tried again", key)
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
        seen, react = self._working_on.get(view.key), "-"
        if seen is not None:
            waited = time.monotonic() - seen
            self.stats.observe("reaction_seconds", waited)
            react = f"{waited * 1000:.1f}"
        assert isinstance(view.definition, Definition)
        name = start.job_name if isinstance(start, StartTask) else start.run_name
        cause = "termination" if view.definition.nodes[start.task].depends_on else "run"
        log.info("run %s: start task %s as %s react_ms=%s cause=%s", view.key, start.task, name, react, cause)

    async def _sweep(self) -> None:
        """List everything now and then: a watch that broke off never tells of what was deleted meanwhile."""
        while True:
            await asyncio.sleep(self.settings.sweep_seconds)
            known, known_workflows = self.cache.known(), self.workflows.known()
            try:
                listed = {
                    name: {
                        item["metadata"]["uid"]
                        for space in self._spaces()
                        for item in await self.api.list(kind, space, label)
                    }
                    for name, kind, label in (
                        ("workflows", WORKFLOWS, ""),
                        ("runs", WORKFLOW_RUNS, ""),
                        ("jobs", JOBS, LABEL_RUN),
                        ("pods", PODS, LABEL_RUN),
                    )
                }
            except ApiError as error:
                log.warning("the sweep could not list: %s", error)
                continue
            for key in self.cache.sweep(known, listed):
                self.queue.add(key)
            for key in self.workflows.sweep(known_workflows, listed["runs"], listed["workflows"]):
                self._queue_workflow(key)

    def _spaces(self) -> tuple[str | None, ...]:
        return self.settings.namespaces or (None,)


async def check_start(api: KubeApi, settings: Settings) -> None:
    """Ask for what will be watched once. Raises StartRefused: kopf would try for a quarter of a minute and end in
    tracebacks. An API server that has just got the CRDs answers 429 for a moment; the client waits that out."""
    for namespace, kind in product(settings.namespaces or (None,), (WORKFLOW_RUNS, WORKFLOWS)):
        try:
            await api.list(kind, namespace, field_selector="metadata.name=none")
        except NotFound as error:
            raise StartRefused(f"the API server does not know {kind.kind}s: kubectl apply -f crds/") from error
        except Forbidden as error:
            where = f"namespace {namespace}" if namespace else "all namespaces; --namespace names those to work in"
            raise StartRefused(f"no right to list {kind.kind}s in {where}: {error.message}") from error
        except ApiError as error:
            raise StartRefused(str(error)) from error


async def serve(settings: Settings, access: Access) -> None:
    """Run an operator until it is told to stop. Raises StartRefused."""
    with CelEvaluator(size=settings.expression_workers) as evaluator:
        stats = PrometheusStats(LabelLimit(settings.metrics_workflows, settings.metrics_tasks))
        async with KubeClient(access, counter=partial(_count_call, stats), agent=AGENT) as api:
            await check_start(api, settings)
            await Operator(settings, access, api, evaluator, stats).run()


def _count_call(stats: Stats, verb: str, kind: Kind, code: int, seconds: float) -> None:
    stats.count("api_requests", verb=verb, resource=kind.plural, code=str(code))
    stats.observe("api_request_duration_seconds", seconds, verb=verb)


def main(settings: Settings, access: Access) -> None:
    """Run an operator in this process; it ends on SIGTERM or SIGINT. Raises StartRefused."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf").setLevel(max(logging.getLevelName(settings.log_level), logging.WARNING))
    # What the imports left is there for good. Looked through with each full collection, it held up decisions by 80 ms.
    gc.collect()
    gc.freeze()
    asyncio.run(serve(settings, access))
