"""The stored outputs of fan-outs: a ConfigMap of the run for each, replaced on condition that nobody else did."""

from __future__ import annotations

import json

from nexus.adapters.kube.api import CONFIG_MAPS, AlreadyExists, Conflict, KubeApi, NotFound
from nexus.adapters.kube.job import config_map, run_labels
from nexus.adapters.kube.observe import owner_uid
from nexus.api.numbers import as_stored
from nexus.core.facts import Checkpoint, RunFact
from nexus.core.plan import LoadItems, StoreItems
from nexus.runtime.ports import Stale

KEY = "output.json"


class StoredItems:
    """Reads and writes them. What was read or written last is remembered: when pods are gone, every look asks for it,
    and it may be half a megabyte. An old memory does no harm: what is stored stays stored, a write that was decided on
    it meets a conflict, and before an output counts as lost a fresh one is asked for.
    """

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._known: dict[str, dict[str, Checkpoint]] = {}

    async def load(self, run: RunFact, read: LoadItems) -> Checkpoint | None:
        """What is stored, None where nothing is."""
        known = self._known.get(run.uid, {}).get(read.config_map)
        if known is not None and not read.fresh:
            return known
        try:
            body = await self._api.get(CONFIG_MAPS, run.namespace, read.config_map)
        except NotFound:
            return None
        if owner_uid(body, "WorkflowRun") != run.uid:
            return None  # the write says whose it is
        items = as_stored(json.loads(body["data"][KEY])["items"])
        return self._remember(run, read.config_map, Checkpoint(items, body["metadata"]["resourceVersion"]))

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
            self._known.get(run.uid, {}).pop(store.config_map, None)
            raise Stale(str(error)) from error
        version = body["metadata"]["resourceVersion"]
        self._remember(run, store.config_map, Checkpoint(json.loads(store.text)["items"], version))

    def _remember(self, run: RunFact, name: str, stored: Checkpoint) -> Checkpoint:
        self._known.setdefault(run.uid, {})[name] = stored
        return stored

    def forget(self, run_uid: str) -> None:
        """The run has ended."""
        self._known.pop(run_uid, None)
