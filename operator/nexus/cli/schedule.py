"""`nexus schedule next`: when the schedules of a file or of a Workflow run, and why a tick moved or is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api.base import parse_time
from nexus.cli.ending import Exit, UsageError
from nexus.cli.manifests import load_sound
from nexus.cli.terminal import say, say_json
from nexus.core.expressions.templates import Evaluator, ExpressionError, TemplateError
from nexus.core.model.facts import RunFact
from nexus.core.schedule.as_of import AsOf
from nexus.core.schedule.zone import wall
from nexus.services.calendar import Row, Source, remarks, tables_of, upcoming

# Number of lines shown of what is skipped one after the other.
_MOST_SKIPPED = 5
_SUFFIXES = (".yaml", ".yml", ".json")


def is_file(target: str) -> bool:
    """Return whether a file is meant, and not a Workflow in the cluster."""
    return target == "-" or "/" in target or target.endswith(_SUFFIXES) or Path(target).is_file()


def of_file(file: str) -> list[Source]:
    """Return the Workflows of a file. Raises Refused with all that is wrong with it."""
    with CelEvaluator() as evaluator:
        manifest = load_sound(file, evaluator, code=False)
    return [Source(found.name, "", found.spec) for found in manifest.workflows if found.spec is not None]


def print_next(sources: Sequence[Source], count: int, from_text: str | None, *, as_json: bool) -> Exit:
    """Print the next ticks of all schedules together. Raises Refused where there are none, or no such time."""
    after = time_of(from_text, "--from") if from_text else datetime.now(UTC)
    tables = tables_of(sources)
    if not tables:
        names = " and ".join(source.workflow for source in sources) or "the file"
        raise UsageError(
            f"{names} has no schedules; add spec.schedules, for example [{{name: nightly, cron: 30 2 * * *}}]"
        )
    rows = upcoming(tables, after, count)
    if as_json:
        say_json({"ticks": [row.to_json() for row in rows]})
        return Exit.SUCCEEDED
    if rows:
        _print(rows, several=len(tables) > 1, workflows=len({workflow for workflow, _ in tables}) > 1)
    for line in remarks(tables, rows):
        say(line)
    return Exit.SUCCEEDED


def time_of(text: str, option: str) -> datetime:
    """Return a time as an option gives it. Raises Refused; a time without an offset is not one."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def told(as_of: AsOf, run: RunFact, evaluator: Evaluator) -> RunFact:
    """Return a run for a given time, with the params of its schedule below its own. Raises Refused."""
    try:
        rendered = as_of.rendered(run, evaluator)
    except (ExpressionError, TemplateError) as error:
        raise UsageError(f"schedule {as_of.schedule}: {error}") from error
    return replace(as_of.fact(run), params={**rendered, **run.params})


def _print(rows: Sequence[Row], *, several: bool, workflows: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("LOCAL TIME", no_wrap=True)
    table.add_column("UTC", no_wrap=True)
    if several:
        table.add_column("SCHEDULE", no_wrap=True)
    table.add_column("NOTE")
    for row in _shortened(rows):
        if isinstance(row, int):
            table.add_row(f"{row} more skipped", *[""] * (len(table.columns) - 1), style="dim")
            continue
        name = row.timetable.schedule.name
        cells = [_local(row), f"{row.entry.time:%Y-%m-%d %H:%M:%S}".removesuffix(":00")]
        cells += [f"{row.workflow}/{name}" if workflows else name] if several else []
        table.add_row(*cells, row.note, style=None if row.runs else "dim")
    console = Console(highlight=False, markup=False)
    if console.is_terminal:
        console.print(table)
        return
    console.width = 160  # a program that reads a pipe expects one line a tick
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _shortened(rows: Sequence[Row]) -> Iterator[Row | int]:
    """Yield the rows, with a number in place of most of what is skipped one after the other."""
    for runs, group in groupby(rows, key=lambda row: row.runs):
        found = list(group)
        if runs or len(found) <= _MOST_SKIPPED:
            yield from found
        else:
            yield from found[: _MOST_SKIPPED - 1]
            yield len(found) - _MOST_SKIPPED + 1


def _local(row: Row) -> str:
    aware = row.entry.time.astimezone(row.timetable.zone)
    # What is skipped may never show on a clock, which then has no zone: the time that was meant is printed.
    on_the_clock = wall(row.entry.time, row.timetable.zone)
    shown = on_the_clock if row.runs else row.entry.local
    abbreviation = aware.tzname() or ""
    return f"{shown:%a %Y-%m-%d %H:%M:%S}".removesuffix(":00") + (f" {abbreviation}" if shown == on_the_clock else "")
