"""Following a run in the cluster by a watch."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import IO

from nexus.adapters.kube.cache.other_version import known_part
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, Expired, KubeApi, NotFound, Object, ServerError, Unreachable
from nexus.api.packed import unpacked
from nexus.api.run import WorkflowRunStatus
from nexus.api.workflow import WorkflowSpec
from nexus.cli.ending import Exit, UsageError, of_phase
from nexus.cli.terminal import say, say_json
from nexus.core.names import LABEL_WORKFLOW

# Between two tries where the API server is away for a moment.
_PAUSE = 1.0
PATIENCE = 5.0
"""Seconds after which a run that no operator has looked at is worth a word; one that is there takes well below one."""


async def states(api: KubeApi, namespace: str, name: str) -> AsyncIterator[Object]:
    """Yield a run, and then again each time it changes, until it has ended. Raises Refused where it is deleted."""
    uid: str | None = None
    while True:
        try:
            run = await api.get(WORKFLOW_RUNS, namespace, name)
            if uid is not None and run["metadata"]["uid"] != uid:
                raise UsageError(f"run {name} was deleted, and another one was created with its name")
            uid = run["metadata"]["uid"]
            yield run
            if has_ended(run):
                return
            async for newer in _changes(api, namespace, run):
                yield newer
                if has_ended(newer):
                    return
        except NotFound as error:
            raise UsageError(f"run {name} was deleted") from error
        except Expired:
            continue
        except (Unreachable, ServerError):
            await asyncio.sleep(_PAUSE)


async def _changes(api: KubeApi, namespace: str, run: Object) -> AsyncIterator[Object]:
    """Yield what a watch tells of one run, until the server ends it."""
    metadata = run["metadata"]
    label = (metadata.get("labels") or {}).get(LABEL_WORKFLOW)
    # Watching all of a namespace's runs works too; the label only spares the others' traffic.
    selector = f"{LABEL_WORKFLOW}={label}" if label else ""
    async for event in api.watch(WORKFLOW_RUNS, namespace, selector, metadata["resourceVersion"]):
        if event.object["metadata"]["uid"] != metadata["uid"]:
            continue
        if event.type == "DELETED":
            raise UsageError(f"run {metadata['name']} was deleted")
        yield event.object


def has_ended(run: Object) -> bool:
    """Return True where the run will not change any more."""
    return status_of(run).phase.ended


def status_of(run: Object) -> WorkflowRunStatus:
    """Return the status of a run as its model, without what a newer operator alone knows; an empty one where it has
    none yet. Raises ValidationError."""
    return known_part(run.get("status") or {}, WorkflowRunStatus)


def untouched(run: Object) -> bool:
    """Return True where no operator has written anything of a run yet."""
    return (run.get("status") or {}).get("observedGeneration") is None and not has_ended(run)


def nobody_there(run: Object) -> str:
    """Return what to say of a run that stays untouched."""
    namespace, name = run["metadata"]["namespace"], run["metadata"]["name"]
    return (
        f"nothing has taken run {name} up yet: is an operator running for namespace {namespace}? "
        f"(nexus operator -n {namespace})"
    )


@asynccontextmanager
async def _patience(seconds: float, speak: Callable[[], None]) -> AsyncIterator[asyncio.TimerHandle]:
    """Call `speak` after `seconds`, unless the timer was cancelled or the block was left before."""
    timer = asyncio.get_running_loop().call_later(seconds, speak)
    try:
        yield timer
    finally:
        timer.cancel()


async def to_the_end(
    api: KubeApi, run: Object, spec: WorkflowSpec, stream: IO[str], *, as_json: bool, patience: float = PATIENCE
) -> Exit:
    """Show a run until it has ended, and its result. Ctrl-C ends the watching, not the run.

    `patience` is for an operator to take the run up, in seconds.
    """
    from nexus.cli import summary, view

    namespace, name = run["metadata"]["namespace"], run["metadata"]["name"]
    depends_on = dependencies(spec)
    try:
        with view.choose(name, stream, depends_on) as shown:
            hint = nobody_there(run)
            async with _patience(patience, lambda: shown.hint(hint)) as timer:
                async for run in states(api, namespace, name):
                    if not untouched(run):
                        timer.cancel()
                    shown.status(status_of(run))
    except asyncio.CancelledError:
        say(f"stopped watching; the run continues: nexus get {name} -n {namespace}", to=sys.stderr)
        raise
    status = status_of(run)
    outputs = {task.name: unpacked(task.output) for task in status.tasks or () if task.output}
    for line in summary.lines(name, status, outputs, depends_on):
        say(line, to=stream)
    if as_json:
        say_run(run)
    return of_phase(status.phase)


def printed(run: Object) -> Object:
    """Return a run for `-o json`: as with kubectl without who wrote which of its fields, which is longer than the
    run."""
    return {**run, "metadata": {name: value for name, value in run["metadata"].items() if name != "managedFields"}}


def say_run(run: Object) -> None:
    """Print a run for `-o json`."""
    say_json(printed(run))


def dependencies(spec: WorkflowSpec) -> Mapping[str, tuple[str, ...]]:
    """Return what each task waits for, in an order in which dependencies come first. A definition with errors has no
    order: its run ends before any task is there to be shown."""
    from graphlib import CycleError

    from nexus.core.model.definition import waits_for
    from nexus.core.model.graph import ordered

    graph = waits_for(spec)
    try:
        return {name: graph.get(name, ()) for name in ordered(graph)}
    except CycleError:
        return {}
