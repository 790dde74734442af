"""Pools: a task of a pool starts when it has a slot there, which tasks of other runs may hold.

A slot is asked for last, when nothing else keeps the task from starting, and for one Job: an attempt, or an item of a
fan-out, so that a long fan-out and many short runs take turns. A slot that was granted and is not used at once is given
back. Whose turn it is, is decided elsewhere (see nexus.core.pools.queue): here it is a fact.
"""

from __future__ import annotations

from datetime import timedelta

from nexus.api.reasons import Reason, TaskPhase
from nexus.core.model.definition import Node
from nexus.core.model.facts import Facts, SlotAsked, SlotGrant
from nexus.core.model.plan import AskSlot, ReturnSlot
from nexus.core.pools.queue import FRONT, bound, ordinal
from nexus.core.tasks.draft import PlanDraft

# A waiting run is woken when its turn comes. It also looks by itself, those in front soon, in case the operator that
# would wake it dies.
LOOK_IN_FRONT = timedelta(seconds=5)
LOOK_BEHIND = timedelta(seconds=60)
LOOK_FOR_SIZE = timedelta(seconds=10)


def has_turn(draft: PlanDraft, node: Node, job_name: str) -> bool:
    """Return whether a Job of the task may start now, as far as its pool goes; where not, the task's status says
    why."""
    if node.task.pool is None:
        return True
    asked = SlotAsked(node.name, node.task.pool, job_name)
    turn = draft.facts.turns.get(asked)
    if turn is None:
        draft.reads.append(AskSlot(asked))
        return False
    if turn.granted:
        return True
    tally = draft.tallies.get(node.name)
    if tally is None or not tally.held:
        draft.wait(node.name, *why(turn, node.task.pool))
    draft.wakes.append(draft.now + _look(turn))
    return False


def why(turn: SlotGrant, pool: str) -> tuple[Reason, str]:
    """Return why a task waits. In front of the line the words change with each slot that is granted, further back
    rarely: otherwise each of hundreds that wait would have its status written each time."""
    if turn.missing:
        return Reason.POOL_MISSING, turn.missing
    place = turn.place
    if not place:
        return (
            Reason.POOL,
            f'waiting for a slot in pool "{pool}": another operator holds it, and loses it if it does not respond',
        )
    if place > FRONT:
        queue = f"at most {bound(place)} ahead in the queue"
        return Reason.POOL, f'waiting for a slot in pool "{pool}" ({turn.size} of {turn.size} in use, {queue})'
    words = f'waiting for a slot in pool "{pool}" ({turn.held} of {turn.size} in use, {ordinal(place)} in queue)'
    if not turn.held:
        return Reason.POOL, words
    more = turn.held - len(turn.holders)
    by = ", ".join(turn.holders) + (f" and {more} more" if more else "")
    return Reason.POOL, f"{words}; held by {by}"


def _look(turn: SlotGrant) -> timedelta:
    if turn.missing:
        return LOOK_FOR_SIZE
    return LOOK_IN_FRONT if turn.place <= FRONT else LOOK_BEHIND


def returns(draft: PlanDraft) -> tuple[ReturnSlot, ...]:
    """Return the slots that are the run's and are not used: what asked for them does not ask now, has ended, or was
    refused."""
    facts = draft.facts
    had = (*facts.granted, *(asked for asked, turn in facts.turns.items() if turn.granted))
    return tuple(ReturnSlot(asked) for asked in dict.fromkeys(had) if not _used(draft, asked))


def _used(draft: PlanDraft, asked: SlotAsked) -> bool:
    if any(job.name == asked.job_name for job in draft.facts.jobs.get(asked.task, ())):
        return True
    if asked not in draft.facts.turns or asked.job_name in draft.facts.refusals:
        return False
    task = draft.tasks.get(asked.task)
    return task is not None and task.phase in (TaskPhase.PENDING, TaskPhase.RUNNING)


def unused(facts: Facts) -> tuple[ReturnSlot, ...]:
    """Return the slots of a run that has ended."""
    return tuple(ReturnSlot(asked) for asked in facts.granted)
