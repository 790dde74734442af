"""WorkflowRun: one execution of a definition."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from nexus.api.base import API_VERSION, Model, Time
from nexus.api.fanout import ItemsStatus
from nexus.api.packed import Output
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.store import MOST_ARTIFACTS, Sha256, StoredArtifact, StoredObject
from nexus.api.tasks import ObjectName, TaskName
from nexus.api.workflow import Condition, ParamName, WorkflowSpec


class Trigger(StrEnum):
    """What made a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    BACKFILL = "backfill"
    RERUN = "rerun"
    WORKFLOW = "workflow"
    API = "api"


class WorkflowRef(Model):
    """A Workflow in the run's namespace."""

    name: ObjectName
    """Its name."""


class Cancel(StrEnum):
    """How a run is to be cancelled."""

    GRACEFUL = "Graceful"
    IMMEDIATE = "Immediate"


class Decision(StrEnum):
    """What a person says to a task that waits for approval."""

    APPROVED = "Approved"
    REJECTED = "Rejected"


class Approval(Model):
    """What a person decided about one approval task."""

    task: TaskName
    """Name of the task."""
    decision: Decision
    """Approved or Rejected."""
    by: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Who decided. `nexus approve` writes the user that the API server knows; the audit log is the proof."""
    comment: Annotated[str, StringConstraints(max_length=500)] | None = None
    """Why, in words."""
    time: Time | None = None
    """When."""


class RerunOf(Model):
    """Which run is run again, and from where. At most one of `from` and `tasks`."""

    name: ObjectName
    """A run of the same Workflow in this namespace that has ended."""
    from_: Literal["Failed"] | None = Field(None, alias="from")
    """Failed (default): tasks that did not succeed, and all after them. Of a fan-out that failed only the items that
    did not succeed, where nothing it depends on has changed."""
    tasks: Annotated[list[TaskName], Field(min_length=1, max_length=100)] | None = None
    """These tasks and all after them, and what else did not succeed."""


class WorkflowRunSpec(Model):
    """What to execute: exactly one of workflowRef and workflowSpec, with params. All of it stays as it is made, but for
    suspend, cancel and approvals."""

    workflow_ref: WorkflowRef | None = None
    """The Workflow to execute, as it is when the run starts; later edits do not change the run."""
    workflow_spec: WorkflowSpec | None = None
    """A definition of the run's own, instead of workflowRef."""
    params: Annotated[dict[str, Any], Field(max_length=100)] | None = None
    """Values for the definition's params. They are values: `${{ }}` in them is not rendered."""
    triggered_by: Trigger | None = None
    """What made the run: manual (default), schedule, backfill, rerun, workflow (a child of another run) or api."""
    scheduled_time: Time | None = None
    """The time that the run is for: the tick of a schedule, or as somebody asked; run.scheduledTime. Default: the
    creation of the run."""
    interval_start: Time | None = None
    """run.intervalStart: for a tick, the tick before it. Default: scheduledTime."""
    interval_end: Time | None = None
    """run.intervalEnd. Default: scheduledTime."""
    schedule: TaskName | None = None
    """Name of the schedule whose tick the run is for."""
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """The zone of date() and strftime() where an expression names none: that of the schedule. Default UTC."""
    rerun_of: RerunOf | None = None
    """Run a run again: what succeeded there, and is not after a task that runs again, is not run, and its outputs are
    used. `nexus rerun` makes such runs, with the params and the times of the earlier one."""
    suspend: bool | None = None
    """True: nothing new is started, what is started goes on to its end; deadlines go on counting. May be changed at any
    time."""
    cancel: Cancel | None = None
    """Graceful: tasks are stopped, then `finally` runs. Immediate: everything is stopped. Cancelling wins over suspend;
    it may be made Immediate, and not be taken back."""
    approvals: Annotated[list[Approval], Field(max_length=500)] | None = None
    """What people decided about approval tasks, one entry a task; entries are added at the end and never change."""


MOST_FORGED = 11


