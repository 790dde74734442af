"""Checks of the DAG: dependencies that exist, and no cycle."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from graphlib import CycleError

from nexus.api.tasks import Task
from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.problem import Path, Problem
from nexus.core.model.definition import ordered
from nexus.core.text.similar_names import closest


def dependencies(spec: WorkflowSpec) -> Iterator[Problem]:
    """Dependencies that are not there, or are named twice."""
    final = [task.name for task in spec.finally_ or ()]
    yield from _of_list("tasks", spec.tasks, final, "tasks of finally run after all others")
    main = [task.name for task in spec.tasks]
    yield from _of_list("finally", spec.finally_ or (), main, "tasks of finally run after all others anyway")


def _of_list(field: str, tasks: Sequence[Task], others: Sequence[str], why: str) -> Iterator[Problem]:
    """`others` are the names of the other list, on which no task of this one can depend, and `why` says so."""
    names = [task.name for task in tasks]
    known, apart = set(names), set(others)
    for position, task in enumerate(tasks):
        dependencies = task.depends_on or []
        for index, dependency in enumerate(dependencies):
            path: Path = (field, position, "dependsOn", index)
            if dependency == task.name:
                yield Problem(path, "a task cannot depend on itself", task.name)
            elif dependency not in known and dependency in apart:
                yield Problem(path, f"{dependency} cannot be waited for here, {why}: take it out", task.name)
            elif dependency not in known:
                yield Problem(path, no_task(dependency, names), task.name)
            elif dependency in dependencies[:index]:
                yield Problem(path, f"{dependency} is named twice", task.name)


def no_task(name: str, names: Collection[str]) -> str:
    """Why a task is not there, and which one is meant."""
    close = closest(name, names)
    hint = f"did you mean {close[0]}?" if close else f"tasks are {', '.join(list(names)[:10])}"
    return f"there is no task {name}: {hint}"


def cycle(spec: WorkflowSpec) -> Iterator[Problem]:
    """The first tasks that wait for each other."""
    yield from _cycle_of("tasks", spec.tasks)
    yield from _cycle_of("finally", spec.finally_ or ())


def _cycle_of(field: str, tasks: Sequence[Task]) -> Iterator[Problem]:
    known = {task.name for task in tasks}
    graph = {
        task.name: [name for name in task.depends_on or () if name in known and name != task.name] for task in tasks
    }
    try:
        ordered(graph)
    except CycleError as error:
        # graphlib names the nodes from a dependency to its dependent; users read dependsOn the other way.
        cycle = list(reversed(error.args[1]))
        first = cycle[0]
        position = next(index for index, task in enumerate(tasks) if task.name == first)
        yield Problem(
            (field, position, "dependsOn"),
            f"the tasks wait for each other: {' -> '.join(cycle)}: remove one dependsOn",
            first,
        )
