"""WorkflowRun: one run of a definition."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from nexus.api.base import API_VERSION, Model, Time
from nexus.api.fanout import ItemsStatus
from nexus.api.packed import Output
from nexus.api.reasons import Mechanism, Reason, RunPhase, TaskPhase
from nexus.api.store import MOST_ARTIFACTS, Sha256, StoredArtifact, StoredObject
from nexus.api.tasks import ObjectName, TaskName
from nexus.api.workflow import Condition, ParamName, WorkflowSpec


class Trigger(StrEnum):
    """Origin of a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    BACKFILL = "backfill"
    RERUN = "rerun"
    WORKFLOW = "workflow"
    API = "api"


class WorkflowRef(Model):
    """A Workflow in the run's namespace."""

    name: ObjectName
    """Name of the Workflow."""


class Cancel(StrEnum):
    """Mode of a cancellation."""

    GRACEFUL = "Graceful"
    IMMEDIATE = "Immediate"


class Decision(StrEnum):
    """Decision on an approval task."""

    APPROVED = "Approved"
    REJECTED = "Rejected"


class Approval(Model):
    """Decision of a user on one approval task."""

    task: TaskName
    """Name of the task."""
    decision: Decision
    """Approved or Rejected."""
    by: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """User who decided. `nexus approve` writes the user name that the API server reports; the audit log is the
    proof."""
    comment: Annotated[str, StringConstraints(max_length=500)] | None = None
    """Comment of the user."""
    time: Time | None = None
    """Time of the decision."""


class RerunOf(Model):
    """Earlier run to rerun, and the tasks to run again. At most one of `from` and `tasks`."""

    name: ObjectName
    """Name of an ended run of the same Workflow in this namespace."""
    from_: Literal["Failed"] | None = Field(None, alias="from")
    """Failed (default): run the tasks that did not succeed and all downstream tasks. Of a failed fan-out, run only the
    items that did not succeed if nothing that it depends on has changed."""
    tasks: Annotated[list[TaskName], Field(min_length=1, max_length=100)] | None = None
    """Names of tasks to run again, with all downstream tasks and all tasks that did not succeed."""


class WorkflowRunSpec(Model):
    """What to run: exactly one of workflowRef and workflowSpec, with params. Immutable, except for suspend, cancel and
    approvals."""

    workflow_ref: WorkflowRef | None = None
    """Workflow to run, as it is when the run starts; later edits do not change the run."""
    workflow_spec: WorkflowSpec | None = None
    """Definition of this run alone, instead of workflowRef."""
    params: Annotated[dict[str, Any], Field(max_length=100)] | None = None
    """Values of the definition's params. `${{ }}` in them is not rendered."""
    triggered_by: Trigger | None = None
    """Origin of the run: manual (default), schedule, backfill, rerun, workflow (a child of another run) or api."""
    scheduled_time: Time | None = None
    """Time that the run is for, run.scheduledTime in expressions: the tick of a schedule, or a given time. Default: the
    creation of the run."""
    interval_start: Time | None = None
    """Start of the run's data interval, run.intervalStart in expressions: for a tick, the previous tick. Default:
    scheduledTime."""
    interval_end: Time | None = None
    """End of the run's data interval, run.intervalEnd in expressions. Default: scheduledTime."""
    schedule: TaskName | None = None
    """Name of the schedule whose tick the run is for."""
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """Time zone of date() and strftime() in expressions that name none: that of the schedule. Default UTC."""
    rerun_of: RerunOf | None = None
    """Rerun of an earlier run. Tasks that succeeded there and are not downstream of a task that runs again do not run;
    their outputs are used. `nexus rerun` creates the run, with the params and times of the earlier one."""
    suspend: bool | None = None
    """If true, no task is started; started tasks run to their end, and deadlines keep counting. May be changed at any
    time. Default false."""
    cancel: Cancel | None = None
    """Graceful: stop tasks, then run `finally`. Immediate: stop everything. Takes precedence over suspend. Graceful may
    be changed to Immediate; a cancellation cannot be undone."""
    approvals: Annotated[list[Approval], Field(max_length=500)] | None = None
    """Decisions on approval tasks, one entry for each task. Entries are appended and never change."""


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
    """Place of an output that is too large for the status."""

    config_map: ObjectName
    """Name of the ConfigMap; the key is output.json."""
    size: Annotated[int, Field(ge=0)]
    """Size of the JSON, in bytes."""
    sha256: Sha256 | None = None
    """SHA-256 of the JSON, checked at every read. Absent if an older version of the operator stored it."""


class AttemptError(Model):
    """Exception that ended an attempt, as reported by the bootstrap of a python, http or sql task."""

    type: Annotated[str, StringConstraints(max_length=200)]
    """Name of the exception's class."""
    message: Annotated[str, StringConstraints(max_length=256)]
    """Message of the exception, truncated to 256 characters."""
    line: int | None = None
    """Line number in the task's code. Absent if the exception was raised elsewhere."""


