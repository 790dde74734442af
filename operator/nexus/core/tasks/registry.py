"""Registry: which engine starts and watches a task. What else is known of its type is in nexus.core.task_types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nexus.api.reasons import Mechanism
from nexus.core.model.definition import Node
from nexus.core.task_types import TYPES
from nexus.core.tasks import approval, child_run, wait
from nexus.core.tasks.draft import PlanDraft
from nexus.core.tasks.fanout.launch import launch as fanout_launch
from nexus.core.tasks.fanout.launch import proceed as fanout_proceed
from nexus.core.tasks.fanout.observe import observe as fanout_observe
from nexus.core.tasks.launch import launch
from nexus.core.tasks.observe import observe
from nexus.core.tasks.slots import Slots


@dataclass(frozen=True, slots=True)
class TaskHandler:
    """The two turns that a task's own policy takes in a decision."""

    observe: Callable[[PlanDraft, Node], None]
    """Moves a started task on as far as the facts prove."""
    launch: Callable[[PlanDraft, Node, Slots], None]
    """Starts a task, or its next attempt: its rule is met, its `when` is true."""
    proceed: Callable[[PlanDraft, Node, Slots], None] = lambda _board, _node, _slots: None
    """Starts more of a task that runs, where it has more than one pod."""
    takes_slot: bool = True
    """Whether it has pods, which maxParallelTasks counts."""


POD = TaskHandler(observe, launch)
FAN_OUT = TaskHandler(fanout_observe, fanout_launch, fanout_proceed)
CHILD_RUN = TaskHandler(child_run.observe, child_run.launch, takes_slot=False)
CHILD_FAN_OUT = TaskHandler(fanout_observe, fanout_launch, fanout_proceed, takes_slot=False)
BY_OPERATOR: Mapping[str, TaskHandler] = {
    "approval": TaskHandler(approval.observe, approval.launch, takes_slot=False),
    "wait": TaskHandler(wait.observe, wait.launch, takes_slot=False),
}
"""How the operator itself carries out tasks, by type."""

if set(BY_OPERATOR) != {name for name, record in TYPES.items() if record.mechanism is Mechanism.NONE}:
    raise TypeError(f"BY_OPERATOR has {sorted(BY_OPERATOR)}, which are not the types with Mechanism.NONE")


def of(node: Node, mechanism: Mechanism) -> TaskHandler:
    """Return the policy of a task whose attempts are carried out by `mechanism`."""
    match mechanism:
        case Mechanism.NONE:
            return BY_OPERATOR[node.type]
        case Mechanism.CHILD_RUN:
            return CHILD_RUN if node.task.for_each is None else CHILD_FAN_OUT
    return POD if node.task.for_each is None else FAN_OUT
