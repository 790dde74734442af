"""Checks of the schedules: cron, zone, holidays, params that fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from nexus.api.codes import Code
from nexus.api.schedule import CatchUp, Schedule
from nexus.api.workflow import WorkflowSpec
from nexus.core.data import scope
from nexus.core.data.params import mismatch, unknown
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.problem import Path, Problem, duplicates
from nexus.core.pods import templated_fields
from nexus.core.schedule import exclusion, zone
from nexus.core.schedule.cron import Cron, CronInvalid, parse
from nexus.core.schedule.local_times import time_after
from nexus.core.validate.expressions import Sight
from nexus.core.validate.params import rendered

# Any day will do: whether fields have a time at all is the same for each span of 28 years.
_SOME_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 (a local time)


def schedules(spec: WorkflowSpec, evaluator: Evaluator) -> Iterator[Problem]:
    """Yield what is wrong with the schedules of a definition."""
    yield from duplicates(("schedules",), [schedule.name for schedule in spec.schedules or ()], "schedule")
    for position, schedule in enumerate(spec.schedules or ()):
        path: Path = ("schedules", position)
        found = [*_times(path, schedule)]
        if schedule.exclude is not None:
            found += exclusion.problems((*path, "exclude"), schedule.exclude)
        found += _params((*path, "params"), schedule, spec, evaluator)
        yield from (replace(problem, subject=f"schedule {schedule.name}") for problem in found)


def _times(path: Path, schedule: Schedule) -> Iterator[Problem]:
    try:
        rule = parse(schedule.cron)
        if isinstance(rule, Cron) and time_after(rule, _SOME_DAY) is None:
            yield Problem((*path, "cron"), Code.INVALID_CRON, f'"{schedule.cron}" never matches: no month has this day')
    except CronInvalid as error:
        yield Problem((*path, "cron"), Code.INVALID_CRON, error.message, offset=error.offset)
    if schedule.time_zone is not None:
        try:
            zone.find(schedule.time_zone)
        except zone.ZoneUnknown as error:
            yield Problem((*path, "timeZone"), Code.UNKNOWN_TIME_ZONE, str(error))
    if schedule.from_ is not None and schedule.until is not None and schedule.from_ >= schedule.until:
        yield Problem((*path, "until"), Code.OUT_OF_RANGE, "until must be after from; swap them")
    if schedule.catch_up_limit is not None and schedule.catch_up is not CatchUp.ALL:
        message = "catchUpLimit has no effect without catchUp: All; add that, or remove the limit"
        yield Problem((*path, "catchUpLimit"), Code.NO_EFFECT, message)


def _params(path: Path, schedule: Schedule, spec: WorkflowSpec, evaluator: Evaluator) -> Iterator[Problem]:
    """As with a run's: names that are declared, values that fit; what is rendered is checked for what it names."""
    declared = {param.name: param for param in spec.params or ()}
    given = schedule.params or {}
    for name, value in given.items():
        if name not in declared:
            yield Problem((*path, name), Code.UNKNOWN_PARAM, unknown(name, spec.params or ()))
            continue
        texts = any("${{" in text for _, text in templated_fields.deep((*path, name), value))
        yield from rendered((*path, name), declared[name], value, Sight(scope.RUN_VARIABLES), evaluator)
        wrong = None if texts else mismatch(declared[name], value, evaluator)
        if wrong:
            yield Problem((*path, name), Code.INVALID_PARAM, wrong)
    for name, param in declared.items():
        if name not in given and not param.nullable and (param.required or not param.has_default):
            message = f'missing required param "{name}", which has no default; set it here'
            yield Problem(path if schedule.params is not None else path[:-1], Code.MISSING_PARAM, message)
