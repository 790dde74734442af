"""sql: one statement with bound parameters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nexus.api.codes import Code
from nexus.api.reasons import Mechanism
from nexus.api.tasks import EnvVar, KeyRef, Sql
from nexus.core.task_types import sql_text
from nexus.core.task_types.record import (
    Bootstrap,
    CodeField,
    Container,
    Finding,
    Seen,
    Shorthand,
    TaskType,
    Text,
)
from nexus.core.task_types.texts import deep

if TYPE_CHECKING:
    from nexus.core.expressions.render import Renderer

URL_VARIABLE = "NEXUS_SQL_URL"


def _templated(spec: Sql) -> Iterator[Text]:
    return deep(("parameters",), spec.parameters)


def _values(spec: Sql, renderer: Renderer) -> dict[str, Any]:
    connection = spec.connection if isinstance(spec.connection, str) else {"env": URL_VARIABLE}
    return {
        "connection": connection,
        "query": spec.query,
        "parameters": renderer.deep(spec.parameters or {}, "sql.parameters"),
    }


def _container(spec: Sql, _renderer: Renderer, _seen: Seen) -> Container:
    # The database URL goes from the Secret to the container by the kubelet's hand alone.
    sources = [{"secretKeyRef": reference} for reference in _secrets(spec)]
    env = tuple(EnvVar.model_validate({"name": URL_VARIABLE, "valueFrom": source}) for source in sources)
    return Container(image=spec.image, env=env)


def _secrets(spec: Sql) -> Iterator[KeyRef]:
    if not isinstance(spec.connection, str):
        yield spec.connection.secret_key_ref


def _problems(spec: Sql, _now: datetime | None) -> Iterator[Finding]:
    if "${{" in spec.query:
        return
    told = set(spec.parameters or {})
    # The URL in a Secret says which database it is: what is no placeholder in some of them is left to the run.
    dialects = ("sqlite",) if isinstance(spec.connection, str) else sql_text.DIALECTS
    for name, offset in sql_text.placeholders(spec.query, dialects):
        if name not in told:
            told.add(name)
            message = f'missing value for the placeholder :{name}; add "{name}" to sql.parameters, or write '
            message += "\\: for a colon that starts no placeholder"
            yield Finding(("query",), Code.SQL_PLACEHOLDER, message, offset)


TYPE = TaskType(
    name="sql",
    model=Sql,
    mechanism=Mechanism.JOB,
    bootstrap=Bootstrap(
        name="sql",
        # With sql_text a run reads a query as lint has read it.
        joined=(("nexus.bootstrap", "redaction"), ("nexus.core.task_types", "sql_text")),
        keeps_output=True,
    ),
    image="sql",
    shorthand=Shorthand("query", "..."),
    templated=_templated,
    code=(CodeField("query", "write :day in the query and give day in sql.parameters"), CodeField("image")),
    values=_values,
    container=_container,
    problems=_problems,
    secrets=_secrets,
)
