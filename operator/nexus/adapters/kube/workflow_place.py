"""KubeWorkflows: Workflows are objects of the API server. The port `WorkflowPlace` of the loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from functools import partial

from nexus.adapters.kube.api import (
    CONTROLLER_REVISIONS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    Conflict,
    KubeApi,
    NotFound,
)
from nexus.adapters.kube.definitions import checked
from nexus.adapters.kube.observe import owner_uid
from nexus.adapters.kube.siblings import sibling
from nexus.adapters.kube.workflow_cache import WorkflowCache
from nexus.api.workflow import WorkflowSpec, WorkflowStatus
from nexus.core.expressions import Evaluator
from nexus.core.names import LABEL_WORKFLOW, label_value, revision_name
from nexus.core.outputs import dump
from nexus.core.workflow.decide import Verdict
from nexus.core.workflow.facts import Sibling, WorkflowFacts
from nexus.core.workflow.history import Revision, outdated
from nexus.runtime.ports import RunKey, Stale, Unstartable


class KubeWorkflows:
    """The Workflows of a cluster, or of one namespace of it."""

    def __init__(
        self,
        api: KubeApi,
        cache: WorkflowCache,
        evaluator: Evaluator,
        clock: Callable[[], datetime],
        wake: Callable[[RunKey], None],
    ) -> None:
        self._api = api
        self._cache = cache
        self._evaluator = evaluator
        self._clock = clock
        self._wake = wake

    def now(self) -> datetime:
        """The time."""
        return self._clock()

    def view(self, key: RunKey) -> WorkflowFacts | None:
        """What the cache knows of the Workflow."""
        record = self._cache.workflows.get(key)
        return None if record is None else record.facts(self._cache.runs(key, record.uid))

    async def check(self, facts: WorkflowFacts) -> Verdict:
        """Read the definition and check it."""
        try:
            body = await self._api.get(WORKFLOWS, facts.namespace, facts.name)
        except NotFound as error:
            raise Stale(str(error)) from error
        if body["metadata"]["uid"] != facts.uid or int(body["metadata"].get("generation") or 1) != facts.generation:
            raise Stale(f"Workflow {facts.name} was changed")
        tasks = sum(len(body["spec"].get(key) or ()) for key in ("tasks", "finally"))
        read = partial(WorkflowSpec.model_validate, body["spec"])
        result = await asyncio.to_thread(checked, read, self._evaluator, self.now(), facts.name)
        if isinstance(result, Unstartable):
            return Verdict(tasks, result.reason, result.message)
        return Verdict(tasks)

    async def write_status(self, facts: WorkflowFacts, status: WorkflowStatus) -> None:
        """One conditional write of the whole status."""
        record = self._cache.workflows.get(RunKey(facts.namespace, facts.name))
        if record is None or record.uid != facts.uid or record.status != facts.status:
            raise Stale(f"Workflow {facts.name} has a newer status")
        written = {
            "metadata": {"resourceVersion": str(record.resource_version), "uid": record.uid},
            "status": status.to_json(),
        }
        try:
            body = await self._api.replace_status(WORKFLOWS, facts.namespace, facts.name, written)
        except (Conflict, NotFound) as error:
            raise Stale(str(error)) from error
        self._cache.see_workflow(body)

    async def delete_runs(self, facts: WorkflowFacts, runs: tuple[Sibling, ...]) -> None:
        """Delete these very runs; their Jobs, pods and ConfigMaps follow by their owner references."""
        for run in runs:
            with contextlib.suppress(NotFound, Conflict):
                await self._api.delete(WORKFLOW_RUNS, facts.namespace, run.name, run.uid)

    async def delete_revisions(self, facts: WorkflowFacts) -> None:
        """Delete what is too old and not named by any run that the API server has."""
        of_workflow = f"{LABEL_WORKFLOW}={label_value(facts.name)}"
        bodies = [
            body
            for body in await self._api.list(CONTROLLER_REVISIONS, facts.namespace, of_workflow)
            if owner_uid(body, "Workflow") == facts.uid
        ]
        if len(bodies) <= facts.policy.revisions:
            return
        try:
            spec = (await self._api.get(WORKFLOWS, facts.namespace, facts.name))["spec"]
        except NotFound:
            return
        runs = await self._api.list(WORKFLOW_RUNS, facts.namespace, of_workflow)
        pinned = {sibling(body).revision for body in runs}
        current = revision_name(facts.name, facts.uid, dump(spec))
        entries = [
            Revision(body["metadata"]["name"], body["metadata"]["uid"], int(body.get("revision") or 0))
            for body in bodies
        ]
        for entry in outdated(entries, pinned, current, facts.policy.revisions):
            with contextlib.suppress(NotFound, Conflict):
                await self._api.delete(CONTROLLER_REVISIONS, facts.namespace, entry.name, entry.uid)

    def wake(self, key: RunKey) -> None:
        """Have a run looked at."""
        self._wake(key)
