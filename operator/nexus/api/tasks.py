"""One task of a workflow: its type, its rules, its limits."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, StringConstraints

from nexus.api.base import Model
from nexus.api.fanout import ForEach
from nexus.api.pod import Pod
from nexus.api.store import Artifacts

TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$", max_length=40)]
PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$", max_length=40)]
ObjectName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
]
ConfigKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]
# The prefix NEXUS_ belongs to the contract between the operator and the task's bootstrap.
EnvName = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", min_length=1, max_length=256)]
LogLineCount = Annotated[int, Field(ge=1, le=50)]
# 32,768 characters are at most 128 KiB of UTF-8, Linux's limit on one argument (MAX_ARG_STRLEN).
Code = Annotated[str, StringConstraints(min_length=1, max_length=32_768)]
Text = Annotated[str, StringConstraints(max_length=32_768)]
Function = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$", max_length=512)
]
StatusCode = Annotated[int, Field(ge=100, le=599)]
# A name, all names below one, or an IP address; with a port where only that one is meant.
Host = Annotated[
    str,
    StringConstraints(
        pattern=r"^((\*\.)?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$",
        min_length=1,
        max_length=260,
    ),
]
StatusClass = Annotated[str, StringConstraints(pattern=r"^[1-5]xx$", max_length=3)]
# What of a request that failed: the class of its status, or that there was no whole answer at all.
RetrySign = Annotated[str, StringConstraints(pattern=r"^([1-5]xx|network)$", max_length=7)]
Image = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]
MOST_SECONDS = 31_536_000
"""Maximum of every duration, in seconds: one year."""
Seconds = Annotated[int, Field(ge=1, le=MOST_SECONDS)]
Expression = Annotated[str, StringConstraints(pattern=r"^\$\{\{.*\}\}$", max_length=1_100)]


# A name for people: one line, without a space at either end.
DisplayName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^ \x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^ \x00-\x1f\x7f-\x9f])?$", max_length=128
    ),
]
TaskKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?$", max_length=63)]


class TriggerRule(StrEnum):
    """Condition on a task's dependencies, all of them ended, for it to run."""

    ALL_SUCCEEDED = "AllSucceeded"
    ALL_DONE = "AllDone"
    ANY_SUCCEEDED = "AnySucceeded"
    ANY_FAILED = "AnyFailed"
    ALL_FAILED = "AllFailed"
    NONE_FAILED = "NoneFailed"


class Disruptions(StrEnum):
    """Whether an attempt that ended by a drain or a preemption counts."""

    IGNORE = "Ignore"
    COUNT = "Count"


class KeyRef(Model):
    """One key of a Secret or ConfigMap in the run's namespace."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    key: ConfigKey
    """Key within it."""
    optional: bool | None = None
    """Leave the variable unset if the object or key does not exist, instead of failing. Default false."""


class ObjectRef(Model):
    """A whole Secret or ConfigMap in the run's namespace."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    optional: bool | None = None
    """Continue without it if it does not exist, instead of failing. Default false."""


class EnvValueFrom(Model):
    """Source of an environment variable's value: exactly one of the fields."""

    secret_key_ref: KeyRef | None = None
    """Key of a Secret. The kubelet sets the value; no object of NEXUS contains it."""
    config_map_key_ref: KeyRef | None = None
    """Key of a ConfigMap."""


class EnvVar(Model):
    """An environment variable of the task's container, in Kubernetes' own format."""

    name: EnvName
    """Name of the variable; the prefix NEXUS_ is reserved."""
    value: Text | None = None
    """Value of the variable. `${{ }}` is rendered; `$(NAME)` is resolved in the pod, as Kubernetes does."""
    value_from: EnvValueFrom | None = None
    """Source of the value, instead of `value`."""


class EnvFrom(Model):
    """All keys of a Secret or ConfigMap as environment variables: exactly one of `secretRef` and `configMapRef`."""

    prefix: Annotated[str, StringConstraints(max_length=128)] | None = None
    """Prefix for the name of each variable. Default none."""
    secret_ref: ObjectRef | None = None
    """Secret whose keys become variables."""
    config_map_ref: ObjectRef | None = None
    """ConfigMap whose keys become variables."""


