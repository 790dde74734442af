"""Identity: which of the objects that say they are a run's are what they say.

Whoever may create Jobs or runs may give one any labels, and name any run of which he knows the UID as its controller.
So a Job, or a child run, counts only

- in the namespace of the run, with the run's UID as that of its controller;
- by its name, which says for which task, item and attempt it is (`nexus.core.names`); labels only select, and a removed
  or changed one changes nothing;
- where its task makes objects of that kind;
- with the UID that the status records, where it records one;
- a child run that no status records, with the workflowRef, triggeredBy and params that the task would give it. Not so
  a Job: what the API server, its webhooks and another version of the operator make of one differs;
- when it is due: the attempt before it has ended, on record or as the facts prove. That is decided with the tasks
  (`nexus.core.engine.start`, `observe`, `fanout`), for until then it is not wrong: the watches are not in step.

A pod counts by the UID of its Job, in the Job's namespace. What fails any but the last of these can never be right: it
is Forged, which is reported (`nexus.core.tasks.forged`), and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property, lru_cache
from typing import TypeVar

from nexus.api.fanout import MAX_ITEMS
from nexus.api.reasons import Mechanism
from nexus.api.run import TaskStatus, Trigger, WorkflowRunStatus
from nexus.core.model.definition import Definition, Node
from nexus.core.model.facts import ChildFact, Forged, JobFact, PodFact, RunFact
from nexus.core.names import item_job_name, item_stem, job_name, job_stem
from nexus.core.tasks.mechanism import defined_mechanism
from nexus.core.text.canonical_json import canonical
from nexus.core.text.sha256 import sha256

Claim = TypeVar("Claim", JobFact, ChildFact)


class Makes(Enum):
    """What a task makes."""

    NOTHING = "nothing"
    JOBS = "Jobs"
    ITEM_JOBS = "a Job for each item"
    INDEXED_JOB = "a Job for all items, and Jobs for some"
    CHILDREN = "child runs"
    ITEM_CHILDREN = "a child run for each item"
    UNKNOWN = "Jobs or child runs"
    """Of a run that has ended, whose definition is not read any more."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What the name of an object says it is for."""

    task: str
    attempt_number: int
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Sorted:
    """The objects that say they are a run's: those that are, by task, and those that never can be."""

    jobs: Mapping[str, tuple[JobFact, ...]] = field(default_factory=dict)
    children: Mapping[str, tuple[ChildFact, ...]] = field(default_factory=dict)
    forged: tuple[Forged, ...] = ()


def makes(node: Node) -> Makes:
    """Return what a task makes, from its definition."""
    return _made_by(defined_mechanism(node), of_items=node.task.for_each is not None)


def _made_by(mechanism: Mechanism, *, of_items: bool) -> Makes:
    match mechanism:
        case Mechanism.NONE:
            return Makes.NOTHING
        case Mechanism.CHILD_RUN:
            return Makes.ITEM_CHILDREN if of_items else Makes.CHILDREN
        case Mechanism.INDEXED_JOB:
            return Makes.INDEXED_JOB
    return Makes.ITEM_JOBS if of_items else Makes.JOBS


def expected(definition: Definition) -> dict[str, Makes]:
    """Return what the tasks of a run make, by name."""
    return {name: makes(node) for name, node in definition.nodes.items()}


def expected_of(status: WorkflowRunStatus | None, claims: Iterable[JobFact | ChildFact] = ()) -> dict[str, Makes]:
    """Return the same where the definition is not known: of a run that has ended, or whose definition cannot be read.
    The status may have no entry for a task; then its name, which fits the labels, says which it is of."""
    named = {claim.task: Makes.UNKNOWN for claim in claims if claim.task}
    return named | {task.name: _recorded_as(task) for task in (status.tasks or () if status is not None else ())}


def _recorded_as(task: TaskStatus) -> Makes:
    if task.mechanism is not None:
        return _made_by(task.mechanism, of_items=task.items is not None)
    if task.items is not None:
        return Makes.INDEXED_JOB if task.job is not None else Makes.UNKNOWN
    if task.job is not None:
        return Makes.JOBS
    return Makes.CHILDREN if task.child_run is not None else Makes.UNKNOWN


# A name is told anew with each look at a run that has one. 4,096 of them, with their texts, are about 2 MiB.
_job_name = lru_cache(maxsize=4_096)(job_name)
_item_job_name = lru_cache(maxsize=4_096)(item_job_name)


def slot_of(name: str, run_name: str, run_uid: str, tasks: Iterable[str]) -> Slot | None:
    """Return what an object of a run is for, by its name; None if the run gives no such name for one of `tasks`."""
    return _Names(run_name, run_uid, tasks).slot_of(name)


class _Names:
    """The names that a run gives. Of objects that name it as their controller there may be thousands: each costs the
    same, however many tasks there are."""

    def __init__(self, run_name: str, run_uid: str, tasks: Iterable[str]) -> None:
        self._run_name, self._run_uid, self._tasks = run_name, run_uid, tasks

    @cached_property
    def _by_stem(self) -> tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]]:
        """The tasks by what the names of their objects begin with, and by what those of their items' begin with."""
        whole, items = dict[str, list[str]](), dict[str, list[str]]()
        for task in self._tasks:
            whole.setdefault(job_stem(self._run_name, task), []).append(task)
            items.setdefault(item_stem(self._run_name, task), []).append(task)
        return whole, items

    def slot_of(self, name: str) -> Slot | None:
        """Return what an object is for, None where the run does not give its name."""
        head, _, rest = name.rpartition("-")
        head, _, attempt_number = head.rpartition("-")
        if not (rest and _is_number(attempt_number, 9)):
            return None
        number, (item_head, _, index) = int(attempt_number), head.rpartition("-")
        whole, items = self._by_stem
        for task in whole.get(head, ()):
            if _job_name(self._run_name, self._run_uid, task, number) == name:
                return Slot(task, number)
        for task in items.get(item_head, ()) if _is_number(index, 4) else ():
            if _item_job_name(self._run_name, self._run_uid, task, int(index), number) == name:
                return Slot(task, number, int(index))
        return None