class AttemptRecord(Model):
    """Result of one attempt of a task."""

    attempt: Annotated[int, Field(ge=1)]
    """Number of the attempt, from 1; attempts that were replaced without counting have none."""
    pod: Annotated[str, StringConstraints(max_length=253)] | None = None
    """Name of the pod."""
    start_time: Time | None = None
    """Start of the container."""
    completion_time: Time | None = None
    """End of the attempt."""
    exit_code: int | None = None
    """Exit code of the container."""
    reason: Reason | None = None
    """Reason of the failure, a single CamelCase word; absent if the attempt succeeded."""
    message: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Explanation of the failure, truncated to 256 characters."""
    exception: AttemptError | None = None
    """Exception that ended the attempt."""
    log_tail: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """Last lines of the log, if recordLogLines is set."""


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
    """Status of one task of the run."""

    name: TaskName
    """Name of the task."""
    phase: TaskPhase = TaskPhase.PENDING
    """Pending, Running, Succeeded, Failed, Skipped, Omitted or Cancelled."""
    reason: Reason | None = None
    """Reason of the phase, a single CamelCase word; docs/reasons.md lists all."""
    message: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """Explanation of the phase, with what to do."""
    attempts: Annotated[int, Field(ge=0)] | None = None
    """Number of attempts started so far, without those that were replaced without counting."""
    replacements: int | None = None
    """Number of attempts that were replaced without counting: disrupted pods whose Job was created again, lost
    outputs."""
    mechanism: Mechanism | None = None
    """Mechanism of the last attempt: Job (of a fan-out, one for each item), IndexedJob (one for all items), ChildRun,
    or None for approval and wait. Absent if version 0.1 of the operator started the attempt."""
    job: JobRef | None = None
    """Job of the last attempt."""
    child_run: RunRef | None = None
    """Child run of the last attempt of a `workflow` task."""
    exit_code: int | None = None
    """Exit code of the last attempt that ended."""
    start_time: Time | None = None
    """Start of the first attempt."""
    completion_time: Time | None = None
    """End of the task."""
    next_attempt_time: Time | None = None
    """Time of the next attempt."""
    due_time: Time | None = None
    """End of a wait."""
    approval: ApprovalRequest | None = None
    """The approval that the task asks for; of a `workflow` task, the one that a child run is waiting for."""
    refused_time: Time | None = None
    """Time since which the API server has refused a write that the task requires; absent if it refuses none."""
    attempt_records: Annotated[list[AttemptRecord], Field(max_length=5)] | None = None
    """Last five ended attempts, oldest first. Absent if the first attempt succeeded and recordLogLines is not set. The
    total size of a run's records is limited."""
    output: Output | None = None
    """Output, if it is small; otherwise see outputRef and storedOutput."""
    output_ref: OutputRef | None = None
    """Place of an output that is too large for the status; for a running fan-out, of the finished items' outputs."""
    stored_output: StoredObject | None = None
    """Place in the output store of an output that is too large for a ConfigMap."""
    artifacts: Annotated[list[StoredArtifact], Field(max_length=MOST_ARTIFACTS)] | None = None
    """Artifacts that the task saved in the output store."""
    items: ItemsStatus | None = None
    """Counts of a fan-out's items."""


class RerunStatus(Model):
    """Result of rerunOf."""

    name: ObjectName
    """Name of the earlier run."""
    uid: Annotated[str, StringConstraints(max_length=64)]
    """UID of the earlier run."""
    reused: Annotated[int, Field(ge=0)]
    """Number of tasks that are not run again."""
    changed_params: Annotated[list[ParamName], Field(max_length=200)] | None = None
    """Params whose values differ between the two runs."""
    changed_tasks: Annotated[list[TaskName], Field(max_length=1_000)] | None = None
    """Tasks whose definition was changed, added or removed. A reused task has the output of the earlier definition."""


class WorkflowRunStatus(Model):
    """Status of a run, its only record."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that the status is for."""
    phase: RunPhase = RunPhase.PENDING
    """Pending, Running, Suspended, Succeeded, Failed or Cancelled: a summary of the conditions and tasks."""
    reason: Reason | None = None
    """Reason of the phase, a single CamelCase word."""
    message: Annotated[str, StringConstraints(max_length=4_096)] | None = None
    """Explanation of the phase, with what to do."""
    revision: ObjectName | None = None
    """Name of the ControllerRevision with the definition of the run."""
    revision_hash: Sha256 | None = None
    """SHA-256 of that definition as JSON with sorted keys, checked at every read. Absent if an older version of the
    operator started the run."""
    rerun_of: RerunStatus | None = None
    """What this run reuses of the earlier one, and what has changed since."""
    forged_uids: (
        Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=MOST_FORGED)] | None
    ) = None
    """UIDs of objects that claim to belong to the run, are ignored, and were reported by an Event; at most 11."""
    approval: ApprovalRequest | None = None
    """The first approval that the run is waiting for; its tasks may be waiting for more."""
    concurrency_key: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Value of the Workflow's concurrency.key that the run counts for."""
    start_time: Time | None = None
    """Time at which the operator first saw the run."""
    completion_time: Time | None = None
    """End of the run."""
    duration: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Time from start to completion, such as 1h2m3s; absent until the run has ended."""
    tasks_done: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Number of ended tasks of all tasks, such as 3/7."""
    conditions: Annotated[list[Condition], Field(max_length=10)] | None = None
    """Complete, Failed, and Finished (True after either); Suspended, if the run is or was suspended; WriteRefused, if
    the API server refuses or refused a write; Forged, if objects claim to belong to the run and are ignored."""
    tasks: Annotated[list[TaskStatus], Field(max_length=1_000)] | None = None
    """Status of each task, in the order of the definition."""
    outputs: Output | None = None
    """Outputs of the run, if they are small; otherwise see outputsRef. For a child run whose definition has no
    `outputs`: the output of each task."""
    outputs_ref: OutputRef | None = None
    """Place of outputs that are too large for the status."""


class WorkflowRun(Model):
    """One run of a Workflow."""

    api_version: Literal["nexus.dev/v1alpha1"] = API_VERSION  # type: ignore[assignment]
    """nexus.dev/v1alpha1"""
    kind: Literal["WorkflowRun"] = "WorkflowRun"
    """WorkflowRun"""
    metadata: dict[str, Any]
    """Kubernetes object metadata."""
    spec: WorkflowRunSpec
    """What to run."""
    status: WorkflowRunStatus | None = None
    """Status of the run."""
