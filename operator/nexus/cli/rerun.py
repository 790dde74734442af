"""`nexus rerun RUN`: a new run that takes over what succeeded in an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, KubeApi, Object
from nexus.api.base import API_VERSION, parse_time
from nexus.api.run import RerunOf, Trigger, WorkflowRunSpec
from nexus.api.workflow import WorkflowSpec
from nexus.cli import given
from nexus.cli.cluster import found, readable
from nexus.cli.ending import Exit, UsageError
from nexus.cli.follow import status_of
from nexus.cli.new_run import metadata_under, sound, tell
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.engine.rerun import unknown_task
from nexus.core.manifest.begun import read_begun
from nexus.core.model.facts import RunFact


@dataclass(frozen=True)
class Asked:
    """The rerun that the user asks for."""

    run: str
    tasks: Sequence[str] = ()
    params: Sequence[str] = ()


async def rerun(api: KubeApi, namespace: str, asked: Asked, *, output: str | None, watch: bool) -> Exit:
    """Make the run, and with `watch` follow it to its end. Raises Refused, before anything was made."""
    earlier = readable(await found(api, WORKFLOW_RUNS, namespace, asked.run))
    phase = status_of(earlier).phase
    if not phase.ended:
        raise UsageError(f"run {asked.run} has not ended, it is {phase.value}; wait for it to end, or cancel it")
    try:
        old = read_begun(earlier["spec"], WorkflowRunSpec)
    except ValueError as error:
        raise UsageError(f"run {asked.run} was written for another version of nexus: {error}") from error
    workflow = None
    if old.workflow_ref is not None:
        workflow = await found(api, WORKFLOWS, namespace, old.workflow_ref.name)
    spec = sound(workflow) if workflow is not None else old.workflow_spec
    assert spec is not None
    wrong = [f"--from-task: {why}" for why in (unknown_task(task, spec) for task in asked.tasks) if why]
    if wrong:
        raise UsageError(*wrong)
    new = _spec(earlier, old, asked, spec)
    made = await api.create(WORKFLOW_RUNS, namespace, _body(earlier, workflow, new))
    return await tell(api, made, spec, output=output, watch=watch)


def _spec(earlier: Object, old: WorkflowRunSpec, asked: Asked, spec: WorkflowSpec) -> dict[str, Any]:
    """Return the spec of the new run: for the same time as the earlier one, with its params but for those given
    anew."""
    created = parse_time(earlier["metadata"]["creationTimestamp"])
    new = old.model_copy(
        update={
            "rerun_of": RerunOf(name=asked.run, tasks=list(asked.tasks) or None),
            "triggered_by": Trigger.RERUN,
            "scheduled_time": old.scheduled_time or created,
            "params": None,
            **dict.fromkeys(("suspend", "cancel", "approvals")),
        }
    )
    told = given.params(asked.params, spec.params or ())
    values = {**(old.params or {}), **told.values}
    workflow = old.workflow_ref.name if old.workflow_ref is not None else ""
    fact = RunFact(
        earlier["metadata"]["namespace"],
        "check",
        "check",
        datetime.now(UTC),
        workflow=workflow,
        trigger=Trigger.RERUN,
        params=values,
        scheduled_time=new.scheduled_time,
        interval_start=new.interval_start,
        interval_end=new.interval_end,
        time_zone=new.time_zone or "UTC",
    )
    try:
        with CelEvaluator() as evaluator:
            resolve(spec.params or (), values, fact, evaluator)
    except ParamsInvalid as error:
        raise UsageError(*told.problems, *map(str, told.others(error.problems))) from error
    if told.problems:
        raise UsageError(*told.problems)
    # Params may be null, and stay so.
    return {**new.to_json(), **({"params": values} if values else {})}


def _body(earlier: Object, workflow: Object | None, spec: dict[str, Any]) -> Object:
    name, namespace = earlier["metadata"]["name"], earlier["metadata"]["namespace"]
    metadata = {"generateName": f"{name[:40].rstrip('-.')}-", "namespace": namespace}
    if workflow is not None:
        metadata = metadata_under(workflow)
    return {"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": metadata, "spec": spec}