def _is_number(text: str, digits: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= digits


def sort(
    run: RunFact,
    status: WorkflowRunStatus | None,
    tasks: Mapping[str, Makes],
    jobs: Iterable[JobFact],
    children: Iterable[ChildFact],
) -> Sorted:
    """Tell apart what says it is the run's. `tasks` is what each makes; a fact whose `task` is empty has labels that do
    not fit its name."""
    recorded = {task.name: task for task in (status.tasks or () if status is not None else ())}
    forged: list[Forged] = []
    names = _Names(run.name, run.uid, tasks)
    own_jobs = _by_task(run, recorded, tasks, names, jobs, forged)
    own_children = _by_task(run, recorded, tasks, names, children, forged)
    return Sorted(own_jobs, own_children, tuple(forged))


def _by_task(
    run: RunFact,
    recorded: Mapping[str, TaskStatus],
    tasks: Mapping[str, Makes],
    names: _Names,
    claims: Iterable[Claim],
    forged: list[Forged],
) -> dict[str, tuple[Claim, ...]]:
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        if claim.namespace != run.namespace:
            why = f"is in namespace {claim.namespace}, not in the namespace of the run"
        else:
            # Its labels, which were held against its name when it was seen, save a search.
            trusted = claim.task in tasks and claim.owner == run.name
            slot = Slot(claim.task, claim.attempt_number, claim.index) if trusted else None
            slot = slot or names.slot_of(claim.name)
            why = _contradiction(claim, slot, tasks, recorded)
            if not why and slot is not None:
                if not trusted:
                    claim = replace(claim, task=slot.task, attempt_number=slot.attempt_number, index=slot.index)
                found.setdefault(slot.task, []).append(claim)
        if why:
            forged.append(Forged(_kind(claim), claim.namespace, claim.name, claim.uid, why))
    return {task: tuple(own) for task, own in found.items()}


def _kind(claim: JobFact | ChildFact) -> str:
    return "Job" if isinstance(claim, JobFact) else "WorkflowRun"


def _contradiction(
    claim: JobFact | ChildFact, slot: Slot | None, tasks: Mapping[str, Makes], recorded: Mapping[str, TaskStatus]
) -> str:
    """Return why an object in the run's namespace can never be the run's, empty where it may be."""
    if slot is None:
        return "does not have a name that the run generates"
    task = recorded.get(slot.task)
    # What started it counts, whatever this version would do; a status written by 0.1 does not say.
    made = _recorded_as(task) if task is not None and task.mechanism is not None else tasks[slot.task]
    if not _fits(claim, slot, made):
        return f"is not what task {slot.task} creates ({made.value})"
    if task is None:
        return ""
    if slot.index is not None and task.items is not None and slot.index >= task.items.total:
        return f"is for item {slot.index}, and task {slot.task} has {task.items.total} items"
    known = task.job if isinstance(claim, JobFact) else task.child_run
    if known is not None and known.name == claim.name and known.uid not in (None, claim.uid):
        return f"replaces the recorded one, which has the UID {known.uid}"
    return ""


def _fits(claim: JobFact | ChildFact, slot: Slot, made: Makes) -> bool:
    if slot.attempt_number < 1 or (slot.index is not None and slot.index >= MAX_ITEMS):
        return False
    if isinstance(claim, JobFact):
        if slot.index is not None:
            return made in (Makes.ITEM_JOBS, Makes.INDEXED_JOB, Makes.UNKNOWN)
        return made in (Makes.JOBS, Makes.UNKNOWN) or (made is Makes.INDEXED_JOB and slot.attempt_number == 1)
    if slot.index is None:
        return made in (Makes.CHILDREN, Makes.UNKNOWN)
    return made in (Makes.ITEM_CHILDREN, Makes.UNKNOWN)


def forged_pod(job: JobFact, pod: PodFact) -> Forged | None:
    """Return why a pod that says it is of a Job can never be; None where it may be."""
    if pod.namespace == job.namespace:
        return None
    why = f"is in namespace {pod.namespace}, not in the namespace of its Job"
    return Forged("Pod", pod.namespace, pod.name, pod.uid, why)


def content_of(workflow: str, trigger: str, params: Mapping[str, object] | None) -> str:
    """Return a SHA-256 of what makes a child run the one that its task starts."""
    return sha256(canonical([workflow, trigger, params or {}]))


def child_content(workflow: str, params: Mapping[str, object]) -> str:
    """Return the same of the child run that a task would start."""
    return content_of(workflow, Trigger.WORKFLOW.value, params)


def is_recorded(task: TaskStatus | None, child: ChildFact) -> bool:
    """Return whether the status of its task says of a child run that it was made for that: for the last attempt, or one
    before it. Those of items are on no record."""
    if task is None or task.child_run is None:
        return False
    return task.child_run.uid == child.uid or (child.index is None and child.attempt_number < (task.attempts or 0))
