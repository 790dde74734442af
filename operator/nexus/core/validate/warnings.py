"""Warnings: what is allowed, runs, and is most likely not meant. They keep nothing from starting."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from nexus.api.codes import Code
from nexus.api.tasks import Task
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import TemplateError, parse
from nexus.core.manifest.problem import Path, Problem, first
from nexus.core.pods import render, templated_fields
from nexus.core.task_types import types_in
from nexus.core.validate.numbers import mixed, number_items, number_params


def warnings(spec: WorkflowSpec) -> list[Problem]:
    """Return what in a definition should be looked at again, in the order of its fields; it may have problems, too."""
    return first(_all(spec))


def _all(spec: WorkflowSpec) -> Iterator[Problem]:
    yield from _either_day(spec)
    numbers = number_params(spec.params or ())
    if spec.defaults is not None:
        env = spec.defaults.env or ()
        texts: list[tuple[Path, str]] = [(("env", at, "value"), entry.value or "") for at, entry in enumerate(env)]
        if spec.defaults.pod is not None:
            texts += [(("pod", *path), text) for path, text in render.templated(spec.defaults.pod)]
        yield from _numbers(("defaults",), texts, numbers, None)
    for place, task in spec.every_task():
        yield from _of_task(place, task, spec, numbers)
    yield from _numbers(("outputs",), [((name,), text) for name, text in (spec.outputs or {}).items()], numbers, None)


def _of_task(place: Path, task: Task, spec: WorkflowSpec, numbers: Collection[str]) -> Iterator[Problem]:
    before = [(("when",), task.when or ""), *templated_fields.sources(task)]
    yield from _numbers(place, before, numbers, task.name)
    every = {*numbers, *number_items(task.for_each, spec.params or ())}
    yield from _numbers(place, templated_fields.templated(task), every, task.name)
    for record in types_in(task):
        for found in record.warnings(record.of(task)):
            yield Problem((*place, record.name, *found.path), found.code, found.message, task.name, found.offset)


def _either_day(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield schedules with a day of the month and of the week: to cron either is enough, to most authors it takes
    both."""
    if not spec.schedules:
        return
    from nexus.core.schedule.cron import Cron, CronInvalid
    from nexus.core.schedule.cron import parse as parse_cron

    for position, schedule in enumerate(spec.schedules):
        try:
            rule = parse_cron(schedule.cron)
        except CronInvalid:
            continue  # a problem, reported as such
        if isinstance(rule, Cron) and rule.either:
            _, _, day, _, weekday = schedule.cron.split()
            message = f'ticks on day "{day}" of the month and on every "{weekday}", since either is enough for cron'
            where: Path = ("schedules", position, "cron")
            advice = 'set one of the two to "*", and check the other in a task\'s when'
            yield Problem(
                where, Code.EITHER_DAY, f"{message}; where both must fit, {advice}", subject=f"schedule {schedule.name}"
            )


def _numbers(
    place: Path, texts: Iterable[tuple[Path, str]], numbers: Collection[str], task: str | None
) -> Iterator[Problem]:
    """Yield a warning for arithmetic with numbers that may or may not have a fraction."""
    for path, text in texts if numbers else ():
        try:
            expressions = parse(text).expressions
        except TemplateError:
            continue  # a problem, reported as such
        for expression in expressions:
            for message, offset in mixed(expression, numbers):
                yield Problem((*place, *path), Code.MIXED_NUMBERS, message, task, expression.offset + offset)
