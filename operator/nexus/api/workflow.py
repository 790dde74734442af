"""Workflow: the definition of a DAG, kept in Git."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from nexus.api.base import API_VERSION, Model, Time
from nexus.api.pod import Pod
from nexus.api.policies import Concurrency, History, RevisionCount, TtlSeconds
from nexus.api.reasons import Reason
from nexus.api.schedule import Schedule
from nexus.api.schedule_status import ScheduleStatus
from nexus.api.store import OutputStore
from nexus.api.tasks import DisplayName, EnvFrom, EnvVar, LogLineCount, Retry, Seconds, Task

ParamName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$", max_length=40)]
# A double, which many readers use for JSON's numbers, holds integers exactly up to here.
Bound = Annotated[float, Field(ge=-(2**53), le=2**53)]
OutputName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
OutputText = Annotated[str, StringConstraints(max_length=4_096)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317)]
LabelValue = Annotated[str, StringConstraints(pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", max_length=63)]


# A word or a few, in any script, without what separates terms in a selector.
Word = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^ ,=!\x00-\x1f\x7f-\x9f]([^,=!\x00-\x1f\x7f-\x9f]*[^ ,=!\x00-\x1f\x7f-\x9f])?$", max_length=63
    ),
]


class ParamType(StrEnum):
    """JSON Schema's names of types."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"


class FailurePolicy(StrEnum):
    """Effect of a failed task on the tasks that do not depend on it."""

    CONTINUE = "Continue"
    FAIL_FAST = "FailFast"


class Param(Model):
    """A parameter: a value that each run may or must provide."""

    name: ParamName
    """Name of the param. Read it as `${{ params.day }}`, as `params["day"]` in python, as `$PARAM_DAY` in bash."""
    type: ParamType | None = None
    """Type of the value: string (default), integer, number, boolean, array or object."""
    description: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """Description of the param, for readers."""
    default: Any = None
    """Value if a run provides none. May use `${{ }}` over `run`. Default none, see `required`."""
    required: bool | None = None
    """Whether each run must provide a value. Default: true if there is no `default`. If false and there is no
    `default`, the param is null in runs that provide none."""
    enum: Annotated[list[Any], Field(min_length=1, max_length=100)] | None = None
    """Allowed values. Default: all values of the type."""
    pattern: Annotated[str, StringConstraints(max_length=512)] | None = None
    """RE2 pattern that must match somewhere in a string value; anchor it with ^ and $ to match the whole value."""
    minimum: Bound | None = None
    """Inclusive minimum of an integer or a number."""
    maximum: Bound | None = None
    """Inclusive maximum of an integer or a number."""

    @property
    def has_default(self) -> bool:
        """Return whether a default is written, be it null."""
        return "default" in self.model_fields_set

    @property
    def nullable(self) -> bool:
        """Return whether the param is null in a run that provides no value."""
        return self.required is False and self.default is None


class Defaults(Model):
    """Defaults of all tasks. Lists are merged by name; the task's own values win."""

    retry: Retry | None = None
    """Retries of failed attempts, merged field by field."""
    record_log_lines: LogLineCount | None = None
    """Number of lines from the end of each attempt's log to keep in the status."""
    timeout_seconds: Seconds | None = None
    """Maximum duration of one attempt, in seconds."""
    env: Annotated[list[EnvVar], Field(max_length=200)] | None = None
    """Environment variables, merged by name."""
    env_from: Annotated[list[EnvFrom], Field(max_length=50)] | None = None
    """Whole Secrets and ConfigMaps as environment variables, before the task's own."""
    pod: Pod | None = None
    """Settings of the pods, merged field by field, volumes by name, labels by key."""


