"""Kinds: how the tasks of each type are started and watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nexus.core import child_run
from nexus.core.board import Board
from nexus.core.definition import Node
from nexus.core.launch import launch
from nexus.core.observe import observe
from nexus.core.slots import Slots


@dataclass(frozen=True, slots=True)
class Kind:
    """The two turns that a task's own policy takes in a decision."""

    observe: Callable[[Board, Node], None]
    """Moves a started task on as far as the facts prove."""
    launch: Callable[[Board, Node, Slots], None]
    """Starts a task, or its next attempt: its rule is met, its `when` is true."""
    takes_slot: bool = True
    """Whether it has a pod, which maxParallelTasks counts."""


POD = Kind(observe, launch)
CHILD_RUN = Kind(child_run.observe, child_run.launch, takes_slot=False)
BY_TYPE: Mapping[str, Kind] = {
    "python": POD,
    "http": POD,
    "bash": POD,
    "sql": POD,
    "container": POD,
    "workflow": CHILD_RUN,
}


def of(node: Node) -> Kind:
    """The policy of a task."""
    return BY_TYPE[node.type]
