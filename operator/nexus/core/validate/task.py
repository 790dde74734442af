"""Checks of one task by itself: what it says that does not go together."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.api.tasks import TASK_TYPES, EnvFrom, EnvVar, Task
from nexus.core.data import sql_text
from nexus.core.manifest.problem import Path, Problem, duplicates
from nexus.core.pods import templated_fields
from nexus.core.validate.pod import pod_problems


def kinds_of(task: Task) -> list[str]:
    """The type fields that a task has; a valid one has exactly one."""
    return [kind for kind in TASK_TYPES if getattr(task, kind) is not None]


# What gives code its values, by the field that holds the code.
_INSTEAD = {
    ("bash", "command"): 'params are variables, as in "$PARAM_DAY"; give everything else in env',
    ("python", "code"): 'code reads params["day"] and input["task"]; give everything else in env',
    ("python", "call"): "give values in python.with",
    ("sql", "query"): "write :day in the query and give day in sql.parameters",
}


def shape(path: Path, task: Task) -> Iterator[Problem]:
    """What one task says that does not go together."""

    def wrong(field: Path, message: str) -> Problem:
        return Problem((*path, *field), message, task.name)

    kinds = kinds_of(task)
    if len(kinds) != 1:
        has = f"has {' and '.join(kinds)}" if kinds else "has no type"
        yield wrong((), f"{has}: give exactly one of {', '.join(TASK_TYPES)}")
    if task.python is not None and (task.python.code is None) == (task.python.call is None):
        yield wrong(("python",), "give exactly one of code and call")
    if task.python is not None and task.python.with_ is not None and task.python.call is None:
        yield wrong(("python", "with"), "with goes with call; code gets its values from params and input")
    if task.http is not None and task.http.json_ is not None and task.http.body is not None:
        yield wrong(("http",), "give one of json and body")
    if task.trigger_rule is not None and not task.depends_on:
        yield wrong(("triggerRule",), "a triggerRule without dependsOn has nothing to look at: remove it")
    if task.retry is not None and task.retry.retry_on is not None and task.http is None:
        message = "retryOn lists failures of http requests; remove it, or use failOnExitCodes"
        yield wrong(("retry", "retryOn"), message)
    for field, text in templated_fields.code(task):
        if "${{" in text:
            advice = _INSTEAD.get((str(field[0]), str(field[1])), "write the name itself")
            message = f"${{{{ }}}} is refused here, since a value would become code: {advice}"
            yield Problem((*path, *field), message, task.name, text.index("${{"))
    yield from _of_pods(path, task)
    yield from _missing_parameters(path, task)
    if task.http is not None and not task.http.url.lower().startswith(("http://", "https://", "${{", "$(")):
        yield wrong(
            ("http", "url"), f"{task.http.url[:80]} is no URL of a web server: start it with https:// or http://"
        )
    yield from env_problems(path, task.env, task.env_from, task.name)
    yield from pod_problems((*path, "pod"), task.pod, task.name)


def _of_pods(path: Path, task: Task) -> Iterator[Problem]:
    """Fields that mean nothing for a task with a child run."""
    if task.workflow is None:
        return
    advice = "give values in workflow.params, and write the rest in that Workflow"
    for name in ("env", "env_from", "pod", "pool", "start_timeout_seconds"):
        if getattr(task, name):
            field = str(Task.model_fields[name].alias)
            yield Problem(
                (*path, field), f"a workflow task has no pod, so that {field} means nothing: {advice}", task.name
            )


def _missing_parameters(path: Path, task: Task) -> Iterator[Problem]:
    if task.sql is None or "${{" in task.sql.query:
        return
    told = set(task.sql.parameters or {})
    # The URL in a Secret says which database it is: what is no placeholder in some of them is left to the run.
    dialects = ("sqlite",) if isinstance(task.sql.connection, str) else sql_text.DIALECTS
    for name, offset in sql_text.placeholders(task.sql.query, dialects):
        if name not in told:
            told.add(name)
            message = f"the query has the placeholder :{name}, but sql.parameters has no {name}: add it, or write "
            message += "\\: for a colon that starts no placeholder"
            yield Problem((*path, "sql", "query"), message, task.name, offset)


def env_problems(
    path: Path, env: list[EnvVar] | None, env_from: list[EnvFrom] | None, task: str | None
) -> Iterator[Problem]:
    """What is wrong with the environment of a task, or of the defaults, at `path`."""
    for problem in duplicates((*path, "env"), [variable.name for variable in env or ()], "variable"):
        yield Problem(problem.path, problem.message, task)
    for position, variable in enumerate(env or ()):
        at: Path = (*path, "env", position)
        if variable.name.startswith("NEXUS_"):
            yield Problem((*at, "name"), f"{variable.name}: names with NEXUS_ are reserved", task)
        sources = variable.value_from
        if variable.value is not None and sources is not None:
            yield Problem(at, f"{variable.name}: give one of value and valueFrom", task)
        if sources is not None and (sources.secret_key_ref is None) == (sources.config_map_key_ref is None):
            yield Problem((*at, "valueFrom"), "give exactly one of secretKeyRef and configMapKeyRef", task)
    for position, source in enumerate(env_from or ()):
        if (source.secret_ref is None) == (source.config_map_ref is None):
            yield Problem((*path, "envFrom", position), "give exactly one of secretRef and configMapRef", task)
