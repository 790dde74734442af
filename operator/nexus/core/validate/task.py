"""Checks of one task by itself: what it says that does not go together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from nexus.api.codes import Code
from nexus.api.rules import ONE_TASK_TYPE, RESERVED_ENV_NAME
from nexus.api.tasks import EnvFrom, EnvVar, Task
from nexus.core.manifest.problem import Path, Problem, duplicates
from nexus.core.pods import templated_fields
from nexus.core.task_types import types_in
from nexus.core.validate.pod import pod_problems


def kinds_of(task: Task) -> list[str]:
    """Return the type fields that a task has; a valid one has exactly one."""
    return [record.name for record in types_in(task)]


def _has_retry_on(task: Task) -> bool:
    return any(record.model.has_retry_on for record in types_in(task))


def shape(path: Path, task: Task, now: datetime | None) -> Iterator[Problem]:
    """Yield what one task says that does not go together; `now` is needed to tell that a time is too far away."""

    def wrong(field: Path, code: Code, message: str) -> Problem:
        return Problem((*path, *field), code, message, task.name)

    kinds = kinds_of(task)
    if len(kinds) != 1:
        has = f"{len(kinds)} task types ({', '.join(kinds)})" if kinds else "no task type"
        yield wrong((), Code.EXCLUSIVE_FIELDS, f"{has}; {ONE_TASK_TYPE.message}")
    if task.trigger_rule is not None and not task.depends_on:
        yield wrong(("triggerRule",), Code.NO_EFFECT, "triggerRule has no effect without dependsOn; remove it")
    if task.retry is not None and task.retry.retry_on is not None and not _has_retry_on(task):
        message = "retryOn lists failures of http requests; remove it, or use failOnExitCodes"
        yield wrong(("retry", "retryOn"), Code.NO_EFFECT, message)
    for field, text, known in templated_fields.code(task):
        if "${{" in text:
            message = f"${{{{ }}}} is not allowed here, a value would become code; {known.instead}"
            yield Problem((*path, *field), Code.EXPRESSION_NOT_ALLOWED, message, task.name, text.index("${{"))
    yield from _of_pods(path, task)
    for record in types_in(task):
        for found in record.problems(record.of(task), now):
            yield Problem((*path, record.name, *found.path), found.code, found.message, task.name, found.offset)
    yield from env_problems(path, task.env, task.env_from, task.name)
    yield from pod_problems((*path, "pod"), task.pod, task.name)


def _of_pods(path: Path, task: Task) -> Iterator[Problem]:
    """Yield fields that mean nothing for a task with a child run."""
    if task.workflow is None:
        return
    advice = "give values in workflow.params, and write the rest in that Workflow"
    for name in ("env", "env_from", "pod", "pool", "start_timeout_seconds"):
        if getattr(task, name):
            field = str(Task.model_fields[name].alias)
            yield Problem(
                (*path, field),
                Code.NO_EFFECT,
                f"{field} is not supported for workflow tasks, which have no pod; {advice}",
                task.name,
            )


def env_problems(
    path: Path, env: list[EnvVar] | None, env_from: list[EnvFrom] | None, task: str | None
) -> Iterator[Problem]:
    """Yield what is wrong with the environment of a task, or of the defaults, at `path`."""
    for problem in duplicates((*path, "env"), [variable.name for variable in env or ()], "variable"):
        yield Problem(problem.path, problem.code, problem.message, task)
    for position, variable in enumerate(env or ()):
        at: Path = (*path, "env", position)
        if variable.name.startswith("NEXUS_"):
            yield Problem(
                (*at, "name"), Code.RESERVED_NAME, f'"{variable.name}": names that begin with NEXUS_ are reserved', task
            )
        sources = variable.value_from
        if variable.value is not None and sources is not None:
            yield Problem(at, Code.EXCLUSIVE_FIELDS, f'"{variable.name}": set exactly one of value and valueFrom', task)
        if sources is not None and (sources.secret_key_ref is None) == (sources.config_map_key_ref is None):
            yield Problem(
                (*at, "valueFrom"), Code.EXCLUSIVE_FIELDS, "set exactly one of secretKeyRef and configMapKeyRef", task
            )
    for position, source in enumerate(env_from or ()):
        if (source.prefix or "").startswith("NEXUS_"):
            at = (*path, "envFrom", position, "prefix")
            message = f'"{source.prefix}": {RESERVED_ENV_NAME.message}'
            yield Problem(at, Code.RESERVED_NAME, message, task)
        if (source.secret_ref is None) == (source.config_map_ref is None):
            yield Problem(
                (*path, "envFrom", position),
                Code.EXCLUSIVE_FIELDS,
                "set exactly one of secretRef and configMapRef",
                task,
            )
