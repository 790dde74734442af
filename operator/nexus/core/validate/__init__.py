"""Validate: everything about a definition that can be known before a run, each problem with its place.

The CRD's rules say the same of what CEL can see; here are also cycles, expressions and their types, and names that
are close to the right one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from nexus.api.base import GROUP
from nexus.api.codes import Code
from nexus.api.pod import Pod
from nexus.api.rules import LABEL_KEYS
from nexus.api.tasks import EnvVar, Task
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.problem import Path, Problem, duplicates, first
from nexus.core.model.definition import Definition, prepare
from nexus.core.pods import render
from nexus.core.pods.merge import merged
from nexus.core.validate.ahead import Answered, Noting
from nexus.core.validate.artifacts import artifacts, output_store
from nexus.core.validate.calls import calls_itself
from nexus.core.validate.concurrency import concurrency
from nexus.core.validate.dependencies import cycle, dependencies
from nexus.core.validate.dollars import open_dollars
from nexus.core.validate.expressions import expressions, sight_of_run, template
from nexus.core.validate.fanout import fan_out
from nexus.core.validate.outputs import outputs
from nexus.core.validate.params import params
from nexus.core.validate.pod import is_label_key, mounts, pod_problems
from nexus.core.validate.podless import podless
from nexus.core.validate.task import env_problems, kinds_of, shape

MOST_TASKS = 500
"""Tasks of a workflow, those of `finally` among them."""


def problems(
    spec: WorkflowSpec, evaluator: Evaluator, name: str = "", now: datetime | None = None, *, every_cycle: bool = False
) -> list[Problem]:
    """Return what is wrong with a definition, in the order of its fields; empty where it can run. `name` is that of its
    Workflow, where it has one.

    `now` lets it tell a time to wait for that is too far away; it only comes nearer, so a definition stays valid.
    With `every_cycle` all dependency cycles are reported, not the first alone: it loads networkx.
    """
    return first(_all(spec, evaluator, name, now, every_cycle=every_cycle))


def _all(
    spec: WorkflowSpec, evaluator: Evaluator, name: str, now: datetime | None, *, every_cycle: bool
) -> Iterator[Problem]:
    yield from params(spec, evaluator)
    if spec.schedules:
        from nexus.core.validate.schedules import schedules

        yield from schedules(spec, evaluator)
    yield from concurrency(spec, evaluator)
    yield from output_store(spec)
    yield from _labels(spec)
    yield from _names(spec)
    if spec.defaults is not None:
        yield from env_problems(("defaults",), spec.defaults.env, spec.defaults.env_from, None)
        yield from _default_env(spec, spec.defaults.env or (), evaluator)
        yield from _default_pod(spec, spec.defaults.pod, evaluator)
    for place, task in spec.every_task():
        yield from shape(place, task, now)
        yield from fan_out(place, task)
        yield from podless(place, task)
        if task.pod is not None:
            default = spec.defaults.pod if spec.defaults is not None else None
            yield from mounts((*place, "pod"), task.pod, merged(default, task.pod), task.name)
    readable = _readable(spec)
    if readable:
        lists = {key: [task for place, task in readable.items() if place[0] == key] for key in ("tasks", "finally")}
        definition = prepare(spec.model_copy(update={"tasks": lists["tasks"], "finally_": lists["finally"]}))
        noting = Noting()
        first(_of_expressions(spec, readable, definition, noting))
        yield from _of_expressions(spec, readable, definition, Answered(evaluator, noting.asked))
    yield from artifacts(spec)
    yield from dependencies(spec)
    yield from cycle(spec, every=every_cycle)
    yield from calls_itself(name, spec)


def _of_expressions(
    spec: WorkflowSpec, readable: dict[tuple[str, int], Task], definition: Definition, evaluator: Evaluator
) -> Iterator[Problem]:
    every = dict.fromkeys(task.name for _, task in spec.every_task())  # in order, and asked for each name
    for place, task in readable.items():
        yield from expressions(place, task, definition, evaluator, every)
    yield from outputs(spec, definition, evaluator, every)


def _names(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield names, keys and tags that come twice, and too many tasks."""
    for tag, count in Counter(spec.tags or ()).items():
        if count > 1:
            last = len(spec.tags or ()) - 1 - (spec.tags or [])[::-1].index(tag)
            yield Problem(("tags", last), Code.DUPLICATE_NAME, f'duplicate tag "{tag}"')
    yield from _keys(spec)
    final = spec.finally_ or []
    yield from duplicates(("tasks",), [task.name for task in spec.tasks], "task")
    yield from duplicates(("finally",), [task.name for task in final], "task")
    main = {task.name for task in spec.tasks}
    for position, task in enumerate(final):
        if task.name in main:
            message = f'duplicate task name "{task.name}"; names in tasks and finally must be unique together'
            yield Problem(("finally", position, "name"), Code.DUPLICATE_NAME, message, task.name)
    if len(spec.tasks) + len(final) > MOST_TASKS:
        yield Problem(("finally",), Code.TOO_MANY, f"tasks and finally must have at most {MOST_TASKS} tasks together")


