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
from nexus.api.tasks import EnvFrom, EnvVar, LogLineCount, Retry, Seconds, Task

ParamName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$", max_length=40)]
# As far as a double, which JSON's numbers are to many readers, holds whole numbers exactly.
Bound = Annotated[float, Field(ge=-(2**53), le=2**53)]
OutputName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
OutputText = Annotated[str, StringConstraints(max_length=4_096)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317)]
LabelValue = Annotated[str, StringConstraints(pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", max_length=63)]


class ParamType(StrEnum):
    """JSON Schema's names for the types of values."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"


class FailurePolicy(StrEnum):
    """What a failed task does to the tasks that do not depend on it."""

    CONTINUE = "Continue"
    FAIL_FAST = "FailFast"


class Param(Model):
    """A value that a run may or must give."""

    name: ParamName
    """Name of the param: `${{ params.day }}`, `params["day"]` in python, `$PARAM_DAY` in bash."""
    type: ParamType | None = None
    """Type of the value, by JSON Schema's names: string (default), integer, number, boolean, array or object."""
    description: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """What the param is for, in words."""
    default: Any = None
    """The value where a run gives none; may use `${{ }}` over `run`. Without it, see `required`."""
    required: bool | None = None
    """Whether each run must give a value. Unless you say otherwise it must where there is no default. False without a
    default: the param is null where a run gives none."""
    enum: Annotated[list[Any], Field(min_length=1, max_length=100)] | None = None
    """The values that are allowed."""
    pattern: Annotated[str, StringConstraints(max_length=512)] | None = None
    """An RE2 expression that is searched for in a string value; anchor it with ^ and $."""
    minimum: Bound | None = None
    """The smallest value of an integer or a number, itself allowed."""
    maximum: Bound | None = None
    """The largest value of an integer or a number, itself allowed."""

    @property
    def has_default(self) -> bool:
        """True where a default is written, be it null."""
        return "default" in self.model_fields_set

    @property
    def nullable(self) -> bool:
        """True where a run may leave the param without a value: it is null then."""
        return self.required is False and self.default is None


class Defaults(Model):
    """What every task takes where it says nothing itself; lists by name, the task wins."""

    retry: Retry | None = None
    """Retries, field by field."""
    record_log_lines: LogLineCount | None = None
    """Last lines of each attempt's log that the status keeps."""
    timeout_seconds: Seconds | None = None
    """Seconds that one attempt may take."""
    env: Annotated[list[EnvVar], Field(max_length=200)] | None = None
    """Environment variables."""
    env_from: Annotated[list[EnvFrom], Field(max_length=50)] | None = None
    """Whole Secrets and ConfigMaps as environment variables, before the task's own."""
    pod: Pod | None = None
    """What is asked of the pods: by field, volumes by name, labels by key, the task wins."""


class WorkflowSpec(Model):
    """The definition of a DAG of tasks."""

    description: Annotated[str, StringConstraints(max_length=4_096)] | None = None
    """What the workflow is for, in words."""
    params: Annotated[list[Param], Field(max_length=100)] | None = None
    """The values that a run may or must give."""
    schedules: Annotated[list[Schedule], Field(max_length=50)] | None = None
    """When the workflow runs by itself; `nexus schedule next` shows the times."""
    max_parallel_tasks: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Live task pods of a run. Default 10."""
    deadline_seconds: Seconds | None = None
    """Seconds that a whole run may take."""
    suspend: bool | None = None
    """True: no schedule ticks, and no new run begins: those that are made wait until it is false again. What is under
    way goes on."""
    concurrency: Concurrency | None = None
    """Whether several runs may be under way at the same time."""
    history: History | None = None
    """How many ended runs are kept; the oldest go first, with their Jobs, pods and ConfigMaps."""
    ttl_seconds_after_finished: TtlSeconds | None = None
    """Seconds after its end at which a run is deleted, however few there are. Without it only `history` counts."""
    revision_history_limit: RevisionCount | None = None
    """Earlier versions of this definition that are kept as ControllerRevisions, beside those that runs still name.
    Default 10."""
    failure_policy: FailurePolicy | None = None
    """Continue (default): tasks that do not depend on the failed one go on. FailFast: running tasks are
    stopped, nothing new is started."""
    output_store: OutputStore | None = None
    """Where outputs above 512 KiB and artifacts are kept. With it, outputs of python, http and sql tasks may have up to
    64 MiB; `{}` names the store of the operator."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=50)] | None = None
    """Labels for the Jobs and pods of every task; nexus.dev/ and batch.kubernetes.io/ are taken."""
    defaults: Defaults | None = None
    """What every task takes where it says nothing itself."""
    tasks: Annotated[list[Task], Field(min_length=1, max_length=500)]
    """The nodes of the DAG."""
    outputs: Annotated[dict[OutputName, OutputText], Field(max_length=100)] | None = None
    """What a run comes to, by name: text with `${{ }}` over params, run and all tasks, rendered when the run has
    succeeded. One whole `${{ }}` keeps its type. A `workflow` task gets these as its output."""
    finally_: Annotated[list[Task], Field(max_length=500)] | None = Field(None, alias="finally")
    """Tasks that run when all of `tasks` have ended, whatever happened: success, failure, a Graceful cancel, the run's
    deadline. They may depend on each other, read every task's phase and output, and see in run.phase what the run ends
    with; one that fails fails the run. With `tasks`, at most 500."""

    def every_task(self) -> list[tuple[tuple[str, int], Task]]:
        """All tasks with their places in the spec, those of `finally` last."""
        lists = (("tasks", self.tasks), ("finally", self.finally_ or ()))
        return [((name, position), task) for name, tasks in lists for position, task in enumerate(tasks)]


class Condition(Model):
    """A condition in Kubernetes' own shape (metav1.Condition)."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    """Name of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that it speaks of."""
    last_transition_time: Time
    """When the status changed last."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1_024)]
    """Why, in one word."""
    message: Annotated[str, StringConstraints(max_length=32_768)] = ""
    """Why, in words."""


class ActiveRun(Model):
    """A run that has not ended."""

    name: Annotated[str, StringConstraints(max_length=63)]
    """Its name."""
    uid: Annotated[str, StringConstraints(max_length=64)]
    """Its UID."""


class BeginningRun(ActiveRun):
    """A run whose turn has come."""

    key: Annotated[str, StringConstraints(max_length=256)] | None = None
    """The value of concurrency.key that it counts for."""


class WorkflowStatus(Model):
    """What the operator found out about a definition, and its runs."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that the status speaks of."""
    conditions: Annotated[list[Condition], Field(max_length=10)] | None = None
    """Ready: False, with reason and message, where the definition has errors. DidNotRun: True where the last tick of a
    schedule has no run though it should have one; absent if that never was so."""
    task_count: Annotated[int, Field(ge=0)] | None = None
    """How many tasks the definition has."""
    active: Annotated[list[ActiveRun], Field(max_length=10)] | None = None
    """Runs that have not ended, the oldest ten of them; of a Workflow with schedules."""
    active_count: Annotated[int, Field(ge=0)] | None = None
    """How many runs have not ended; of a Workflow with schedules."""
    schedules: Annotated[list[ScheduleStatus], Field(max_length=50)] | None = None
    """Where each schedule stands."""
    last_schedule_time: Time | None = None
    """The last tick of any schedule that was decided."""
    next_schedule_time: Time | None = None
    """The next tick of any schedule."""
    beginning: Annotated[list[BeginningRun], Field(max_length=100)] | None = None
    """Runs whose turn has come and whose own status did not say so when this was written, where runs take turns: what
    the operators agree on, not what runs now."""


class Workflow(Model):
    """The definition of a DAG of tasks; a WorkflowRun executes it."""

    api_version: Literal["nexus.dev/v1alpha1"] = API_VERSION  # type: ignore[assignment]
    """nexus.dev/v1alpha1"""
    kind: Literal["Workflow"] = "Workflow"
    """Workflow"""
    metadata: dict[str, Any]
    """Kubernetes object metadata."""
    spec: WorkflowSpec
    """The definition."""
    status: WorkflowStatus | None = None
    """What the operator found out about the definition."""


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
