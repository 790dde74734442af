"""The DAG of a run as a graph: the level of each task, and the path that decided how long the run took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from nexus.api.run import TaskStatus


def levels(depends_on: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """How many tasks stand one after the other before each."""
    found: dict[str, int] = {}
    for name, dependencies in depends_on.items():
        found[name] = max((found[dependency] + 1 for dependency in dependencies), default=0)
    return found


def critical_path(tasks: Sequence[TaskStatus], depends_on: Mapping[str, tuple[str, ...]]) -> list[TaskStatus]:
    """The tasks that decided how long the run took, first to last: from the task that ended last back to the one among
    its dependencies that ended last, and so on.

    Walking back over the recorded times needs no graph library, and unlike the longest path by durations it is the
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
    """These tasks, and for one that never ran those that it waited for."""
    waited = list(dict.fromkeys(names))
    for name in waited:  # grows while it is walked
        if name not in ran:
            waited += [other for other in depends_on.get(name, ()) if other not in waited]
    return [name for name in waited if name in ran]