class JobRef(Model):
    """The Job of a task's current attempt."""

    name: Annotated[str, StringConstraints(max_length=63)]
    """Name of the Job."""
    uid: Annotated[str, StringConstraints(max_length=64)] | None = None
    """UID of the Job."""


class RunRef(Model):
    """The child run of a `workflow` task's current attempt."""

    name: Annotated[str, StringConstraints(max_length=63)]
    """Name of the WorkflowRun."""
    uid: Annotated[str, StringConstraints(max_length=64)] | None = None
    """UID of the WorkflowRun."""


class OutputRef(Model):
    """Where an output lies that is too big for the status."""

    config_map: ObjectName
    """Name of the ConfigMap, key output.json."""
    size: Annotated[int, Field(ge=0)]
    """Bytes of the JSON text."""
    sha256: Sha256 | None = None
    """SHA-256 of the JSON text, checked by everybody who reads it. Absent where an older version of the operator stored
    it."""


class AttemptError(Model):
    """The exception that ended an attempt, as the bootstrap of a python, http or sql task saw it."""

    type: Annotated[str, StringConstraints(max_length=200)]
    """Name of its class."""
    message: Annotated[str, StringConstraints(max_length=256)]
    """Its text, cut at 256 characters."""
    line: int | None = None
    """Line of the task's code, where it is one of them."""


