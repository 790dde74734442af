"""Slots: maxParallelTasks, the pods that a run may have at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from nexus.api.reasons import Reason
from nexus.api.run import TaskStatus
from nexus.core.model.definition import DEFAULT_MAX_PARALLEL_TASKS, Node
from nexus.core.tasks.capacity import Room, room
from nexus.core.tasks.draft import PlanDraft

# Who waits for the operator's own limit is woken when there is room; this is for where that was missed.
REQUEUE_AFTER_FULL = timedelta(seconds=60)


@dataclass
class Slots:
    """How many more pods the run may have. One is taken by every task with a pod, or with one on its way, and by a
    pod that is still to be stopped; a delay between attempts takes none."""

    limit: int
    free: int
    room: Room | None = None
    """What is left of the operator's own limit, where that is less."""

    @classmethod
    def of(cls, draft: PlanDraft) -> Slots:
        """Return the slots as the facts say."""
        limit = draft.definition.max_parallel_tasks
        free = limit - sum(_taken(draft, task) for task in draft.tasks.values()) - _unknown(draft)
        left = room(draft.facts.capacity, (job for jobs in draft.facts.jobs.values() for job in jobs))
        if left is not None and left.free < free:
            return cls(limit, left.free, left)
        return cls(limit, free)


def _unknown(draft: PlanDraft) -> int:
    """Return the pods of Jobs that may have been made though no answer came, and that no watch has shown yet."""
    refusals = draft.facts.refusals
    if not any(refusal.pods for refusal in refusals.values()):
        return 0
    known = {job.name for jobs in draft.facts.jobs.values() for job in jobs}
    return sum(refusal.pods for name, refusal in refusals.items() if name not in known)


def _taken(draft: PlanDraft, task: TaskStatus) -> int:
    tally = draft.tallies.get(task.name)
    if tally is not None and not task.phase.ended:
        return tally.held
    if task.items is not None:
        return sum(pod.live for job in draft.facts.jobs.get(task.name, ()) for pod in job.pods)
    return _takes_slot(draft, task)


def _takes_slot(draft: PlanDraft, task: TaskStatus) -> bool:
    if task.job is None:
        return False
    if not task.phase.ended and task.next_attempt_time is None and task.name not in draft.unstored:
        return True
    return any(pod.live for job in draft.facts.jobs.get(task.name, ()) for pod in job.pods)


def has_slot(draft: PlanDraft, node: Node, slots: Slots) -> bool:
    """Return whether the task may have a pod now; where not, its status says so."""
    if slots.free > 0:
        return True
    if slots.room is not None:
        words = f"the operator limit of {slots.room.limit} task pods is reached (NEXUS_MAX_TASK_PODS)"
        draft.wait(node.name, Reason.CAPACITY, words)
        draft.wakes.append(draft.now + REQUEUE_AFTER_FULL)
        return False
    whose = "maxParallelTasks"
    if slots.limit < (draft.definition.spec.max_parallel_tasks or DEFAULT_MAX_PARALLEL_TASKS):
        whose = "the operator's NEXUS_MAX_PARALLEL_TASKS"
    draft.wait(
        node.name, Reason.PARALLELISM, f"the limit of {slots.limit} running tasks of the run is reached ({whose})"
    )
    return False