class Retry(Model):
    """Retries of failed attempts: how many, when, and for which failures."""

    limit: Annotated[int, Field(ge=0, le=100)] | None = None
    """Maximum number of retries after the first attempt. Default 0."""
    delay_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Delay before the first retry, in seconds. Default 10, as in the Job controller."""
    factor: Annotated[float, Field(ge=1, le=10)] | None = None
    """Factor by which the delay grows after each retry. Default 2."""
    max_delay_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Maximum delay before jitter, in seconds. Default 600."""
    jitter: Annotated[float, Field(ge=0, le=1)] | None = None
    """Random deviation of each delay in both directions, as a fraction: 0.2 turns 10 s into 8 to 12 s, and tasks that
    failed together are not retried together. Default 0."""
    fail_on_exit_codes: Annotated[list[Annotated[int, Field(ge=1, le=255)]], Field(max_length=255)] | None = None
    """Exit codes that are not retried: the task fails at once. Default none."""
    retry_on: Annotated[list[StatusCode | RetrySign], Field(min_length=1, max_length=50)] | None = None
    """Failures of an http task that are retried, such as `[429, 5xx, network]`; all others fail the task at once.
    network: no complete response (connection refused, unknown host, timeout, connection lost). A Retry-After header
    extends the delay, up to one day. Default: every failure is retried."""
    disruptions: Disruptions | None = None
    """Ignore (default): a pod that ends by a drain, a preemption or an eviction through the API is replaced, and does
    not count as an attempt. Count: it counts, and with limit 0 the task never runs twice."""


class TypeSpec(Model):
    """The fields of one type of task, with what the CRD's rules need. Everything else that is known of a type is in
    nexus.core.task_types."""

    # False for a type that the operator itself carries out: nothing is executed, so no field of pods has a meaning.
    executes: ClassVar[bool] = True
    # Whether its code can read and write files, which is what artifacts are.
    has_files: ClassVar[bool] = False
    # Whether its failures are those that retry.retryOn names.
    has_retry_on: ClassVar[bool] = False


class Python(TypeSpec):
    """Python code, or a function in the image; reads `input`, `params` and `run`, and fills `output`."""

    has_files: ClassVar[bool] = True

    code: Code | None = None
    """Python source code. Exactly one of `code` and `call`. `${{ }}` is refused: read values from `params` and
    `input`."""
    call: Function | None = None
    """Function in the image, as `package.module:function`. The dict that it returns is the output."""
    with_: Annotated[dict[str, Any], Field(max_length=100)] | None = Field(None, alias="with")
    """Keyword arguments for `call`. `${{ }}` is rendered at every depth, and values keep their types."""
    image: Image | None = None
    """Image with Python 3.9 or newer. Default: the operator's python image."""


class NameValue(Model):
    """A header or a query parameter."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """Name of the header or parameter."""
    value: Text
    """Value. `${{ }}` is rendered; `$(NAME)` is resolved in the pod from `env`."""


class Http(TypeSpec):
    """One HTTP request."""

    has_retry_on: ClassVar[bool] = True

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] | None = None
    """HTTP method. Default GET."""
    url: Annotated[str, StringConstraints(min_length=1, max_length=8_192)]
    """URL with http:// or https://. `${{ }}` is rendered; `$(NAME)` is resolved in the pod from `env`. Values after the
    host are percent-encoded, except for `/`."""
    hosts: Annotated[list[Host], Field(min_length=1, max_length=50)] | None = None
    """Hosts that the request may be sent to, such as `[api.example.com, "*.example.com", "db:8080"]`. Required if an
    expression can change the host of `url` and the task uses `$(NAME)`."""
    headers: Annotated[list[NameValue], Field(max_length=100)] | None = None
    """Request headers."""
    query: Annotated[list[NameValue], Field(max_length=100)] | None = None
    """Query parameters, encoded and added to those of `url`."""
    json_: Any = Field(None, alias="json")
    """JSON body, instead of `body`. `${{ }}` is rendered at every depth, and values keep their types."""
    body: Text | None = None
    """Text body, instead of `json`. `${{ }}` is rendered."""
    timeout_seconds: Seconds | None = None
    """Timeout of the request, in seconds. Default 30."""
    expect: Annotated[list[StatusCode | StatusClass], Field(min_length=1, max_length=20)] | None = None
    """Status codes and classes that count as success, such as `[2xx, 404]`. Default `[2xx]`."""
    response_type: Literal["json", "text", "base64"] | None = None
    """Form of the body in the output. Default: `json` if the content type says so and the body is valid JSON, otherwise
    `text`. json: fail if the body is not valid JSON. base64: the bytes of any content."""
    result: Annotated[str, StringConstraints(max_length=1_100)] | None = None
    """CEL expression over `response` = {status, headers, json | text | base64}. Its value replaces `json` in the
    output."""


class Bash(TypeSpec):
    """A bash script, run with `set -euo pipefail`."""

    has_files: ClassVar[bool] = True

    command: Code
    """Script. `${{ }}` is refused: read values from variables, such as `$PARAM_DAY` for the param day, from
    `$NEXUS_CONTEXT` and `env`."""
    image: Image | None = None
    """Image with bash, coreutils and gzip. Default: the operator's bash image."""


