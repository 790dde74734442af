"""Commands that talk to a cluster: make a run, list runs, show one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.client.access import AccessError, find_access
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, ApiError, Kind, KubeApi, NotFound, Object
from nexus.adapters.kube.client.brief import unreadable
from nexus.adapters.kube.client.http import KubeClient
from nexus.adapters.kube.owners import owned_by
from nexus.api.base import API_VERSION, parse_time
from nexus.api.run import Trigger, WorkflowRef, WorkflowRunSpec
from nexus.api.workflow import WorkflowSpec
from nexus.cli import detail, follow, given
from nexus.cli.ending import Exit, UsageError
from nexus.cli.schedule import Source, time_of, told
from nexus.cli.terminal import say, say_json
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.manifest.schema_errors import read
from nexus.core.model.facts import RunFact
from nexus.core.names import LABEL_WORKFLOW, label_value
from nexus.core.schedule.as_of import AsOf, of_time
from nexus.core.text.similar_names import closest


@dataclass(frozen=True)
class Target:
    """Which cluster and namespace the user means, where the kubeconfig is not to decide."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[tuple[KubeApi, str]]:
    """The API server and the namespace. What either refuses comes out as Refused."""
    try:
        access = find_access(target.kubeconfig, context=target.context)
        async with KubeClient(access, short=True) as api:
            yield api, target.namespace or access.namespace
    except (AccessError, ApiError) as error:
        raise UsageError(str(error)) from error


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
        say(f"the Workflow {workflow} is suspended: the run waits until its spec.suspend is false", to=sys.stderr)
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
    """The spec of a Workflow that the operator found nothing wrong with."""
    name = body["metadata"]["name"]
    body = readable(body)
    for condition in (body.get("status") or {}).get("conditions") or ():
        current = condition.get("observedGeneration") == body["metadata"].get("generation")
        if condition["type"] == "Ready" and condition["status"] == "False" and current:
            raise UsageError(f"Workflow {name} cannot run: {condition.get('message')}")
    try:
        return read(body["spec"], WorkflowSpec)
    except ValueError as error:
        raise UsageError(f"Workflow {name} was written for another version of nexus: {error}") from error


async def schedules_of(api: KubeApi, namespace: str, workflow: str) -> Source:
    """The schedules of a Workflow. Raises Refused where it is not there or not sound."""
    body = await found(api, WORKFLOWS, namespace, workflow)
    return Source(workflow, body["metadata"]["uid"], sound(body))


def _checked_params(
    spec: WorkflowSpec, read: given.Params, namespace: str, workflow: str, as_of: AsOf | None
) -> dict[str, Any]:
    """The params that the run is given: those of its tick's schedule too, unless they are given by hand."""
    fact = RunFact(namespace, f"{workflow}-check", "check", datetime.now(UTC), workflow=workflow, params=read.values)
    try:
        with CelEvaluator() as evaluator:
            if as_of is not None:
                fact = told(as_of, fact, evaluator)
            resolve(spec.params or (), fact.params, fact, evaluator)
    except ParamsInvalid as error:
        raise UsageError(*read.problems, *read.others(error.problems)) from error
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
    """The metadata of a new run of a Workflow."""
    name, namespace, uid = (workflow["metadata"][field] for field in ("name", "namespace", "uid"))
    return {
        "generateName": f"{name}-",
        "namespace": namespace,
        "labels": {LABEL_WORKFLOW: label_value(name)},
        "ownerReferences": owned_by("Workflow", name, uid),
    }


async def list_runs(api: KubeApi, namespace: str, *, as_json: bool) -> Exit:
    """Print the runs of a namespace, oldest first."""
    runs = await api.list(WORKFLOW_RUNS, namespace, in_brief=not as_json)
    runs.sort(key=lambda run: str(run["metadata"]["creationTimestamp"]))
    if as_json:
        listing = {
            "apiVersion": "v1",
            "kind": "List",
            "metadata": {},
            "items": [*map(follow.printed, runs)],
        }
        say_json(listing)
    elif runs:
        say("\n".join(detail.table_of_runs(runs, datetime.now(UTC))))
    else:
        say(f"No runs found in namespace {namespace}.", to=sys.stderr)
    return Exit.SUCCEEDED


async def show_run(api: KubeApi, namespace: str, name: str, *, as_json: bool, now: datetime | None = None) -> Exit:
    """Print one run as of `now`: what it is, its tasks, its outputs."""
    run = await found(api, WORKFLOW_RUNS, namespace, name)
    if why := unreadable(run):
        say(f"run {name} cannot be read as a whole: {why}", to=sys.stderr)
    if as_json:
        follow.say_run(run)
    else:
        now = now or datetime.now(UTC)
        say("\n".join(detail.of_run(run, now)), flush=True)
        age = (now - parse_time(run["metadata"]["creationTimestamp"])).total_seconds()
        if follow.untouched(run) and age >= follow.PATIENCE:
            say(follow.nobody_there(run), to=sys.stderr)
    return Exit.SUCCEEDED


def readable(body: Object) -> Object:
    """The object itself. Raises Refused where it nests deeper than is read."""
    if why := unreadable(body):
        raise UsageError(f"{body.get('kind', 'object')} {body['metadata']['name']} cannot be read: {why}")
    return body


async def found(api: KubeApi, kind: Kind, namespace: str, name: str) -> Object:
    """An object. Raises Refused with the name that was meant, where there is one like it."""
    try:
        return await api.get(kind, namespace, name)
    except NotFound:
        pass
    try:
        names = [item["metadata"]["name"] for item in await api.list(kind, namespace, in_brief=True)]
    except NotFound as error:
        raise UsageError(
            f"this cluster does not know {kind.plural}: install them with kubectl apply -f crds/"
        ) from error
    close = closest(name, names)
    known = f"there are {', '.join(sorted(names)[:10])}" if names else "there is none"
    hint = f"did you mean {close[0]}?" if close else known
    raise UsageError(f"there is no {kind.kind} {name} in namespace {namespace}: {hint}")
