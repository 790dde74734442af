"""Payload: the rendered form of a task, ready for a container or a subprocess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus.api.reasons import Reason
from nexus.api.run import OutputRef
from nexus.api.tasks import EnvVar, Http, NameValue, Python, Sql
from nexus.core.data.scope import Item
from nexus.core.expressions.render import Renderer
from nexus.core.expressions.templates import as_text, parse
from nexus.core.model.definition import Node
from nexus.core.model.plan import Payload, Transfer
from nexus.core.pods import render
from nexus.core.text.json_text import dump

# Linux takes at most 131,072 bytes for one argument or environment string, its NUL included (MAX_ARG_STRLEN).
STRING_LIMIT = 131_071
# Above this a text for a bootstrap travels as a file: with all others in it, a process' arguments and environment must
# stay under a quarter of the stack limit.
SPILL_LIMIT = 96 * 1024
# A Job object of 1.5 MiB would not fit into etcd; what travels in it besides the payload is small.
TOTAL_LIMIT = 900 * 1024

SQL_URL_VARIABLE = "NEXUS_SQL_URL"


@dataclass(frozen=True, slots=True)
class PayloadError(Exception):
    """A field is too large to hand to a container."""

    reason: Reason
    message: str


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

    def json(self) -> str:
        """Compact JSON with `input` as its last key: the bash bootstrap adds the stored outputs textually."""
        own = {"item": self.item.value, "index": self.item.index} if self.item is not None else {}
        names = [*self.transfer.artifacts_in, *self.transfer.artifacts_out] if self.transfer is not None else []
        artifacts = {"artifacts": names} if names else {}
        return dump({"params": self.params, "run": self.run, **own, **artifacts, "input": self.input})


def task_values(node: Node, renderer: Renderer) -> dict[str, Any] | None:
    """The rendered fields that the bootstrap of a python, http or sql task is handed as JSON, None for others."""
    task = node.task
    if task.python is not None:
        return _python(task.python, renderer)
    if task.http is not None:
        rendered = _http(task.http, renderer)
        return rendered | ({"retryOn": list(node.retry.retry_on)} if node.retry.retry_on else {})
    return _sql(task.sql, renderer) if task.sql is not None else None


def build(node: Node, renderer: Renderer, context: Context) -> Payload:
    """The payload of a task. Raises ExpressionError, TemplateError and PayloadError."""
    task = node.task
    values = task_values(node, renderer)
    env = tuple(_env(variable, renderer) for variable in task.env or ())
    image: str | None = None
    script = None
    command = args = None
    variables: dict[str, str] = {}
    match node.type:
        case "python":
            assert task.python is not None
            image = task.python.image
        case "http":
            pass
        case "bash":
            assert task.bash is not None
            image, script = task.bash.image, task.bash.command
            variables = {f"PARAM_{name.upper()}": _param_text(value) for name, value in context.params.items()}
            if "phase" in context.run:
                variables["NEXUS_RUN_PHASE"] = str(context.run["phase"])
            variables |= _item_variables(context.item)
        case "sql":
            assert task.sql is not None
            image = task.sql.image
            env = (*env, *_sql_url(task.sql))
        case _:
            assert task.container is not None
            image = renderer.text(task.container.image, "container.image")
            command = _strings("container.command", task.container.command, renderer)
            args = _strings("container.args", task.container.args, renderer)
    payload = Payload(
        type=node.type,
        image=image,
        context_json="" if node.type == "container" else context.json(),
        task_json=dump(values) if values is not None else None,
        script=script,
        command=command,
        args=args,
        variables=variables,
        env=env,
        env_from=tuple(task.env_from or ()),
        inputs={} if node.type == "container" else context.stored,
        pod=render.rendered(task.pod, renderer) if task.pod is not None else None,
        transfer=context.transfer,
    )
    _check_total(payload)
    return payload


def _param_text(value: Any) -> str:
    """A param that was not given is an empty variable: `null` would be a value like any other to a shell."""
    return "" if value is None else as_text(value)


def _item_variables(item: Item | None) -> dict[str, str]:
    if item is None:
        return {}
    text = as_text(item.value)
    check_item_text(item.index, text)
    return {"ITEM": text, "INDEX": str(item.index)}


def check_item_text(index: int, text: str) -> None:
    """Raise PayloadError where an item cannot be the variable ITEM."""
    check_string(f"item {index}", f"ITEM={text}")
    if "\0" in text:
        raise PayloadError(
            Reason.INVALID_ITEMS, f"item {index} holds a NUL, which no variable can: pass bytes as base64"
        )


def _env(variable: EnvVar, renderer: Renderer) -> EnvVar:
    if variable.value is None or "${{" not in variable.value:
        return variable
    # By its name: the defaults come first here, so a position would not be the one in the manifest.
    value = renderer.text(variable.value, f"env {variable.name}", kubernetes=True)
    check_string(f"env {variable.name}", f"{variable.name}={value}")
    return variable.model_copy(update={"value": value})


def _strings(field: str, texts: list[str] | None, renderer: Renderer) -> tuple[str, ...] | None:
    if texts is None:
        return None
    rendered = []
    for position, text in enumerate(texts):
        value = renderer.text(text, f"{field}[{position}]", kubernetes=True)
        check_string(f"{field}[{position}]", value)
        rendered.append(value)
    return tuple(rendered)


def _python(spec: Python, renderer: Renderer) -> dict[str, Any]:
    if spec.call is None:
        return {"code": spec.code}
    return {"call": spec.call, "with": renderer.deep(spec.with_ or {}, "python.with")}


def _http(spec: Http, renderer: Renderer) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "method": spec.method or "GET",
        "url": renderer.url(spec.url, "http.url"),
        "headers": _pairs("http.headers", spec.headers, renderer),
        "query": _pairs("http.query", spec.query, renderer),
        "timeoutSeconds": spec.timeout_seconds or 30,
        "expect": spec.expect or ["2xx"],
    }
    if "json_" in spec.model_fields_set:
        rendered["json"] = renderer.deep(spec.json_, "http.json", kubernetes=True)
    if spec.body is not None:
        rendered["body"] = renderer.text(spec.body, "http.body", kubernetes=True)
    if spec.hosts is not None:
        rendered["hosts"] = spec.hosts
    if spec.response_type is not None:
        rendered["responseType"] = spec.response_type
    if spec.result is not None:
        whole = parse(spec.result).whole
        rendered["result"] = whole.source if whole else spec.result
    return rendered


def _pairs(field: str, pairs: list[NameValue] | None, renderer: Renderer) -> list[dict[str, str]]:
    return [
        {"name": pair.name, "value": renderer.text(pair.value, f"{field}[{position}].value", kubernetes=True)}
        for position, pair in enumerate(pairs or ())
    ]


def _sql(spec: Sql, renderer: Renderer) -> dict[str, Any]:
    connection = spec.connection if isinstance(spec.connection, str) else {"env": SQL_URL_VARIABLE}
    return {
        "connection": connection,
        "query": spec.query,
        "parameters": renderer.deep(spec.parameters or {}, "sql.parameters"),
    }


def _sql_url(spec: Sql) -> tuple[EnvVar, ...]:
    """The database URL goes from the Secret to the container by the kubelet's hand alone."""
    if isinstance(spec.connection, str):
        return ()
    source = {"secretKeyRef": spec.connection.secret_key_ref}
    return (EnvVar.model_validate({"name": SQL_URL_VARIABLE, "valueFrom": source}),)


def check_string(field: str, text: str) -> None:
    """Raise PayloadError for a text that no argument or environment variable can be."""
    size = len(text.encode())
    if size > STRING_LIMIT:
        raise PayloadError(
            Reason.INPUT_TOO_LARGE,
            f"{field} is {size:,} bytes when rendered; Linux takes {STRING_LIMIT:,} for one argument or variable: "
            "use a python, bash or sql task, which gets its input as a file",
        )


def _check_total(payload: Payload) -> None:
    texts = [payload.context_json, payload.task_json or "", payload.script or "", *payload.variables.values()]
    texts += [*(payload.command or ()), *(payload.args or ()), *(variable.value or "" for variable in payload.env)]
    check_total(sum(len(text.encode()) for text in texts))


def check_total(size: int) -> None:
    """Raise PayloadError for more bytes than the objects of a task can hold."""
    if size > TOTAL_LIMIT:
        raise PayloadError(
            Reason.INPUT_TOO_LARGE,
            f"the rendered task has {size:,} bytes or more, at most {TOTAL_LIMIT:,}: let the code read large outputs "
            "from `input` instead of rendering them into fields",
        )
