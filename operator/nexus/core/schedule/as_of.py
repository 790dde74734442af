"""As of a tick: what a run knows of the time that it is for, be it made by a schedule, by a backfill or with `--at`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from nexus.api.run import WorkflowRunSpec
from nexus.api.schedule import Schedule
from nexus.core.data.scope import RUN_VARIABLES, run_values
from nexus.core.expressions.render import Renderer
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import RunFact
from nexus.core.schedule.timetable import Tick, Timetable


@dataclass(frozen=True, slots=True)
class AsOf:
    """A time that a run is for. `params` are the schedule's, their `${{ }}` not rendered yet."""

    time: datetime
    interval_start: datetime
    interval_end: datetime
    schedule: str | None = None
    time_zone: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, spec: WorkflowRunSpec) -> WorkflowRunSpec:
        """Return the spec of a run with the time that it is for."""
        return spec.model_copy(
            update={
                "scheduled_time": self.time,
                "interval_start": self.interval_start,
                "interval_end": self.interval_end,
                "schedule": self.schedule,
                "time_zone": self.time_zone,
            }
        )

    def fact(self, run: RunFact) -> RunFact:
        """Return the facts of a run with the time that it is for."""
        return replace(
            run,
            scheduled_time=self.time,
            interval_start=self.interval_start,
            interval_end=self.interval_end,
            time_zone=self.time_zone or "UTC",
        )

    def rendered(self, run: RunFact, evaluator: Evaluator) -> dict[str, Any]:
        """Return the schedule's params as values for a run of it. Raises ExpressionError, whose message names the
        param, and TemplateError."""
        values = {f"run.{name}": value for name, value in run_values(self.fact(run), "Running").items()}
        renderer = Renderer(evaluator, RUN_VARIABLES, values.__getitem__, self.time_zone or "UTC")
        return {name: renderer.deep(value, f"params.{name}") for name, value in self.params.items()}


def of_tick(timetable: Timetable, tick: Tick) -> AsOf:
    """Return a run for a tick of a schedule."""
    start, end = timetable.interval(tick)
    schedule = timetable.schedule
    return AsOf(tick.time, start, end, schedule.name, schedule.time_zone or "UTC", schedule.params or {})


def of_time(schedules: Sequence[Schedule], at: datetime) -> AsOf:
    """Return a run for a time: that of the first schedule with a tick then, else for the instant itself, in UTC."""
    for schedule in schedules:
        timetable = Timetable(schedule)
        tick = timetable.is_tick(at)
        if tick is not None:
            return of_tick(timetable, tick)
    return AsOf(at, at, at)
