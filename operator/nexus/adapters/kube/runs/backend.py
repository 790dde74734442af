"""KubeBackend: runs are objects of the API server, tasks are Jobs. The port `Backend` of the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from nexus.adapters.kube.cache.families import is_child
from nexus.adapters.kube.cache.parse import job_fact
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    JOBS,
    WORKFLOW_RUNS,
    Conflict,
    KubeApi,
    NotFound,
)
from nexus.adapters.kube.client.attributed import AttributedApi
from nexus.adapters.kube.client.brief import Unreadable
from nexus.adapters.kube.manifests.child_runs import child_run
from nexus.adapters.kube.manifests.events import Recorder, event
from nexus.adapters.kube.manifests.job import Images, config_map, run_labels
from nexus.adapters.kube.runs import ended_runs, ending
from nexus.adapters.kube.runs.admissions import Admissions
from nexus.adapters.kube.runs.checkpoints import StoredItems
from nexus.adapters.kube.runs.confirm import Confirmations
from nexus.adapters.kube.runs.definitions import Definitions
from nexus.adapters.kube.runs.event_log import log_events
from nexus.adapters.kube.runs.look import Look
from nexus.adapters.kube.runs.maker import Maker
from nexus.adapters.kube.runs.namespace_quota import NamespaceRoom
from nexus.adapters.kube.runs.pod_logs import PodLogs
from nexus.adapters.kube.runs.pools import Pools
from nexus.adapters.kube.runs.refusals import Refusals, refusing, refusing_start
from nexus.adapters.kube.runs.stored import load_output
from nexus.adapters.kube.runs.unreadable_runs import leave
from nexus.api.reasons import Reason, RunPhase
from nexus.api.run import WorkflowRunStatus
from nexus.api.store import OutputStore
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import Changed, Checkpoint, ChildFact, JobFact, SlotGrant
from nexus.core.model.operator_defaults import NO_DEFAULTS, OperatorDefaults
from nexus.core.model.plan import (
    AskSlot,
    CancelRun,
    ListPods,
    LoadItems,
    LoadOutput,
    RaiseParallelism,
    ReadFrame,
    ReadLog,
    ReturnSlot,
    RunEvent,
    StartChild,
    StartTask,
    StopJob,
    StoreItems,
    StoreOutput,
)
from nexus.core.model.refusal import Refusal
from nexus.core.pods.policy import RESTRICTED, PodPolicy
from nexus.core.pools.size import CONFIG_MAP
from nexus.runtime.ports import Refused, RunKey, Stale, StartRejected, View, Wake, nobody

log = logging.getLogger("nexus")

# Kubernetes' times have whole seconds: what was made no longer ago than this is given our own clock's time.
JUST_MADE = timedelta(seconds=2)


def wall_clock() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


class KubeBackend:
    """A cluster, or one namespace of it."""

    def __init__(
        self,
        api: KubeApi,
        cache: Cache,
        evaluator: Evaluator,
        images: Images,
        clock: Callable[[], datetime] = wall_clock,
        recorder: Recorder | None = None,
        wake: Wake = nobody,
        workflows: WorkflowCache | None = None,
        pod_policy: PodPolicy = RESTRICTED,
        defaults: OperatorDefaults = NO_DEFAULTS,
        pools: str = CONFIG_MAP,
        max_objects: int = 0,
        output_store: OutputStore | None = None,
    ) -> None:
        """`wake` is called with another run to look at: the parent of a run whose status was written, or the next in
        line for a slot. `pools` is the name of the ConfigMap with the sizes of pools, `max_objects` how many objects
        runs may have in a namespace for another one to begin."""
        api = AttributedApi(api)
        self._api = api
        self._clock = clock
        self._cache = cache
        self.refusals = Refusals(api, clock)
        self._logs = PodLogs(api)
        self._items = StoredItems(api)
        self._maker = Maker(api, images)
        self._recorder = recorder or Recorder(api)
        self._wake = wake
        cache.live.wake = wake
        cache.forgotten = self._forget
        known, workflows = workflows, workflows or WorkflowCache()
        workflows.is_child = partial(is_child, cache)
        self._confirm = Confirmations(api, cache)
        self._pools = Pools(api, cache, clock, wake, pools)
        self._look = Look(
            api,
            cache,
            Admissions(api, workflows, evaluator),
            Definitions(api, evaluator, defaults, known),
            NamespaceRoom(cache, max_objects),
            self._confirm,
            self._pools,
            pod_policy,
            output_store,
            wake,
        )

    def now(self) -> datetime:
        """Return the time."""
        return self._clock()

    def steered(self, view: View) -> bool:
        """Return what the cache knows by now."""
        record, run = self._cache.runs.get(view.key), view.facts.run
        if record is None or record.deleting or record.uid != run.uid or record.spec is None:
            return True
        return (bool(record.spec.suspend), record.spec.cancel) != (run.suspend, run.cancel)

    @refusing
    async def view(self, key: RunKey) -> View | None:
        """Return what the cache knows of the run. Before a recorded Job counts as gone, or one as ended in a way that
        no pod explains, the API server is asked."""
        record = self._cache.runs.get(key)
        if record is None or record.deleting:
            return None
        await self._pools.release(record)
        if record.ended:
            view = self._look.plain(record)
            self._cache.compact(record.uid)
            self._forget(key, record.uid)
            return view
        try:
            return await self._look.live(record, self.now())
        except Unreadable as error:
            if not record.begun:
                return self._look.held(record, StartRejected(Reason.UNREADABLE, str(error)))
            body = await leave(self._api, record, str(error))
            if body is not None:
                self._look.saw(body, key)
            return None

    def glance(self, key: RunKey) -> View | None:
        """Return what the cache knows of the run, and no more."""
        record = self._cache.runs.get(key)
        if record is None or record.deleting or record.invalid or record.unreadable:
            return None  # gone, or with a status that is not known whole and must not be replaced
        return self._look.plain(record)

    @refusing
    async def find_job(self, view: View, name: str) -> JobFact | None:
        """Return a Job of the run that may be there."""
        try:
            body = await self._api.get(JOBS, view.key.namespace, name)
        except NotFound:
            return None
        self._cache.see_job(body)
        return self._cache.job(view.facts.run.uid, name)

    def _forget(self, key: RunKey, uid: str) -> None:
        """Drop what is remembered of a run that has ended, or is gone."""
        self._look.forget(uid)
        self._items.forget(uid)
        self._cache.live.forget(key)

    @refusing
    async def list_pods(self, view: View, read: ListPods) -> JobFact | None:
        """Return a Job of the run with all the pods that it has."""
        for job in self._cache.jobs(view.facts.run.uid).get(read.task, ()):
            if job.uid == read.job_uid:
                await self._confirm.list_pods(view.key.namespace, job)
        known = self._cache.jobs(view.facts.run.uid).get(read.task, ())
        return next((job for job in known if job.uid == read.job_uid), None)

    @refusing
    async def load_items(self, view: View, read: LoadItems) -> Checkpoint | None:
        """Return the outputs in the ConfigMap of a fan-out."""
        return await self._items.load(view.facts.run, read)

    @refusing
    async def store_items(self, view: View, store: StoreItems) -> None:
        """Replace that ConfigMap. Raises Stale."""
        await self._items.store(view.facts.run, store)

    @refusing
    async def raise_parallelism(self, view: View, change: RaiseParallelism) -> JobFact:
        """Patch an Indexed Job. Raises Stale where it is gone, or not the one that was meant."""
        patch = {"metadata": {"uid": change.uid}, "spec": {"parallelism": change.parallelism}}
        before = self._cache.job(view.facts.run.uid, change.job_name)
        try:
            with self._cache.live.reserved(change.parallelism - (before.parallelism if before is not None else 0)):
                body = await self._api.patch(JOBS, view.key.namespace, change.job_name, patch)
                self._cache.see_job(body)
        except (NotFound, Conflict) as error:
            raise Stale(str(error)) from error
        known = self._cache.jobs(view.facts.run.uid).get(change.task, ())
        found = next((job for job in known if job.uid == change.uid), None)
        if found is None:
            raise Stale(f"the Job {change.job_name} is another one by now")
        return found

    @refusing
    async def load_output(self, view: View, read: LoadOutput) -> Mapping[str, Any] | Changed | None:
        """Return the output in a ConfigMap of the run."""
        return await load_output(self._api, view.key.namespace, read)

    @refusing
    async def read_frame(self, view: View, read: ReadFrame) -> str | None:
        """Return the framed output in a pod's log."""
        return await self._logs.frame(view.key.namespace, read)

    async def read_log(self, view: View, read: ReadLog) -> str | None:
        """Return the last lines of a pod's log. Without them where it is gone, or its node does not answer."""
        return await self._logs.last(view.key.namespace, read)

    @refusing
    async def ask_slot(self, view: View, ask: AskSlot) -> SlotGrant:
        """Queue for a slot of a pool. Raises Stale."""
        return await self._pools.ask(view.facts.run, ask.slot)

    @refusing
    async def return_slot(self, view: View, slot: ReturnSlot) -> None:
        """Give a slot back. Raises Stale."""
        await self._pools.give_back(view.key.namespace, slot.slot)

    @refusing
    async def store_output(self, view: View, store: StoreOutput) -> None:
        """Make the immutable ConfigMap of an output."""
        run = view.facts.run
        body = config_map(store.config_map, run, {"output.json": store.text}, run_labels(run))
        try:
            await self._maker.create(CONFIG_MAPS, run, body)
        except Refused as error:  # a name that is taken: what was computed is kept until it is free
            raise Refused(replace(error.refusal, final=False)) from error

    @refusing_start
    async def start_task(self, view: View, start: StartTask) -> JobFact:
        """Make the Job of an attempt; one of that name which is ours already is the one."""
        run = view.facts.run
        if start.attempt_number > 1 or (start.index is not None and _has_started(view, start.task)):
            await self._confirm_newest(view)
        job = await self._maker.job(start, run)
        if start.pool is not None:
            self._pools.check(run, start.pool, start.job_name)
        with self._cache.live.reserved(start.indexed.parallelism if start.indexed is not None else 1):
            body = await self._maker.create(JOBS, run, job)
            self._cache.see_job(body)
        fact = job_fact(body)
        assert fact is not None
        fact = replace(fact, task=start.task, attempt_number=start.attempt_number, index=start.index)
        if fact.finished or fact.completed_indexes:  # it was there, and has ended since: only its pods tell how
            await self._confirm.list_pods(run.namespace, fact)
            known = self._cache.jobs(run.uid).get(start.task, ())
            return next((job for job in known if job.uid == fact.uid), fact)
        return self._cache.note_creation(run.uid, start.job_name, self.now()) or fact

    async def _confirm_newest(self, view: View) -> None:
        """Guard against a second start. A first attempt cannot be started twice: its Job is there. A further one could,
        from an old view of how the one before it ended, so the API server is asked whether the view is its newest.
        Raises Stale."""
        try:
            body = await self._api.get(WORKFLOW_RUNS, view.key.namespace, view.key.name)
        except NotFound as error:
            raise Stale(f"run {view.key} is gone") from error
        self._look.saw(body, view.key)
        record = self._cache.runs.get(view.key)
        if record is None or record.uid != view.facts.run.uid or record.status != view.recorded:
            raise Stale(f"run {view.key} has a newer status")

    @refusing
    async def write_status(self, view: View, status: WorkflowRunStatus) -> None:
        """One conditional write of the whole status: a merge patch would drop each null in an output."""
        record = self._cache.runs.get(view.key)
        if record is None or record.uid != view.facts.run.uid:
            raise Stale(f"run {view.key} is gone")
        if record.status != view.recorded:
            # The cache moved on while this decision was carried out; its new version would cover up the conflict.
            raise Stale(f"run {view.key} has a newer status")
        written = {
            "metadata": {"resourceVersion": str(record.resource_version), "uid": record.uid},
            "status": status.to_json(),
        }
        try:
            body = await self._api.replace_status(WORKFLOW_RUNS, view.key.namespace, view.key.name, written)
        except (Conflict, NotFound) as error:
            raise Stale(str(error)) from error
        self._look.saw(body, view.key)

    @refusing
    async def tell_ended(self, view: View, refused: Sequence[Refusal]) -> None:
        """See ended_runs."""
        await ended_runs.tell(self._api, view.facts.run, refused, self.now())

    @refusing
    async def stop_job(self, view: View, stop: StopJob) -> None:
        """Delete a Job with its pods, if it still is the one that was meant and has not ended: its watch may be behind,
        and the log of what ended by itself stays."""
        try:
            body = await self._api.get(JOBS, view.key.namespace, stop.job_name)
        except NotFound:
            return
        found = job_fact(body)
        if found is not None and found.uid == stop.uid and found.finished:
            self._cache.see_job(body)
            return
        await ending.delete(self._api, JOBS, view.key.namespace, stop.job_name, stop.uid)

    @refusing_start
    async def start_child(self, view: View, start: StartChild) -> ChildFact:
        """Make the child run of an attempt; one of that name which is ours already is the one."""
        run = view.facts.run
        if start.attempt_number > 1:
            await self._confirm_newest(view)
        body = await self._maker.create(WORKFLOW_RUNS, run, child_run(start, run))
        self._look.saw(body, view.key)
        known = self._cache.child(run.uid, start.run_name)
        if known is None:
            raise Stale(f"the child run {start.run_name} is gone")
        self._cache.vouch(run.uid, (known.uid,))
        if known.phase is RunPhase.PENDING and self.now() - known.created_at < JUST_MADE:
            known = self._cache.note_child(run.uid, start.run_name, self.now()) or known
        return known

    def vouch(self, view: View, children: Iterable[str]) -> None:
        """Remember the UIDs of child runs that are what their tasks start."""
        self._cache.vouch(view.facts.run.uid, children)

    @refusing
    async def cancel_run(self, view: View, cancel: CancelRun) -> None:
        """Have a child run cancelled, if it still is the one that was meant."""
        body = await ending.cancel(self._api, view.key.namespace, cancel.run_name, cancel.uid, cancel.mode)
        if body is not None:
            self._look.saw(body, view.key)

    async def record(self, view: View, events: tuple[RunEvent, ...]) -> None:
        """Publish Events about the run, in the log too."""
        log_events(view.key, self._cache.runs.get(view.key), events)
        entries = [(view.key.namespace, event(view.facts.run, entry, self.now())) for entry in events]
        await self._recorder.record(entries)


def _has_started(view: View, task: str) -> bool:
    known = view.recorded.tasks or () if view.recorded else ()
    return any(entry.name == task and entry.start_time is not None for entry in known)
