"""Commands that talk to a cluster: make a run, list runs, show one."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.access import AccessError, find_access
from nexus.adapters.kube.api import WORKFLOW_RUNS, WORKFLOWS, ApiError, Kind, KubeApi, NotFound, Object
from nexus.adapters.kube.client import KubeClient
from nexus.adapters.kube.owners import owned_by
from nexus.api.base import API_VERSION, parse_time
from nexus.api.run import Trigger
from nexus.api.workflow import WorkflowSpec
from nexus.cli import detail, follow, given
from nexus.cli.ending import Exit, Refused
from nexus.core.facts import RunFact
from nexus.core.names import LABEL_WORKFLOW, label_value
from nexus.core.params import ParamsInvalid, resolve


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
        async with KubeClient(access) as api:
            yield api, target.namespace or access.namespace
    except (AccessError, ApiError) as error:
        raise Refused(str(error)) from error


async def run_workflow(
    api: KubeApi, namespace: str, workflow: str, param_texts: Sequence[str], *, output: str | None, watch: bool
) -> Exit:
    """Make a WorkflowRun, and with `watch` follow it to its end."""
    body = await found(api, WORKFLOWS, namespace, workflow)
    spec = _sound(body)
    params = given.params(param_texts, spec.params or ())
    _check_params(spec, params, namespace, workflow)
    made = await api.create(WORKFLOW_RUNS, namespace, _run_of(body, params))
    name = made["metadata"]["name"]
    if spec.suspend:
        print(f"the Workflow {workflow} is suspended: the run waits until its spec.suspend is false", file=sys.stderr)
    if not (watch and output == "json"):
        shown = {"json": json.dumps(made, ensure_ascii=False, indent=2), "name": f"workflowrun.nexus.dev/{name}"}
        print(shown.get(output or "", name), flush=True)
    if not watch:
        return Exit.SUCCEEDED
    stream = sys.stderr if output == "json" else sys.stdout
    return await follow.to_the_end(api, made, spec, stream, as_json=output == "json")


def _sound(body: Object) -> WorkflowSpec:
    """The spec of a Workflow that the operator found nothing wrong with."""
    name = body["metadata"]["name"]
    for condition in (body.get("status") or {}).get("conditions") or ():
        current = condition.get("observedGeneration") == body["metadata"].get("generation")
        if condition["type"] == "Ready" and condition["status"] == "False" and current:
            raise Refused(f"Workflow {name} cannot run: {condition.get('message')}")
    try:
        return WorkflowSpec.model_validate(body["spec"])
    except ValidationError as error:
        raise Refused(f"Workflow {name} was written for another version of nexus: {error}") from error


def _check_params(spec: WorkflowSpec, params: dict[str, Any], namespace: str, workflow: str) -> None:
    fact = RunFact(namespace, f"{workflow}-check", "check", datetime.now(UTC), workflow=workflow, params=params)
    try:
        with CelEvaluator() as evaluator:
            resolve(spec.params or (), params, fact, evaluator)
    except ParamsInvalid as error:
        raise Refused(*error.problems) from error


def _run_of(workflow: Object, params: dict[str, Any]) -> Object:
    metadata = workflow["metadata"]
    spec: Object = {"workflowRef": {"name": metadata["name"]}, "triggeredBy": Trigger.MANUAL.value}
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": {LABEL_WORKFLOW: label_value(metadata["name"])},
            "ownerReferences": owned_by("Workflow", metadata["name"], metadata["uid"]),
        },
        "spec": {**spec, "params": params} if params else spec,
    }


async def list_runs(api: KubeApi, namespace: str, *, as_json: bool) -> Exit:
    """Print the runs of a namespace, oldest first."""
    runs = sorted(await api.list(WORKFLOW_RUNS, namespace), key=lambda run: str(run["metadata"]["creationTimestamp"]))
    if as_json:
        listing = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": runs}
        print(json.dumps(listing, ensure_ascii=False, indent=2))
    elif runs:
        print("\n".join(detail.table_of_runs(runs, datetime.now(UTC))))
    else:
        print(f"No runs found in namespace {namespace}.", file=sys.stderr)
    return Exit.SUCCEEDED


async def show_run(api: KubeApi, namespace: str, name: str, *, as_json: bool, now: datetime | None = None) -> Exit:
    """Print one run as of `now`: what it is, its tasks, its outputs."""
    run = await found(api, WORKFLOW_RUNS, namespace, name)
    if as_json:
        print(json.dumps(run, ensure_ascii=False, indent=2))
    else:
        now = now or datetime.now(UTC)
        print("\n".join(detail.of_run(run, now)), flush=True)
        age = (now - parse_time(run["metadata"]["creationTimestamp"])).total_seconds()
        if follow.untouched(run) and age >= follow.PATIENCE:
            print(follow.nobody_there(run), file=sys.stderr)
    return Exit.SUCCEEDED


async def found(api: KubeApi, kind: Kind, namespace: str, name: str) -> Object:
    """An object. Raises Refused with the name that was meant, where there is one like it."""
    try:
        return await api.get(kind, namespace, name)
    except NotFound:
        pass
    try:
        names = [item["metadata"]["name"] for item in await api.list(kind, namespace)]
    except NotFound as error:
        raise Refused(f"this cluster does not know {kind.plural}: install them with kubectl apply -f crds/") from error
    close = difflib.get_close_matches(name, names, n=1)
    known = f"there are {', '.join(sorted(names)[:10])}" if names else "there is none"
    hint = f"did you mean {close[0]}?" if close else known
    raise Refused(f"there is no {kind.kind} {name} in namespace {namespace}: {hint}")
