"""Checks of the DAG: dependencies that exist, and no cycle."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from nexus.api.codes import Code
from nexus.api.tasks import Task
from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.problem import Path, Problem
from nexus.core.model.graph import first_cycle, redundant, shortest_cycles
from nexus.core.text.similar_names import closest, did_you_mean


def dependencies(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield dependencies that are not there, or are named twice."""
    final = [task.name for task in spec.finally_ or ()]
    yield from _of_list("tasks", spec.tasks, final, "tasks of finally run after all others")
    main = [task.name for task in spec.tasks]
    yield from _of_list("finally", spec.finally_ or (), main, "tasks of finally run after all others anyway")


def _of_list(field: str, tasks: Sequence[Task], others: Sequence[str], why: str) -> Iterator[Problem]:
    """Yield the problems of one list of tasks. `others` are the names of the other list, on which no task of this one
    can depend, and `why` says so."""
    names = [task.name for task in tasks]
    known, apart = set(names), set(others)
    for position, task in enumerate(tasks):
        dependencies = task.depends_on or []
        for index, dependency in enumerate(dependencies):
            path: Path = (field, position, "dependsOn", index)
            if dependency == task.name:
                yield Problem(path, Code.DEPENDENCY_CYCLE, "a task cannot depend on itself", task.name)
            elif dependency not in known and dependency in apart:
                yield Problem(
                    path,
                    Code.INVALID_DEPENDENCY,
                    f'dependsOn cannot reference "{dependency}": {why}; remove it',
                    task.name,
                )
            elif dependency not in known:
                yield Problem(path, Code.UNKNOWN_TASK, no_task(dependency, names), task.name)
            elif dependency in dependencies[:index]:
                yield Problem(path, Code.DUPLICATE_DEPENDENCY, f'duplicate dependency "{dependency}"', task.name)


def no_task(name: str, names: Collection[str]) -> str:
    """Return why a task is not there, and which one is meant."""
    close = closest(name, names)
    hint = did_you_mean(close) if close else f"tasks are {', '.join(list(names)[:10])}"
    return f'unknown task "{name}"; {hint}'


def cycle(spec: WorkflowSpec, *, every: bool = False) -> Iterator[Problem]:
    """Yield the first dependency cycle; with `every` the shortest cycle of each strongly connected group."""
    for field, tasks in (("tasks", spec.tasks), ("finally", spec.finally_ or ())):
        waiting = graph_of(tasks)
        found = first_cycle(waiting)
        if found is not None:
            cycles = shortest_cycles(waiting) if every else [found]
            yield from (_cycle_problem(field, tasks, names) for names in cycles)


def graph_of(tasks: Sequence[Task]) -> dict[str, list[str]]:
    """Return each task with those of its list that it waits for. A task that waits for itself is a problem of its
    own."""
    known = {task.name for task in tasks}
    return {
        task.name: [name for name in task.depends_on or () if name in known and name != task.name] for task in tasks
    }


def redundant_dependencies(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield dependencies of a sound definition that say nothing new: the task waits for them through another one."""
    for field, tasks in (("tasks", spec.tasks), ("finally", spec.finally_ or ())):
        positions = {task.name: (position, task.depends_on or []) for position, task in enumerate(tasks)}
        for name, dependency in redundant(graph_of(tasks)):
            position, dependencies = positions[name]
            path: Path = (field, position, "dependsOn", dependencies.index(dependency))
            words = f'"{dependency}" is redundant: the task waits for it through another dependency; remove it'
            yield Problem(path, Code.REDUNDANT_DEPENDENCY, words, name)


def _cycle_problem(field: str, tasks: Sequence[Task], cycle: Sequence[str]) -> Problem:
    """Return the problem of a dependency cycle in the list of this field."""
    first = cycle[0]
    position = next(index for index, task in enumerate(tasks) if task.name == first)
    return Problem(
        (field, position, "dependsOn"),
        Code.DEPENDENCY_CYCLE,
        f"dependency cycle: {' -> '.join(cycle)}; remove one of these dependsOn entries",
        first,
    )
