"""`nexus plan FILE`: what a run would do, offline."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nexus.api.base import format_time
from nexus.api.workflow import WorkflowSpec
from nexus.cli import given
from nexus.cli.ending import Exit, UsageError
from nexus.cli.local import fact_of, params_problems, what_runs
from nexus.cli.located import Located
from nexus.cli.manifests import load_sound
from nexus.cli.schedule import time_of, told
from nexus.cli.summary import compact, param
from nexus.cli.terminal import say, say_json
from nexus.cli.view import levels
from nexus.core.data.params import resolve
from nexus.core.engine.preview import Fails, Forecast, Foreseen, foresee
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition, prepare, waits_for
from nexus.core.model.facts import RunFact
from nexus.core.schedule.as_of import of_time
from nexus.core.schedule.timetable import Timetable

TICKS = 3
"""Ticks of each schedule that are shown."""
_ITEMS_BESIDE = 3
"""Items that are named beside their task."""
_WORDS = {
    Forecast.RUNS: "runs",
    Forecast.DEPENDS: "runs",
    Forecast.SKIPPED: "does not run",
    Forecast.UNLESS_WELL: "does not run as long as all goes well",
    Forecast.FAILS: "fails",
}


@dataclass(frozen=True)
class Planned:
    """A run that is not made."""

    workflow: str
    run: RunFact
    schedule: str | None
    params: dict[str, Any]
    definition: Definition
    tasks: Sequence[Foreseen]
    now: datetime
    warnings: Sequence[Located] = ()

    @property
    def spec(self) -> WorkflowSpec:
        """Its definition as it is written."""
        return self.definition.spec


def plan(file: str, param_texts: Sequence[str], evaluator: Evaluator, *, at: str | None, as_json: bool) -> Exit:
    """Print what a run of a file would do. Raises Refused where it would be refused."""
    planned = planned_run(file, param_texts, evaluator, at)
    if as_json:
        say_json(_object(planned))
    else:
        say("\n".join(_lines(planned)))
    for warning in planned.warnings:
        say(str(warning), to=sys.stderr)
    fails = any(task.verdict is Forecast.FAILS for task in planned.tasks)
    return Exit.FAILED if fails else Exit.SUCCEEDED


def planned_run(file: str, param_texts: Sequence[str], evaluator: Evaluator, at: str | None) -> Planned:
    """Find out what would run. Raises Refused with all that is wrong."""
    time = time_of(at, "--at") if at else None
    manifest = load_sound(file, evaluator)
    asked, spec, document, name = what_runs(manifest)
    read = given.params(param_texts, spec.params or ())
    run = fact_of(asked, name, read.values, manifest)
    as_of = of_time(spec.schedules or (), time) if time is not None else None
    if as_of is not None:
        run = told(as_of, run, evaluator)
    problems = [*read.problems, *params_problems(manifest, asked, document, run, spec, evaluator, read)]
    if problems:
        raise UsageError(*problems)
    definition = prepare(spec)
    tasks = foresee(definition, run, run.created_at, evaluator)
    values = resolve(spec.params or (), run.params, run, evaluator)
    schedule = as_of.schedule if as_of else None
    return Planned(name, run, schedule, values, definition, tasks, datetime.now(UTC), manifest.warnings)


def _levels(definition: Definition) -> dict[str, int]:
    """The level of each task, from 1: those of one level could run side by side."""
    waits = waits_for(definition.spec)
    return {name: level + 1 for name, level in levels({name: waits[name] for name in definition.nodes}).items()}


def _lines(planned: Planned) -> Iterator[str]:
    found = _levels(planned.definition)
    scheduled = planned.run.scheduled_time
    as_of = f", as of {_utc(scheduled)}" if scheduled is not None else ""
    tick = f" (a tick of schedule {planned.schedule})" if planned.schedule else ""
    tasks, high = len(found), max(found.values())
    name = planned.workflow or "its own definition"
    yield f"{name}: {_count(tasks, 'task')} in {_count(high, 'level')}{as_of}{tick}"
    if planned.params:
        yield ""
        yield "Params"
        yield from (f"  {name} = {param(value)}" for name, value in planned.params.items())
    yield ""
    yield from _task_lines(planned, found)
    ticks = list(_ticks(planned))
    if ticks:
        yield ""
        yield "Next"
        yield from (f"  {tick['schedule']}  {tick['localTime']} {tick['timeZone']}" for tick in ticks)


def _task_lines(planned: Planned, found: dict[str, int]) -> Iterator[str]:
    """The tasks by level, each with the fields that its expressions make."""
    width = max(map(len, found))
    kinds = max(len(node.type) for node in planned.definition.nodes.values())
    last = 0
    for task in sorted(planned.tasks, key=lambda task: found[task.task]):  # stable: else as they are written
        node = planned.definition.nodes[task.task]
        level = found[task.task]
        shown = str(level) if level != last else ""
        yield f"{shown:>3}  {task.task:{width}}  {node.type:{kinds}}  {_words(task, node.final)}"
        last = level
        yield from (f"     {'':{width}}    {line}" for line in _field_lines(task))


def _field_lines(task: Foreseen) -> Iterator[str]:
    """The fields that expressions make: those that are the same for all items, then each item with its own."""
    own = {name for name, value in task.fields.items() if any(each.get(name) != value for each in task.each)}
    yield from (_field(name, value) for name, value in task.fields.items() if name not in own)
    if not own and (task.total or 0) <= _ITEMS_BESIDE:
        return
    for index, (item, fields) in enumerate(zip(task.items or (), task.each, strict=True)):
        yield f"item {index} = {compact(item)}"
        yield from (f"  {_field(name, value)}" for name, value in fields.items() if name in own)
    if (more := (task.total or 0) - len(task.each)) > 0:
        yield f"and {_count(more, 'more item')}"


def _field(name: str, value: Any) -> str:
    return str(value) if isinstance(value, Fails) else f"{name} = {compact(value)}"


def _words(task: Foreseen, final: bool) -> str:
    words = _WORDS[task.verdict]
    if task.items is not None and task.verdict is not Forecast.FAILS:
        words += f" {_items(task)}"
    if task.why:
        words += f" {task.why}" if task.verdict is Forecast.DEPENDS else f": {task.why}"
    return words + (" (finally)" if final else "")


def _items(task: Foreseen) -> str:
    items = task.items or ()
    if task.total is None:
        return f"for each of {' x '.join(map(str, items))}"
    shown = ", ".join(item if isinstance(item, str) else compact(item) for item in items[:_ITEMS_BESIDE])
    more = ", ..." if task.total > _ITEMS_BESIDE else ""
    return f"for {_count(task.total, 'item')}" + (f": {shown}{more}" if items else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _ticks(planned: Planned) -> Iterator[dict[str, Any]]:
    for schedule in planned.spec.schedules or ():
        table = Timetable(schedule, planned.run.uid)
        at = planned.now
        for _ in range(TICKS):
            tick = table.next(at)
            if tick is None:
                break
            at = tick.time
            local = f"{at.astimezone(table.zone):%Y-%m-%d %H:%M:%S}".removesuffix(":00")
            suspended = bool(schedule.suspend or planned.spec.suspend)
            yield {
                "schedule": schedule.name,
                "time": _utc(at),
                "localTime": local,
                "timeZone": table.zone.key,
                "suspended": suspended,
            }


def _object(planned: Planned) -> dict[str, Any]:
    """For `-o json`."""
    found = _levels(planned.definition)
    run = planned.run
    tasks = []
    for task in planned.tasks:
        node = planned.definition.nodes[task.task]
        entry: dict[str, Any] = {
            "name": task.task,
            "type": node.type,
            "level": found[task.task],
            "dependsOn": list(node.depends_on),
            "finally": node.final,
            "verdict": task.verdict.value,
            "why": task.why or None,
            "fields": dict(task.fields),
        }
        if task.items is not None:
            entry |= {"items": list(task.items), "totalItems": task.total, "itemFields": [*map(dict, task.each)]}
        tasks.append(entry)
    return {
        "workflow": planned.workflow or None,
        "scheduledTime": _utc(run.scheduled_time) if run.scheduled_time is not None else None,
        "schedule": planned.schedule,
        "params": planned.params,
        "tasks": tasks,
        "next": list(_ticks(planned)),
    }


def _utc(at: datetime) -> str:
    return format_time(at).replace(".000Z", "Z")