class AttemptRecord(Model):
    """How one attempt of a task went."""

    attempt: Annotated[int, Field(ge=1)]
    """Its number; attempts that were replaced without counting have none."""
    pod: Annotated[str, StringConstraints(max_length=253)] | None = None
    """Name of its pod."""
    start_time: Time | None = None
    """When its container started."""
    completion_time: Time | None = None
    """When it ended."""
    exit_code: int | None = None
    """Exit code of its container."""
    reason: Reason | None = None
    """Why it failed, in one word; absent where it succeeded."""
    message: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Why it failed, in words, cut at 256 characters."""
    exception: AttemptError | None = None
    """The exception that ended it."""
    log_tail: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """The end of its log, where recordLogLines asks for it."""


class ApprovalRequest(Model):
    """An approval task that is waiting for a decision, or has one: of the run itself, or of a child run below it."""

    run: ObjectName
    """Name of the run that takes the decision, in spec.approvals."""
    task: TaskName
    """Name of the approval task in that run."""
    message: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """Rendered approval.message, cut to the limit of a task message. Absent if the task has none."""
    decision: Decision | None = None
    """Approved or Rejected. Absent while the task is waiting, and if it ended without a decision."""


class TaskStatus(Model):
    """Where one task of the run stands."""

    name: TaskName
    """Name of the task."""
    phase: TaskPhase = TaskPhase.PENDING
    """Pending, Running, Succeeded, Failed, Skipped, Omitted or Cancelled."""
    reason: Reason | None = None
    """Why, in one word; docs list them all."""
    message: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """Why, in words a user can act on."""
    attempts: Annotated[int, Field(ge=0)] | None = None
    """Attempts started so far, those aside that were replaced without counting."""
    replacements: int | None = None
    """Attempts that were replaced without counting: disrupted pods whose Job had to be made anew, lost outputs."""
    job: JobRef | None = None
    """The Job of the last attempt."""
    child_run: RunRef | None = None
    """The child run of the last attempt, of a `workflow` task."""
    exit_code: int | None = None
    """Exit code of the last attempt that ended."""
    start_time: Time | None = None
    """When the first attempt was started."""
    completion_time: Time | None = None
    """When the task ended."""
    next_attempt_time: Time | None = None
    """When the next attempt is due."""
    due_time: Time | None = None
    """When a wait is over."""
    approval: ApprovalRequest | None = None
    """The approval that the task asks for; of a `workflow` task, the one that a child run is waiting for."""
    refused_time: Time | None = None
    """Since when the API server refuses what the task needs written; absent where nothing is refused."""
    attempt_records: Annotated[list[AttemptRecord], Field(max_length=5)] | None = None
    """The last five attempts that have ended, oldest first. Absent for a task whose first attempt succeeded, unless
    recordLogLines is set. All records of a run together have a limit of size."""
    output: Output | None = None
    """The output, where it is small; see outputRef otherwise."""
    output_ref: OutputRef | None = None
    """Where the output lies that is too big for the status; of a running fan-out, the outputs of finished items."""
    stored_output: StoredObject | None = None
    """Where the output lies that is too big for a ConfigMap: in the output store."""
    artifacts: Annotated[list[StoredArtifact], Field(max_length=MOST_ARTIFACTS)] | None = None
    """The artifacts that the task left in the output store."""
    items: ItemsStatus | None = None
    """The items of a fan-out in numbers."""


class RerunStatus(Model):
    """What became of rerunOf."""

    name: ObjectName
    """The earlier run."""
    uid: Annotated[str, StringConstraints(max_length=64)]
    """Its UID."""
    reused: Annotated[int, Field(ge=0)]
    """How many tasks are not run again."""
    changed_params: Annotated[list[ParamName], Field(max_length=200)] | None = None
    """Params that the two runs were given different values of."""
    changed_tasks: Annotated[list[TaskName], Field(max_length=1_000)] | None = None
    """Tasks whose definition is not what it was: changed, added or taken out. A reused one has the output of the
    earlier definition."""


class WorkflowRunStatus(Model):
    """Where a run stands: the only record of it there is."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that the status speaks of."""
    phase: RunPhase = RunPhase.PENDING
    """Pending, Running, Suspended, Succeeded, Failed or Cancelled: a summary of the conditions and tasks."""
    reason: Reason | None = None
    """Why, in one word."""
    message: Annotated[str, StringConstraints(max_length=4_096)] | None = None
    """Why, in words a user can act on."""
    revision: ObjectName | None = None
    """The ControllerRevision that holds the definition the run executes."""
    revision_hash: Sha256 | None = None
    """SHA-256 of that definition as JSON with sorted keys, checked whenever it is read. Absent where an older
    version of the operator let the run begin."""
    rerun_of: RerunStatus | None = None
    """What is reused of the run that this one reruns, and what has changed since."""
    forged_uids: (
        Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=MOST_FORGED)] | None
    ) = None
    """UIDs of objects that claimed to belong to the run, do not count, and were reported by an Event: at most 11."""
    approval: ApprovalRequest | None = None
    """The first approval that the run is waiting for; its tasks may be waiting for more."""
    concurrency_key: Annotated[str, StringConstraints(max_length=256)] | None = None
    """The value of the Workflow's concurrency.key that the run counts for."""
    start_time: Time | None = None
    """When the operator first saw the run."""
    completion_time: Time | None = None
    """When the run ended."""
    duration: Annotated[str, StringConstraints(max_length=64)] | None = None
    """From start to completion, as 1h2m3s; absent until the run has ended."""
    tasks_done: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Tasks that have ended, of all: 3/7."""
    conditions: Annotated[list[Condition], Field(max_length=10)] | None = None
    """Complete, Failed, and Finished (True either way); Suspended of a run that is or was; WriteRefused of one that
    has, or had, a write that the API server refuses; Forged where objects claim to belong to the run and do not
    count."""
    tasks: Annotated[list[TaskStatus], Field(max_length=1_000)] | None = None
    """One entry a task, in the order of the definition."""
    outputs: Output | None = None
    """What the definition's outputs came to, where they are small; see outputsRef otherwise. Of a child run whose
    definition has none: each task's output."""
    outputs_ref: OutputRef | None = None
    """Where the run's outputs lie that are too big for the status."""


class WorkflowRun(Model):
    """One execution of a Workflow."""

    api_version: Literal["nexus.dev/v1alpha1"] = API_VERSION  # type: ignore[assignment]
    """nexus.dev/v1alpha1"""
    kind: Literal["WorkflowRun"] = "WorkflowRun"
    """WorkflowRun"""
    metadata: dict[str, Any]
    """Kubernetes object metadata."""
    spec: WorkflowRunSpec
    """What to execute."""
    status: WorkflowRunStatus | None = None
    """Where the run stands."""
