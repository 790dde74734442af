"""A definition ready for decisions: defaults applied, order and ancestors known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nexus.api.tasks import EnvVar, Retry, Task, TriggerRule
from nexus.api.workflow import Defaults, FailurePolicy, WorkflowSpec
from nexus.core.model.graph import ordered
from nexus.core.model.operator_defaults import NO_DEFAULTS, OperatorDefaults
from nexus.core.model.retry import RetryPolicy
from nexus.core.pods import merge
from nexus.core.task_types import TYPES, types_in
from nexus.core.task_types.record import TaskType

DEFAULT_MAX_PARALLEL_TASKS = 10
DEFAULT_START_TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Node:
    """One task with the workflow's defaults in it, and its place in the DAG."""

    task: Task
    type: str
    depends_on: tuple[str, ...]
    rule: TriggerRule
    retry: RetryPolicy
    ancestors: frozenset[str]
    final: bool = False
    """Whether it is a task of `finally`."""

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    @property
    def record(self) -> TaskType:
        """What is known of its type."""
        return TYPES[self.type]

    @property
    def start_timeout_seconds(self) -> int:
        """Seconds that a scheduled pod may take to start its container."""
        return self.task.start_timeout_seconds or DEFAULT_START_TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class Definition:
    """A valid WorkflowSpec, prepared. `nodes` is in an order in which dependencies come first."""

    spec: WorkflowSpec
    nodes: Mapping[str, Node]
    evaluates: bool
    """Whether decisions about it need the evaluator: for an expression, or for the pattern of a param."""
    operator: OperatorDefaults = NO_DEFAULTS
    sha256: str | None = None
    """SHA-256 of the spec, of one that was just pinned (see nexus.core.text.sha256)."""

    @property
    def max_parallel_tasks(self) -> int:
        """Live task pods of a run."""
        return min(self.spec.max_parallel_tasks or DEFAULT_MAX_PARALLEL_TASKS, self.operator.max_parallel_tasks)

    @property
    def fail_fast(self) -> bool:
        """True where one failure stops everything."""
        return self.spec.failure_policy is FailurePolicy.FAIL_FAST


def prepare(spec: WorkflowSpec, operator: OperatorDefaults = NO_DEFAULTS) -> Definition:
    """Return the Definition of a spec that `validate.problems` finds nothing wrong with.

    Raises graphlib.CycleError and KeyError for specs that were not validated.
    """
    tasks = {task.name: with_defaults(task, spec.defaults) for task in spec.tasks}
    final = {task.name: with_defaults(task, spec.defaults) for task in spec.finally_ or ()}
    nodes = {
        **_nodes(tasks, frozenset(), operator, final=False),
        **_nodes(final, frozenset(tasks), operator, final=True),
    }
    evaluates = "${{" in str(spec.to_json()) or any(param.pattern is not None for param in spec.params or ())
    return Definition(spec, nodes, evaluates, operator)


def _nodes(
    tasks: Mapping[str, Task], before: frozenset[str], operator: OperatorDefaults, *, final: bool
) -> dict[str, Node]:
    """Return the nodes of one list of tasks, dependencies first; each of them comes after the tasks `before`."""
    nodes: dict[str, Node] = {}
    for name in ordered({name: task.depends_on or () for name, task in tasks.items()}):
        direct = tasks[name].depends_on or ()
        ancestors = before.union(direct, *(nodes[dependency].ancestors for dependency in direct))
        nodes[name] = _node(tasks[name], ancestors, operator, final=final)
    return nodes


def waits_for(spec: WorkflowSpec) -> dict[str, tuple[str, ...]]:
    """Map each task to those whose end it waits for: a task of `finally` without dependsOn to all that are not."""
    main = {task.name: tuple(task.depends_on or ()) for task in spec.tasks}
    return main | {task.name: tuple(task.depends_on or main) for task in spec.finally_ or ()}


def type_of(task: Task) -> str:
    """Return the name of the one type field that a valid task has."""
    return next(types_in(task)).name


def with_defaults(task: Task, defaults: Defaults | None) -> Task:
    """Return the task with the workflow's defaults: by field, lists by name, the task wins."""
    if defaults is None or not all(record.model.executes for record in types_in(task)):
        # A timeout that is meant for code would reject in minutes what a person has a day for.
        return task
    return task.model_copy(
        update={
            "retry": _merged_retry(_defaults_of(task, defaults.retry), task.retry),
            "timeout_seconds": task.timeout_seconds or defaults.timeout_seconds,
            "record_log_lines": task.record_log_lines or defaults.record_log_lines,
            "pod": merge.merged(defaults.pod, task.pod),
            "env": _merged_env(defaults.env or [], task.env or []) or None,
            "env_from": [*(defaults.env_from or []), *(task.env_from or [])] or None,
        }
    )


def _defaults_of(task: Task, default: Retry | None) -> Retry | None:
    """Return what of the defaults is meant for the task: only http tasks have failures that retryOn can name."""
    if default is None or any(record.model.has_retry_on for record in types_in(task)):
        return default
    return default.model_copy(update={"retry_on": None})


def _merged_retry(default: Retry | None, own: Retry | None) -> Retry | None:
    if default is None or own is None:
        return own or default
    return default.model_copy(update={field: getattr(own, field) for field in own.model_fields_set})


def _merged_env(defaults: list[EnvVar], own: list[EnvVar]) -> list[EnvVar]:
    """Return the defaults first, so that a task's own values may refer to them as `$(NAME)`."""
    taken = {variable.name for variable in own}
    return [*(variable for variable in defaults if variable.name not in taken), *own]


def _node(task: Task, ancestors: frozenset[str], operator: OperatorDefaults, *, final: bool) -> Node:
    kind = type_of(task)
    return Node(
        task=task,
        type=kind,
        depends_on=tuple(task.depends_on or ()),
        rule=task.trigger_rule or TriggerRule.ALL_SUCCEEDED,
        retry=RetryPolicy.of(
            task.retry, operator.retry_limit if TYPES[kind].model.executes else 0, TYPES[kind].final_exit_codes
        ),
        ancestors=ancestors,
        final=final,
    )
