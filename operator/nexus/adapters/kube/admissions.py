"""Admissions: has a run's turn come? Asked of the cache first, and of the API server before the answer is yes.

Two operators, or two workers of one, never admit two runs where one may be under way: whoever admits one writes it into
the Workflow's status, conditional on the version that was read before the runs were listed. Of two who do so at once
the second meets a conflict, and whoever comes later reads who was admitted.
"""

from __future__ import annotations

import contextlib

from nexus.adapters.kube.api import WORKFLOW_RUNS, WORKFLOWS, Conflict, Forbidden, Invalid, KubeApi, NotFound, Object
from nexus.adapters.kube.cache import RunRecord
from nexus.adapters.kube.siblings import sibling
from nexus.adapters.kube.workflow_cache import WorkflowCache, WorkflowRecord, workflow_record
from nexus.api.reasons import Reason
from nexus.api.run import Cancel, Trigger
from nexus.core.names import LABEL_WORKFLOW, label_value
from nexus.core.workflow.admission import Admit, Wait, admit
from nexus.core.workflow.facts import Sibling
from nexus.runtime.ports import RunKey, Stale, Unstartable, Waiting


class Admissions:
    """The lines of runs before their Workflows."""

    def __init__(self, api: KubeApi, workflows: WorkflowCache) -> None:
        self._api = api
        self._workflows = workflows

    async def workflow(self, record: RunRecord) -> WorkflowRecord | None:
        """The Workflow of a run that has not begun and may have to wait; None where there is nothing to wait for."""
        reference = record.spec.workflow_ref if record.spec is not None else None
        if reference is None or (record.status is not None and record.status.start_time is not None):
            return None
        key = RunKey(record.key.namespace, reference.name)
        workflow = self._workflows.workflows.get(key) or await self._read(key)
        return workflow if workflow is not None and workflow.policy.gated else None

    async def _read(self, key: RunKey) -> WorkflowRecord | None:
        try:
            return workflow_record(await self._api.get(WORKFLOWS, key.namespace, key.name))
        except NotFound:
            return None

    async def ask(self, record: RunRecord, workflow: WorkflowRecord) -> Waiting | Unstartable | None:
        """None where the run may begin. Raises Stale where others were at it at the same time."""
        run = _in_line(record)
        if run.cancelled:
            return Unstartable(Reason.CANCELLED, "the run was cancelled before its turn came")
        answer = _ask(run, workflow, self._workflows.runs(workflow.key, workflow.uid))
        if isinstance(answer, Admit) and answer.exclusive:
            answer = await self._ask_again(run, workflow.key)
        elif isinstance(answer, Wait) and answer.replaces:
            # Others are cancelled on the word of the API server only.
            answer = await self._ask_again(run, workflow.key)
        return Waiting(answer.reason, answer.message) if isinstance(answer, Wait) else None

    async def _ask_again(self, run: Sibling, key: RunKey) -> Admit | Wait:
        workflow = await self._read(key)
        if workflow is None:
            raise Stale(f"Workflow {key} is gone")
        listed = await self._api.list(WORKFLOW_RUNS, key.namespace, f"{LABEL_WORKFLOW}={label_value(key.name)}")
        answer = _ask(run, workflow, [sibling(body) for body in listed])
        if isinstance(answer, Admit) and answer.exclusive:
            await self._agree(run, workflow)
        elif isinstance(answer, Wait):
            for other in answer.replaces:
                await self._cancel(key.namespace, other)
        return answer

    async def _agree(self, run: Sibling, workflow: WorkflowRecord) -> None:
        if _holder(workflow) == run.uid:
            return  # by an operator that died before it could begin
        patch: Object = {
            "metadata": {"resourceVersion": str(workflow.resource_version)},
            "status": {"admitted": {"name": run.name, "uid": run.uid}},
        }
        try:
            await self._api.patch_status(WORKFLOWS, workflow.key.namespace, workflow.key.name, patch)
        except (Conflict, NotFound) as error:
            raise Stale(str(error)) from error

    async def _cancel(self, namespace: str, run: Sibling) -> None:
        """Cancel a run that is replaced. It may have been cancelled, have ended or be gone meanwhile."""
        patch: Object = {"metadata": {"uid": run.uid}, "spec": {"cancel": Cancel.GRACEFUL.value}}
        with contextlib.suppress(Conflict, NotFound, Invalid, Forbidden):
            await self._api.patch(WORKFLOW_RUNS, namespace, run.name, patch)


def _in_line(record: RunRecord) -> Sibling:
    assert record.spec is not None
    return Sibling(
        name=record.key.name,
        uid=record.uid,
        created_at=record.created_at,
        trigger=record.spec.triggered_by or Trigger.MANUAL,
        cancelled=record.spec.cancel is not None,
    )


def _holder(workflow: WorkflowRecord) -> str:
    admitted = workflow.status.admitted if workflow.status is not None else None
    return admitted.uid if admitted is not None else ""


def _ask(run: Sibling, workflow: WorkflowRecord, others: list[Sibling] | tuple[Sibling, ...]) -> Admit | Wait:
    return admit(run, others, workflow.policy, workflow.key.name, _holder(workflow))
