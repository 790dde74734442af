"""KubeWorkflows: Workflows are objects of the API server. The port `WorkflowBackend` of the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from nexus.adapters.kube.cache.siblings import sibling
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.adapters.kube.client.api import (
    CONTROLLER_REVISIONS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    AlreadyExists,
    Conflict,
    KubeApi,
    Listing,
    NotFound,
)
from nexus.adapters.kube.client.attributed import AttributedApi
from nexus.adapters.kube.client.brief import unreadable
from nexus.adapters.kube.manifests.events import Recorder, event
from nexus.adapters.kube.manifests.scheduled_runs import scheduled_run
from nexus.adapters.kube.owners import owner_uid
from nexus.adapters.kube.runs.concurrency_keys import Keys
from nexus.adapters.kube.runs.definitions import checked
from nexus.adapters.kube.runs.ending import delete
from nexus.adapters.kube.runs.refusals import Refusals, refusing
from nexus.api.codes import Code
from nexus.api.reasons import Reason
from nexus.api.run import Trigger
from nexus.api.workflow import WorkflowSpec, WorkflowStatus
from nexus.core.expressions.templates import Evaluator, ExpressionError, TemplateError
from nexus.core.manifest.problem import Problem
from nexus.core.manifest.schema_errors import read
from nexus.core.model.facts import RunFact
from nexus.core.names import LABEL_WORKFLOW, label_value, revision_name
from nexus.core.text.json_text import dump
from nexus.core.workflow.decide import Validation
from nexus.core.workflow.facts import RunRefused, RunSummary, WorkflowFacts
from nexus.core.workflow.history import Revision, outdated
from nexus.core.workflow.ticks import CreateRun, WorkflowEvent, is_run_of
from nexus.runtime.away import away
from nexus.runtime.ports import RunKey, Stale, StartRejected


class KubeWorkflows:
    """The Workflows of a cluster, or of one namespace of it."""

    def __init__(
        self,
        api: KubeApi,
        cache: WorkflowCache,
        evaluator: Evaluator,
        clock: Callable[[], datetime],
        wake: Callable[[RunKey], None],
        recorder: Recorder | None = None,
    ) -> None:
        self._api = api = AttributedApi(api)
        self.refusals = Refusals(api, clock)
        self._cache = cache
        self._evaluator = evaluator
        self._clock = clock
        self._wake = wake
        self._recorder = recorder or Recorder(api)
        self._keys = Keys(evaluator)

    def now(self) -> datetime:
        """Return the time."""
        return self._clock()

    def view(self, key: RunKey) -> WorkflowFacts | None:
        """Return what the cache knows of the Workflow."""
        record = self._cache.workflows.get(key)
        return None if record is None else record.facts(self._cache.runs(record))

    @refusing
    async def check(self, facts: WorkflowFacts) -> Validation:
        """Read the definition and check it."""
        async with self._cache.reads.turn(self._cache.size(RunKey(facts.namespace, facts.name))):
            return await self._check(facts)

    async def _check(self, facts: WorkflowFacts) -> Validation:
        try:
            body = await self._api.get(WORKFLOWS, facts.namespace, facts.name)
        except NotFound as error:
            raise Stale(str(error)) from error
        if body["metadata"]["uid"] != facts.uid or int(body["metadata"].get("generation") or 1) != facts.generation:
            raise Stale(f"Workflow {facts.name} was changed")
        if why := unreadable(body):
            return Validation(0, Reason.WORKFLOW_INVALID, why, (Problem((), Code.TOO_LARGE, why),))
        tasks = sum(len(body["spec"].get(key) or ()) for key in ("tasks", "finally"))
        load = partial(read, body["spec"], WorkflowSpec)
        result = await away(partial(checked, load, self._evaluator, self.now(), facts.name))
        if isinstance(result, StartRejected):
            return Validation(tasks, result.reason, result.message, result.problems)
        return Validation(tasks)

    @refusing
    async def confirm(self, facts: WorkflowFacts) -> WorkflowFacts:
        """Read the Workflow, then list its runs."""
        try:
            async with self._cache.reads.turn(self._cache.size(RunKey(facts.namespace, facts.name))):
                record = self._cache.record(await self._api.get(WORKFLOWS, facts.namespace, facts.name))
        except NotFound as error:
            raise Stale(str(error)) from error
        if record.uid != facts.uid or record.generation != facts.generation:
            raise Stale(f"Workflow {facts.name} was changed")
        listed = await self._keys.siblings(await self._list_runs(facts), record)
        mine = self._cache.all_runs(record, listed)
        tick_key = self._keys.of_tick(record)
        return replace(record.facts(mine), confirmed=True, made=facts.made, refused=facts.refused, tick_key=tick_key)

    async def _list_runs(self, facts: WorkflowFacts) -> Listing:
        return await self._api.list(
            WORKFLOW_RUNS, facts.namespace, f"{LABEL_WORKFLOW}={label_value(facts.name)}", in_brief=True
        )

    @refusing
    async def create_run(self, facts: WorkflowFacts, run: CreateRun) -> RunSummary | RunRefused:
        """Make the run of a tick; one of that name which is ours already is the one."""
        try:
            params = await self._params(facts, run)
            body = await self._api.create(WORKFLOW_RUNS, facts.namespace, scheduled_run(facts, run, params))
        except AlreadyExists:
            try:
                body = await self._api.get(WORKFLOW_RUNS, facts.namespace, run.name)
            except NotFound as error:
                raise Stale(f"run {run.name} has just gone") from error
            if not is_run_of(sibling(body), facts.uid, run.as_of.schedule or "", run.as_of.time):
                words = f"a WorkflowRun {run.name} exists that is not the run of this tick; delete or rename it"
                return RunRefused(Reason.NAME_TAKEN, words)
        except (ExpressionError, TemplateError) as error:
            return RunRefused(Reason.EXPRESSION_ERROR, str(error), final=True)
        self._cache.see_run(body)
        return sibling(body)

    async def _params(self, facts: WorkflowFacts, run: CreateRun) -> dict[str, Any]:
        """Return the schedule's params, rendered."""
        if not run.as_of.params:
            return {}
        fact = RunFact(facts.namespace, run.name, "", self.now(), workflow=facts.name, trigger=Trigger.SCHEDULE)
        return await away(partial(run.as_of.rendered, fact, self._evaluator))

    @refusing
    async def write_status(self, facts: WorkflowFacts, status: WorkflowStatus) -> None:
        """One conditional write of the whole status."""
        written = {
            "metadata": {"resourceVersion": str(facts.version), "uid": facts.uid},
            "status": status.to_json(),
        }
        try:
            body = await self._api.replace_status(WORKFLOWS, facts.namespace, facts.name, written)
        except (Conflict, NotFound) as error:
            raise Stale(str(error)) from error
        self._cache.see_workflow(body)

    @refusing
    async def delete_runs(self, facts: WorkflowFacts, runs: tuple[RunSummary, ...]) -> None:
        """Delete these very runs; their Jobs, pods and ConfigMaps follow by their owner references."""
        for run in runs:
            await delete(self._api, WORKFLOW_RUNS, facts.namespace, run.name, run.uid)

    @refusing
    async def delete_revisions(self, facts: WorkflowFacts) -> None:
        """Delete what is too old and not named by any run that the API server has."""
        of_workflow = f"{LABEL_WORKFLOW}={label_value(facts.name)}"
        bodies = [
            body
            for body in await self._api.list(CONTROLLER_REVISIONS, facts.namespace, of_workflow, in_brief=True)
            if owner_uid(body, "Workflow") == facts.uid
        ]
        if len(bodies) <= facts.policy.revisions:
            return
        try:
            workflow = await self._api.get(WORKFLOWS, facts.namespace, facts.name)
        except NotFound:
            return
        if unreadable(workflow):
            return  # which revision is the current one is unknown
        spec = workflow["spec"]
        runs = [sibling(body) for body in await self._list_runs(facts)]
        current = revision_name(facts.name, facts.uid, dump(spec))
        entries = [
            Revision(body["metadata"]["name"], body["metadata"]["uid"], int(body.get("revision") or 0))
            for body in bodies
        ]
        for entry in outdated(entries, runs, current, facts.policy.revisions):
            await delete(self._api, CONTROLLER_REVISIONS, facts.namespace, entry.name, entry.uid)

    async def record(self, facts: WorkflowFacts, events: tuple[WorkflowEvent, ...]) -> None:
        """Publish Events about the Workflow."""
        await self._recorder.record([(facts.namespace, event(facts, entry, self.now())) for entry in events])

    def wake(self, key: RunKey) -> None:
        """Have a run looked at."""
        self._wake(key)
