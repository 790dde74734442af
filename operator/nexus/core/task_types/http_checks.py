"""Checks of http tasks: what no HTTP client would send, and that a secret goes to no host that a value has chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nexus.api.codes import Code
from nexus.api.tasks import Http
from nexus.core.expressions import kubelet_variables
from nexus.core.expressions.templates import TemplateError, parse
from nexus.core.expressions.urls import reaches_host
from nexus.core.task_types.record import Finding

# A token (RFC 9110, section 5.6.2).
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OF_JSON = re.compile(r"""\bresponse\s*(?:\.\s*json\b|\[\s*["']json["']\s*\])""")


def request(http: Http) -> Iterator[Finding]:
    """Yield what is certain to fail at run time."""
    port, offset = _port(http.url)
    if port and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65_536):
        message = f'invalid port "{port[:20]}"; must be a number from 1 to 65535'
        yield Finding(("url",), Code.INVALID_URL, message, offset)
    for position, header in enumerate(http.headers or ()):
        if not _HEADER.fullmatch(header.name):
            message = f'invalid header name "{header.name[:80]}"; use letters, digits and any of !#$%&\'*+-.^_`|~'
            yield Finding(("headers", position, "name"), Code.INVALID_HEADER, message)
    if http.response_type in ("text", "base64") and http.result is not None and _OF_JSON.search(http.result):
        message = f"response has no json with responseType: {http.response_type}; read response.{http.response_type}"
        yield Finding(("result",), Code.NO_JSON_RESPONSE, message, http.result.index("response"))


def _port(url: str) -> tuple[str, int]:
    """Return what is written in the place of a port, and its offset; empty if nothing is, or a value is filled in
    there."""
    start = url.find("//") + 2
    authority = re.split("[/?#]", url[start:], maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    found = re.fullmatch(r"(?:\[[^\]]*\]|[^:\[]*):([^$]*)", host)
    if found is None or start < 2 or "$" in host:
        return "", 0
    return found[1], start + len(authority) - len(found[1])


def hosts(http: Http, templated: Iterable[str]) -> Iterator[Finding]:
    """Yield a problem for hosts that must be listed: a value may choose one, and `$(NAME)` would go there."""
    if http.hosts is not None:
        return
    try:
        chosen = reaches_host(parse(http.url))
        name = next(_names(templated), None)
    except TemplateError:
        return  # reported where expressions are checked
    if chosen is not None and name is not None:
        message = f"a value reaches the host of the URL while the task uses $({name})"
        yield Finding(
            ("url",),
            Code.HOST_NOT_LISTED,
            f"{message}; list the hosts that may get it in http.hosts",
            http.url.index("${{"),
        )


def _names(texts: Iterable[str]) -> Iterator[str]:
    """Yield the names of the environment variables that the author's own words refer to."""
    for text in texts:
        for part in parse(text).parts:
            if isinstance(part, str):
                yield from kubelet_variables.names(part)
