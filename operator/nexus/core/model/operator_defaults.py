"""What holds for every Workflow of an operator where it says nothing itself, and what no Workflow may exceed.

These come from the settings of the operator, which may change while runs are under way: so there is nothing among them
that decides how a task's Job is made, only how many retries follow, how many pods may run, and how long runs are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

HISTORY = 3
MOST_PARALLEL_TASKS = 1_000


@dataclass(frozen=True, slots=True)
class OperatorDefaults:
    """The settings that decisions depend on."""

    retry_limit: int = 0
    """Retries of a task with a pod, or of a child run, whose `retry` has no limit."""
    max_parallel_tasks: int = MOST_PARALLEL_TASKS
    """Live task pods of a run, whatever its maxParallelTasks says."""
    history_succeeded: int = HISTORY
    history_failed: int = HISTORY
    ttl_seconds: int | None = None
    """Seconds for which ended runs stay; None: for ever, as far as history lets them."""


NO_DEFAULTS = OperatorDefaults()
"""Of local runs, and of an operator whose settings say nothing."""
