"""The graph of tasks: order and first cycle for the engine, and what people ask of it besides.

The engine needs an order and whether there is one: graphlib of the standard library has both. The rest (levels, the
shortest cycles, all before and after a task, edges that say nothing new) is networkx, which takes 0.4 s and 24 MiB to
load: it is imported by the function that is asked, and the operator asks none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from nexus.api.run import TaskStatus

if TYPE_CHECKING:
    from networkx import DiGraph

DependsOn = Mapping[str, Iterable[str]]
"""Each task with those that it waits for, all of which are keys too."""


# -- for the engine: the standard library ------------------------------------------------------------------------------


def ordered(depends_on: DependsOn) -> Sequence[str]:
    """Return the task names, dependencies first, otherwise in the order they are written.

    Raises:
        graphlib.CycleError: the dependencies have a cycle.
    """
    return tuple(TopologicalSorter(depends_on).static_order())


def first_cycle(depends_on: DependsOn) -> list[str] | None:
    """Return a dependency cycle, each task before the one that it depends on and the first again as the last; None if
    there is none."""
    try:
        ordered(depends_on)
    except CycleError as error:
        # graphlib names the nodes from a dependency to its dependent; users read dependsOn the other way.
        return list(reversed(error.args[1]))
    return None


# -- for people: networkx ----------------------------------------------------------------------------------------------


def shortest_cycles(depends_on: DependsOn) -> list[list[str]]:
    """Return a shortest cycle of each strongly connected group of tasks, as `first_cycle` does, beginning
    with the task that is written first; cycles in the order of those."""
    import networkx as nx

    graph = _waiting(depends_on)
    order = {name: position for position, name in enumerate(depends_on)}
    found = []
    for group in nx.strongly_connected_components(graph):
        if len(group) > 1 or any(graph.has_edge(name, name) for name in group):
            cycle = _shortest(graph.subgraph(group), sorted(group, key=order.__getitem__))
            first = min(range(len(cycle)), key=lambda position: order[cycle[position]])
            found.append([*cycle[first:], *cycle[: first + 1]])
    return sorted(found, key=lambda cycle: order[cycle[0]])


def _shortest(graph: DiGraph[str], names: Sequence[str]) -> list[str]:
    import networkx as nx

    best: list[str] = []
    for name in names:
        # Only what is shorter than the best so far is looked at: a dense group is done after a few names.
        most = len(best) - 2 if best else None
        paths = nx.single_source_shortest_path(graph, name, cutoff=most)
        closing = [path for path in paths.values() if graph.has_edge(path[-1], name)]
        if closing:
            best = min(closing, key=len)
        if len(best) in (1, 2):
            break
    return best


def levels(depends_on: DependsOn) -> dict[str, int]:
    """Return the length of the longest chain of dependencies before each task, in the order of the tasks."""
    import networkx as nx

    generations = nx.topological_generations(_waiting(depends_on).reverse(copy=False))
    found = {name: level for level, names in enumerate(generations) for name in names}
    return {name: found[name] for name in depends_on}


def ancestors(depends_on: DependsOn, name: str) -> set[str]:
    """Return all tasks that one waits for, by others too."""
    import networkx as nx

    return nx.descendants(_waiting(depends_on), name)


def descendants(depends_on: DependsOn, names: Iterable[str]) -> set[str]:
    """Return all tasks that wait for one of these, by others too."""
    import networkx as nx

    graph = _waiting(depends_on)
    return set().union(*(nx.ancestors(graph, name) for name in names))


def redundant(depends_on: DependsOn) -> list[tuple[str, str]]:
    """Return each task with a dependency that it waits for through another one anyway, in the order of the tasks. The
    tasks have no cycle."""
    import networkx as nx

    graph = _waiting(depends_on)
    kept = nx.transitive_reduction(graph)
    return [
        (name, dependency)
        for name, dependencies in depends_on.items()
        for dependency in dict.fromkeys(dependencies)
        if not kept.has_edge(name, dependency)
    ]


def _waiting(depends_on: DependsOn) -> DiGraph[str]:
    """Return an edge from each task to each that it waits for."""
    import networkx as nx

    graph: DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(depends_on)
    graph.add_edges_from((name, other) for name, others in depends_on.items() for other in others)
    return graph


def critical_path(tasks: Sequence[TaskStatus], depends_on: Mapping[str, tuple[str, ...]]) -> list[TaskStatus]:
    """Return the tasks that decided how long the run took, first to last: from the task that ended last back to the
    one among its dependencies that ended last, and so on.

    Walking back over the recorded times, unlike the longest path by durations, gives the
    chain that was really waited for, delays between attempts and waiting for a slot included.
    """
    ran = {task.name: task for task in tasks if task.start_time is not None and task.completion_time is not None}
    path: list[TaskStatus] = []
    names: Iterable[str] = list(ran)
    while candidates := [ran[name] for name in names]:
        last = max(candidates, key=lambda task: task.completion_time or datetime.min.replace(tzinfo=UTC))
        path.append(last)
        names = _that_ran(depends_on.get(last.name, ()), ran, depends_on)
    return path[::-1]


def _that_ran(
    names: Iterable[str], ran: Mapping[str, TaskStatus], depends_on: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Return these tasks, and for one that never ran those that it waited for."""
    waited = list(dict.fromkeys(names))
    for name in waited:  # grows while it is walked
        if name not in ran:
            waited += [other for other in depends_on.get(name, ()) if other not in waited]
    return [name for name in waited if name in ran]
