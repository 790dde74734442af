"""`nexus plan FILE`: what a run would do, offline."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from nexus.cli import given
from nexus.cli.ending import Exit
from nexus.cli.local import fact_of, params_problems, what_runs
from nexus.cli.located import Located
from nexus.cli.manifests import Unsound, load_sound
from nexus.cli.schedule import time_of, told
from nexus.cli.summary import compact, param
from nexus.cli.terminal import say, say_json
from nexus.core.engine.preview import Fails, Forecast, Foreseen
from nexus.core.expressions.templates import Evaluator
from nexus.core.schedule.as_of import of_time
from nexus.services.calendar import utc
from nexus.services.plan import Planned, levels_of, next_ticks, plan_run, to_json

_ITEMS_BESIDE = 3
"""Items that are named beside their task."""
_WORDS = {
    Forecast.RUNS: "runs",
    Forecast.DEPENDS: "runs",
    Forecast.SKIPPED: "does not run",
    Forecast.UNLESS_WELL: "runs only after a failure",
    Forecast.FAILS: "fails",
}


def plan(file: str, param_texts: Sequence[str], evaluator: Evaluator, *, at: str | None, as_json: bool) -> Exit:
    """Print what a run of a file would do. Raises UsageError where it would be refused: with `as_json` the problems are
    printed too."""
    try:
        planned, warnings = planned_run(file, param_texts, evaluator, at)
    except Unsound as error:
        if as_json:
            say_json({"problems": error.to_json()})
        raise
    if as_json:
        say_json(to_json(planned))
    else:
        say("\n".join(_lines(planned)))
    for warning in warnings:
        say(str(warning), to=sys.stderr)
    fails = any(task.verdict is Forecast.FAILS for task in planned.tasks)
    return Exit.FAILED if fails else Exit.SUCCEEDED


def planned_run(
    file: str, param_texts: Sequence[str], evaluator: Evaluator, at: str | None
) -> tuple[Planned, Sequence[Located]]:
    """Find out what would run, and what lint warns of. Raises UsageError with all that is wrong."""
    time = time_of(at, "--at") if at else None
    manifest = load_sound(file, evaluator)
    asked, spec, document, name = what_runs(manifest)
    read = given.params(param_texts, spec.params or ())
    run = fact_of(asked, name, read.values, manifest)
    as_of = of_time(spec.schedules or (), time) if time is not None else None
    if as_of is not None:
        run = told(as_of, run, evaluator)
    wrong = params_problems(manifest, asked, document, run, spec, evaluator, read)
    if wrong or read.problems:
        raise Unsound(wrong, read.problems)
    planned = plan_run(name, spec, run, as_of.schedule if as_of else None, evaluator)
    return planned, manifest.warnings


def _lines(planned: Planned) -> Iterator[str]:
    found = levels_of(planned.definition)
    scheduled = planned.run.scheduled_time
    as_of = f", as of {utc(scheduled)}" if scheduled is not None else ""
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
    ticks = list(next_ticks(planned))
    if ticks:
        yield ""
        yield "Next"
        yield from (f"  {tick['schedule']}  {tick['localTime']} {tick['timeZone']}" for tick in ticks)


def _task_lines(planned: Planned, found: dict[str, int]) -> Iterator[str]:
    """Yield the tasks by level, each with the fields that its expressions make."""
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
    """Yield the fields that expressions make: those that are the same for all items, then each item with its own."""
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
