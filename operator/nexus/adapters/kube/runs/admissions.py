"""Admissions: has a run's turn come? Asked of the cache first, and of the API server before the answer is yes.

Two operators, or two workers of one, never admit more runs than may be under way: whoever admits one writes it into the
Workflow's status, conditional on the version that was read before the runs were listed. Of two who do so at once the
second meets a conflict, and whoever comes later reads who was admitted. There a run stays until a list shows it begun.
"""

from __future__ import annotations

from dataclasses import replace

from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.workflows import WorkflowCache, WorkflowRecord, workflow_record
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, Conflict, KubeApi, NotFound, Object
from nexus.adapters.kube.runs.concurrency_keys import Keys
from nexus.adapters.kube.runs.ending import cancel
from nexus.api.reasons import Reason
from nexus.api.run import Cancel, Trigger
from nexus.api.workflow import BeginningRun
from nexus.core.data.params import ParamsInvalid
from nexus.core.expressions.templates import Evaluator, ExpressionError, TemplateError
from nexus.core.names import LABEL_WORKFLOW, label_value
from nexus.core.workflow.admission import Admit, Wait, admit
from nexus.core.workflow.facts import RunSummary
from nexus.runtime.ports import Blocked, RunKey, Stale, StartRejected

# Entries for runs that are about to begin: each leaves with the next admission after the run has begun.
MOST_BEGINNING = 100


class Admissions:
    """The lines of runs before their Workflows."""

    def __init__(self, api: KubeApi, workflows: WorkflowCache, evaluator: Evaluator) -> None:
        self._api = api
        self._workflows = workflows
        self._keys = Keys(evaluator)

    async def workflow(self, record: RunRecord) -> WorkflowRecord | None:
        """Return the Workflow of a run that has not begun and may have to wait; None where there is nothing to wait
        for."""
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

    async def key(self, record: RunRecord, workflow: WorkflowRecord) -> str | StartRejected:
        """Return the value of concurrency.key that a run counts for."""
        if record.status is not None and record.status.concurrency_key is not None:
            return record.status.concurrency_key
        try:
            return await self._keys.of(record.fact(), workflow)
        except ParamsInvalid as error:
            return StartRejected(Reason.PARAMS_INVALID, str(error))
        except (ExpressionError, TemplateError) as error:
            return StartRejected(Reason.EXPRESSION_ERROR, str(error))

    async def ask(self, record: RunRecord, workflow: WorkflowRecord, key: str) -> Blocked | StartRejected | None:
        """None where the run may begin. Raises Stale where others were at it at the same time."""
        child = self._workflows.is_child(record.key.namespace, record.parent, record.uid) if record.parent else False
        run = replace(_in_line(record), key=key, child=child)
        if run.cancelled:
            return StartRejected(Reason.CANCELLED, "the run was cancelled before it started")
        answer = _ask(run, workflow, self._workflows.runs(workflow))
        if isinstance(answer, Admit) and answer.exclusive:
            answer = await self._ask_again(run, workflow.key)
        elif isinstance(answer, Wait) and answer.replaces:
            # Others are cancelled on the word of the API server only.
            answer = await self._ask_again(run, workflow.key)
        return Blocked(answer.reason, answer.message) if isinstance(answer, Wait) else None

    async def _ask_again(self, run: RunSummary, key: RunKey) -> Admit | Wait:
        workflow = await self._read(key)
        if workflow is None:
            raise Stale(f"Workflow {key} is gone")
        listed = await self._api.list(
            WORKFLOW_RUNS, key.namespace, f"{LABEL_WORKFLOW}={label_value(key.name)}", in_brief=True
        )
        others = list(self._workflows.all_runs(workflow, await self._keys.siblings(listed, workflow)))
        answer = _ask(run, workflow, others)
        if isinstance(answer, Admit) and answer.exclusive:
            await self._agree(run, workflow, others)
        elif isinstance(answer, Wait):
            for other in answer.replaces:
                await cancel(self._api, key.namespace, other.name, other.uid, Cancel.GRACEFUL)
        return answer

    async def _agree(self, run: RunSummary, workflow: WorkflowRecord, others: list[RunSummary]) -> None:
        if run.uid in _beginning(workflow):
            return  # by an operator that died before it could begin
        # The list is newer than the Workflow that was read: who has begun, ended or gone by it needs no entry.
        waits = {other.uid for other in others if other.waits}
        entries = [entry for entry in _entries(workflow) if entry.uid in waits]
        if len(entries) >= MOST_BEGINNING:
            raise Stale(f"{MOST_BEGINNING} runs of Workflow {workflow.key} are about to start")
        entries.append(BeginningRun(name=run.name, uid=run.uid, key=run.key or None))
        patch: Object = {
            "metadata": {"resourceVersion": str(workflow.resource_version)},
            "status": {"beginning": [entry.to_json() for entry in entries]},
        }
        try:
            await self._api.patch_status(WORKFLOWS, workflow.key.namespace, workflow.key.name, patch)
        except (Conflict, NotFound) as error:
            raise Stale(str(error)) from error


def _in_line(record: RunRecord) -> RunSummary:
    assert record.spec is not None
    return RunSummary(
        name=record.key.name,
        uid=record.uid,
        created_at=record.created_at,
        trigger=record.spec.triggered_by or Trigger.MANUAL,
        cancelled=record.spec.cancel is not None,
    )


def _entries(workflow: WorkflowRecord) -> list[BeginningRun]:
    return (workflow.status.beginning if workflow.status is not None else None) or []


def _beginning(workflow: WorkflowRecord) -> frozenset[str]:
    return frozenset(entry.uid for entry in _entries(workflow))


def _ask(run: RunSummary, workflow: WorkflowRecord, others: list[RunSummary] | tuple[RunSummary, ...]) -> Admit | Wait:
    keys = {entry.uid: entry.key for entry in _entries(workflow)}
    others = [replace(other, key=keys[other.uid]) if other.uid in keys else other for other in others]
    return admit(run, others, workflow.policy, workflow.key.name, keys.keys())
