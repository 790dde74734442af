"""A Kubernetes cluster in memory: the port the operator sees, and the hands with which a test breaks things.

`FakeCluster` is one connection to a `Store` with a Job controller and a kubelet working on it, all in the time of one
clock. `connect()` gives a second connection (a second operator). Faults, deaths and the log of writes belong to a
connection.

    cluster = FakeCluster()
    cluster.script("extract", Outcome(exit_code=1), Outcome(seconds=3, message='{"output":{"n":1}}'))
    await cluster.create(JOBS, "default", job)
    cluster.run_until(lambda: condition(cluster.find(JOBS, "default", "x"), "Complete"))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from nexus.adapters.fake.clock import Clock
from nexus.adapters.fake.jobs import JobController
from nexus.adapters.fake.kubelet import Kubelet
from nexus.adapters.fake.outcome import Behaviour
from nexus.adapters.fake.store import HISTORY, Callback, Store, Subscription
from nexus.adapters.kube.client.api import (
    JOBS,
    LOG_BYTES,
    PODS,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_REVIEWS,
    Kind,
    KubeApi,
    Listing,
    Object,
    WatchEvent,
    error_from,
)
from nexus.adapters.kube.client.bounded_json import encode
from nexus.adapters.kube.client.brief import brief_object, read_object

USER = "ann@example.com"
"""Who every caller is."""

RIGHTS = {"patch_status": ("patch", "status"), "replace_status": ("update", "status"), "logs": ("get", "log")}
"""Verbs of the port in the words of RBAC, with the subresource."""

Objects = list[Object]


class Died(BaseException):
    """The operator was killed here (kill -9: no `except Exception`, no clean-up call reaches the API any more)."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write that took effect. `verb`: create, patch, patch_status, replace_status or delete."""

    verb: str
    kind: Kind
    name: str


@dataclass
class _Fault:
    verb: str
    kind: Kind | None
    error: BaseException
    takes_effect: bool
    until: datetime | None = None
    """When it is over; None: with the next call."""
    only: Callable[[str], bool] = lambda _: True
    """Of which objects, by name."""


