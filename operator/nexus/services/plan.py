"""The plan of a run: what it would do, found out without making it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nexus.api.workflow import WorkflowSpec
from nexus.core.data.params import resolve
from nexus.core.engine.preview import Foreseen, foresee
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition, prepare, waits_for
from nexus.core.model.facts import RunFact
from nexus.core.model.graph import levels
from nexus.core.schedule.timetable import Timetable
from nexus.services.calendar import utc

TICKS = 3
"""Ticks of each schedule that are shown."""


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

    @property
    def spec(self) -> WorkflowSpec:
        """Its definition as it is written."""
        return self.definition.spec


def plan_run(workflow: str, spec: WorkflowSpec, run: RunFact, schedule: str | None, evaluator: Evaluator) -> Planned:
    """Return what a run would do whose definition has no errors and whose params fit. `schedule` is the one that has a
    tick at the run's scheduled time."""
    definition = prepare(spec)
    tasks = foresee(definition, run, run.created_at, evaluator)
    values = resolve(spec.params or (), run.params, run, evaluator)
    return Planned(workflow, run, schedule, values, definition, tasks, datetime.now(UTC))


def levels_of(definition: Definition) -> dict[str, int]:
    """Return the level of each task, from 1: those of one level could run side by side."""
    waits = waits_for(definition.spec)
    return {name: level + 1 for name, level in levels({name: waits[name] for name in definition.nodes}).items()}


def next_ticks(planned: Planned) -> Iterator[dict[str, Any]]:
    """Return the next ticks of its schedules."""
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
                "time": utc(at),
                "localTime": local,
                "timeZone": table.zone.key,
                "suspended": suspended,
            }


def to_json(planned: Planned) -> dict[str, Any]:
    """Return it as `-o json` and the API show it."""
    found = levels_of(planned.definition)
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
        "scheduledTime": utc(run.scheduled_time) if run.scheduled_time is not None else None,
        "schedule": planned.schedule,
        "params": planned.params,
        "tasks": tasks,
        "next": list(next_ticks(planned)),
    }
