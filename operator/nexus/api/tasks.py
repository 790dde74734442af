"""One task of a workflow: its type, its rules, its limits."""

from enum import StrEnum
from typing import Annotated, Any, Literal

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
"""A year: the longest that anything may take or wait."""
Seconds = Annotated[int, Field(ge=1, le=MOST_SECONDS)]
Expression = Annotated[str, StringConstraints(pattern=r"^\$\{\{.*\}\}$", max_length=1_100)]


class TriggerRule(StrEnum):
    """What must be true of a task's dependencies, all of them ended, for it to run."""

    ALL_SUCCEEDED = "AllSucceeded"
    ALL_DONE = "AllDone"
    ANY_SUCCEEDED = "AnySucceeded"
    ANY_FAILED = "AnyFailed"
    ALL_FAILED = "AllFailed"
    NONE_FAILED = "NoneFailed"


class Disruptions(StrEnum):
    """Whether an attempt that a drain or a preemption ended counts."""

    IGNORE = "Ignore"
    COUNT = "Count"


class KeyRef(Model):
    """One key of a Secret or ConfigMap in the run's namespace."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    key: ConfigKey
    """The key within it."""
    optional: bool | None = None
    """Leave the variable unset where the object or key is missing, instead of failing."""


class ObjectRef(Model):
    """A whole Secret or ConfigMap in the run's namespace."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    optional: bool | None = None
    """Go on without it where it is missing, instead of failing."""


class EnvValueFrom(Model):
    """Where the value of an environment variable comes from: exactly one source."""

    secret_key_ref: KeyRef | None = None
    """A key of a Secret. The value is set by the kubelet and appears in no object of NEXUS."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""


class EnvVar(Model):
    """An environment variable of the task's container, in Kubernetes' own shape."""

    name: EnvName
    """Name of the variable; the prefix NEXUS_ is reserved."""
    value: Text | None = None
    """Its text. `${{ }}` is rendered; `$(NAME)` is resolved in the pod as Kubernetes does."""
    value_from: EnvValueFrom | None = None
    """A source for the value, instead of `value`."""


class EnvFrom(Model):
    """All keys of a Secret or ConfigMap as environment variables: exactly one of the two refs."""

    prefix: Annotated[str, StringConstraints(max_length=128)] | None = None
    """Put before the name of each key."""
    secret_ref: ObjectRef | None = None
    """A Secret."""
    config_map_ref: ObjectRef | None = None
    """A ConfigMap."""


class Retry(Model):
    """How often, and how, a failed attempt is followed by another."""

    limit: Annotated[int, Field(ge=0, le=100)] | None = None
    """Retries after the first attempt. Default 0."""
    delay_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Seconds before the first retry. Default 10, as the Job controller's."""
    factor: Annotated[float, Field(ge=1, le=10)] | None = None
    """What the delay is multiplied by after each retry. Default 2."""
    max_delay_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """The longest delay, in seconds, before jitter. Default 600."""
    jitter: Annotated[float, Field(ge=0, le=1)] | None = None
    """How far a delay may be off, either way, as a fraction of it: 0.2 makes 10 s any time from 8 to 12, so that tasks
    that failed together do not come back together. Default 0."""
    fail_on_exit_codes: Annotated[list[Annotated[int, Field(ge=1, le=255)]], Field(max_length=255)] | None = None
    """Exit codes that end the task at once, without a retry."""
    retry_on: Annotated[list[StatusCode | RetrySign], Field(min_length=1, max_length=50)] | None = None
    """Of http tasks: the failures that are worth a retry, as `[429, 5xx, network]`; all others end the task at once.
    network: no whole answer (refused, unknown host, timeout, cut off). A Retry-After of the server lengthens the delay,
    up to a day. Default: every failure is retried."""
    disruptions: Disruptions | None = None
    """Ignore (default): a pod that a drain, preemption or eviction by the API ended is replaced without
    counting as an attempt. Count: it counts, so that with limit 0 the task never runs twice."""


