"""What an expression may name, and of which type it is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nexus.api.base import format_time
from nexus.api.workflow import Param, ParamType
from nexus.core.expressions.templates import task_identifier

if TYPE_CHECKING:
    from nexus.core.model.definition import Definition, Node
    from nexus.core.model.facts import RunFact

# A number param is `dyn`: its JSON may hold an integer, which is an int in CEL, or any other number.
_PARAM_TYPES = {
    ParamType.STRING: "string",
    ParamType.INTEGER: "int",
    ParamType.NUMBER: "dyn",
    ParamType.BOOLEAN: "bool",
    ParamType.ARRAY: "list",
    ParamType.OBJECT: "map",
}

RUN_VARIABLES: Mapping[str, str] = {
    "run.name": "string",
    "run.namespace": "string",
    "run.workflow": "string",
    "run.trigger": "string",
    "run.phase": "string",
    "run.scheduledTime": "timestamp",
    "run.intervalStart": "timestamp",
    "run.intervalEnd": "timestamp",
}


# In the fields of a task with forEach; the task's `when` and forEach itself come before any item.
ITEM_VARIABLES: Mapping[str, str] = {"item": "dyn", "index": "int"}


@dataclass(slots=True)
class Item:
    """One item of a fan-out. Not frozen: one renderer goes through a thousand of them."""

    index: int
    value: Any


def param_variables(params: Iterable[Param]) -> dict[str, str]:
    """Return `params.NAME` for each param, and `params` for all of them."""
    named = {f"params.{param.name}": _type_of(param) for param in params}
    return {**named, "params": "map"}


def _type_of(param: Param) -> str:
    """Return the CEL type of a param. One that may be null is `dyn`: it is compared with null, which no other type can
    be."""
    return "dyn" if param.nullable else _PARAM_TYPES[param.type or ParamType.STRING]


def task_variables(tasks: Iterable[str]) -> dict[str, str]:
    """Return `tasks.NAME.output` and `tasks.NAME.phase` for each task."""
    variables = {}
    for task in tasks:
        variables[f"tasks.{task_identifier(task)}.output"] = "dyn"
        variables[f"tasks.{task_identifier(task)}.phase"] = "string"
    return variables


def node_variables(definition: Definition, node: Node, *, with_item: bool = False) -> dict[str, str]:
    """Return the names that a task's expressions may use, with their CEL types; `with_item` those of a fan-out's
    fields."""
    return {
        **(ITEM_VARIABLES if with_item else {}),
        **param_variables(definition.spec.params or ()),
        **RUN_VARIABLES,
        **task_variables(node.ancestors),
    }


def output_variables(definition: Definition) -> dict[str, str]:
    """Return the names that the outputs of a run may use, with their CEL types: params, run, and every task."""
    return {
        **param_variables(definition.spec.params or ()),
        **RUN_VARIABLES,
        **task_variables(definition.nodes),
    }


def run_values(run: RunFact, phase: str) -> dict[str, Any]:
    """Return the `run` object as task code sees it: times as RFC 3339 text.

    By hand a run's scheduled time is its creation, and both ends of its interval are the same instant.
    """
    scheduled = run.scheduled_time or run.created_at
    return {
        "name": run.name,
        "namespace": run.namespace,
        "workflow": run.workflow,
        "trigger": run.trigger.value,
        "scheduledTime": format_time(scheduled),
        "intervalStart": format_time(run.interval_start or scheduled),
        "intervalEnd": format_time(run.interval_end or scheduled),
        "phase": phase,
    }