def _keys(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield keys that task code could take for another task."""
    known = {task.name: task.name for _, task in spec.every_task()}
    for place, task in spec.every_task():
        if task.key is None or task.key == task.name:
            continue
        if task.key in known:
            message = f'duplicate key "{task.key}"; task {known[task.key]} has it as its name or key already'
            yield Problem((*place, "key"), Code.DUPLICATE_NAME, message, task.name)
        known.setdefault(task.key, task.name)


def _readable(spec: WorkflowSpec) -> dict[tuple[str, int], Task]:
    """Return the tasks, by place, whose expressions can be checked although others have mistakes: those of one name and
    with a type that wait for no cycle and for no unreadable task. Dependencies that do not exist are left out, and
    tasks of `finally` wait for all others.
    """
    every = spec.every_task()
    counts = Counter(task.name for _, task in every)
    names: dict[str, set[str]] = {"tasks": set(), "finally": set()}
    for place, task in every:
        names[place[0]].add(task.name)
    left = {
        place: _with_known_dependencies(task, names[place[0]])
        for place, task in every
        if counts[task.name] == 1 and kinds_of(task)
    }
    waiting = {
        task.name: {*(task.depends_on or ()), *(names["tasks"] if place[0] == "finally" else ())}
        for place, task in left.items()
    }
    dependents: dict[str, list[str]] = {}
    for name, waited in waiting.items():
        for dependency in waited:
            dependents.setdefault(dependency, []).append(name)
    reached = [name for name, waited in waiting.items() if not waited]
    for name in reached:  # grows while it is walked: a task is reached once all that it waits for are
        for dependent in dependents.get(name, ()):
            waiting[dependent].discard(name)
            if not waiting[dependent]:
                reached.append(dependent)
    known = set(reached)
    return {place: task for place, task in left.items() if task.name in known}


def _with_known_dependencies(task: Task, names: Collection[str]) -> Task:
    return task.model_copy(update={"depends_on": [name for name in task.depends_on or () if name in names]})


def _labels(spec: WorkflowSpec) -> Iterator[Problem]:
    for key in spec.labels or {}:
        domain = key.rpartition("/")[0]
        if not is_label_key(key):
            yield Problem(("labels", key), Code.INVALID_LABEL, LABEL_KEYS.message)
        elif domain == GROUP or domain.endswith(("kubernetes.io", "k8s.io")):
            yield Problem(
                ("labels", key), Code.RESERVED_NAME, f'label prefix "{domain}" is reserved; choose another prefix'
            )


def _default_env(spec: WorkflowSpec, env: Iterable[EnvVar], evaluator: Evaluator) -> Iterator[Problem]:
    sight = sight_of_run(spec)
    for position, variable in enumerate(env):
        if variable.value is not None:
            path: Path = ("defaults", "env", position, "value")
            yield from template(path, variable.value, sight, evaluator)
            yield from open_dollars(path, variable.value, None)


def _default_pod(spec: WorkflowSpec, pod: Pod | None, evaluator: Evaluator) -> Iterator[Problem]:
    if pod is None:
        return
    path: Path = ("defaults", "pod")
    yield from pod_problems(path, pod, None)
    yield from mounts(path, pod, pod, None)
    for field, text in render.templated(pod):
        yield from template((*path, *field), text, sight_of_run(spec), evaluator)