class Python(Model):
    """Python code, or a function, run with `input`, `params`, `run` and an `output` to fill."""

    code: Code | None = None
    """The code. Exactly one of `code` and `call`. No `${{ }}` in it: values come as `params` and `input`."""
    call: Function | None = None
    """`package.module:function`, found in the image; the dict it returns is the output."""
    with_: Annotated[dict[str, Any], Field(max_length=100)] | None = Field(None, alias="with")
    """Keyword arguments for `call`; expressions are rendered deep and keep their types."""
    image: Image | None = None
    """An image with Python 3.9 or later. Default: the operator's python image."""


class NameValue(Model):
    """A header or a query parameter."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """Its name."""
    value: Text
    """Its value. `${{ }}` is rendered, `$(NAME)` is resolved in the pod from `env`."""


class Http(Model):
    """One HTTP request."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] | None = None
    """The method. Default GET."""
    url: Annotated[str, StringConstraints(min_length=1, max_length=8_192)]
    """http:// or https:// address. `${{ }}` is rendered, `$(NAME)` is resolved in the pod from `env`. A value behind
    the host is percent-encoded but for `/`."""
    hosts: Annotated[list[Host], Field(min_length=1, max_length=50)] | None = None
    """Hosts that the request may go to, as `[api.example.com, "*.example.com", "db:8080"]`. Required where an
    expression reaches the host of `url` and the task uses `$(NAME)`."""
    headers: Annotated[list[NameValue], Field(max_length=100)] | None = None
    """Request headers."""
    query: Annotated[list[NameValue], Field(max_length=100)] | None = None
    """Query parameters, added to those of the url and encoded."""
    json_: Any = Field(None, alias="json")
    """A JSON body, instead of `body`; expressions are rendered deep and keep their types."""
    body: Text | None = None
    """A text body, instead of `json`."""
    timeout_seconds: Seconds | None = None
    """Seconds for the request. Default 30."""
    expect: Annotated[list[StatusCode | StatusClass], Field(min_length=1, max_length=20)] | None = None
    """Status codes and classes that count as success, as `[2xx, 404]`. Default 2xx."""
    response_type: Literal["json", "text", "base64"] | None = None
    """What the body becomes in the output. Default: `json` where the content type says so and the body is, else `text`.
    json: fail where the body is not JSON. base64: the bytes, of any content."""
    result: Annotated[str, StringConstraints(max_length=1_100)] | None = None
    """An expression over `response` = {status, headers, json | text | base64}; its value takes the place of `json`."""


class Bash(Model):
    """A bash script, run with `set -euo pipefail`."""

    command: Code
    """The script. No `${{ }}` in it: values come as `$PARAM_DAY`, `$NEXUS_CONTEXT` and `env`."""
    image: Image | None = None
    """An image with bash, coreutils and gzip. Default: the operator's bash image."""


class SqlConnectionSource(Model):
    """Where the database URL comes from."""

    secret_key_ref: KeyRef
    """A Secret's key that holds a SQLAlchemy URL."""


class Sql(Model):
    """One SQL statement with bound parameters."""

    connection: Literal["sqlite://"] | SqlConnectionSource
    """`sqlite://` (a database in memory), or `{secretKeyRef: {name, key}}` with a SQLAlchemy URL."""
    query: Code
    """The statement, with `:name` placeholders. No `${{ }}` in it: values come as `parameters`."""
    parameters: Annotated[dict[str, Any], Field(max_length=200)] | None = None
    """Values of the placeholders; expressions are rendered. Lists and objects are bound as JSON text."""
    image: Image | None = None
    """An image with Python, SQLAlchemy and the driver. Default: the operator's sql image."""


class Container(Model):
    """Any image. Its exit code decides; a JSON object in /dev/termination-log is its output (4 KiB)."""

    image: Image
    """The image. `${{ }}` is rendered."""
    command: Annotated[list[Text], Field(max_length=100)] | None = None
    """Entrypoint instead of the image's own. `${{ }}` is rendered, `$(NAME)` is resolved by Kubernetes."""
    args: Annotated[list[Text], Field(max_length=1_000)] | None = None
    """Arguments. `${{ }}` is rendered, `$(NAME)` is resolved by Kubernetes."""


