"""`nexus backfill`: runs for the past ticks of a schedule, a number of them at a time.

A tick's run has the same name whoever makes it. So whatever stops a backfill, the same command continues it, and a
tick that has a run already is left alone.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import typer

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.cache.siblings import sibling
from nexus.adapters.kube.client.api import (
    WORKFLOW_RUNS,
    AlreadyExists,
    Expired,
    KubeApi,
    Object,
    ServerError,
    Unreachable,
)
from nexus.adapters.kube.owners import owned_by
from nexus.api.base import API_VERSION, format_time, parse_time
from nexus.api.reasons import RunPhase
from nexus.api.run import Trigger, WorkflowRef, WorkflowRunSpec
from nexus.cli.ending import Exit, UsageError
from nexus.cli.schedule import time_of, told
from nexus.cli.terminal import say, say_json
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import RunFact
from nexus.core.names import BACKFILL_ENDS, LABEL_BACKFILL, LABEL_WORKFLOW, digest, label_value, scheduled_run_name
from nexus.core.schedule.as_of import of_tick
from nexus.core.schedule.timetable import Tick, Timetable
from nexus.core.workflow.facts import RunSummary
from nexus.core.workflow.ticks import is_run_of
from nexus.services.calendar import Source

MOST = 1_000
_MICROSECOND = timedelta(microseconds=1)
_PAUSE = 1.0


@dataclass(frozen=True)
class Asked:
    """The backfill that the user asks for."""

    source: Source
    timetable: Timetable
    start: datetime
    end: datetime

    @property
    def label(self) -> str:
        """What marks its runs: the same command gives the same one."""
        schedule = self.timetable.schedule.name
        return digest(self.source.uid, schedule, format_time(self.start), format_time(self.end))

    def name_of(self, tick: Tick) -> str:
        """Return the name of the run of a tick."""
        return scheduled_run_name(self.source.workflow, self.source.uid, self.timetable.schedule.name, tick.time)

    def is_of(self, run: RunSummary, tick: Tick) -> bool:
        """Return whether a run is the tick's run, and not another one that was created with its name."""
        return is_run_of(run, self.source.uid, self.timetable.schedule.name, tick.time)


def asked(source: Source, schedule: str | None, from_text: str, to_text: str, now: datetime) -> Asked:
    """Return what is to be filled. Raises Refused where that is unclear, or still to come."""
    names = [entry.name for entry in source.spec.schedules or ()]
    if not names:
        raise UsageError(f"{source.workflow} has no schedules, and therefore no ticks to backfill")
    if schedule is None and len(names) > 1:
        raise UsageError(f"{source.workflow} has several schedules; select one with --schedule {' or '.join(names)}")
    if schedule is not None and schedule not in names:
        raise UsageError(f"{source.workflow} has no schedule {schedule} (known: {', '.join(names)})")
    start, end = time_of(from_text, "--from"), time_of(to_text, "--to")
    if start >= end:
        raise UsageError("--to must be after --from; the ticks from --from until before --to are backfilled")
    if end > now + timedelta(minutes=1):
        raise UsageError(f"--to {to_text} is in the future; the schedule itself creates those runs")
    chosen = next(entry for entry in source.spec.schedules or () if schedule in (None, entry.name))
    return Asked(source, Timetable(chosen, source.uid), start, end)


def ticks_of(wanted: Asked) -> list[Tick]:
    """Return the ticks to fill, oldest first. Raises Refused where there are more than one backfill takes."""
    found = list(_ticks(wanted))
    if len(found) > MOST:
        raise UsageError(f"more than {MOST:,} ticks; backfill them in parts, with a later --from or an earlier --to")
    return found


def _ticks(wanted: Asked) -> Iterator[Tick]:
    after = wanted.start - _MICROSECOND
    for _ in range(MOST + 1):
        tick = wanted.timetable.next(after)
        if tick is None or tick.time >= wanted.end:
            return
        yield tick
        after = tick.time


async def backfill(
    api: KubeApi, namespace: str, wanted: Asked, parallel: int, *, dry_run: bool, yes: bool, as_json: bool
) -> Exit:
    """List the ticks and which of them have a run; ask; make the others, `parallel` at a time, and wait for all."""
    ticks = ticks_of(wanted)
    listed = await _listed(api, namespace, wanted)
    runs = [run for run in listed if run.workflow_uid == wanted.source.uid]
    there = {run.name: run for run in listed}
    _check_names(wanted, ticks, there)
    missing = [tick for tick in ticks if wanted.name_of(tick) not in there]
    _print(wanted, ticks, there, as_json=as_json)
    open_ = [run for run in runs if run.backfill == wanted.label and not run.ended]
    if dry_run or not (missing or open_):
        return Exit.SUCCEEDED
    if missing and not yes:
        _ask(len(missing))
    with CelEvaluator() as evaluator:
        bodies = _bodies(namespace, wanted, missing, runs, evaluator)
    phases = await _fill(api, namespace, wanted, bodies, parallel, sys.stderr if as_json else sys.stdout)
    return Exit.SUCCEEDED if all(phase is RunPhase.SUCCEEDED for phase in phases) else Exit.FAILED


def _print(wanted: Asked, ticks: Sequence[Tick], there: Mapping[str, RunSummary], *, as_json: bool) -> None:
    rows = [(tick, wanted.name_of(tick)) for tick in ticks]
    if as_json:
        entries = [
            {"time": format_time(tick.time), "run": name, "exists": name in there, "note": tick.note or None}
            for tick, name in rows
        ]
        say_json({"ticks": entries})
        return
    for tick, name in rows:
        state = f"has a run, {there[name].phase.value}" if name in there else "to be created"
        note = f"  ({tick.note})" if tick.note else ""
        say(f"{tick.time.astimezone(wanted.timetable.zone):%Y-%m-%d %H:%M %Z}  {name}  {state}{note}")
    if not rows:
        say(f"no tick of schedule {wanted.timetable.schedule.name} in this period")


