"""Operators on the fake cluster: caches fed by its watches, reconciles driven by its clock, deaths at any write.

An `Operator` is what the app puts together, without kopf and the event loop's time: a watch callback tells the cache
and marks the run, `work` reconciles what is marked. `Story` keeps one or more of them going until a run has ended, and
has `Witness` look at every change that the API server makes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from nexus.adapters.fake import Died, FakeApi, FakeCluster, Subscription
from nexus.adapters.kube.cache.live_pods import LivePods
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, ApiError, Kind, Object
from nexus.adapters.kube.client.brief import as_brief
from nexus.adapters.kube.manifests.job import Images
from nexus.adapters.kube.runs.backend import KubeBackend
from nexus.adapters.kube.workflows.backend import KubeWorkflows
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.refusal import with_conditions
from nexus.core.names import LABEL_ATTEMPT, LABEL_INDEX, LABEL_RUN, LABEL_TASK
from nexus.runtime.ports import Refused, RunKey, Stale
from nexus.runtime.queue import FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS
from nexus.runtime.reconcile import Reconciler
from nexus.runtime.stats import Counters
from nexus.runtime.workflows import WorkflowKey, WorkflowReconciler

KEY = RunKey("default", "sales-x7k2p")


class Operator:
    """One operator process. With `queued` watches its cache learns of changes when the test delivers them."""

    def __init__(
        self,
        cluster: FakeCluster,
        api: FakeApi,
        evaluator: Evaluator,
        *,
        queued: bool = False,
        most: int = 0,
        objects: int = 0,
    ) -> None:
        """`most` is its own limit on live pods, `objects` that on objects of runs."""
        self.api = api
        self.cluster = cluster
        self.cache = Cache()
        self.cache.live = LivePods(most)
        self.workflows = WorkflowCache()
        self.marked: set[RunKey | WorkflowKey] = set()
        self.hurried: list[RunKey | WorkflowKey] = []
        """Those that were marked as urgent."""
        self.alive = True
        self.skew = timedelta()
        self.stats = Counters()
        now = self.now
        backend = KubeBackend(
            api, self.cache, evaluator, Images(), now, wake=self.mark, workflows=self.workflows, max_objects=objects
        )
        self.reconciler = Reconciler(backend, evaluator, in_thread=False, stats=self.stats)
        self.workflow_reconciler = WorkflowReconciler(
            KubeWorkflows(api, self.workflows, evaluator, now, self.mark), self.stats
        )
        self.watches: list[Subscription] = []
        self._wakes: dict[RunKey | WorkflowKey, datetime] = {}
        self._retries: set[RunKey | WorkflowKey] = set()
        self._failures: dict[RunKey | WorkflowKey, int] = {}
        for kind in (WORKFLOWS, WORKFLOW_RUNS, JOBS, PODS):
            watch = cluster.subscribe(kind, self._callback(kind), queued=queued)
            self.watches.append(watch)
            watch.replay()
            watch.deliver()

    def now(self) -> datetime:
        """What its own clock shows, which may be wrong by `skew`."""
        return self.cluster.clock.now() + self.skew

    def _callback(self, kind: Kind) -> Callable[[str, Object], None]:
        sees = {WORKFLOW_RUNS: self.cache.see_run, JOBS: self.cache.see_job, PODS: self.cache.see_pod}
        of_workflows = {WORKFLOW_RUNS: self.workflows.see_run, WORKFLOWS: self.workflows.see_workflow}

        def on_event(type_: str, body: Object) -> None:
            gone = type_ == "DELETED"
            body = as_brief(kind, body)
            for key in sees[kind](body, gone=gone) if kind in sees else ():
                self.mark(key)
            for key in of_workflows[kind](body, gone=gone) if kind in of_workflows else ():
                self.mark(WorkflowKey(key))

        return on_event

    def mark(self, key: RunKey | WorkflowKey, *, urgent: bool = False) -> None:
        """Have a run looked at. One at a time is worked on, in an order of names: nothing is urgent."""
        if urgent:
            self.hurried.append(key)
        if self.alive:
            self.marked.add(key)

    async def work(self) -> None:
        """Look at one marked run. Raises Died."""
        key = min(self.marked, key=str)
        self.marked.discard(key)
        try:
            if isinstance(key, WorkflowKey):
                wake_at = await self.workflow_reconciler.reconcile(key.key)
            else:
                wake_at = await self.reconciler.reconcile(key)
        except (Stale, Refused, ApiError):
            self._retry(key)
            return
        except Died:
            self.die()
            raise
        self._failures.pop(key, None)
        due_now = wake_at is not None and wake_at <= self.now()
        if wake_at is not None and (due_now or self._wakes.get(key) != wake_at - self.skew):
            self._wakes[key] = wake_at - self.skew
            self.cluster.clock.at(wake_at - self.skew, lambda: self.mark(key))

    def _retry(self, key: RunKey | WorkflowKey) -> None:
        def again() -> None:
            self._retries.discard(key)
            self.mark(key)

        if key not in self._retries:
            self._retries.add(key)
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 20), MAX_BACKOFF_SECONDS)
            self.cluster.clock.after(delay, again)

    def die(self) -> None:
        """Its process is gone: it sees nothing any more."""
        self.alive = False
        self.marked.clear()
        for watch in self.watches:
            watch.close()
        self.watches.clear()


@dataclass
class Witness:
    """Sees every change of runs, Jobs and pods as it happens, and holds it against the promises."""

    cluster: FakeCluster
    cap: int
    everything: set[str] = field(default_factory=set)
    """Names of all Jobs, child runs' too."""
    made: list[str] = field(default_factory=list)
    """Names of the Jobs, in the order in which they were made."""
    order: list[tuple[str, int]] = field(default_factory=list)
    """Their tasks and numbers."""
    children: list[str] = field(default_factory=list)
    """Names of the child runs, in the order in which they were made."""
    most_live: int = 0
    _live: dict[str, set[str]] = field(default_factory=dict)
    """UIDs of Jobs that exist, to those of their pods that hold a slot."""
    _ended: dict[str, TaskStatus] = field(default_factory=dict)
    _run_ended: WorkflowRunStatus | None = None
    _children_ended: dict[str, WorkflowRunStatus] = field(default_factory=dict)

    @property
    def run_ended(self) -> bool:
        """Whether the run has."""
        return self._run_ended is not None

    def __post_init__(self) -> None:
        self.cluster.subscribe(JOBS, self._job)
        self.cluster.subscribe(PODS, self._pod)
        self.cluster.subscribe(WORKFLOW_RUNS, self._run)

    def _job(self, type_: str, body: Object) -> None:
        if body["metadata"]["namespace"] != KEY.namespace:
            return
        name, uid, labels = body["metadata"]["name"], body["metadata"]["uid"], body["metadata"]["labels"]
        if type_ == "DELETED":
            # Its pods are asked to stop within a moment, by the garbage collector.
            self._live.pop(uid, None)
            if LABEL_INDEX in labels:
                # No status has an entry for an item: its Job was never recorded, and is made again.
                self.everything.discard(name)
        if type_ != "ADDED":
            return
        assert name not in self.everything, f"the Job {name} was made twice"
        self.everything.add(name)
        if labels.get(LABEL_RUN) != KEY.name:
            return  # a child run's, which has slots of its own, or not ours at all
        self._live[uid] = set()
        self.made.append(name)
        self.order.append((labels[LABEL_TASK], int(labels[LABEL_ATTEMPT])))

    def _pod(self, type_: str, body: Object) -> None:
        pods = self._live.get(body["metadata"]["ownerReferences"][0]["uid"])
        if pods is None:
            return
        if type_ != "DELETED" and _holds_slot(body):
            pods.add(body["metadata"]["uid"])
        else:
            pods.discard(body["metadata"]["uid"])
        live = sum(map(len, self._live.values()))
        self.most_live = max(self.most_live, live)
        assert live <= self.cap, f"{live} pods are live, at most {self.cap} may be"

    def _run(self, type_: str, body: Object) -> None:
        if body["metadata"]["namespace"] != KEY.namespace:
            return
        if body["metadata"]["name"] != KEY.name:
            self._child(type_, body)
            return
        if type_ == "DELETED":
            # One of the same name is another run.
            self._ended.clear()
            self._run_ended = None
        if type_ == "DELETED" or not body.get("status"):
            return
        # What is refused is told even of a run that has ended.
        status = with_conditions(WorkflowRunStatus.model_validate(body["status"]), ())
        if self._run_ended is not None:
            assert status == self._run_ended, "the status of a run changed after its end"
        for entry in status.tasks or ():
            before = self._ended.get(entry.name)
            assert before is None or before == entry, f"task {entry.name} changed after its end"
            if entry.phase.ended:
                self._ended[entry.name] = entry
        if status.phase.ended:
            self._run_ended = status

    def _child(self, type_: str, body: Object) -> None:
        name = body["metadata"]["name"]
        if type_ == "ADDED":
            assert name not in self.children, f"the child run {name} was made twice"
            self.children.append(name)
        if type_ == "DELETED" and LABEL_INDEX in (body["metadata"].get("labels") or {}):
            self.children.remove(name)  # as an item's Job: nothing knows of it, and it is made again
        if type_ == "DELETED":
            self._children_ended.pop(name, None)
        if body.get("status") and type_ != "DELETED":
            status = WorkflowRunStatus.model_validate(body["status"])
            assert self._children_ended.get(name, status) == status, f"the status of {name} changed after its end"
            if status.phase.ended:
                self._children_ended[name] = status


