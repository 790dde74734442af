"""Checks of http tasks: a secret goes to no host that a value has chosen."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.api.tasks import Http
from nexus.core import dollars, fields
from nexus.core.expressions import TemplateError, parse
from nexus.core.problem import Path, Problem
from nexus.core.url import reaches_host


def hosts(path: Path, http: Http, task: str) -> Iterator[Problem]:
    """Whether the hosts have to be listed: where a value may choose one, and `$(NAME)` would go there."""
    if http.hosts is not None:
        return
    try:
        chosen = reaches_host(parse(http.url))
        name = next(_names(http), None)
    except TemplateError:
        return  # told where expressions are checked
    if chosen is not None and name is not None:
        message = f"a value reaches the host of the URL while the task uses $({name})"
        yield Problem(
            (*path, "url"), f"{message}; list the hosts that may get it in http.hosts", task, http.url.index("${{")
        )


def _names(http: Http) -> Iterator[str]:
    """The names of the environment variables that the author's own words refer to."""
    for _, text in fields.of_http(http):
        for part in parse(text).parts:
            if isinstance(part, str):
                yield from dollars.names(part)