def _ask(count: int) -> None:
    question = f"create {count} run{'s' if count > 1 else ''}?"
    if not sys.stdin.isatty():
        raise UsageError(f"{question} no terminal to ask on; confirm with --yes")
    if not typer.confirm(question, err=True):
        raise UsageError("nothing was created")


async def _listed(api: KubeApi, namespace: str, wanted: Asked) -> list[RunSummary]:
    label = f"{LABEL_WORKFLOW}={label_value(wanted.source.workflow)}"
    return [sibling(body) for body in await api.list(WORKFLOW_RUNS, namespace, label)]


def _check_names(wanted: Asked, ticks: Sequence[Tick], there: Mapping[str, RunSummary]) -> None:
    """Check the names of the runs to make. Raises Refused, before any is made, if another run has one of them."""
    names = [(tick, wanted.name_of(tick)) for tick in ticks]
    taken = [name for tick, name in names if name in there and not wanted.is_of(there[name], tick)]
    if taken:
        raise _taken(*taken)


def _taken(*names: str) -> UsageError:
    words = "exists and is not the run of its tick; delete or rename it"
    return UsageError(*(f"a WorkflowRun {name} {words}" for name in names))


def _bodies(
    namespace: str, wanted: Asked, ticks: Sequence[Tick], runs: Sequence[RunSummary], evaluator: Evaluator
) -> list[Object]:
    """Return the runs to make. Raises Refused, before any is made, where the schedule's params do not fit."""
    of_this = [run.name for run in runs if run.backfill == wanted.label]
    names = [wanted.name_of(tick) for tick in ticks]
    # Minutes since 1970 are in the names before the hash: of one schedule they sort by time, for a long while.
    last = max(names + of_this, default="")
    return [_body(namespace, wanted, tick, last, evaluator) for tick in ticks]


def _body(namespace: str, wanted: Asked, tick: Tick, last: str, evaluator: Evaluator) -> Object:
    source, name, as_of = wanted.source, wanted.name_of(tick), of_tick(wanted.timetable, tick)
    run = RunFact(namespace, name, "", tick.time, workflow=source.workflow, trigger=Trigger.BACKFILL)
    fact = told(as_of, run, evaluator)
    try:
        resolve(source.spec.params or (), fact.params, fact, evaluator)
    except ParamsInvalid as error:
        raise UsageError(*map(str, error.problems)) from error
    made = WorkflowRunSpec(workflow_ref=WorkflowRef(name=source.workflow), triggered_by=Trigger.BACKFILL)
    params: dict[str, Any] = {"params": dict(fact.params)} if fact.params else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {LABEL_WORKFLOW: label_value(source.workflow), LABEL_BACKFILL: wanted.label},
            "annotations": {BACKFILL_ENDS: last},
            "ownerReferences": owned_by("Workflow", source.workflow, source.uid),
        },
        # Params may be null, and stay so.
        "spec": {**as_of.spec(made).to_json(), **params},
    }


async def _fill(
    api: KubeApi, namespace: str, wanted: Asked, bodies: Sequence[Object], parallel: int, stream: IO[str]
) -> list[RunPhase]:
    """Make the runs in order, never more than `parallel` that have not ended; returns how all of them ended."""
    waiting = list(bodies)
    unseen: set[str] = set()  # made, but the watch has not shown it yet
    ended: dict[str, RunPhase] = {}
    say(f"backfill {wanted.label}: if interrupted, run the same command to continue", to=sys.stderr)
    async with aclosing(_states(api, namespace, wanted.label)) as states:
        async for runs in states:
            unseen -= runs.keys()
            for name, run in runs.items():
                if run.ended and name not in ended:
                    ended[name] = run.phase
                    say(f"{name} {run.phase.value}", to=stream, flush=True)
            live = len(unseen) + sum(not run.ended for run in runs.values())
            while waiting and live < parallel:
                body = waiting.pop(0)
                if await _made(api, namespace, wanted, body):
                    unseen.add(body["metadata"]["name"])
                    live += 1
            if not waiting and not live:
                break
    return list(ended.values())


async def _made(api: KubeApi, namespace: str, wanted: Asked, body: Object) -> bool:
    """Make a run; False where the tick has got one meanwhile. Raises Refused where that one is not the tick's."""
    name, schedule = body["metadata"]["name"], wanted.timetable.schedule.name
    try:
        await api.create(WORKFLOW_RUNS, namespace, body)
    except AlreadyExists:
        found = sibling(await api.get(WORKFLOW_RUNS, namespace, name))
        if not is_run_of(found, wanted.source.uid, schedule, parse_time(body["spec"]["scheduledTime"])):
            raise _taken(name) from None
        return False
    return True


async def _states(api: KubeApi, namespace: str, label: str) -> AsyncGenerator[dict[str, RunSummary], None]:
    """Yield the runs of a backfill by name, and again with each change."""
    selector = f"{LABEL_BACKFILL}={label}"
    while True:
        try:
            listing = await api.list(WORKFLOW_RUNS, namespace, selector)
            runs = {run.name: run for run in map(sibling, listing)}
            yield dict(runs)
            async for event in api.watch(WORKFLOW_RUNS, namespace, selector, listing.resource_version):
                run = sibling(event.object)
                if event.type == "DELETED":
                    runs.pop(run.name, None)
                else:
                    runs[run.name] = run
                yield dict(runs)
        except Expired:
            continue
        except (Unreachable, ServerError):
            await asyncio.sleep(_PAUSE)


def now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)
