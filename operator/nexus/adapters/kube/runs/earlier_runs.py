"""Earlier runs: what a rerun takes over, read from the API server right before it begins. What the watches showed of
runs that have ended is not kept."""

from __future__ import annotations

from nexus.adapters.kube.cache.other_version import known_part
from nexus.adapters.kube.cache.records import RunRecord, run_record
from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, WORKFLOW_RUNS, KubeApi, NotFound
from nexus.adapters.kube.client.brief import unreadable
from nexus.adapters.kube.runs.revisions import ContentChanged, revision_spec
from nexus.api.run import RerunOf, WorkflowRunSpec, WorkflowRunStatus
from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.begun import read_begun
from nexus.core.model.facts import Earlier


class EarlierRuns:
    """Reads them."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def of(self, record: RunRecord) -> Earlier | None:
        """Return the run that this one reruns, None where it reruns none or has begun."""
        wanted = record.spec.rerun_of if record.spec is not None else None
        if wanted is None or (record.status is not None and record.status.start_time is not None):
            return None
        namespace = record.key.namespace
        try:
            body = await self._api.get(WORKFLOW_RUNS, namespace, wanted.name)
        except NotFound:
            return Earlier(wanted, problem=f"run {wanted.name} not found in namespace {namespace}; start a new run")
        if why := unreadable(body):
            return Earlier(wanted, problem=f"run {wanted.name} cannot be read: {why}")
        try:
            spec = read_begun(body["spec"], WorkflowRunSpec)
            status = known_part(body.get("status") or {}, WorkflowRunStatus)
            definition = await self._definition(namespace, wanted, spec, status)
        except ContentChanged as error:
            return Earlier(wanted, problem=f"{error}, so what run {wanted.name} did is unknown; start a new run")
        except ValueError as error:
            return Earlier(wanted, problem=f"run {wanted.name} cannot be read: {error}"[:1_000])
        if isinstance(definition, str):
            return Earlier(wanted, problem=definition)
        return Earlier(
            wanted,
            uid=body["metadata"]["uid"],
            workflow=spec.workflow_ref.name if spec.workflow_ref is not None else "",
            params=spec.params or {},
            status=status,
            definition=definition,
            run=run_record(body).fact(),
        )

    async def _definition(
        self, namespace: str, wanted: RerunOf, spec: WorkflowRunSpec, status: WorkflowRunStatus
    ) -> WorkflowSpec | str | None:
        """Return what it executed, None where it never began; or why that is unknown. Raises ContentChanged."""
        if spec.workflow_spec is not None or status.revision is None:
            return spec.workflow_spec
        try:
            body = await self._api.get(CONTROLLER_REVISIONS, namespace, status.revision)
        except NotFound:
            return (
                f"ControllerRevision {status.revision}, which held the definition of run {wanted.name}, was "
                "deleted, so its outputs cannot be matched to tasks; start a new run"
            )
        if why := unreadable(body):
            return f"the definition of run {wanted.name} cannot be read: {why}"
        return read_begun(revision_spec(body, status.revision_hash), WorkflowSpec)