class SqlConnectionSource(Model):
    """Source of the database URL."""

    secret_key_ref: KeyRef
    """Key of a Secret that contains a SQLAlchemy URL."""


class Sql(TypeSpec):
    """One SQL statement with bound parameters."""

    connection: Literal["sqlite://"] | SqlConnectionSource
    """Database: `sqlite://` (in memory), or `{secretKeyRef: {name, key}}` of a SQLAlchemy URL."""
    query: Code
    """SQL statement, with `:name` placeholders. `${{ }}` is refused: pass values in `parameters`."""
    parameters: Annotated[dict[str, Any], Field(max_length=200)] | None = None
    """Values of the placeholders. `${{ }}` is rendered. Lists and objects are bound as JSON strings."""
    image: Image | None = None
    """Image with Python, SQLAlchemy and the driver. Default: the operator's sql image."""


class Container(TypeSpec):
    """Any image. Exit code 0 means success; a JSON object in /dev/termination-log is the output (at most 4 KiB)."""

    has_files: ClassVar[bool] = True

    image: Image
    """Name of the image. `${{ }}` is rendered."""
    command: Annotated[list[Text], Field(max_length=100)] | None = None
    """Entrypoint. Default: the image's. `${{ }}` is rendered; `$(NAME)` is resolved by Kubernetes."""
    args: Annotated[list[Text], Field(max_length=1_000)] | None = None
    """Arguments of the entrypoint. Default: the image's. `${{ }}` is rendered; `$(NAME)` is resolved by Kubernetes."""


class ChildWorkflow(TypeSpec):
    """A run of another Workflow, as a task: a child run."""

    name: ObjectName
    """Name of the Workflow, in the run's namespace. `${{ }}` is refused: no value chooses what runs."""
    params: Annotated[dict[str, Any], Field(max_length=100)] | None = None
    """Values of that Workflow's params. `${{ }}` is rendered at every depth, and values keep their types."""


class Gate(TypeSpec):
    """Approval by a user: `nexus approve RUN TASK`, with --reject to reject. No pod runs. Without a decision within
    `timeoutSeconds` it is rejected. The output is {by, comment, time}."""

    executes: ClassVar[bool] = False

    message: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """Question to the approver. `${{ }}` is rendered."""


class Wait(TypeSpec):
    """Timer: exactly one of `seconds` and `until`, at most one year. No pod runs."""

    executes: ClassVar[bool] = False

    seconds: Seconds | Expression | None = None
    """Time to wait, in seconds; or a single `${{ }}` that evaluates to it."""
    until: Annotated[str, StringConstraints(min_length=1, max_length=1_100)] | None = None
    """Time at which the wait ends, as RFC 3339 with an offset: 2026-11-23T10:00:00Z. `${{ }}` is rendered. A time in
    the past ends it at once."""


