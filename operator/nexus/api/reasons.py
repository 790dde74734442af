"""Phases and reasons: the codes that status, Events, metrics and the CLI use. A public contract.

A reason is the code of the message beside it: tools read the reason, people the message. Where one reason has causes
that a tool has to tell apart, a field of the status does, named in its description (`Fields:`).
"""

from __future__ import annotations

from enum import StrEnum


class TaskPhase(StrEnum):
    """Phase of a task."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    OMITTED = "Omitted"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        """Return whether the task will not change any more."""
        return self not in (TaskPhase.PENDING, TaskPhase.RUNNING)


class Mechanism(StrEnum):
    """What carries an attempt of a task out."""

    JOB = "Job"
    INDEXED_JOB = "IndexedJob"
    CHILD_RUN = "ChildRun"
    NONE = "None"


class RunPhase(StrEnum):
    """Phase of a run."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        """Return whether the run will not change any more."""
        return self in (RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.CANCELLED)


class Reason(StrEnum):
    """Code of the message of a task, run, condition or Event. `describe` returns the meaning of each."""

    # Waiting.
    DEPENDENCIES = "Dependencies"
    PARALLELISM = "Parallelism"
    RETRY_DELAY = "RetryDelay"
    SUSPENDED = "Suspended"
    AWAITING_APPROVAL = "AwaitingApproval"
    WAITING = "Waiting"
    CONCURRENCY = "Concurrency"
    POOL = "Pool"
    POOL_MISSING = "PoolMissing"
    CAPACITY = "Capacity"
    NAMESPACE_FULL = "NamespaceFull"
    STARTING = "Starting"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    QUEUED = "Queued"
    MISSING_RIGHTS = "MissingRights"
    WRITE_REFUSED = "WriteRefused"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    API_UNAVAILABLE = "ApiUnavailable"
    EVALUATOR_FAILED = "EvaluatorFailed"
    # Waiting at first; Failed after startTimeoutSeconds.
    IMAGE_PULL = "ImagePull"
    MISSING_CONFIG = "MissingConfig"
    POD_REFUSED = "PodRefused"
    START_TIMEOUT = "StartTimeout"
    JOB_REFUSED = "JobRefused"
    CHILD_REFUSED = "ChildRefused"
    # Failed.
    TASK_ERROR = "TaskError"
    COMMAND_NOT_FOUND = "CommandNotFound"
    OUT_OF_MEMORY = "OutOfMemory"
    EVICTED = "Evicted"
    TIMEOUT = "Timeout"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    RUNS_AS_ROOT = "RunsAsRoot"
    POD_FIELD_FORBIDDEN = "PodFieldForbidden"
    OUTPUT_TOO_LARGE = "OutputTooLarge"
    INVALID_OUTPUT = "InvalidOutput"
    OUTPUT_LOST = "OutputLost"
    NO_OUTPUT_STORE = "NoOutputStore"
    STORE_FAILED = "StoreFailed"
    ARTIFACT_MISSING = "ArtifactMissing"
    INPUT_TOO_LARGE = "InputTooLarge"
    INVALID_ITEMS = "InvalidItems"
    ITEMS_FAILED = "ItemsFailed"
    EXPRESSION_ERROR = "ExpressionError"
    REJECTED = "Rejected"
    INVALID_WAIT = "InvalidWait"
    JOB_DELETED = "JobDeleted"
    POD_DELETED = "PodDeleted"
    NAME_TAKEN = "NameTaken"
    CONTENT_CHANGED = "ContentChanged"
    CHILD_FAILED = "ChildFailed"
    CHILD_DELETED = "ChildDeleted"
    TOO_DEEP = "TooDeep"
    # Skipped and Omitted.
    WHEN_FALSE = "WhenFalse"
    DEPENDENCY_SKIPPED = "DependencySkipped"
    RULE_NOT_MET = "RuleNotMet"
    DEPENDENCY_FAILED = "DependencyFailed"
    FAIL_FAST = "FailFast"
    CANCELLED = "Cancelled"
    # Of a run.
    TASK_FAILED = "TaskFailed"
    WORKFLOW_NOT_FOUND = "WorkflowNotFound"
    WORKFLOW_INVALID = "WorkflowInvalid"
    PARAMS_INVALID = "ParamsInvalid"
    RERUN_REFUSED = "RerunRefused"
    STATUS_TOO_LARGE = "StatusTooLarge"
    UNREADABLE = "Unreadable"
    REUSED = "Reused"
    FORGED = "Forged"
    # Of the conditions and Events of a Workflow.
    VALID = "Valid"
    ON_TIME = "OnTime"
    TICK_MISSED = "TickMissed"
    TICK_DROPPED = "TickDropped"
    RUN_REFUSED = "RunRefused"

    @property
    def describe(self) -> str:
        """Return one sentence for the reader of a status: what the reason means."""
        return _MEANING[self]


_MEANING: dict[Reason, str] = {
    Reason.DEPENDENCIES: "Waiting for the tasks it depends on.",
    Reason.PARALLELISM: "The limit maxParallelTasks of the run is reached.",
    Reason.RETRY_DELAY: "An attempt failed; the next one starts after the retry delay.",
    Reason.AWAITING_APPROVAL: "Waiting for approval: `nexus approve`. Fields: approval.",
    Reason.WAITING: "A wait is in progress; dueTime is its end.",
    Reason.SUSPENDED: "The run, or its Workflow, is suspended: nothing new starts until it is resumed.",
    Reason.CONCURRENCY: "The concurrency limit of the Workflow is reached: runs in progress or queued ahead of this "
    "one.",
    Reason.POOL: "All slots of its pool are in use; the message names the holders and the position in the queue.",
    Reason.POOL_MISSING: "The ConfigMap of pools has no valid size for its pool; the task waits until it has.",
    Reason.CAPACITY: "The operator limit on task pods of all runs together is reached.",
    Reason.NAMESPACE_FULL: "The operator limit on objects of runs in the namespace is reached; the run has not "
    "started.",
    Reason.STARTING: "The pod exists, but its container is not running yet.",
    Reason.UNSCHEDULABLE: "No node fits the pod at the moment; the task waits without a time limit.",
    Reason.QUOTA_EXCEEDED: "A ResourceQuota of the namespace is exceeded; waits without a time limit.",
    Reason.QUEUED: "Its Job is suspended (for example by Kueue, until there is quota); the task waits without a time "
    "limit.",
    Reason.MISSING_RIGHTS: "The operator lacks an RBAC permission to write an object; retried until it is granted.",
    Reason.WRITE_REFUSED: "An admission webhook or policy, or the API server's validation, refuses an object that the "
    "run needs; retried until it is accepted.",
    Reason.NAMESPACE_TERMINATING: "The namespace is being deleted, or gone: nothing can be created in it.",
    Reason.API_UNAVAILABLE: "The API server is overloaded, failing or not responding; retried until it recovers.",
    Reason.EVALUATOR_FAILED: "The process that evaluates expressions was killed, crashed or did not respond; retried "
    "until it does.",
    Reason.IMAGE_PULL: "The image cannot be pulled; the task fails after startTimeoutSeconds.",
    Reason.MISSING_CONFIG: "A Secret, a ConfigMap or a key of one is missing; the task fails after "
    "startTimeoutSeconds.",
    Reason.POD_REFUSED: "The API server refuses the pod, for example by Pod Security; the task fails after "
    "startTimeoutSeconds.",
    Reason.START_TIMEOUT: "The container did not start within startTimeoutSeconds.",
    Reason.JOB_REFUSED: "The API server, or an admission webhook or policy, refuses the Job; the task fails after "
    "startTimeoutSeconds.",
    Reason.CHILD_REFUSED: "The API server, or an admission webhook or policy, refuses the child run; the task fails "
    "after startTimeoutSeconds.",
    Reason.TASK_ERROR: "The task's own code failed: an exception or a non-zero exit code. Fields: exitCode.",
    Reason.COMMAND_NOT_FOUND: "The command is not in the image, or is not executable.",
    Reason.OUT_OF_MEMORY: "The container exceeded its memory limit and was killed.",
    Reason.EVICTED: "The pod was evicted by the kubelet, drained or preempted.",
    Reason.TIMEOUT: "The attempt exceeded timeoutSeconds.",
    Reason.DEADLINE_EXCEEDED: "The task or the run exceeded its deadlineSeconds.",
    Reason.RUNS_AS_ROOT: "It runs as root, which the operator or the Pod Security of its namespace forbids.",
    Reason.POD_FIELD_FORBIDDEN: "It uses a field of its pod that this operator forbids.",
    Reason.OUTPUT_TOO_LARGE: "The output exceeds its limit: 512 KiB (64 MiB with an output store), 4 KiB for container "
    "tasks.",
    Reason.INVALID_OUTPUT: "The output or an artifact of the task is invalid.",
    Reason.OUTPUT_LOST: "The pod was gone before its output was recorded; the task runs again.",
    Reason.NO_OUTPUT_STORE: "It has artifacts, and neither the workflow nor the operator configures an output store.",
    Reason.STORE_FAILED: "The output store could not be read or written; the message has the error of the store. "
    "Retried like any other failure.",
    Reason.ARTIFACT_MISSING: "An artifact was not written, or the task that writes it did not succeed.",
    Reason.INPUT_TOO_LARGE: "A rendered field is too large to pass to a container.",
    Reason.INVALID_ITEMS: "forEach is not a list, or has more than 1,000 items; nothing was started.",
    Reason.ITEMS_FAILED: "More than maxFailedItems of a fan-out failed; their outputs are null. Fields: items.",
    Reason.EXPRESSION_ERROR: "An expression failed, or exceeded its limits of cost, size or memory; no retry.",
    Reason.REJECTED: "The approval was rejected, or timed out after timeoutSeconds. Fields: approval.decision, absent "
    "after a timeout.",
    Reason.INVALID_WAIT: "A field of the wait is not a valid time or number of seconds, or is more than a year away.",
    Reason.JOB_DELETED: "The Job was deleted while the task was running; counts as a failed attempt.",
    Reason.POD_DELETED: "The pod was deleted while the task was running; counts as a failed attempt.",
    Reason.NAME_TAKEN: "An object with the name of a Job, child run, scheduled run, ControllerRevision or ConfigMap of "
    "the run exists, and has another owner or other content.",
    Reason.CONTENT_CHANGED: "An object with a definition, a script or an input of the run no longer has the content "
    "that was stored: it was changed or replaced.",
    Reason.CHILD_FAILED: "The child run failed or was cancelled; the message has its name and the cause.",
    Reason.CHILD_DELETED: "The child run was deleted while it was running; counts as a failed attempt.",
    Reason.TOO_DEEP: "Child runs are nested deeper than 5, for example by a cycle of workflow calls; no retry.",
    Reason.WHEN_FALSE: "Its `when` is false.",
    Reason.DEPENDENCY_SKIPPED: "Skipped because a dependency was skipped.",
    Reason.RULE_NOT_MET: "Its triggerRule is not met.",
    Reason.DEPENDENCY_FAILED: "A dependency failed or was omitted.",
    Reason.FAIL_FAST: "Another task failed and failurePolicy is FailFast.",
    Reason.CANCELLED: "The run was cancelled.",
    Reason.TASK_FAILED: "At least one task failed.",
    Reason.WORKFLOW_NOT_FOUND: "The Workflow that the run references does not exist.",
    Reason.WORKFLOW_INVALID: "The definition has errors; nothing was started.",
    Reason.PARAMS_INVALID: "The params of the run are invalid for the definition; nothing was started.",
    Reason.RERUN_REFUSED: "The run cannot be rerun as rerunOf requests; nothing was started.",
    Reason.STATUS_TOO_LARGE: "The object of the run is too large: its status does not fit beside its spec.",
    Reason.UNREADABLE: "The run is nested deeper than 100 levels, or its params exceed 64 KiB. A run that has not "
    "started fails; a run that has is not processed.",
    Reason.REUSED: "Its result in the run that this one reruns is reused; it did not run again.",
    Reason.FORGED: "Objects claim to belong to the run and are ignored; a condition of the run, and Events.",
    Reason.VALID: "The definition has no errors.",
    Reason.ON_TIME: "The last tick of each schedule was handled as expected.",
    Reason.TICK_MISSED: "Ticks of a schedule have no run: no operator was running in time, or later ticks replaced "
    "them.",
    Reason.TICK_DROPPED: "A tick came while another run had not ended, and concurrency is Forbid.",
    Reason.RUN_REFUSED: "The API server refuses the run of a tick; retried until the tick is too late.",
}
