"""The stored outputs of fan-outs: a ConfigMap of the run for each, replaced on condition of the version that was
read."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from nexus.adapters.kube.cache.bounded import Kept, footprint
from nexus.adapters.kube.client.api import CONFIG_MAPS, AlreadyExists, Conflict, KubeApi, NotFound, Object
from nexus.adapters.kube.manifests.job import config_map, run_labels
from nexus.adapters.kube.owners import owner_uid
from nexus.adapters.kube.runs.refusals import name_taken
from nexus.adapters.kube.runs.stored import LARGE, text_of, value_of
from nexus.core.model.facts import Checkpoint, RunFact
from nexus.core.model.plan import LoadItems, StoreItems
from nexus.core.text.sha256 import sha256
from nexus.runtime.ports import Refused, Stale

KEY = "output.json"
# Half a megabyte of JSON takes some megabytes as values, and a fan-out that is read again costs a GET.
KEPT_BYTES = 32 * 1024 * 1024


class StoredItems:
    """Reads and writes them. What was read or written last is remembered, as far as there is room: when pods are gone,
    every look asks for it, and it may be half a megabyte. An old memory does no harm: what is stored stays stored, a
    write that was decided on it meets a conflict, and before an output counts as lost a fresh one is asked for.
    """

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._kept: Kept[Checkpoint] = Kept(KEPT_BYTES)
        self._known: dict[str, set[str]] = {}
        """By run, the names under which something may be kept."""

    async def load(self, run: RunFact, read: LoadItems) -> Checkpoint | None:
        """Return what is stored, None where nothing is."""
        known = self._kept.get(_key(run.uid, read.config_map))
        if known is not None and not read.fresh:
            return known
        try:
            body = await self._api.get(CONFIG_MAPS, run.namespace, read.config_map)
        except NotFound:
            return None
        if owner_uid(body, "WorkflowRun") != run.uid:
            return None  # the write says whose it is
        return await self._remember(run, read.config_map, body)

    async def store(self, run: RunFact, store: StoreItems) -> None:
        """Store new ones. Raises Stale where others were stored since `store.version`, or the ConfigMap went."""
        data = {KEY: store.text}
        try:
            if store.version is None:
                body = config_map(store.config_map, run, data, run_labels(run), immutable=False)
                body = await self._api.create(CONFIG_MAPS, run.namespace, body)
            else:
                change = {"metadata": {"resourceVersion": store.version}, "data": data}
                body = await self._api.patch(CONFIG_MAPS, run.namespace, store.config_map, change)
        except (AlreadyExists, Conflict, NotFound) as error:
            if store.version is None and isinstance(error, NotFound):
                raise  # its namespace is gone
            self._kept.drop(_key(run.uid, store.config_map))
            if isinstance(error, AlreadyExists):
                await self._check_owner(run, store.config_map)
            raise Stale(str(error)) from error
        await self._remember(run, store.config_map, body)

    async def _check_owner(self, run: RunFact, name: str) -> None:
        """Check whose ConfigMap of this name is there. Raises Refused if it is not the run's; the outputs wait until it
        is gone."""
        try:
            body = await self._api.get(CONFIG_MAPS, run.namespace, name)
        except NotFound:
            return
        if owner_uid(body, "WorkflowRun") != run.uid:
            words = f"a ConfigMap {name} exists and belongs to another owner; delete it"
            raise Refused(replace(name_taken(CONFIG_MAPS, words), final=False))

    async def _remember(self, run: RunFact, name: str, body: Object) -> Checkpoint:
        # In a thread where it is large: every value in it is looked at.
        large = len(text_of(body)) > LARGE
        stored, size = await asyncio.to_thread(_checkpoint, body) if large else _checkpoint(body)
        self._known.setdefault(run.uid, set()).add(name)
        self._kept.keep(_key(run.uid, name), stored, size)
        return stored

    def forget(self, run_uid: str) -> None:
        """Drop a run that has ended, or is gone."""
        for name in self._known.pop(run_uid, ()):
            self._kept.drop(_key(run_uid, name))


def _key(run_uid: str, name: str) -> str:
    return f"{run_uid}/{name}"


def _checkpoint(body: Object) -> tuple[Checkpoint, int]:
    """Return what a ConfigMap holds, whoever wrote it, and its bytes in memory. What cannot be read counts as no
    output, and the next write replaces it."""
    version, text = body["metadata"]["resourceVersion"], text_of(body)
    try:
        value = value_of(text)
    except ValueError:
        value = None
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(items, list) or not all(item is None or isinstance(item, dict) for item in items):
        items = []
    return Checkpoint(items, version, sha256(text)), footprint(items)
