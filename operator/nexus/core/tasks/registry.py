"""Kinds: how the tasks of each type are started and watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nexus.core.model.definition import Node
from nexus.core.tasks import approval, child_run, wait
from nexus.core.tasks.decision import Board
from nexus.core.tasks.fanout.launch import launch as fanout_launch
from nexus.core.tasks.fanout.launch import proceed as fanout_proceed
from nexus.core.tasks.fanout.observe import observe as fanout_observe
from nexus.core.tasks.launch import launch
from nexus.core.tasks.observe import observe
from nexus.core.tasks.slots import Slots


@dataclass(frozen=True, slots=True)
class Kind:
    """The two turns that a task's own policy takes in a decision."""

    observe: Callable[[Board, Node], None]
    """Moves a started task on as far as the facts prove."""
    launch: Callable[[Board, Node, Slots], None]
    """Starts a task, or its next attempt: its rule is met, its `when` is true."""
    proceed: Callable[[Board, Node, Slots], None] = lambda _board, _node, _slots: None
    """Starts more of a task that runs, where it has more than one pod."""
    takes_slot: bool = True
    """Whether it has pods, which maxParallelTasks counts."""


POD = Kind(observe, launch)
FAN_OUT = Kind(fanout_observe, fanout_launch, fanout_proceed)
CHILD_RUN = Kind(child_run.observe, child_run.launch, takes_slot=False)
CHILD_FAN_OUT = Kind(fanout_observe, fanout_launch, fanout_proceed, takes_slot=False)
BY_TYPE: Mapping[str, Kind] = {
    "python": POD,
    "http": POD,
    "bash": POD,
    "sql": POD,
    "container": POD,
    "workflow": CHILD_RUN,
    "approval": Kind(approval.observe, approval.launch, takes_slot=False),
    "wait": Kind(wait.observe, wait.launch, takes_slot=False),
}


def of(node: Node) -> Kind:
    """The policy of a task."""
    if node.task.for_each is None:
        return BY_TYPE[node.type]
    return CHILD_FAN_OUT if node.type == "workflow" else FAN_OUT
