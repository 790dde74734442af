"""Runs in the cluster: list them, show one, find what is named."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime

from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, Forbidden, Kind, KubeApi, NotFound, Object
from nexus.adapters.kube.client.brief import unreadable
from nexus.api.base import parse_time
from nexus.api.reasons import Reason
from nexus.cli.ending import Exit, UsageError
from nexus.cli.listing import Filters, fitting
from nexus.cli.terminal import say, say_json
from nexus.core.text.similar_names import closest, did_you_mean


async def list_runs(api: KubeApi, namespace: str, *, as_json: bool, wanted: Filters | None = None) -> Exit:
    """Print the runs of a namespace that fit, oldest first unless `wanted` says otherwise."""
    wanted, now = wanted or Filters(), datetime.now(UTC)
    runs = await fitting(api, namespace, wanted, in_brief=not as_json, now=now)
    if as_json:
        from nexus.cli import follow

        listing = {
            "apiVersion": "v1",
            "kind": "List",
            "metadata": {},
            "items": [*map(follow.printed, runs)],
        }
        say_json(listing)
    elif runs:
        from nexus.cli import detail

        say("\n".join(detail.table_of_runs(runs, now)))
    elif wanted == Filters(sort=wanted.sort, limit=wanted.limit):
        say(f"No runs found in namespace {namespace}.", to=sys.stderr)
    else:
        say(f"No runs match the filters in namespace {namespace}.", to=sys.stderr)
    return Exit.SUCCEEDED


async def show_run(api: KubeApi, namespace: str, name: str, *, as_json: bool, now: datetime | None = None) -> Exit:
    """Print one run as of `now`: what it is, its tasks, its outputs."""
    run = await found(api, WORKFLOW_RUNS, namespace, name)
    from nexus.cli import detail, follow

    if why := unreadable(run):
        say(f"run {name} cannot be read completely: {why}", to=sys.stderr)
    if as_json:
        follow.say_run(run)
    else:
        now = now or datetime.now(UTC)
        say("\n".join(detail.of_run(run, now)), flush=True)
        await _say_unready(api, run)
        age = (now - parse_time(run["metadata"]["creationTimestamp"])).total_seconds()
        if follow.untouched(run) and age >= follow.PATIENCE:
            say(follow.nobody_there(run), to=sys.stderr)
    return Exit.SUCCEEDED


async def _say_unready(api: KubeApi, run: Object) -> None:
    """Say what is wrong with the Workflow of a run that was refused because of it, and still is."""
    refused = (run.get("status") or {}).get("reason") == Reason.WORKFLOW_INVALID
    name = (run["spec"].get("workflowRef") or {}).get("name")
    if not refused or not name:
        return
    from nexus.cli.unready import refusal

    # Who may read runs need not be able to read Workflows.
    with suppress(NotFound, Forbidden):
        if why := refusal(await api.get(WORKFLOWS, run["metadata"]["namespace"], name)):
            say("\n".join(["", why[0], *(f"  {line}" for line in why[1:])]))


def readable(body: Object) -> Object:
    """Return the object itself. Raises UsageError where it nests deeper than is read."""
    if why := unreadable(body):
        raise UsageError(f"{body.get('kind', 'object')} {body['metadata']['name']} cannot be read: {why}")
    return body


async def found(api: KubeApi, kind: Kind, namespace: str, name: str) -> Object:
    """Return an object. Raises UsageError with the name that was meant, where there is one like it."""
    try:
        return await api.get(kind, namespace, name)
    except NotFound:
        pass
    try:
        names = [item["metadata"]["name"] for item in await api.list(kind, namespace, in_brief=True)]
    except NotFound as error:
        raise UsageError(
            f"the CRD of {kind.plural} is not installed; install it with kubectl apply -f crds/"
        ) from error
    close = closest(name, names)
    known = f"existing: {', '.join(sorted(names)[:10])}" if names else "there are none"
    hint = did_you_mean(close) if close else known
    raise UsageError(f'{kind.kind} "{name}" not found in namespace {namespace}; {hint}')
