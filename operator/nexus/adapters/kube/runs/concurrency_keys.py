"""Keys: for which value of concurrency.key each run counts. A run's status says so from its first look on; until then,
and for runs that began before their Workflow had a key, it is computed from the run's params, which never change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from nexus.adapters.kube.cache.records import run_record
from nexus.adapters.kube.cache.siblings import sibling
from nexus.adapters.kube.cache.workflows import WorkflowRecord
from nexus.adapters.kube.client.api import Object
from nexus.api.run import Trigger
from nexus.core.data.params import ParamsInvalid
from nexus.core.expressions.templates import Evaluator, ExpressionError, TemplateError
from nexus.core.model.facts import RunFact
from nexus.core.schedule.as_of import AsOf
from nexus.core.workflow.concurrency_key import concurrency_key
from nexus.core.workflow.facts import RunSummary
from nexus.runtime.away import away

KEPT = 4_096


class Keys:
    """The values, by run and generation of its Workflow."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._known: OrderedDict[tuple[str, str, int], str | None] = OrderedDict()

    async def of(self, run: RunFact, workflow: WorkflowRecord) -> str:
        """Return the value for a run that has none on record. Raises ParamsInvalid, ExpressionError and
        TemplateError."""
        if workflow.policy.key is None:
            return ""
        known = (run.uid, workflow.uid, workflow.generation)
        found = self._known.get(known)
        if found is None:
            found = await away(partial(concurrency_key, workflow.policy, run, self._evaluator))
            self._keep(known, found)
        return found

    async def siblings(self, bodies: Iterable[Object], workflow: WorkflowRecord) -> list[RunSummary]:
        """Return the runs as their Workflow sees them, each that has not ended with its value."""
        return [await self._with_key(sibling(body), body, workflow) for body in bodies]

    async def _with_key(self, run: RunSummary, body: Object, workflow: WorkflowRecord) -> RunSummary:
        if workflow.policy.key is None or run.key is not None or run.ended or run.child:
            return run
        known = (run.uid, workflow.uid, workflow.generation)
        if known in self._known:
            return replace(run, key=self._known[known])
        record = run_record(body)
        try:
            return replace(run, key=await self.of(record.fact(), workflow))
        except (ParamsInvalid, ExpressionError, TemplateError):
            # It will be refused for that, and blocks no other run.
            self._keep(known, None)
            return run

    def _keep(self, known: tuple[str, str, int], value: str | None) -> None:
        self._known[known] = value
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    def of_tick(self, workflow: WorkflowRecord) -> Callable[[AsOf], str | None]:
        """Return what tells the value for the run of a tick, None where it has none."""

        def told(as_of: AsOf) -> str | None:
            key = workflow.key
            fact = RunFact(key.namespace, "", "", as_of.time, workflow=key.name, trigger=Trigger.SCHEDULE)
            try:
                params = as_of.rendered(fact, self._evaluator)
                return concurrency_key(workflow.policy, replace(as_of.fact(fact), params=params), self._evaluator)
            except (ParamsInvalid, ExpressionError, TemplateError):
                return None

        return told