class Task(Model):
    """A task of the DAG: exactly one of python, http, bash, sql, container, workflow, approval and wait."""

    name: TaskName
    """Name of the task, unique in the workflow."""
    display_name: DisplayName | None = None
    """Name of the task for people, in one line of at most 128 characters. Default: `name`."""
    key: TaskKey | None = None
    """Second name by which task code knows the task, such as previous_task: `input["previous_task"]`. Letters, digits,
    `_`, `-` and `.`, at most 63 characters; unique among names and keys. Default: `name`."""
    description: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """Description of the task, for readers."""
    depends_on: Annotated[list[TaskName], Field(max_length=100)] | None = None
    """Names of the tasks that must end before this one starts, at most 100. Default none."""
    trigger_rule: TriggerRule | None = None
    """Condition on how the dependencies ended; evaluated once all of them have ended.

    AllSucceeded (default): all Succeeded; if one was Skipped, this task is Skipped too. AllDone: any result.
    AnySucceeded, AnyFailed: at least one did. AllFailed: all did. NoneFailed: none Failed and at least one Succeeded.
    An Omitted dependency counts as Failed.
    """
    when: Annotated[str, StringConstraints(max_length=1_100)] | None = None
    """Condition, a `${{ }}` that evaluates to a boolean; if false, the task is Skipped. Evaluated after triggerRule."""
    for_each: ForEach | None = None
    """Fan-out: run the task once for each item. The output is {items: [...]}, in the order of the items."""
    python: Python | None = None
    """Run Python code or a function."""
    http: Http | None = None
    """Make an HTTP request."""
    bash: Bash | None = None
    """Run a bash script."""
    sql: Sql | None = None
    """Run one SQL statement."""
    container: Container | None = None
    """Run an image."""
    workflow: ChildWorkflow | None = None
    """Run another Workflow as a child run. The task ends as the child run does; its output is the child run's
    outputs."""
    approval: Gate | None = None
    """Wait for the approval of a user."""
    wait: Wait | None = None
    """Wait for a number of seconds, or until a time."""
    artifacts: Artifacts | None = None
    """Input and output files and folders of a python, bash or container task."""
    env: Annotated[list[EnvVar], Field(max_length=200)] | None = None
    """Environment variables of the container."""
    env_from: Annotated[list[EnvFrom], Field(max_length=50)] | None = None
    """Whole Secrets and ConfigMaps as environment variables."""
    retry: Retry | None = None
    """Retries of failed attempts. Default: no retry."""
    record_log_lines: LogLineCount | None = None
    """Number of lines from the end of each attempt's log to keep in the status, at most 1 KiB. Default: none, since
    logs may contain secrets, and every user who may read the run can read its status."""
    pod: Pod | None = None
    """Settings of the task's pods: resources, volumes, nodes, labels. Ignored in local runs."""
    pool: PoolName | None = None
    """Pool of the namespace. Each pod of the task occupies one slot, and is queued while all are in use. The ConfigMap
    nexus-pools sets the sizes: `warehouse: "5"`. `${{ }}` is refused."""
    timeout_seconds: Seconds | None = None
    """Maximum duration of one attempt, in seconds. Default: no limit."""
    deadline_seconds: Seconds | None = None
    """Maximum duration of the task, all attempts and delays included, in seconds. Default: no limit."""
    start_timeout_seconds: Seconds | None = None
    """Maximum time from scheduling a pod to the start of its container, in seconds. Default 300."""
    allow_failure: bool | None = None
    """If true, a failed task counts as Succeeded (with the output {}) for triggerRules, failurePolicy and the run's
    phase. Default false."""


def _model_of(annotation: Any) -> type[TypeSpec] | None:
    """Return the model of a field that is a type of task, None for other fields."""
    return next((one for one in get_args(annotation) if isinstance(one, type) and issubclass(one, TypeSpec)), None)


MODELS: dict[str, type[TypeSpec]] = {
    name: model for name, field in Task.model_fields.items() if (model := _model_of(field.annotation)) is not None
}
"""The model of each type of task, in the order of the fields of a task."""
TASK_TYPES: tuple[str, ...] = tuple(MODELS)
PODLESS = tuple(name for name, model in MODELS.items() if not model.executes)
"""Types of tasks that run no code and have no pod."""
FIELDS_OF_PODS = ("env", "envFrom", "pod", "pool", "retry", "startTimeoutSeconds", "recordLogLines")
"""Fields of a task that require a pod."""