def _holds_slot(pod: Object) -> bool:
    """A pod whose container may run, and that was not asked to stop."""
    status = pod.get("status", {})
    ended = any("terminated" in entry["state"] for entry in status.get("containerStatuses") or ())
    return not ("deletionTimestamp" in pod["metadata"] or ended or status.get("phase") in ("Succeeded", "Failed"))


class Story:
    """One run on one fake cluster, and the operators that come and go."""

    def __init__(
        self,
        spec: WorkflowSpec,
        evaluator: Evaluator,
        *,
        by_reference: bool = False,
        workflows: Mapping[str, WorkflowSpec] | None = None,
    ) -> None:
        """`workflows` are there for child runs."""
        self.cluster = FakeCluster()
        self.evaluator = evaluator
        self.witness = Witness(self.cluster, spec.max_parallel_tasks or 10)
        self.operators: list[Operator] = []
        self.deaths = 0
        self.most = 0
        """The limit on live pods that each operator has."""
        self.objects = 0
        """And that on objects of runs."""
        self.on_birth: Callable[[Story], None] | None = None
        """Called after each operator's start; it is the last of `operators`."""
        self.loop = asyncio.new_event_loop()
        body = spec.to_json()
        run: dict[str, Any] = {"workflowSpec": body}
        if by_reference:
            self.cluster.add(WORKFLOWS, {"metadata": {"name": "sales"}, "spec": body})
            run = {"workflowRef": {"name": "sales"}}
        for name, child in (workflows or {}).items():
            self.cluster.add(WORKFLOWS, {"metadata": {"name": name}, "spec": child.to_json()})
        self.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": KEY.name}, "spec": run})

    def close(self) -> None:
        """Give the event loop back."""
        self.loop.close()

    def operator(self, *, queued: bool = False) -> Operator:
        """A new operator, with a connection of its own."""
        operator = Operator(
            self.cluster, self.cluster.connect(), self.evaluator, queued=queued, most=self.most, objects=self.objects
        )
        self.operators.append(operator)
        if self.on_birth is not None:
            self.on_birth(self)
        return operator

    @property
    def ended(self) -> bool:
        """Whether the run has."""
        return self.witness.run_ended

    @property
    def status(self) -> WorkflowRunStatus:
        """The stored status."""
        return self.status_of(KEY.name)

    def status_of(self, name: str) -> WorkflowRunStatus:
        """The stored status of a run."""
        body = self.cluster.find(WORKFLOW_RUNS, KEY.namespace, name) or {}
        return WorkflowRunStatus.model_validate(body.get("status") or {})

    @property
    def phases(self) -> dict[str, str]:
        """Each task's stored phase."""
        return {entry.name: entry.phase.value for entry in self.status.tasks or ()}

    def settle(self) -> None:
        """Let the operators do what they know is to be done, all at the same time; one that dies is followed by another
        at once."""
        while busy := [operator for operator in self.operators if operator.marked]:
            self.loop.run_until_complete(self._together(busy))

    async def _together(self, busy: list[Operator]) -> None:
        # The fake gives way at each call, so their calls are interleaved.
        results = await asyncio.gather(*(operator.work() for operator in busy), return_exceptions=True)
        for operator, result in zip(busy, results, strict=True):
            if isinstance(result, Died):
                self.deaths += 1
                self.operators.remove(operator)
                self.operator()
            elif isinstance(result, BaseException):
                raise result

    def run(self, until: Callable[[], bool] | None = None, limit: int = 3_000) -> WorkflowRunStatus:
        """Go on until the run has ended, or `until` holds."""
        for _ in range(limit):
            self.settle()
            if until() if until is not None else self.ended:
                return self.status
            assert self.cluster.clock.step(), f"nothing will ever happen again: {self.status.to_json()}"
        raise AssertionError(f"no end after {limit} events: {self.status.to_json()}")

    def quiet(self, seconds: float = 700.0) -> None:
        """Let so much time pass, with everybody at work."""
        until = self.cluster.clock.now().timestamp() + seconds
        self.settle()
        while (due := self.cluster.clock.next_due()) is not None and due.timestamp() <= until:
            self.cluster.clock.step()
            self.settle()

    def steer(self, **spec: Any) -> None:
        """A person changes the run's spec."""
        self.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, KEY.name, {"spec": spec})

    def writes(self) -> int:
        """Writes of all operators that are alive."""
        return sum(len(operator.api.writes) for operator in self.operators)


@contextmanager
def story(spec: WorkflowSpec, evaluator: Evaluator, **given: Any) -> Iterator[Story]:
    """A story, closed at its end."""
    told = Story(spec, evaluator, **given)
    try:
        yield told
    finally:
        told.close()
