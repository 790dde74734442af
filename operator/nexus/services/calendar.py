"""The calendar of schedules: the next ticks of several together, and what is skipped between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nexus.api.base import format_time
from nexus.api.manifest import JSON
from nexus.api.schedule import Schedule
from nexus.api.workflow import WorkflowSpec
from nexus.core.schedule.as_of import AsOf
from nexus.core.schedule.timetable import Skipped, Tick, Timetable


@dataclass(frozen=True)
class Source:
    """The schedules of one Workflow."""

    workflow: str
    uid: str
    spec: WorkflowSpec


@dataclass(frozen=True)
class Row:
    """A tick, or what is skipped, of one schedule."""

    workflow: str
    timetable: Timetable
    entry: Tick | Skipped

    @property
    def runs(self) -> bool:
        """True of a tick."""
        return isinstance(self.entry, Tick)

    @property
    def note(self) -> str:
        """What there is to say of it."""
        suspended = "suspended: does not run" if self.timetable.schedule.suspend and self.runs else ""
        return "; ".join(text for text in (self.entry.note, suspended) if text)

    def to_json(self) -> dict[str, JSON]:
        """For `-o json`."""
        timetable, entry = self.timetable, self.entry
        found: dict[str, JSON] = {
            "workflow": self.workflow,
            "schedule": timetable.schedule.name,
            "time": utc(entry.time),
            "localTime": entry.time.astimezone(timetable.zone).isoformat(),
            "timeZone": timetable.zone.key,
            "skipped": not self.runs,
            "note": self.note or None,
        }
        if isinstance(entry, Tick):
            start, end = timetable.interval(entry)
            found |= {"intervalStart": utc(start), "intervalEnd": utc(end)}
        return found


def tables_of(sources: Sequence[Source]) -> list[tuple[str, Timetable]]:
    """Return the timetable of each schedule, with the name of its Workflow."""
    return [
        (source.workflow, Timetable(schedule, source.uid))
        for source in sources
        for schedule in source.spec.schedules or ()
    ]


def upcoming(tables: Sequence[tuple[str, Timetable]], after: datetime, count: int) -> list[Row]:
    """Return the first `count` ticks of all, and what is skipped before the last of them."""
    rows = [Row(workflow, table, entry) for workflow, table in tables for entry in table.upcoming(after, count)]
    rows.sort(key=lambda row: row.entry.time)
    ticks = [position for position, row in enumerate(rows) if row.runs]
    return rows[: ticks[count - 1] + 1] if len(ticks) > count else rows


def remarks(tables: Sequence[tuple[str, Timetable]], rows: Sequence[Row]) -> Iterator[str]:
    """Return what there is to say of schedules as a whole."""
    for workflow, table in tables:
        schedule = table.schedule
        if not any(row.timetable is table and row.runs for row in rows) and table.next(datetime.now(UTC)) is None:
            yield f"{workflow}/{schedule.name}: no tick is left{_why(schedule)}"
        if schedule.jitter_seconds:
            yield f"{workflow}/{schedule.name}: each is started up to {schedule.jitter_seconds}s late (jitterSeconds)"


def _why(schedule: Schedule) -> str:
    if schedule.until is not None and schedule.until <= datetime.now(UTC):
        return f": it ended at {utc(schedule.until)} (until)"
    return ": all days that fit cron are excluded" if schedule.exclude is not None else ""


def remark(as_of: AsOf, schedules: Sequence[Schedule]) -> str | None:
    """Return whether a time that a run is for is a tick, in words; None where there are no schedules."""
    at = utc(as_of.time)
    if as_of.schedule is not None:
        return f"as of {at}, a tick of schedule {as_of.schedule}"
    if not schedules:
        return None
    ticks = [tick for schedule in schedules if (tick := Timetable(schedule).previous(as_of.time)) is not None]
    near = f"; the last one before is {utc(max(tick.time for tick in ticks))}" if ticks else ""
    return f"as of {at}, at which no schedule has a tick: both ends of the interval are this instant{near}"


def utc(at: datetime) -> str:
    """Return a time in UTC, without fractions of a second where it has none."""
    return format_time(at).replace(".000Z", "Z")
