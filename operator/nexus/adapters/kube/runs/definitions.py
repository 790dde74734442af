"""Definitions: which one a run executes, pinned in a ControllerRevision when the run starts.

Editing a Workflow never changes a run under way, because the run reads the revision that its status names; the SHA-256
beside that name tells whether the revision still holds what the run began with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from graphlib import CycleError

from nexus.adapters.kube.cache.bounded import Kept, footprint
from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.adapters.kube.client.api import (
    CONTROLLER_REVISIONS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    AlreadyExists,
    KubeApi,
    NotFound,
    Object,
)
from nexus.adapters.kube.client.bounded_json import LEVELS, nests_deeper
from nexus.adapters.kube.client.brief import too_deep, unreadable, whole
from nexus.adapters.kube.owners import owned_by
from nexus.adapters.kube.runs.revisions import ContentChanged, revision_spec
from nexus.api.codes import Code
from nexus.api.reasons import Reason
from nexus.api.run import WorkflowRunSpec, WorkflowRunStatus
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.begun import read_begun
from nexus.core.manifest.problem import Problem
from nexus.core.manifest.schema_errors import DoesNotFit, read
from nexus.core.model.definition import Definition, prepare
from nexus.core.model.operator_defaults import NO_DEFAULTS, OperatorDefaults
from nexus.core.names import LABEL_WORKFLOW, label_value, revision_name
from nexus.core.text.json_text import dump
from nexus.core.text.sha256 import sha256_of
from nexus.core.text.similar_names import closest, did_you_mean
from nexus.core.validate import problems
from nexus.runtime.away import away
from nexus.runtime.ports import RunKey, Stale, StartRejected

# A definition of a hundred tasks takes 1 MiB or two, the largest that the API server accepts about 60.
KEPT_BYTES = 64 * 1024 * 1024
# `kubectl apply` of a file may bring the run a moment before its Workflow.
GRACE = timedelta(seconds=10)
GRACE_STEP = timedelta(seconds=1)


class Definitions:
    """Definitions of the runs that are under way, those used last ready.

    The definition of a run that has not begun is checked. That of one that has is read and prepared only: it was valid
    when the run began, and a later version with a stricter check must not end the run.
    """

    def __init__(
        self,
        api: KubeApi,
        evaluator: Evaluator,
        defaults: OperatorDefaults = NO_DEFAULTS,
        workflows: WorkflowCache | None = None,
    ) -> None:
        self._api = api
        self._workflows = workflows or WorkflowCache()
        self._defaults = defaults
        self._evaluator = evaluator
        self._ready: Kept[Definition] = Kept(KEPT_BYTES)

    async def of(self, record: RunRecord, now: datetime) -> tuple[Definition | StartRejected, str | None]:
        """Return the definition of a run, and the revision that pins it (None for an inline workflowSpec).

        Raises Unreadable.
        """
        if record.invalid or record.spec is None:
            return StartRejected(Reason.WORKFLOW_INVALID, f"the run cannot be read: {record.invalid}"), None
        reference = record.spec.workflow_ref
        named = self._workflows.size(RunKey(record.key.namespace, reference.name)) if reference is not None else 0
        async with self._workflows.reads.turn(record.definition_left or named):
            return await self._of(record, record.spec, now)

    async def _of(
        self, record: RunRecord, spec: WorkflowRunSpec, now: datetime
    ) -> tuple[Definition | StartRejected, str | None]:
        if spec.workflow_spec is not None or record.definition_left:
            return self._known(record.uid, record.begun) or await self._own(record, spec, now), None
        if record.status is not None and record.status.revision:
            return await self._pinned(record, record.status, now), record.status.revision
        return await self._pin(record, now)

    def forget(self, run_uid: str) -> None:
        """Drop the definition of a run's own; those of revisions stay as long as there is room."""
        self._ready.drop(run_uid)
        self._ready.drop(_checked(run_uid))

    async def _own(self, record: RunRecord, spec: WorkflowRunSpec, now: datetime) -> Definition | StartRejected:
        """Return the definition in the run itself, which the cache keeps only where it is small."""

        def load() -> WorkflowSpec:
            return spec.workflow_spec or model(body["spec"]["workflowSpec"], WorkflowSpec)

        model, body = read_begun if record.begun else read, {}
        if spec.workflow_spec is None:
            try:
                body = whole(await self._api.get(WORKFLOW_RUNS, record.key.namespace, record.key.name))
            except NotFound as error:
                raise Stale(f"run {record.key} is gone") from error
        return await self._prepare(record.uid, load, now, record.begun)

    async def workflow(self, namespace: str, name: str) -> Object | None:
        """Return the Workflow as it is now, None where it is not there."""
        try:
            return await self._api.get(WORKFLOWS, namespace, name)
        except NotFound:
            return None

    async def _pinned(self, record: RunRecord, status: WorkflowRunStatus, now: datetime) -> Definition | StartRejected:
        namespace, revision = record.key.namespace, status.revision or ""
        key = f"{namespace}/{revision}"
        ready = self._known(key, record.begun)
        if ready is not None and status.revision_hash in (None, ready.sha256):
            return ready
        try:
            body = whole(await self._api.get(CONTROLLER_REVISIONS, namespace, revision))
            spec = revision_spec(body, status.revision_hash)
        except NotFound:
            message = f"ControllerRevision {revision}, which held the definition, was deleted; start a new run"
            return StartRejected(Reason.WORKFLOW_NOT_FOUND, message)
        except ContentChanged as error:
            return StartRejected(Reason.CONTENT_CHANGED, f"{error}; start a new run")
        model = read_begun if record.begun else read
        return await self._prepare(key, partial(model, spec, WorkflowSpec), now, record.begun, sha256=sha256_of(spec))

    async def _pin(self, record: RunRecord, now: datetime) -> tuple[Definition | StartRejected, str | None]:
        assert record.spec is not None
        assert record.spec.workflow_ref is not None
        name, namespace = record.spec.workflow_ref.name, record.key.namespace
        workflow = await self.workflow(namespace, name)
        if workflow is None:
            if now < record.created_at + GRACE:
                return StartRejected(Reason.WORKFLOW_NOT_FOUND, "", retry_at=now + GRACE_STEP), None
            return StartRejected(Reason.WORKFLOW_NOT_FOUND, await self._not_found(namespace, name)), None
        if why := unreadable(workflow):
            return StartRejected(Reason.WORKFLOW_INVALID, f"Workflow {name}: {why}"), None
        revision = revision_name(name, workflow["metadata"]["uid"], dump(workflow["spec"]))
        sha256 = sha256_of(workflow["spec"])
        key = f"{namespace}/{revision}"
        definition: Definition | StartRejected | None = self._known(key, begun=False)
        if not isinstance(definition, Definition) or definition.sha256 != sha256:
            load = partial(read, workflow["spec"], WorkflowSpec)
            definition = await self._prepare(key, load, now, begun=False, name=name, sha256=sha256)
        if isinstance(definition, StartRejected):
            return definition, None
        try:
            await self._create_revision(namespace, revision, sha256, workflow)
        except ContentChanged as error:
            return StartRejected(Reason.NAME_TAKEN, f"{error}; delete it, then start a new run"), None
        return definition, revision

    async def _create_revision(self, namespace: str, revision: str, sha256: str, workflow: Object) -> None:
        """Make the ControllerRevision, or find it there. Raises ContentChanged where the one of that name holds another
        definition: its name has a part of the hash only, and anybody may have made it."""
        try:
            # A read is cheaper for the API server than a refused write, and nearly every run finds it there.
            body = await self._api.get(CONTROLLER_REVISIONS, namespace, revision)
        except NotFound:
            try:
                body = await self._api.create(CONTROLLER_REVISIONS, namespace, _revision(revision, workflow))
            except AlreadyExists:
                body = await self._api.get(CONTROLLER_REVISIONS, namespace, revision)
        revision_spec(body, sha256)

    async def _not_found(self, namespace: str, name: str) -> str:
        names = [item["metadata"]["name"] for item in await self._api.list(WORKFLOWS, namespace, in_brief=True)]
        close = closest(name, names)
        hint = did_you_mean(close) if close else "list them with kubectl get workflows.nexus.dev"
        return f'Workflow "{name}" not found in namespace {namespace}; {hint}'

    def _known(self, key: str, begun: bool) -> Definition | None:
        """Return what is ready; of a run that has begun also what was read without a check."""
        found = self._ready.get(_checked(key))
        return self._ready.get(key) if found is None and begun else found

    async def _prepare(
        self,
        key: str,
        load: Callable[[], WorkflowSpec],
        now: datetime,
        begun: bool,
        *,
        name: str = "",
        sha256: str | None = None,
    ) -> Definition | StartRejected:
        def make() -> tuple[Definition | StartRejected, int]:
            made = (
                prepared(load, self._defaults) if begun else checked(load, self._evaluator, now, name, self._defaults)
            )
            made = replace(made, sha256=sha256) if isinstance(made, Definition) else made
            return made, footprint(made)

        # Checking 500 tasks' expressions takes a while, and other runs do not wait for it.
        definition, size = await away(make)
        if isinstance(definition, Definition):
            self._ready.keep(key if begun else _checked(key), definition, size)
        return definition


