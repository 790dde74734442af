"""Payload: the rendered form of a task, ready for a container or a subprocess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nexus.api.reasons import Reason
from nexus.api.run import OutputRef
from nexus.api.tasks import EnvVar
from nexus.core.data.scope import Item
from nexus.core.expressions.render import Renderer
from nexus.core.model.definition import Node
from nexus.core.model.plan import Payload, Transfer
from nexus.core.pods import render
from nexus.core.task_types.limits import PayloadError, check_string
from nexus.core.text.json_text import dump

ATTEMPT = "NEXUS_ATTEMPT"
"""The variable in which task code finds the number of its attempt."""
FAILED_ATTEMPTS = "NEXUS_FAILED_ATTEMPTS"
"""What the bootstrap adds to it, and takes out of the environment: it holds the number of its Job's first attempt. Also
where it is always 0: a variable that the task takes from a Secret must not be counted."""

# Above this a text for a bootstrap travels as a file: with all others in it, a process' arguments and environment must
# stay under a quarter of the stack limit.
SPILL_LIMIT = 96 * 1024
# A Job object of 1.5 MiB would not fit into etcd; what travels in it besides the payload is small.
TOTAL_LIMIT = 900 * 1024


@dataclass(frozen=True, slots=True)
class Context:
    """What task code sees: `input` is by dependency, None where it did not succeed; outputs that are too big for
    the context are in `stored` (dependency to where it lies) instead."""

    params: Mapping[str, Any]
    run: Mapping[str, Any]
    input: Mapping[str, Any]
    stored: Mapping[str, OutputRef]
    item: Item | None = None
    transfer: Transfer | None = None
    attempt: int = 1
    """The number of the attempt, or of the first one of a Job that makes several."""
    task: Mapping[str, str] = field(default_factory=dict)
    """The task's `name`, and its `key` and `displayName` where it has them."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Dependency by the `key` that it has."""

    def json(self) -> str:
        """Return compact JSON with `input` as its last key: the bash bootstrap adds the stored outputs textually."""
        own = {"item": self.item.value, "index": self.item.index} if self.item is not None else {}
        names = [*self.transfer.artifacts_in, *self.transfer.artifacts_out] if self.transfer is not None else []
        artifacts = {"artifacts": names} if names else {}
        known = {"task": self.task, **({"keys": self.keys} if self.keys else {})}
        return dump({"params": self.params, "run": self.run, **known, **own, **artifacts, "input": self.input})


def task_values(node: Node, renderer: Renderer) -> dict[str, Any] | None:
    """Return the rendered fields that the task's bootstrap is handed as JSON, None where it is handed none."""
    record = node.record
    if record.values is None:
        return None
    values = record.values(record.of(node.task), renderer)
    return values | ({"retryOn": list(node.retry.retry_on)} if node.retry.retry_on else {})


def tells_attempt(node: Node) -> bool:
    """Return whether the code of a task gets the number of its attempt."""
    return node.record.bootstrap is not None and node.record.bootstrap.tells_attempt


def build(node: Node, renderer: Renderer, context: Context) -> Payload:
    """Return the payload of a task. Raises ExpressionError, TemplateError and PayloadError."""
    task, record = node.task, node.record
    assert record.container is not None, f"{node.type} tasks have no container"
    values = task_values(node, renderer)
    env = tuple(_env(variable, renderer) for variable in task.env or ())
    own = record.container(record.of(task), renderer, context)
    attempt = {ATTEMPT: str(context.attempt), FAILED_ATTEMPTS: "0"} if tells_attempt(node) else {}
    payload = Payload(
        type=node.type,
        image=own.image,
        context_json="" if record.is_bare else context.json(),
        task_json=dump(values) if values is not None else None,
        script=own.script,
        command=own.command,
        args=own.args,
        variables={**own.variables, **attempt},
        env=(*env, *own.env),
        env_from=tuple(task.env_from or ()),
        inputs={} if record.is_bare else context.stored,
        pod=render.rendered(task.pod, renderer) if task.pod is not None else None,
        transfer=context.transfer,
    )
    _check_total(payload)
    return payload


def _env(variable: EnvVar, renderer: Renderer) -> EnvVar:
    if variable.value is None or "${{" not in variable.value:
        return variable
    # By its name: the defaults come first here, so a position would not be the one in the manifest.
    value = renderer.text(variable.value, f"env {variable.name}", kubernetes=True)
    check_string(f"env {variable.name}", f"{variable.name}={value}")
    return variable.model_copy(update={"value": value})


def _check_total(payload: Payload) -> None:
    texts = [payload.context_json, payload.task_json or "", payload.script or "", *payload.variables.values()]
    texts += [*(payload.command or ()), *(payload.args or ()), *(variable.value or "" for variable in payload.env)]
    check_total(sum(len(text.encode()) for text in texts))


def check_total(size: int) -> None:
    """Raise PayloadError for more bytes than the objects of a task can hold."""
    if size > TOTAL_LIMIT:
        raise PayloadError(
            Reason.INPUT_TOO_LARGE,
            f"the rendered task exceeds the limit (at least {size:,} bytes, limit {TOTAL_LIMIT:,}); read large "
            "outputs from `input` instead of rendering them into fields",
        )
