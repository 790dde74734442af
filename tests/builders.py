"""Builders: sentences of code for definitions, facts and worlds, so that a test shows what it is about and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from nexus.api.run import Approval, TaskStatus, WorkflowRunStatus
from nexus.api.tasks import TASK_TYPES, Task
from nexus.api.workflow import WorkflowSpec
from nexus.core.model.definition import Definition, prepare
from nexus.core.model.facts import ChildFact, Facts, JobFact, PodFact, RunFact, Terminated
from nexus.core.names import child_name, job_name
from nexus.core.tasks.identity import child_content

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
RUN = RunFact("default", "sales-x7k2p", "run-uid", START, workflow="sales")


def at(seconds: float) -> datetime:
    """The time so many seconds after the start of the story."""
    return START + timedelta(seconds=seconds)


# -- definitions ------------------------------------------------------------------------------------------------------


def task(name: str, *depends_on: str, **fields: Any) -> Task:
    """A container task, or of another type where a field says so; fields by their names in a manifest or in Python."""
    body: dict[str, Any] = {"name": name, **fields}
    if depends_on:
        body["dependsOn"] = list(depends_on)
    if not any(kind in fields for kind in TASK_TYPES):
        body["container"] = {"image": "work:1"}
    return Task.model_validate(body)


def spec(*tasks: Task, **fields: Any) -> WorkflowSpec:
    """A workflow's spec."""
    return WorkflowSpec.model_validate({**fields, "tasks": tasks})


def definition(*tasks: Task, **fields: Any) -> Definition:
    """A prepared definition of these tasks."""
    return prepare(spec(*tasks, **fields))


def chain(length: int, **fields: Any) -> Definition:
    """Tasks t0, t1, ... each of which depends on the one before."""
    return definition(*(task(f"t{n}", *((f"t{n - 1}",) if n else ())) for n in range(length)), **fields)


def fan(width: int, **fields: Any) -> Definition:
    """Tasks t0, t1, ... of which none depends on any other."""
    return definition(*(task(f"t{n}") for n in range(width)), **fields)


# -- facts ------------------------------------------------------------------------------------------------------------


def ended(exit_code: int = 0, message: str = "", *, after: float | None = 5, reason: str = "") -> Terminated:
    """How a container ended, so many seconds into the story."""
    return Terminated(exit_code, reason, message, None if after is None else at(after))


def pod(
    terminated: Terminated | None = None,
    *,
    phase: str = "",
    deleted: float | None = None,
    disrupted: float | None = None,
    **fields: Any,
) -> PodFact:
    """A pod; its phase is what its container says, unless given. Times are seconds into the story."""
    if not phase:
        phase = "Running" if terminated is None or terminated.exit_code == 0 else "Failed"
    return PodFact(
        name=fields.pop("name", "pod"),
        uid=fields.pop("uid", "pod-uid"),
        phase=phase,
        created_at=fields.pop("created_at", START),
        running=fields.pop("running", terminated is None and phase == "Running"),
        terminated=terminated,
        deleted_at=None if deleted is None else at(deleted),
        disrupted_at=None if disrupted is None else at(disrupted),
        **fields,
    )


def waiting(reason: str, message: str = "", **fields: Any) -> PodFact:
    """A pod on a node whose container does not run."""
    return pod(phase="Pending", waiting_reason=reason, waiting_message=message, scheduled_at=START, **fields)


def job(task_name: str, *pods: PodFact, attempt_number: int = 1, run: RunFact = RUN, **fields: Any) -> JobFact:
    """The Job of an attempt, under the name that the engine gives it."""
    name = job_name(run.name, run.uid, task_name, attempt_number)
    return JobFact(
        name=fields.pop("name", name),
        uid=fields.pop("uid", f"uid-of-{name}"),
        task=task_name,
        attempt_number=attempt_number,
        created_at=fields.pop("created_at", START),
        pods=pods,
        **fields,
    )


def succeeded(task_name: str, message: str = "", **fields: Any) -> JobFact:
    """A Job whose pod has just ended well."""
    return job(task_name, pod(ended(0, message)), **fields)


def failed(task_name: str, exit_code: int = 1, message: str = "", *, after: float = 5, **fields: Any) -> JobFact:
    """A Job that failed with its one pod."""
    return job(
        task_name,
        pod(ended(exit_code, message, after=after)),
        **{"failed": 1, "failure": "BackoffLimitExceeded", "finished_at": at(after + 1), **fields},
    )


def child(task_name: str, *, attempt_number: int = 1, run: RunFact = RUN, **fields: Any) -> ChildFact:
    """The child run of an attempt, under the name that the engine gives it, of the Workflow `price` without params."""
    name = child_name(run.name, run.uid, task_name, attempt_number)
    known = {"created_at": START, "content": child_content("price", {}), **fields}
    return ChildFact(name, f"uid-of-{name}", task_name, attempt_number, **known)


def facts(
    *jobs: JobFact | ChildFact, status: WorkflowRunStatus | None = None, run: RunFact = RUN, **fields: Any
) -> Facts:
    """Facts with these Jobs and child runs."""
    by_task: dict[str, tuple[JobFact, ...]] = {}
    children: dict[str, tuple[ChildFact, ...]] = {}
    for entry in jobs:
        if isinstance(entry, ChildFact):
            children[entry.task] = (*children.get(entry.task, ()), entry)
        else:
            by_task[entry.task] = (*by_task.get(entry.task, ()), entry)
    return Facts(run=run, status=status, jobs=by_task, children=children, **fields)


def approval(task_name: str, decision: str = "Approved", **fields: Any) -> Approval:
    """What Ann decided about a task."""
    return Approval.model_validate({"task": task_name, "decision": decision, "by": "ann", **fields})


def run_with(params: Mapping[str, Any], **fields: Any) -> RunFact:
    """A run that gives params."""
    return replace(RUN, params=params, **fields)


# -- reading plans ----------------------------------------------------------------------------------------------------


def states(status: WorkflowRunStatus) -> dict[str, str]:
    """Each task's phase, with its reason where it has one: `Omitted DependencyFailed`."""
    return {entry.name: f"{entry.phase} {entry.reason or ''}".strip() for entry in status.tasks or ()}


def entry_of(status: WorkflowRunStatus, name: str) -> TaskStatus:
    """One task's entry."""
    return next(entry for entry in status.tasks or () if entry.name == name)


def sequence(items: Sequence[Any]) -> str:
    """Items in one word, for the ids of tests."""
    return "-".join(str(item) for item in items) or "none"
