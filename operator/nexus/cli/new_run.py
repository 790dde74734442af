"""A new run of a Workflow in the cluster: its params checked, made, and followed where that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, KubeApi, Object
from nexus.adapters.kube.owners import owned_by
from nexus.api.base import API_VERSION
from nexus.api.run import Trigger, WorkflowRef, WorkflowRunSpec
from nexus.api.workflow import WorkflowSpec
from nexus.cli import follow, given
from nexus.cli.cluster import found, readable
from nexus.cli.ending import Exit, UsageError
from nexus.cli.schedule import time_of, told
from nexus.cli.terminal import say
from nexus.cli.unready import refusal
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.manifest.schema_errors import read
from nexus.core.model.facts import RunFact
from nexus.core.names import LABEL_WORKFLOW, label_value
from nexus.core.schedule.as_of import AsOf, of_time
from nexus.services.calendar import Source


async def run_workflow(
    api: KubeApi,
    namespace: str,
    workflow: str,
    param_texts: Sequence[str],
    *,
    at: str | None = None,
    output: str | None,
    watch: bool,
) -> Exit:
    """Make a WorkflowRun, as of the time `at` where it is given, and with `watch` follow it to its end."""
    time = time_of(at, "--at") if at else None
    body = await found(api, WORKFLOWS, namespace, workflow)
    spec = sound(body)
    read = given.params(param_texts, spec.params or ())
    as_of = of_time(spec.schedules or (), time) if time else None
    params = _checked_params(spec, read, namespace, workflow, as_of)
    made = await api.create(WORKFLOW_RUNS, namespace, _run_of(body, params, as_of))
    if spec.suspend:
        say(f"Workflow {workflow} is suspended; the run waits until its spec.suspend is false", to=sys.stderr)
    return await tell(api, made, spec, output=output, watch=watch)


async def tell(api: KubeApi, made: Object, spec: WorkflowSpec, *, output: str | None, watch: bool) -> Exit:
    """Print a run that was just made in the form asked for, and with `watch` follow it to its end."""
    name = made["metadata"]["name"]
    if not (watch and output == "json"):
        if output == "json":
            follow.say_run(made)
        else:
            say(f"workflowrun.nexus.dev/{name}" if output == "name" else name, flush=True)
    if not watch:
        return Exit.SUCCEEDED
    stream = sys.stderr if output == "json" else sys.stdout
    return await follow.to_the_end(api, made, spec, stream, as_json=output == "json")


def sound(body: Object) -> WorkflowSpec:
    """Return the spec of a Workflow that the operator found nothing wrong with."""
    name = body["metadata"]["name"]
    body = readable(body)
    if (why := refusal(body)) is not None:
        raise UsageError(*why)
    try:
        return read(body["spec"], WorkflowSpec)
    except ValueError as error:
        raise UsageError(f"Workflow {name} was written for another version of nexus: {error}") from error


async def schedules_of(api: KubeApi, namespace: str, workflow: str) -> Source:
    """Return the schedules of a Workflow. Raises UsageError where it is not there or not sound."""
    body = await found(api, WORKFLOWS, namespace, workflow)
    return Source(workflow, body["metadata"]["uid"], sound(body))


def _checked_params(
    spec: WorkflowSpec, read: given.Params, namespace: str, workflow: str, as_of: AsOf | None
) -> dict[str, Any]:
    """Return the params that the run is given: those of its tick's schedule too, unless they are given by hand."""
    fact = RunFact(namespace, f"{workflow}-check", "check", datetime.now(UTC), workflow=workflow, params=read.values)
    try:
        with CelEvaluator() as evaluator:
            if as_of is not None:
                fact = told(as_of, fact, evaluator)
            resolve(spec.params or (), fact.params, fact, evaluator)
    except ParamsInvalid as error:
        raise UsageError(*read.problems, *map(str, read.others(error.problems))) from error
    if read.problems:
        raise UsageError(*read.problems)
    return dict(fact.params)


def _run_of(workflow: Object, params: dict[str, Any], as_of: AsOf | None) -> Object:
    made = WorkflowRunSpec(
        workflow_ref=WorkflowRef(name=workflow["metadata"]["name"]), params=params or None, triggered_by=Trigger.MANUAL
    )
    spec = as_of.spec(made) if as_of is not None else made
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": metadata_under(workflow),
        # Params may be null, and stay so.
        "spec": {**spec.to_json(), **({"params": params} if params else {})},
    }


def metadata_under(workflow: Object) -> Object:
    """Return the metadata of a new run of a Workflow."""
    name, namespace, uid = (workflow["metadata"][field] for field in ("name", "namespace", "uid"))
    return {
        "generateName": f"{name}-",
        "namespace": namespace,
        "labels": {LABEL_WORKFLOW: label_value(name)},
        "ownerReferences": owned_by("Workflow", name, uid),
    }