class ChildWorkflow(Model):
    """A run of another Workflow, as a task: a child run."""

    name: ObjectName
    """Name of the Workflow, in the run's namespace. No `${{ }}` in it: a value never chooses what is run."""
    params: Annotated[dict[str, Any], Field(max_length=100)] | None = None
    """Values for that Workflow's params; expressions are rendered deep and keep their types."""


class Gate(Model):
    """A person decides: `nexus approve RUN TASK`, or with --reject. No pod runs. `timeoutSeconds` without a decision
    rejects. The output is {by, comment, time}."""

    message: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """What is asked. `${{ }}` is rendered."""


class Wait(Model):
    """A timer: exactly one of `seconds` and `until`, at most a year. No pod runs."""

    seconds: Seconds | Expression | None = None
    """Seconds to wait, or one whole `${{ }}` that gives them."""
    until: Annotated[str, StringConstraints(min_length=1, max_length=1_100)] | None = None
    """The time to wait for, RFC 3339 with an offset: 2026-11-23T10:00:00Z. `${{ }}` is rendered. One that has passed is
    due at once."""


class Task(Model):
    """A node of the DAG: exactly one of python, http, bash, sql, container, workflow, approval and wait."""

    name: TaskName
    """Name of the task, unique in the workflow."""
    description: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    """What the task is for, in words."""
    depends_on: Annotated[list[TaskName], Field(max_length=100)] | None = None
    """Tasks that must have ended before this one is looked at."""
    trigger_rule: TriggerRule | None = None
    """How the dependencies, all of them ended, must have ended for the task to run.

    AllSucceeded (default): all of them Succeeded; a skip travels on. AllDone: in whatever way. AnySucceeded,
    AnyFailed: at least one of them did. AllFailed: every one of them did. NoneFailed: none Failed or was Omitted,
    and at least one Succeeded.
    """
    when: Annotated[str, StringConstraints(max_length=1_100)] | None = None
    """`${{ }}` with a boolean: the task is Skipped where it is false. Looked at after triggerRule."""
    for_each: ForEach | None = None
    """Run the task once for each of many items; its output is {items: [...]}, in the order of the items."""
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
    """Run another Workflow; the task ends as that run does, and its outputs are the task's output."""
    approval: Gate | None = None
    """Wait for a person's decision."""
    wait: Wait | None = None
    """Wait for so long, or until a time."""
    artifacts: Artifacts | None = None
    """Files and folders that a python, bash or container task takes and leaves."""
    env: Annotated[list[EnvVar], Field(max_length=200)] | None = None
    """Environment variables of the container."""
    env_from: Annotated[list[EnvFrom], Field(max_length=50)] | None = None
    """Whole Secrets and ConfigMaps as environment variables."""
    retry: Retry | None = None
    """Retries of a failed attempt."""
    record_log_lines: LogLineCount | None = None
    """Last lines of each attempt's log that the status keeps, up to 1 KiB of them. Default none: what code prints may
    be secret, and everybody who may read the run can read its status."""
    pod: Pod | None = None
    """What is asked of the task's pods: resources, volumes, nodes, labels. Ignored locally."""
    pool: PoolName | None = None
    """A pool of the namespace: each pod of the task holds one of its slots, and waits in line for one. Sizes stand in
    the ConfigMap nexus-pools, `warehouse: "5"`. No `${{ }}` in it."""
    timeout_seconds: Seconds | None = None
    """Seconds that one attempt may take."""
    deadline_seconds: Seconds | None = None
    """Seconds that the whole task may take, all attempts and delays together."""
    start_timeout_seconds: Seconds | None = None
    """Seconds that a scheduled pod may take to start its container. Default 300."""
    allow_failure: bool | None = None
    """True: where the task ends Failed, it counts as Succeeded (with the output {}) for triggerRules, for failurePolicy
    and for the run's phase."""


TASK_TYPES: tuple[str, ...] = ("python", "http", "bash", "sql", "container", "workflow", "approval", "wait")
PODLESS = ("approval", "wait")
"""Types of tasks that execute nothing."""
FIELDS_OF_PODS = ("env", "envFrom", "pod", "pool", "retry", "startTimeoutSeconds", "recordLogLines")
"""Fields of a task that mean nothing without a pod."""