def _checked(key: str) -> str:
    return f"{key} checked"


def _revision(name: str, workflow: Object) -> Object:
    metadata = workflow["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "labels": {LABEL_WORKFLOW: label_value(metadata["name"])},
            "ownerReferences": owned_by("Workflow", metadata["name"], metadata["uid"]),
        },
        "data": {"spec": workflow["spec"]},
        "revision": int(metadata.get("generation") or 1),
    }


def prepared(load: Callable[[], WorkflowSpec], defaults: OperatorDefaults = NO_DEFAULTS) -> Definition | StartRejected:
    """Return the Definition of a run that has begun, or why nothing can be made of it."""
    try:
        return prepare(load(), defaults)
    except ValueError as error:
        text = str(error)
    except (CycleError, KeyError, StopIteration) as error:
        # Another version let it begin: a type of task that this one does not know, for one.
        text = f"this version of the operator cannot run it ({type(error).__name__}: {error})"
    return StartRejected(Reason.WORKFLOW_INVALID, text[:2_000])


def checked(
    load: Callable[[], WorkflowSpec],
    evaluator: Evaluator,
    now: datetime,
    name: str = "",
    defaults: OperatorDefaults = NO_DEFAULTS,
) -> Definition | StartRejected:
    """Return the Definition of the spec that `load()` gives, or what is wrong with it. `name` is its Workflow's."""
    try:
        spec = load()
    except DoesNotFit as error:
        return StartRejected(Reason.WORKFLOW_INVALID, str(error)[:2_000], problems=error.problems)
    except ValueError as error:
        text = str(error)[:2_000]
        return StartRejected(Reason.WORKFLOW_INVALID, text, problems=(Problem((), Code.INVALID_VALUE, text),))
    if _nests_too_deep(spec):
        # From elsewhere than the API server's JSON, which is refused before.
        text = too_deep("spec")
        return StartRejected(Reason.WORKFLOW_INVALID, text, problems=(Problem((), Code.TOO_LARGE, text),))
    found = problems(spec, evaluator, name, now)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        text = "; ".join(str(problem) for problem in found[:3]) + more
        return StartRejected(Reason.WORKFLOW_INVALID, text, problems=tuple(found))
    return prepare(spec, defaults)


def _nests_too_deep(spec: WorkflowSpec) -> bool:
    try:
        return nests_deeper(spec.model_dump_json(exclude_none=True).encode(), LEVELS - 1)
    except ValueError:  # of pydantic, which gives up at 255 levels
        return True
