"""Phases and reasons: the words that status, Events, metrics and the CLI use. A public contract.

Every reason is listed here, once, with the sentence that the documentation prints for it.
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
    """Why a task or a run is where it is. `describe` gives the sentence for each."""

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
    Reason.DEPENDENCIES: "The tasks it depends on have not ended yet.",
    Reason.PARALLELISM: "maxParallelTasks of the run are running already.",
    Reason.RETRY_DELAY: "An attempt failed; the next one starts when its delay is over.",
    Reason.AWAITING_APPROVAL: "A person has to decide, with `nexus approve`.",
    Reason.WAITING: "A wait is not over; dueTime says when it will be.",
    Reason.SUSPENDED: "The run, or its Workflow, is suspended: nothing new is started until it is resumed.",
    Reason.CONCURRENCY: "As many runs of the Workflow are under way, or before it, as its concurrency lets be.",
    Reason.POOL: "All slots of its pool are held; the message says by whom, and its place in line.",
    Reason.POOL_MISSING: "The ConfigMap of pools has no size for its pool; it waits until one is there.",
    Reason.CAPACITY: "As many task pods are live as this operator lets all runs have together.",
    Reason.NAMESPACE_FULL: "Runs have as many objects in the namespace as this operator lets be; it has not begun.",
    Reason.STARTING: "The pod is there, its container is not running yet.",
    Reason.UNSCHEDULABLE: "No node takes the pod at the moment; it waits without a time limit.",
    Reason.QUOTA_EXCEEDED: "A ResourceQuota of the namespace is used up; it waits without a time limit.",
    Reason.QUEUED: "Somebody suspended its Job, as Kueue does until there is room; it waits without a time limit.",
    Reason.MISSING_RIGHTS: "The operator lacks a right (RBAC) to write an object; retried until the right is given.",
    Reason.WRITE_REFUSED: "An admission rule, or the API server itself, refuses an object that the run needs; retried "
    "until it is accepted.",
    Reason.NAMESPACE_TERMINATING: "The namespace is being deleted, or gone: nothing can be created in it.",
    Reason.API_UNAVAILABLE: "The API server is overloaded, failing or not answering; retried until it recovers.",
    Reason.EVALUATOR_FAILED: "The process that evaluates expressions was killed, crashed or did not answer; retried "
    "until it answers.",
    Reason.IMAGE_PULL: "The image cannot be pulled; the task fails after startTimeoutSeconds.",
    Reason.MISSING_CONFIG: "A Secret, ConfigMap or a key of one is missing; the task fails after startTimeoutSeconds.",
    Reason.POD_REFUSED: "The API server refuses the pod, as by Pod Security; the task fails after startTimeoutSeconds.",
    Reason.START_TIMEOUT: "The container did not start within startTimeoutSeconds.",
    Reason.JOB_REFUSED: "The API server, or an admission rule, refuses the Job; the task fails after "
    "startTimeoutSeconds.",
    Reason.CHILD_REFUSED: "The API server, or an admission rule, refuses the child run; the task fails after "
    "startTimeoutSeconds.",
    Reason.TASK_ERROR: "The task's own code failed: an exception or a non-zero exit code.",
    Reason.COMMAND_NOT_FOUND: "The image does not have the command, or may not execute it.",
    Reason.OUT_OF_MEMORY: "The container was killed at its memory limit.",
    Reason.EVICTED: "The kubelet evicted the pod.",
    Reason.TIMEOUT: "The attempt took longer than timeoutSeconds.",
    Reason.DEADLINE_EXCEEDED: "The task or the run took longer than its deadlineSeconds.",
    Reason.RUNS_AS_ROOT: "It asks for root, which the operator or the Pod Security of its namespace forbids.",
    Reason.POD_FIELD_FORBIDDEN: "It asks for something of its pod that this operator forbids.",
    Reason.OUTPUT_TOO_LARGE: "The output is over its limit: 512 KiB (64 MiB with an output store), for container "
    "tasks 4 KiB.",
    Reason.INVALID_OUTPUT: "What the task left as its output or artifact cannot be kept as it is.",
    Reason.OUTPUT_LOST: "The pod was gone before its output was recorded; the task is tried again.",
    Reason.NO_OUTPUT_STORE: "It has artifacts, and neither the workflow nor the operator names an output store.",
    Reason.STORE_FAILED: "The output store could not be read or written; the message has its own words. Retried as any "
    "other failure.",
    Reason.ARTIFACT_MISSING: "A task left an artifact out, or the task that should have left it did not succeed.",
    Reason.INPUT_TOO_LARGE: "A rendered field is too large to hand to a container.",
    Reason.INVALID_ITEMS: "forEach gives no list, or more than 1,000 items; nothing was started.",
    Reason.ITEMS_FAILED: "More than maxFailedItems of a fan-out failed; its output has null in their places.",
    Reason.EXPRESSION_ERROR: "An expression failed, or is over a bound of its cost, sizes or memory; no retry.",
    Reason.REJECTED: "A person rejected it, or nobody decided within timeoutSeconds.",
    Reason.INVALID_WAIT: "What the wait's fields give is no time to wait for, or more than a year away.",
    Reason.JOB_DELETED: "Somebody deleted the Job while the task ran; counts as a failed attempt.",
    Reason.POD_DELETED: "Somebody deleted the pod while the task ran; counts as a failed attempt.",
    Reason.NAME_TAKEN: "An object with the name of a Job, child run, tick's run, ControllerRevision or ConfigMap of "
    "the run exists and is not the run's: it has another owner, or holds something else.",
    Reason.CONTENT_CHANGED: "An object that holds a definition, a script or an input of the run does not hold what was "
    "stored in it: somebody changed or replaced it.",
    Reason.CHILD_FAILED: "The child run failed or was cancelled; the message names it and says why.",
    Reason.CHILD_DELETED: "Somebody deleted the child run while it ran; counts as a failed attempt.",
    Reason.TOO_DEEP: "Child runs are nested deeper than 5, as when workflows call each other in a circle; no retry.",
    Reason.WHEN_FALSE: "Its `when` is false.",
    Reason.DEPENDENCY_SKIPPED: "A dependency was skipped, and a skip travels on.",
    Reason.RULE_NOT_MET: "Its triggerRule asks for an ending that did not come.",
    Reason.DEPENDENCY_FAILED: "A dependency failed or was omitted.",
    Reason.FAIL_FAST: "Another task failed and failurePolicy is FailFast.",
    Reason.CANCELLED: "The run was cancelled.",
    Reason.TASK_FAILED: "At least one task failed.",
    Reason.WORKFLOW_NOT_FOUND: "The Workflow that the run names is not there.",
    Reason.WORKFLOW_INVALID: "The definition has errors; nothing was started.",
    Reason.PARAMS_INVALID: "The run's params do not fit the definition; nothing was started.",
    Reason.RERUN_REFUSED: "The run cannot be run again as rerunOf says; nothing was started.",
    Reason.STATUS_TOO_LARGE: "The run's object is so large that its status does not fit beside its spec.",
    Reason.UNREADABLE: "The run nests deeper than 100 levels, or its params are over 64 KiB. One that has not begun "
    "fails; one that has is left as it is.",
    Reason.REUSED: "It ended so in the run that this one reruns, and did not run again.",
    Reason.FORGED: "Objects claim to belong to the run and do not count; a condition of the run, and Events.",
    Reason.VALID: "The definition has no errors.",
    Reason.ON_TIME: "The last tick of each schedule was dealt with as it should.",
    Reason.TICK_MISSED: "Ticks of a schedule have no run: nobody was there in time, or later ones took their place.",
    Reason.TICK_DROPPED: "A tick came while another run had not ended, and concurrency is Forbid.",
    Reason.RUN_REFUSED: "The API server refuses the run of a tick; it is tried again until the tick is too late.",
}
