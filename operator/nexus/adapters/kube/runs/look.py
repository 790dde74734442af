"""The look at a run before anything is decided about it: may it begin, what does it execute, what is known of it.

It asks its collaborators in an order that matters: room in the namespace and the turn of the run come before its
definition is pinned, and the API server is asked last, about what the watches left open.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from nexus.adapters.kube.cache.families import approved_below, depth
from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.cache.workflows import WorkflowRecord
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, Conflict, KubeApi, NotFound, Object
from nexus.adapters.kube.client.brief import Unreadable
from nexus.adapters.kube.owners import owned_by
from nexus.adapters.kube.runs.admissions import Admissions
from nexus.adapters.kube.runs.confirm import Confirmations
from nexus.adapters.kube.runs.definitions import Definitions
from nexus.adapters.kube.runs.earlier_runs import EarlierRuns
from nexus.adapters.kube.runs.namespace_quota import REQUEUE_AFTER_QUOTA, NamespaceRoom
from nexus.adapters.kube.runs.pod_events import PodEvents
from nexus.adapters.kube.runs.pools import Pools
from nexus.api.run import WorkflowRunStatus
from nexus.api.store import OutputStore
from nexus.core.model.definition import Definition
from nexus.core.model.facts import Facts
from nexus.core.names import LABEL_WORKFLOW, label_value
from nexus.core.pods.policy import PodPolicy
from nexus.core.tasks.identity import expected
from nexus.runtime.ports import Blocked, RunKey, Stale, StartRejected, View, Wake

# How soon a run that waits its turn, and may be a child run, is looked at again.
LOOK_AT_PARENT = timedelta(seconds=5)


class Look:
    """Makes the view of a run from the cache, and from the API server where that is not enough."""

    def __init__(
        self,
        api: KubeApi,
        cache: Cache,
        admissions: Admissions,
        definitions: Definitions,
        room: NamespaceRoom,
        confirm: Confirmations,
        pools: Pools,
        pod_policy: PodPolicy,
        output_store: OutputStore | None,
        wake: Wake,
    ) -> None:
        self._api = api
        self._cache = cache
        self._admissions = admissions
        self._definitions = definitions
        self._room = room
        self._confirm = confirm
        self._pools = pools
        self._pod_policy = pod_policy
        self._output_store = output_store
        self._wake = wake
        self._earlier_runs = EarlierRuns(api)
        self._pod_events = PodEvents(api, cache)

    def plain(self, record: RunRecord) -> View:
        """Return what the cache knows of the run, without its definition."""
        return View(record.key, self._facts(record, record.status), None, record.status)

    def held(self, record: RunRecord, why: Blocked | StartRejected, wake_at: datetime | None = None) -> View:
        """Return the view of a run that cannot begin, or not yet."""
        return View(record.key, self._facts(record, record.status), why, record.status, wake_at)

    async def live(self, record: RunRecord, now: datetime) -> View:
        """Return the view of a run that has not ended: let in, with its definition, and with what the API server says
        where the watches did not say enough.

        Raises:
            Unreadable: the run, or its definition, cannot be read.
            Stale: it changed meanwhile.
        """
        if record.unreadable:
            raise Unreadable(record.unreadable)
        full, known = self._room.hold(record), record.status
        if full is not None:
            return self.held(record, full, now + REQUEUE_AFTER_QUOTA)
        gate = await self._admissions.workflow(record)
        if gate is not None:
            # First: the others find it in line by the label of its Workflow.
            record = await self._adopt(record, None)
            hold, known = await self._admitted(record, gate)
            if hold is not None:
                # A child that is seen before its parent, or before that has it on record, takes no turn soon after.
                look = now + LOOK_AT_PARENT if record.parent and isinstance(hold, Blocked) else None
                return View(record.key, self._facts(record, known), hold, record.status, look)
        definition, revision = await self._definitions.of(record, now)
        record = await self._adopt(record, definition)
        status = record.status if gate is None else _with_key(record.status, known.concurrency_key if known else None)
        if isinstance(definition, Definition) and revision and (status is None or status.revision != revision):
            pinned = {"revision": revision, "revision_hash": definition.sha256}
            status = (status or WorkflowRunStatus()).model_copy(update=pinned)
        earlier = await self._earlier_runs.of(record)
        if earlier is not None:
            earlier = replace(earlier, approved_below=approved_below(self._cache, earlier.uid))
        if isinstance(definition, Definition):
            self._cache.expect(record.uid, expected(definition))
        await self._confirm.gone(record, lambda body: self.saw(body, record.key))
        again = await self._confirm.unwatched(record, now)
        await self._confirm.pods(record)
        wakes = (again, await self._pod_events.ask(record, now))
        wake_at = min((wake for wake in wakes if wake is not None), default=None)
        facts = replace(self._facts(record, status), earlier=earlier)
        return View(record.key, facts, definition, record.status, wake_at)

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a run that has ended, or is gone."""
        self._definitions.forget(uid)
        self._pod_events.forget(uid)

    def saw(self, body: Object, key: RunKey) -> None:
        """Take in an answer about a run, while `key` is worked on. The watch brings the same later, as no news."""
        for other in self._cache.see_run(body):
            if other != key:
                self._wake(other)

    async def _admitted(
        self, record: RunRecord, workflow: WorkflowRecord
    ) -> tuple[Blocked | StartRejected | None, WorkflowRunStatus | None]:
        """Return why a run may not begin yet, None where it may; and its status, which names the key that it counts
        for."""
        line = await self._admissions.key(record, workflow)
        if isinstance(line, StartRejected):
            return line, record.status
        return await self._admissions.ask(record, workflow, line), _with_key(record.status, line)

    def _facts(self, record: RunRecord, status: WorkflowRunStatus | None) -> Facts:
        found = self._cache.sorted(record.uid)
        return Facts(
            run=replace(record.fact(), depth=depth(self._cache, record)),
            capacity=self._cache.live.capacity(record.key, (job for jobs in found.jobs.values() for job in jobs)),
            status=status,
            jobs=found.jobs,
            children=found.children,
            forged=found.forged,
            vouched=self._cache.vouched(record.uid),
            granted=self._pools.unused(record.key.namespace, record.uid),
            pod_policy=self._pod_policy,
            output_store=self._output_store,
        )

    async def _adopt(self, record: RunRecord, definition: object) -> RunRecord:
        """Make the Workflow the run's owner, as `nexus run` does and a plain `kubectl create` cannot."""
        reference = record.spec.workflow_ref if record.spec else None
        if record.adopted or reference is None or isinstance(definition, StartRejected):
            return record
        workflow = await self._definitions.workflow(record.key.namespace, reference.name)
        if workflow is None:
            return record
        patch = {
            "metadata": {
                "resourceVersion": str(record.resource_version),
                "ownerReferences": owned_by("Workflow", reference.name, workflow["metadata"]["uid"]),
                "labels": {LABEL_WORKFLOW: label_value(reference.name)},
            }
        }
        try:
            body = await self._api.patch(WORKFLOW_RUNS, record.key.namespace, record.key.name, patch)
        except (Conflict, NotFound) as error:
            raise Stale(str(error)) from error
        self.saw(body, record.key)
        return self._cache.runs.get(record.key, record)


def _with_key(status: WorkflowRunStatus | None, key: str | None) -> WorkflowRunStatus | None:
    if not key:
        return status
    return (status or WorkflowRunStatus()).model_copy(update={"concurrency_key": key})
