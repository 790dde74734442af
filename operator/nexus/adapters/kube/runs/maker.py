"""Maker: makes the objects of a run, or finds them there. Their names are deterministic, and so anybody's to take."""

from __future__ import annotations

import logging
from dataclasses import replace

from nexus.adapters.kube.cache.child_facts import content
from nexus.adapters.kube.client.api import CONFIG_MAPS, WORKFLOW_RUNS, AlreadyExists, Kind, KubeApi, NotFound, Object
from nexus.adapters.kube.manifests.job import Images, task_objects
from nexus.adapters.kube.owners import owner_uid
from nexus.adapters.kube.runs.refusals import name_taken
from nexus.adapters.kube.runs.stored import holds
from nexus.core.model.facts import RunFact
from nexus.core.model.plan import StartTask
from nexus.core.model.refusal import Code
from nexus.runtime.ports import Refused, Stale

log = logging.getLogger("nexus")


class Maker:
    """Makes them."""

    def __init__(self, api: KubeApi, images: Images) -> None:
        self._api = api
        self._images = images

    async def job(self, start: StartTask, run: RunFact) -> Object:
        """Return the Job of an attempt, the ConfigMap with its files made. Where the name of that has other files, made
        by another version of the operator or by anybody, it has one with their hash in it. Raises Refused."""
        objects = task_objects(start, run, self._images)
        if objects.payload is not None:
            try:
                await self.create(CONFIG_MAPS, run, objects.payload)
            except Refused as error:
                if error.refusal.code is not Code.NAME_TAKEN:
                    raise
                log.warning("run %s: %s", run.name, error.refusal.message)
                objects = task_objects(start, run, self._images, name_taken=True)
                await self.create(CONFIG_MAPS, run, objects.payload or {})
        return objects.job

    async def create(self, kind: Kind, run: RunFact, body: Object) -> Object:
        """Make an object of the run, or find it there: an operator that died before it could record it made it, or
        another copy was first. Raises Refused where the one that is there has another owner, or another content."""
        name = body["metadata"]["name"]
        try:
            return await self._api.create(kind, run.namespace, body)
        except AlreadyExists:
            try:
                found = await self._api.get(kind, run.namespace, name)
            except NotFound as error:
                raise Stale(f"the {kind.kind} {name} has just gone") from error
        if owner_uid(found, "WorkflowRun") != run.uid:
            words = f"a {kind.kind} {name} exists and belongs to another owner; delete or rename it"
            raise Refused(name_taken(kind, words))
        if kind == CONFIG_MAPS and not holds(found, body):
            raise Refused(name_taken(kind, f"a ConfigMap {name} exists and holds something else; delete it"))
        if kind == WORKFLOW_RUNS and content(found) != content(body):
            words = f"a WorkflowRun {name} exists that is not the one this task starts; delete it"
            # It is forged, which ends nothing: the task waits until it is gone.
            raise Refused(replace(name_taken(kind, words), final=False))
        return found
