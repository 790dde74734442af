"""http: one request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nexus.api.codes import Code
from nexus.api.reasons import Mechanism
from nexus.api.tasks import Http, NameValue
from nexus.core.expressions.templates import parse
from nexus.core.task_types.exit_codes import NOT_LISTED
from nexus.core.task_types.http_checks import hosts, request
from nexus.core.task_types.record import (
    Bootstrap,
    Container,
    Finding,
    OwnExpression,
    Seen,
    Shorthand,
    TaskType,
    Text,
)
from nexus.core.task_types.texts import deep

if TYPE_CHECKING:
    from nexus.core.expressions.render import Renderer


def _templated(spec: Http) -> Iterator[Text]:
    yield ("url",), spec.url
    for field, pairs in (("headers", spec.headers), ("query", spec.query)):
        for position, pair in enumerate(pairs or ()):
            yield (field, position, "value"), pair.value
    yield from deep(("json",), spec.json_)
    if spec.body is not None:
        yield ("body",), spec.body


def _values(spec: Http, renderer: Renderer) -> dict[str, Any]:
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


def _container(_spec: Http, _renderer: Renderer, _seen: Seen) -> Container:
    return Container()


def _problems(spec: Http, _now: datetime | None) -> Iterator[Finding]:
    if spec.json_ is not None and spec.body is not None:
        yield Finding((), Code.EXCLUSIVE_FIELDS, "set at most one of json and body")
    if not spec.url.lower().startswith(("http://", "https://", "${{", "$(")):
        message = f'invalid URL "{spec.url[:80]}"; start it with https:// or http://'
        yield Finding(("url",), Code.INVALID_URL, message)
    yield from hosts(spec, (text for _, text in _templated(spec)))
    yield from request(spec)


TYPE = TaskType(
    name="http",
    model=Http,
    mechanism=Mechanism.JOB,
    bootstrap=Bootstrap(
        name="http",
        joined=(("nexus.bootstrap", "redaction"), ("nexus.bootstrap", "body"), ("nexus.bootstrap", "proxy")),
        # `result` speaks the language that lint checked it in: the modules that define it travel along.
        carried=(("nexus.core.expressions", "functions"), ("nexus.adapters.cel", "programs")),
        keeps_output=True,
        final_exit_codes=(NOT_LISTED,),
    ),
    image="http",
    shorthand=Shorthand("url", "https://example.com"),
    templated=_templated,
    code=(),
    values=_values,
    container=_container,
    expanded=frozenset({"url", "headers", "query", "json", "body"}),
    urls=frozenset({"url"}),
    own_expressions=(OwnExpression("result", {"response": "map"}, "response.json.total"),),
    problems=_problems,
)
