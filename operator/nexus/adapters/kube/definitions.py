"""Definitions: which one a run executes, pinned in a ControllerRevision when the run starts.

Editing a Workflow never changes a run under way, because the run reads the revision that its status names.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any

from nexus.adapters.kube.api import (
    CONTROLLER_REVISIONS,
    WORKFLOWS,
    AlreadyExists,
    KubeApi,
    NotFound,
    Object,
)
from nexus.adapters.kube.cache import RunRecord
from nexus.adapters.kube.owners import owned_by
from nexus.api.reasons import Reason
from nexus.api.workflow import WorkflowSpec
from nexus.core.definition import Definition, prepare
from nexus.core.expressions import Evaluator
from nexus.core.names import LABEL_WORKFLOW, label_value, revision_name
from nexus.core.operator_defaults import NO_DEFAULTS, OperatorDefaults
from nexus.core.outputs import dump
from nexus.core.shape import read
from nexus.core.validate import problems
from nexus.runtime.ports import Unstartable

KEPT = 64
# `kubectl apply` of a file may bring the run a moment before its Workflow.
GRACE = timedelta(seconds=10)
GRACE_STEP = timedelta(seconds=1)


class Definitions:
    """Definitions of the runs that are under way, the last 64 used ones ready."""

    def __init__(self, api: KubeApi, evaluator: Evaluator, defaults: OperatorDefaults = NO_DEFAULTS) -> None:
        self._api = api
        self._defaults = defaults
        self._evaluator = evaluator
        self._ready: OrderedDict[str, Definition | Unstartable] = OrderedDict()

    async def of(self, record: RunRecord, now: datetime) -> tuple[Definition | Unstartable, str | None]:
        """The definition of a run, and the revision that pins it (None for an inline workflowSpec)."""
        if record.invalid or record.spec is None:
            return Unstartable(Reason.WORKFLOW_INVALID, f"the run cannot be read: {record.invalid}"), None
        if record.spec.workflow_spec is not None:
            spec = record.spec.workflow_spec
            return await self._prepared(record.uid, lambda: spec, now), None
        if record.status is not None and record.status.revision:
            return await self._pinned(record, record.status.revision, now)
        return await self._pin(record, now)

    async def workflow(self, namespace: str, name: str) -> Object | None:
        """The Workflow as it is now, None where it is not there."""
        try:
            return await self._api.get(WORKFLOWS, namespace, name)
        except NotFound:
            return None

    async def _pinned(self, record: RunRecord, revision: str, now: datetime) -> tuple[Definition | Unstartable, str]:
        key = f"{record.key.namespace}/{revision}"
        if key in self._ready:
            self._ready.move_to_end(key)
            return self._ready[key], revision
        try:
            body = await self._api.get(CONTROLLER_REVISIONS, record.key.namespace, revision)
        except NotFound:
            message = f"the ControllerRevision {revision}, which held the definition, was deleted: start a new run"
            return Unstartable(Reason.WORKFLOW_NOT_FOUND, message), revision
        return await self._prepared(key, lambda: read(body["data"]["spec"], WorkflowSpec), now), revision

    async def _pin(self, record: RunRecord, now: datetime) -> tuple[Definition | Unstartable, str | None]:
        assert record.spec is not None
        assert record.spec.workflow_ref is not None
        name, namespace = record.spec.workflow_ref.name, record.key.namespace
        workflow = await self.workflow(namespace, name)
        if workflow is None:
            if now < record.created_at + GRACE:
                return Unstartable(Reason.WORKFLOW_NOT_FOUND, "", retry_at=now + GRACE_STEP), None
            return Unstartable(Reason.WORKFLOW_NOT_FOUND, await self._not_found(namespace, name)), None
        text = dump(workflow["spec"])
        revision = revision_name(name, workflow["metadata"]["uid"], text)
        key = f"{namespace}/{revision}"
        definition = await self._prepared(key, lambda: read(workflow["spec"], WorkflowSpec), now, name)
        if isinstance(definition, Unstartable):
            self._ready.pop(key, None)
            return definition, None
        await self._create_revision(namespace, revision, workflow)
        return definition, revision

    async def _create_revision(self, namespace: str, revision: str, workflow: Object) -> None:
        metadata = workflow["metadata"]
        try:
            # A read is cheaper for the API server than a refused write, and nearly every run finds it there.
            await self._api.get(CONTROLLER_REVISIONS, namespace, revision)
            return
        except NotFound:
            pass
        body: dict[str, Any] = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": revision,
                "labels": {LABEL_WORKFLOW: label_value(metadata["name"])},
                "ownerReferences": owned_by("Workflow", metadata["name"], metadata["uid"]),
            },
            "data": {"spec": workflow["spec"]},
            "revision": int(metadata.get("generation") or 1),
        }
        # Its name holds the hash of its content: whoever made it made the same.
        with contextlib.suppress(AlreadyExists):
            await self._api.create(CONTROLLER_REVISIONS, namespace, body)

    async def _not_found(self, namespace: str, name: str) -> str:
        names = [item["metadata"]["name"] for item in await self._api.list(WORKFLOWS, namespace)]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else "kubectl get workflows.nexus.dev lists what is there"
        return f"there is no Workflow {name} in namespace {namespace}: {hint}"

    async def _prepared(self, key: str, load: Any, now: datetime, name: str = "") -> Definition | Unstartable:
        if key in self._ready:
            self._ready.move_to_end(key)
            return self._ready[key]
        # In a thread: checking 500 tasks' expressions takes a while, and other runs do not wait for it.
        definition = await asyncio.to_thread(checked, load, self._evaluator, now, name, self._defaults)
        self._ready[key] = definition
        while len(self._ready) > KEPT:
            self._ready.popitem(last=False)
        return definition


def checked(
    load: Any, evaluator: Evaluator, now: datetime, name: str = "", defaults: OperatorDefaults = NO_DEFAULTS
) -> Definition | Unstartable:
    """The Definition of the spec that `load()` gives, or what is wrong with it. `name` is its Workflow's."""
    try:
        spec = load()
    except ValueError as error:
        return Unstartable(Reason.WORKFLOW_INVALID, str(error)[:2_000])
    found = problems(spec, evaluator, name, now)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        return Unstartable(Reason.WORKFLOW_INVALID, "; ".join(str(problem) for problem in found[:3]) + more)
    return prepare(spec, defaults)