class WorkflowSpec(Model):
    """The definition of a DAG of tasks."""

    display_name: DisplayName | None = None
    """Name of the workflow for people, in one line of at most 128 characters. Default: `metadata.name`."""
    category: Word | None = None
    """Group that the workflow belongs to, such as reporting; `kubectl get workflows --field-selector
    spec.category=reporting` selects by it. At most 63 characters. Default none."""
    tags: Annotated[list[Word], Field(max_length=20)] | None = None
    """Words to find the workflow by, each once, at most 20 of up to 63 characters; `nexus get --tag` filters by them.
    Default none."""
    description: Annotated[str, StringConstraints(max_length=4_096)] | None = None
    """Description of the workflow, for readers."""
    params: Annotated[list[Param], Field(max_length=100)] | None = None
    """Parameters of each run."""
    schedules: Annotated[list[Schedule], Field(max_length=50)] | None = None
    """Schedules that start runs. `nexus schedule next` shows the next times."""
    max_parallel_tasks: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Maximum number of live task pods of a run. Default 10."""
    deadline_seconds: Seconds | None = None
    """Maximum duration of a run, in seconds. Default: no limit."""
    suspend: bool | None = None
    """If true, schedules do not tick and new runs stay queued until it is false again; runs in progress continue.
    Default false."""
    concurrency: Concurrency | None = None
    """Limit on runs in progress at the same time. Default: no limit."""
    history: History | None = None
    """Number of ended runs to keep. The oldest are deleted first, with their Jobs, pods and ConfigMaps."""
    ttl_seconds_after_finished: TtlSeconds | None = None
    """Time after its end at which a run is deleted even if `history` would keep it, in seconds. Default: none, only
    `history` counts."""
    revision_history_limit: RevisionCount | None = None
    """Number of earlier versions of this definition to keep as ControllerRevisions, in addition to those that runs
    refer to. Default 10."""
    failure_policy: FailurePolicy | None = None
    """Continue (default): tasks that do not depend on a failed one continue. FailFast: running tasks are stopped and no
    task is started."""
    output_store: OutputStore | None = None
    """Object store for artifacts and for outputs above 512 KiB. With it, outputs of python, http and sql tasks may have
    up to 64 MiB; `{}` selects the operator's store."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=50)] | None = None
    """Labels of the Jobs and pods of every task. The prefixes nexus.dev/ and batch.kubernetes.io/ are reserved."""
    defaults: Defaults | None = None
    """Defaults of all tasks."""
    tasks: Annotated[list[Task], Field(min_length=1, max_length=500)]
    """Tasks of the DAG, at most 500 together with `finally`."""
    outputs: Annotated[dict[OutputName, OutputText], Field(max_length=100)] | None = None
    """Outputs of the run by name: strings with `${{ }}` over params, run and all tasks, rendered when the run has
    succeeded. A single `${{ }}` keeps its type. A `workflow` task has these as its output."""
    finally_: Annotated[list[Task], Field(max_length=500)] | None = Field(None, alias="finally")
    """Tasks that run when all of `tasks` have ended, after success, failure, a Graceful cancel, or the run's deadline.
    They may depend on each other and read every task's phase and output; run.phase is the phase that the run ends with.
    If one fails, the run fails."""

    def every_task(self) -> list[tuple[tuple[str, int], Task]]:
        """Return all tasks with their places in the spec, those of `finally` last."""
        lists = (("tasks", self.tasks), ("finally", self.finally_ or ()))
        return [((name, position), task) for name, tasks in lists for position, task in enumerate(tasks)]


class Condition(Model):
    """A condition in Kubernetes' own format (metav1.Condition)."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    """Name of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Status of the condition: True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that the condition is for."""
    last_transition_time: Time
    """Time of the last change of `status`."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1_024)]
    """Reason, a single CamelCase word."""
    message: Annotated[str, StringConstraints(max_length=32_768)] = ""
    """Explanation, for readers."""


class DefinitionProblem(Model):
    """A problem in a definition."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Code of the problem, as `unknown-task`: see docs/messages.md. Another version may write codes that this one does
    not have."""
    task: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Name of the task that has the problem; absent where it is not in a task."""
    field: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Path of the field, within the task if there is one, else within the spec; absent for the whole of it."""
    message: Annotated[str, StringConstraints(max_length=512)]
    """Explanation, for readers."""


class ActiveRun(Model):
    """A run that has not ended."""

    name: Annotated[str, StringConstraints(max_length=63)]
    """Name of the run."""
    uid: Annotated[str, StringConstraints(max_length=64)]
    """UID of the run."""


class BeginningRun(ActiveRun):
    """A run that was admitted."""

    key: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Value of concurrency.key that the run counts for."""


class WorkflowStatus(Model):
    """Result of the operator's checks of a definition, and its runs."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that the status is for."""
    conditions: Annotated[list[Condition], Field(max_length=10)] | None = None
    """Ready: False, with reason and message, if the definition has errors. DidNotRun: True if the last tick of a
    schedule should have a run and has none; absent if that never happened."""
    problems: Annotated[list[DefinitionProblem], Field(max_length=20)] | None = None
    """Problems in the definition, the first 20 in the order of `nexus lint`. Absent while it is Ready."""
    problems_omitted: Annotated[int, Field(ge=1)] | None = None
    """Number of problems that `problems` leaves out. Absent if it has all."""
    task_count: Annotated[int, Field(ge=0)] | None = None
    """Number of tasks in the definition."""
    active: Annotated[list[ActiveRun], Field(max_length=10)] | None = None
    """Runs that have not ended, the ten oldest. Only for a Workflow with schedules."""
    active_count: Annotated[int, Field(ge=0)] | None = None
    """Number of runs that have not ended. Only for a Workflow with schedules."""
    schedules: Annotated[list[ScheduleStatus], Field(max_length=50)] | None = None
    """Status of each schedule."""
    last_schedule_time: Time | None = None
    """Last tick of any schedule that was started or skipped."""
    next_schedule_time: Time | None = None
    """Next tick of any schedule."""
    beginning: Annotated[list[BeginningRun], Field(max_length=100)] | None = None
    """Runs that concurrency admitted and whose own status did not say so yet at the time of writing. Operators agree by
    it; it is not the list of running runs."""


class Workflow(Model):
    """The definition of a DAG of tasks; a WorkflowRun runs it."""

    api_version: Literal["nexus.dev/v1alpha1"] = API_VERSION  # type: ignore[assignment]
    """nexus.dev/v1alpha1"""
    kind: Literal["Workflow"] = "Workflow"
    """Workflow"""
    metadata: dict[str, Any]
    """Kubernetes object metadata."""
    spec: WorkflowSpec
    """The definition."""
    status: WorkflowStatus | None = None
    """Result of the operator's checks of the definition."""


__all__ = [
    "Condition",
    "Defaults",
    "FailurePolicy",
    "Param",
    "ParamType",
    "Reason",
    "Workflow",
    "WorkflowSpec",
    "WorkflowStatus",
]
