"""Pools: who may start a task of a pool, so that never more run than its size, with however many operators at work.

The size is in a ConfigMap of the run's namespace that users write; who holds and who waits, in one that the
operators write, a pool each, always on condition of the version that was read. That write is the grant. It names the
operator that may make the Job, and is good for START_WITHIN; where it was not used, another operator may take it over
when it has seen it unchanged for TAKE_OVER, by its own clock, or give the slot to the next. In between lies more than
any call of ours can take, so that no Job is made on a slot that is another's by then.

A holder leaves on proof alone: its Job is finished, or its pod ended well, or both Job and pods are gone. That is read
from the holder's own objects, so that no crash leaks a slot; and where the line itself was deleted, it is made anew
from the Jobs that carry the pool's label, and no slot is granted until every grant that was in it has run out.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from nexus.adapters.kube.cache.parse import job_fact, pod_fact
from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    JOBS,
    PODS,
    WORKFLOW_RUNS,
    AlreadyExists,
    Conflict,
    KubeApi,
    NotFound,
    Object,
)
from nexus.adapters.kube.manifests.pool_objects import entries_of, line_of, name_of, object_of
from nexus.adapters.kube.owners import owner_uid
from nexus.api.base import format_time
from nexus.core.model.facts import JobFact, RunFact, SlotAsked, SlotGrant
from nexus.core.names import LABEL_POOL
from nexus.core.pools.queue import Entry, PoolQueue, settle, told
from nexus.core.pools.size import size_of
from nexus.core.tasks.evidence import Succeeded, judge
from nexus.runtime.ports import RunKey, Stale, Wake

START_WITHIN = timedelta(seconds=10)
"""From the grant, or its renewal, to the call that makes the Job."""
TAKE_OVER = timedelta(seconds=90)
"""How long an unused grant has to be seen unchanged: a call is tried for 10 s, and the API server ends one after 60."""
FRESH = timedelta(seconds=1)
"""Maximum age of what is known of the line, while a Job waits in it, and of a size."""
ASK_AGAIN = timedelta(seconds=2)
"""Between two questions about a holder whose Job is gone."""
HOLDERS_TOLD = 3
TRIES = 6


@dataclass
class _Pool:
    """What this operator knows of a pool."""

    namespace: str
    name: str
    line: PoolQueue = field(default_factory=PoolQueue)
    version: str | None = None
    """That of the object which `line` was read from, or written to; None where that is not known."""
    size: int = 0
    missing: str = ""
    sized_at: datetime | None = None
    """When the size was read."""
    read_at: datetime | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    asking: dict[str, Entry] = field(default_factory=dict)
    """Requests that join the line with the next write, by Job."""
    returned: set[str] = field(default_factory=set)
    """Jobs whose slots are given back with the next write."""
    mine: dict[str, datetime] = field(default_factory=dict)
    """Since when, at the latest, a slot is ours to use, by Job."""
    seen: dict[str, tuple[Entry, datetime]] = field(default_factory=dict)
    """Since when an entry has been unchanged, by Job."""
    begun: set[str] = field(default_factory=set)
    """Jobs that were seen to exist."""
    asked: dict[str, datetime] = field(default_factory=dict)
    """When the API server was last asked about a Job that is not known."""


class Pools:
    """The pools of all namespaces. `sizes` is the name of the ConfigMap that holds their sizes."""

    def __init__(self, api: KubeApi, cache: Cache, clock: Callable[[], datetime], wake: Wake, sizes: str) -> None:
        self._api = api
        self._cache = cache
        self._clock = clock
        self._wake = wake
        self._sizes = sizes
        self._me = uuid.uuid4().hex[:12]
        self._pools: dict[tuple[str, str], _Pool] = {}

    async def ask(self, run: RunFact, slot: SlotAsked) -> SlotGrant:
        """Return the place of a Job. Raises Stale if others wrote at the same time, again and again."""
        pool = self._pool(run.namespace, slot.pool)
        if self._usable(pool, slot.job_name):
            return SlotGrant(granted=True)
        waits = pool.line.place(slot.job_name) or pool.missing
        if waits and pool.read_at is not None and self._clock() - pool.read_at < FRESH:
            return _turn(pool, slot.job_name)
        since = format_time(self._clock())
        pool.asking[slot.job_name] = Entry(run.name, run.uid, slot.task, slot.job_name, since)
        async with pool.lock:
            # Whoever had the lock before may have written for us: hundreds that ask at once are a few writes.
            if slot.job_name in pool.asking:
                await self._advance(pool)
        if self._usable(pool, slot.job_name):
            return SlotGrant(granted=True)
        turn = _turn(pool, slot.job_name)
        if not (turn.place or turn.missing or pool.line.holder(slot.job_name)):
            raise Stale(f"the line of pool {pool.name} could not be joined")
        return turn

    def check(self, run: RunFact, pool_name: str, job: str) -> None:
        """Check the slot once more before a Job is made. Raises Stale where its slot may be another's by now."""
        if not self._usable(self._pool(run.namespace, pool_name), job):
            raise Stale(f"the slot of {job} in pool {pool_name} was not used in time")

    async def give_back(self, namespace: str, slot: SlotAsked) -> None:
        """Give back a slot of ours that no Job will be made for."""
        pool = self._pool(namespace, slot.pool)
        pool.returned.add(slot.job_name)
        async with pool.lock:
            if slot.job_name in pool.returned:
                await self._advance(pool)

    def unused(self, namespace: str, run_uid: str) -> tuple[SlotAsked, ...]:
        """Return the slots that are ours to use for a run, and whose Jobs are not there."""
        return tuple(
            SlotAsked(entry.task, pool.name, entry.job)
            for pool in self._of(namespace)
            for entry in pool.line.holders
            if entry.uid == run_uid and entry.by == self._me and self._job(entry) is None
            if entry.job not in pool.begun
        )

    async def release(self, record: RunRecord) -> None:
        """Let the next in line have the slots of a run that it holds no more."""
        for pool in self._of(record.key.namespace):
            holders = [entry for entry in pool.line.holders if entry.uid == record.uid]
            left = [entry for entry in holders if self._has_left(pool, entry)]
            if pool.line.waiting and left:
                async with pool.lock:
                    if any(entry in pool.line.holders for entry in left):
                        await self._advance(pool)

    def _of(self, namespace: str) -> list[_Pool]:
        return [pool for (space, _), pool in self._pools.items() if space == namespace]

    def _pool(self, namespace: str, name: str) -> _Pool:
        return self._pools.setdefault((namespace, name), _Pool(namespace, name))

    def _usable(self, pool: _Pool, job: str) -> bool:
        since, entry = pool.mine.get(job), pool.line.holder(job)
        return entry is not None and entry.by == self._me and since is not None and self._clock() - since < START_WITHIN

    # -- the write ---------------------------------------------------------------------------------------------------

    async def _advance(self, pool: _Pool) -> None:
        """Read the line, let go who is over, let in who asks, grant what is free, and write it. Under the lock."""
        asking, returned = dict(pool.asking), set(pool.returned)
        for job in asking:
            del pool.asking[job]
        pool.returned -= returned
        for _ in range(TRIES):
            began = self._clock()
            await self._read_size(pool)
            # What was written last is most often what is there; where it is not, the write meets a conflict.
            remembered = pool.version is not None
            before, version = (pool.line, pool.version) if remembered else await self._read_line(pool)
            after = await self._decide(pool, before, asking, returned)
            if after == before and (version is not None or after == PoolQueue()):
                if not remembered:
                    pool.version = None if pool.missing else version
                    self._know(pool, before, before, began)
                    return
                pool.version = None  # nothing to write: then it has to be read whether all is as it was
                continue
            try:
                pool.version = await self._write(pool, after, version)
            except (Conflict, AlreadyExists, NotFound) as error:
                if version is None and isinstance(error, NotFound):
                    raise  # the namespace is gone
                pool.version = None
                continue
            self._know(pool, before, after, began)
            return
        raise Stale(f"pool {pool.name} has too many conflicting writes; retrying")

    async def _decide(self, pool: _Pool, line: PoolQueue, asking: dict[str, Entry], returned: set[str]) -> PoolQueue:
        now = self._clock()
        self._observe(pool, line, now)
        stamp = format_time(now)
        holders, over = [], set()
        for entry in line.holders:
            if entry.job in asking and (entry.by == self._me or self._is_old(pool, entry)):
                # Asked for again: ours, or one whose operator has not used it for so long that it never will.
                holders.append(replace(entry, by=self._me, since=stamp))
            elif await self._is_over(pool, entry, returned):
                over.add(entry.job)
            else:
                holders.append(entry)
        passed, free = set(), pool.size - len(holders)
        for entry in line.waiting:
            if free <= 0:
                break  # of those further back it does not matter yet
            if await self._is_gone(pool, entry):
                over.add(entry.job)
            elif self._is_suspended(pool, entry):
                passed.add(entry.job)
            else:
                free -= 1
        asks = () if pool.missing and not line.waiting else asking.values()
        line = PoolQueue(tuple(holders), line.waiting)
        return settle(line, pool.size, over=over, asks=asks, passed=passed, by=self._me, now=stamp)

    def _observe(self, pool: _Pool, line: PoolQueue, now: datetime) -> None:
        pool.seen = {
            entry.job: known if (known := pool.seen.get(entry.job)) is not None and known[0] == entry else (entry, now)
            for entry in line.holders
        }
        pool.begun &= pool.seen.keys()
        pool.asked = {job: at for job, at in pool.asked.items() if job in pool.seen}

    def _know(self, pool: _Pool, before: PoolQueue, after: PoolQueue, began: datetime) -> None:
        """Keep what was read or written as what is known now, and wake those whom it concerns."""
        old = {entry.job: entry for entry in before.holders}
        concerned = dict.fromkeys((*told(pool.line, after), *told(before, after)))
        for entry in after.holders:
            if entry.by == self._me and old.get(entry.job) != entry:
                pool.mine[entry.job] = began
        pool.mine = {job: since for job, since in pool.mine.items() if after.holder(job) is not None}
        pool.line, pool.read_at = after, began
        for entry in concerned:
            # A slot that was granted is idle until its Job is made.
            self._wake(RunKey(pool.namespace, entry.run), urgent=after.holder(entry.job) is not None)

    async def _read_size(self, pool: _Pool) -> None:
        now = self._clock()
        if pool.sized_at is not None and now - pool.sized_at < FRESH and not pool.missing:
            return
        pool.sized_at = now
        try:
            data = (await self._api.get(CONFIG_MAPS, pool.namespace, self._sizes)).get("data") or {}
        except NotFound:
            data = None
        size = size_of(data, pool.name, self._sizes, pool.namespace)
        pool.size, pool.missing = (size, "") if isinstance(size, int) else (0, size)

    async def _read_line(self, pool: _Pool) -> tuple[PoolQueue, str | None]:
        """Return the line and its version, None where it has to be made."""
        try:
            body = await self._api.get(CONFIG_MAPS, pool.namespace, name_of(pool.name))
        except NotFound:
            return PoolQueue(holders=await self._from_jobs(pool)), None
        if (body["metadata"].get("labels") or {}).get(LABEL_POOL) != pool.name:
            pool.size = 0
            pool.missing = (
                f"a ConfigMap {name_of(pool.name)} exists and is not the queue of a pool; delete or rename it"
            )
            return PoolQueue(), body["metadata"]["resourceVersion"]
        line = line_of(body)
        version = str(body["metadata"]["resourceVersion"])
        return (line if line is not None else PoolQueue(holders=await self._from_jobs(pool))), version

    async def _write(self, pool: _Pool, line: PoolQueue, version: str | None) -> str:
        made = object_of(pool.name, line)
        if version is None:
            body = await self._api.create(CONFIG_MAPS, pool.namespace, made)
        else:
            patch: Object = {"metadata": {"resourceVersion": version}, "data": made["data"]}
            body = await self._api.patch(CONFIG_MAPS, pool.namespace, name_of(pool.name), patch)
        return str(body["metadata"]["resourceVersion"])

    async def _from_jobs(self, pool: _Pool) -> tuple[Entry, ...]:
        """Return who holds, where there is no line that can be read."""
        label = f"{LABEL_POOL}={pool.name}"
        jobs = await self._api.list(JOBS, pool.namespace, label, in_brief=True)
        pods = await self._api.list(PODS, pool.namespace, label, in_brief=True)
        return entries_of(jobs, pods, format_time(self._clock()), pool.size)

    # -- who is over -------------------------------------------------------------------------------------------------

    def _job(self, entry: Entry) -> JobFact | None:
        return self._cache.whole_job(entry.uid, entry.job)

    def _has_left(self, pool: _Pool, entry: Entry) -> bool:
        """Return whether a holder is worth a look: its Job ended, or was there and is gone."""
        job = self._job(entry)
        if job is None:
            return entry.job in pool.begun
        pool.begun.add(entry.job)
        return _is_done(job)

    def _is_old(self, pool: _Pool, entry: Entry) -> bool:
        known, since = pool.seen[entry.job]
        return known == entry and self._clock() - since >= TAKE_OVER

    async def _is_over(self, pool: _Pool, entry: Entry, returned: set[str]) -> bool:
        """Return whether a holder is done with its slot."""
        job = self._job(entry)
        if job is not None:
            pool.begun.add(entry.job)
            return _is_done(job)
        if entry.job in returned and entry.by == self._me and entry.job not in pool.begun:
            return True
        begun = entry.job in pool.begun or self._is_recorded(pool, entry)
        if not begun and not self._is_old(pool, entry):
            return False  # its operator may be about to make the Job
        now = self._clock()
        if entry.job in pool.asked and now - pool.asked[entry.job] < ASK_AGAIN:
            return False
        pool.asked[entry.job] = now
        return await self._is_really_over(pool, entry)

    async def _is_really_over(self, pool: _Pool, entry: Entry) -> bool:
        try:
            body = await self._api.get(JOBS, pool.namespace, entry.job)
        except NotFound:
            label = f"batch.kubernetes.io/job-name={entry.job}"
            return not any(
                pod_fact(pod).live for pod in await self._api.list(PODS, pool.namespace, label, in_brief=True)
            )
        fact = job_fact(body)
        if fact is None or owner_uid(body, "WorkflowRun") != entry.uid:
            return True  # another's: ours cannot be made any more
        self._cache.see_job(body)
        pool.begun.add(entry.job)
        return fact.finished

    def _is_recorded(self, pool: _Pool, entry: Entry) -> bool:
        record = self._record(pool, entry)
        tasks = record.status.tasks or () if record is not None and record.status is not None else ()
        return any(task.job is not None and task.job.name == entry.job and task.job.uid is not None for task in tasks)

    def _record(self, pool: _Pool, entry: Entry) -> RunRecord | None:
        record = self._cache.runs.get(RunKey(pool.namespace, entry.run))
        return record if record is not None and record.uid == entry.uid else None

    async def _is_gone(self, pool: _Pool, entry: Entry) -> bool:
        """Return whether one that waits will not start any more."""
        if self._record(pool, entry) is None:
            try:
                body = await self._api.get(WORKFLOW_RUNS, pool.namespace, entry.run)
            except NotFound:
                return True
            if body["metadata"]["uid"] != entry.uid:
                return True
            for key in self._cache.see_run(body):
                self._wake(key)
        record = self._record(pool, entry)
        if record is None or record.deleting or record.ended:
            return True
        tasks = record.status.tasks or () if record.status is not None else ()
        return any(task.name == entry.task and task.phase.ended for task in tasks)

    def _is_suspended(self, pool: _Pool, entry: Entry) -> bool:
        record = self._record(pool, entry)
        return record is not None and record.fact().suspended


def _is_done(job: JobFact) -> bool:
    """Return whether no pod of a Job runs, and none will: of a success before the Job says so, a second or two
    later."""
    if job.finished:
        return True
    return not any(pod.live for pod in job.pods) and isinstance(judge(job), Succeeded)


def _turn(pool: _Pool, job: str) -> SlotGrant:
    holders = [entry.whose for entry in pool.line.holders]
    return SlotGrant(
        granted=False,
        size=pool.size,
        held=len(holders),
        holders=tuple(holders[:HOLDERS_TOLD]),
        place=pool.line.place(job),
        missing=pool.missing,
    )