class FakeApi(KubeApi):
    """One connection to the fake API server: the port `KubeApi`, a log of its writes, and faults to order."""

    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        self.store = store
        self.kubelet = kubelet
        self.writes: list[Write] = []
        self.reads = 0
        """GETs and LISTs answered."""
        self.attempts: dict[tuple[str, Kind], int] = {}
        """Writes asked for, by verb and kind, refused ones included."""
        self._faults: list[_Fault] = []
        self._revoked: dict[tuple[str, str, str, str], datetime] = {}
        """Rights that are taken away, and until when."""
        self._writes_to_live: int | None = None
        self._dies_before = False
        self.dead = False
        """True once the operator behind this connection died: every call of its raises `Died` from then on."""

    # -- faults -------------------------------------------------------------------------------------------------------

    def fail_next(self, verb: str, kind: Kind | None, error: BaseException, *, takes_effect: bool = False) -> None:
        """Answer the next call of this verb (a method's name: get, list, create, ...) with an error.

        With `takes_effect` the write is done all the same and only its answer is lost. A kind of None means any.
        """
        self._faults.append(_Fault(verb, kind, error, takes_effect))

    def refuse(
        self,
        verb: str,
        kind: Kind | None,
        error: BaseException,
        seconds: float,
        *,
        takes_effect: bool = False,
        only: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Answer every call of this verb with an error for so long, of the cluster's time; `only` those of some names.

        With `takes_effect` each of the writes is done all the same, and only its answer is lost.
        """
        until = self.store.clock.now() + timedelta(seconds=seconds)
        self._faults.append(_Fault(verb, kind, error, takes_effect, until, only))

    def revoke(self, verb: str, kind: Kind, seconds: float, *, only: Callable[[str], bool] = lambda _: True) -> None:
        """Take the right to make these calls away for so long, as RBAC does: a SelfSubjectAccessReview says so, too."""
        resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        rbac, subresource = RIGHTS.get(verb, (verb, ""))
        what = f"{kind.plural}/{subresource}" if subresource else kind.plural
        message = f'{resource} is forbidden: User "{USER}" cannot {rbac} resource "{what}" in API group "{kind.group}"'
        self.refuse(verb, kind, error_from(403, "Forbidden", message, kind=kind.kind), seconds, only=only)
        until = self.store.clock.now() + timedelta(seconds=seconds)
        self._revoked[rbac, kind.group, kind.plural, subresource] = until

    def crash_after(self, writes: int) -> None:
        """Die right after the n-th write from here took effect (n from 1)."""
        self._writes_to_live, self._dies_before = writes, False

    def crash_before(self, writes: int) -> None:
        """Die when the n-th write from here is about to be sent: it does not take effect."""
        self._writes_to_live, self._dies_before = writes, True

    def revive(self) -> None:
        """Start a new life on this connection; an ordered death that has not come yet is called off."""
        self.dead = False
        self._writes_to_live = None

    # -- the port -----------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Read one object."""
        await self._read("get", kind)
        return read_object(encode(self.store.get(kind, namespace, name)))

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        label_selector: str = "",
        *,
        field_selector: str = "",
        in_brief: bool = False,
    ) -> Listing:
        """Read all objects that match."""
        await self._read("list", kind)
        found = self.store.list(kind, namespace, label_selector, field_selector)
        read = partial(brief_object, kind) if in_brief else read_object
        return Listing([read(encode(body)) for body in found], self.store.version)

    async def uids(self, kind: Kind, namespace: str | None, label_selector: str = "") -> set[str]:
        """Return which objects there are."""
        return {body["metadata"]["uid"] for body in await self.list(kind, namespace, label_selector)}

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object."""
        if kind == SELF_SUBJECT_REVIEWS:
            await self._read("create", kind)
            return {**body, "status": {"userInfo": {"username": USER, "groups": ["system:authenticated"]}}}
        if kind == SELF_SUBJECT_ACCESS_REVIEWS:
            await self._read("create", kind)
            asked = body["spec"]["resourceAttributes"]
            right = asked["verb"], asked["group"], asked["resource"], asked.get("subresource", "")
            until = self._revoked.get(right)
            return {**body, "status": {"allowed": until is None or until <= self.store.clock.now()}}
        name = body.get("metadata", {}).get("name") or ""
        return await self._write("create", kind, name, lambda: self.store.create(kind, namespace, body))

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch all but the status."""
        return await self._write("patch", kind, name, lambda: self.store.patch(kind, namespace, name, patch))

    async def patch_status(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch the status."""
        return await self._write(
            "patch_status", kind, name, lambda: self.store.patch_status(kind, namespace, name, patch)
        )

    async def replace_status(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """Put the status in place of the old one."""
        return await self._write(
            "replace_status", kind, name, lambda: self.store.replace_status(kind, namespace, name, body)
        )

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str | None) -> None:
        """Delete in the background."""

        def act() -> Object:
            self.store.delete(kind, namespace, name, uid=uid)
            return {}

        await self._write("delete", kind, name, act)

    async def logs(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "task",
        tail_lines: int | None = None,
        keep_bytes: int = LOG_BYTES,
    ) -> bytes:
        """Return the end of what a container has written so far."""
        await self._read("logs", PODS)
        text = self.kubelet.log(namespace, pod, container)
        if tail_lines is not None:
            text = b"".join(text.splitlines(keepends=True)[-tail_lines:] if tail_lines else [])
        return text[-keep_bytes:]

    async def stream_logs(
        self, namespace: str, pod: str, *, container: str = "task", tail_lines: int | None = None, follow: bool = True
    ) -> AsyncIterator[bytes]:
        """Yield what a container writes until it ends."""
        changed = asyncio.Event()
        subscription = self.store.subscribe(PODS, lambda _type, _body: changed.set(), namespace=namespace)
        try:
            text = await self.logs(namespace, pod, container=container, tail_lines=tail_lines)
            sent = len(self.kubelet.log(namespace, pod, container))
            while True:
                if text:
                    yield text
                if not follow or not self.kubelet.writing(namespace, pod, container):
                    return
                await changed.wait()
                changed.clear()
                whole = self.kubelet.log(namespace, pod, container)
                text, sent = whole[sent:], len(whole)
        finally:
            subscription.close()

    async def watch(
        self, kind: Kind, namespace: str | None, label_selector: str = "", resource_version: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Yield the changes after a resourceVersion, for ever."""
        await self._read("watch", kind)
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        subscription = self.store.subscribe(
            kind,
            lambda type_, body: queue.put_nowait(WatchEvent(type_, body)),
            namespace=namespace,
            label_selector=label_selector,
        )
        try:
            if resource_version:
                self.store.catch_up(subscription, resource_version)
            else:
                subscription.replay()
            while True:
                yield await queue.get()
        finally:
            subscription.close()

    # -- how calls fail and count -------------------------------------------------------------------------------------

    async def _read(self, verb: str, kind: Kind) -> None:
        await self._enter()
        self.reads += 1
        fault = self._fault(verb, kind)
        if fault:
            raise fault.error

    async def _write(self, verb: str, kind: Kind, name: str, act: Callable[[], Object]) -> Object:
        await self._enter()
        if self._writes_to_live is not None:
            self._writes_to_live -= 1
        dies = self._writes_to_live == 0
        if dies and self._dies_before:
            self.dead = True
            raise Died(f"before {verb} {kind.kind} {name}")
        self.attempts[verb, kind] = self.attempts.get((verb, kind), 0) + 1
        fault = self._fault(verb, kind, name)
        if fault and not fault.takes_effect:
            raise fault.error
        result = act()
        self.writes.append(Write(verb, kind, name or result["metadata"]["name"]))
        if dies:
            self.dead = True
            raise Died(f"after {verb} {kind.kind} {name}")
        if fault:
            raise fault.error
        return result

    async def _enter(self) -> None:
        # Give way as a real call does, so that other coroutines get in between a read and the write decided on it.
        await asyncio.sleep(0)
        if self.dead:
            raise Died("a call of an operator that is dead")

    def _fault(self, verb: str, kind: Kind, name: str = "") -> _Fault | None:
        now = self.store.clock.now()
        self._faults = [fault for fault in self._faults if fault.until is None or fault.until > now]
        for fault in self._faults:
            if fault.verb == verb and fault.kind in (None, kind) and fault.only(name):
                if fault.until is None:
                    self._faults.remove(fault)
                return fault
        return None


class FakeCluster(FakeApi):
    """The whole cluster: API server, Job controller, scheduler and kubelet, garbage collector, and time."""

    def __init__(self, clock: Clock | None = None, *, seed: int = 0, history: int = HISTORY) -> None:
        """`seed` decides the random parts of names and UIDs, `history` how many changes a watch can go back."""
        self.clock = clock or Clock()
        store = Store(self.clock, seed, history)
        super().__init__(store, Kubelet(store, self.clock))
        self.jobs = JobController(store, self.clock)

    def connect(self) -> FakeApi:
        """Return another connection to the same cluster, with its own writes, faults and death."""
        return FakeApi(self.store, self.kubelet)

    # -- what a test says about tasks ---------------------------------------------------------------------------------

    def script(self, task: str, *outcomes: Behaviour) -> None:
        """How the pods of a task (label nexus.dev/task; "" for pods without it) go: an outcome each, the last repeated.

        A task that was given no script runs for one second and succeeds.
        """
        self.kubelet.script(task, *outcomes)

    # -- time ---------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let happen what needs no time: garbage collection and everything due now."""
        self.store.collect_garbage()
        self.clock.run_due()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, from event to event."""
        self.clock.advance(seconds)
        self.settle()

    def run_until(self, predicate: Callable[[], object], limit: float = 3600.0) -> None:
        """Step from event to event until the predicate holds; after `limit` seconds raise TimeoutError."""
        start = self.clock.now()
        while not predicate():
            if not self.clock.step() or (self.clock.now() - start).total_seconds() > limit:
                raise TimeoutError(
                    f"did not come true within {limit} s of the cluster's time ({start} to {self.clock.now()})"
                )

    async def until(self, predicate: Callable[[], object], limit: float = 3600.0) -> None:
        """Wait on a LoopClock: look after every change, and every second for what is not the cluster's."""
        changed = asyncio.Event()
        self.store.listeners.append(changed.set)
        try:
            async with asyncio.timeout(limit):
                while not predicate():
                    changed.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), 1.0)
        finally:
            self.store.listeners.remove(changed.set)

    # -- by hand ------------------------------------------------------------------------------------------------------

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return one object or None, without counting as a read."""
        return self.store.find(kind, namespace, name)

    def objects(self, kind: Kind, namespace: str | None = None, label_selector: str = "") -> Objects:
        """Return all objects that match, without counting as a read."""
        return self.store.list(kind, namespace, label_selector)

    def add(self, kind: Kind, body: Object, namespace: str = "default") -> Object:
        """Create as `kubectl create` does: not one of the operator's writes."""
        return self.store.create(kind, body.get("metadata", {}).get("namespace", namespace), body)

    def remove(
        self,
        kind: Kind,
        name: str,
        namespace: str = "default",
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        """Delete as `kubectl delete` does (`propagation="Orphan"`: as a plain DELETE of a Job through the API does)."""
        self.store.delete(kind, namespace, name, propagation=propagation, grace_seconds=grace_seconds)

    def evict(self, pod: str, namespace: str = "default") -> None:
        """Evict a pod as `kubectl drain` does: a DisruptionTarget condition, then a graceful deletion."""
        self.kubelet.evict(namespace, pod)

    def suspend(self, job: str, namespace: str = "default", *, suspended: bool = True) -> None:
        """Hold a Job back, or let it go on, as Kueue does."""

        def edit(body: Object) -> None:
            body["spec"]["suspend"] = suspended

        if self.store.find(JOBS, namespace, job):
            self.store.change(JOBS, namespace, job, edit)

    def refuse_pods(self, reason: str) -> None:
        """Let no pod be created from now on, as an exhausted quota does ("exceeded quota: ..."); "" lets them again."""
        self.jobs.refusal = reason

    def subscribe(
        self,
        kind: Kind,
        callback: Callback,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        queued: bool = False,
    ) -> Subscription:
        """Watch changes from now on, at once or (`queued`) when the test delivers them."""
        return self.store.subscribe(kind, callback, namespace=namespace, label_selector=label_selector, queued=queued)
