"""Forms: how a value that was written too short, or in another unit, is written right."""

from __future__ import annotations

import re
from typing import Any

from nexus.core.text.json_text import dump

# The field that the value of an object was meant for, where only that value was written.
_MEANT = {
    "approval": "message", "bash": "command", "concurrency": "policy", "container": "image", "forEach": "items",
    "history": "succeeded", "holidays": "country", "http": "url", "python": "code", "retry": "limit", "sql": "query",
    "workflow": "name", "workflowRef": "name",
}  # fmt: skip
# What their values are where what was written is of another type.
_EXAMPLES = {
    "approval": '"Ship it?"', "bash": "echo hello", "concurrency": "Forbid", "container": "alpine:3.22",
    "forEach": "[a, b]", "history": "3", "holidays": "DE", "http": "https://example.com", "python": "...",
    "retry": "3", "sql": "...", "workflow": "report", "workflowRef": "report",
}  # fmt: skip
_NUMBERS = ("history", "retry")
_LISTS_OF_NAMED = {"env": "value", "params": "default", "headers": "value", "query": "value"}
# What YAML needs no quotes for, and does not take for a boolean, null or a number.
_PLAIN_TEXT = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z][\w-]*(?: [\w-]+)*", re.IGNORECASE)
_LONGEST = 40

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def of_object(field: str, given: Any) -> str:
    """How the object of this field is written, after a colon; empty where that is not known."""
    if field == "wait":
        return f": write it as {{until: {_flow(given)}}}" if isinstance(given, str) and "T" in given else _wait(given)
    if field not in _MEANT:
        return ""
    text = isinstance(given, str) and bool(given)
    number = isinstance(given, int) and not isinstance(given, bool)
    fits = (number if field in _NUMBERS else text) or (field == "forEach" and isinstance(given, list))
    value = _flow(given) if fits else _EXAMPLES[field]
    return f": write it as {{{_MEANT[field]}: {value}}}"


def _wait(given: Any) -> str:
    seconds = given if isinstance(given, int) and not isinstance(given, bool) else in_seconds(given) or 60
    return f": write it as {{seconds: {seconds}}}"


def of_list(field: str, given: Any) -> str:
    """How the list of this field is written, after a colon; empty where that is not known."""
    if isinstance(given, dict) and field in _LISTS_OF_NAMED and given:
        name, value = next(iter(given.items()))
        return f": write it as [{{name: {name}, {_LISTS_OF_NAMED[field]}: {_flow(value)}}}]"
    if isinstance(given, dict | list) or given is None or given == "":
        return ""
    return f": write it as [{_flow(given)}]"


def of_number(field: str, given: Any) -> str:
    """How a number that was given as text is written, after a colon; empty where the text is none."""
    if not isinstance(given, str):
        return ""
    if "${{" in given:
        return ": ${{ }} is not rendered here, write it out"
    if _NUMBER.fullmatch(given):
        return ": remove the quotes"
    seconds = in_seconds(given)
    if seconds is not None and "seconds" in field.lower():
        return f": write it in seconds, as {seconds}"
    return ""


def of_boolean(given: Any) -> str:
    """How true or false is written, after a colon."""
    word = given.lower() if isinstance(given, str) else ""
    if word in ("true", "false"):
        return ": remove the quotes"
    meant = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}.get(word)
    return f": write {meant}" if meant else ""


def of_day(given: str) -> str:
    """How a date is written."""
    german = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", given)
    if german is not None:
        return f"write it as {german[3]}-{int(german[2]):02}-{int(german[1]):02}"
    return "write year, month and day, as 2026-12-24"


def of_country(given: str) -> str:
    """How a country is written."""
    code = given.upper() if re.fullmatch(r"[A-Za-z]{2,3}", given) else "DE"
    return f"write its ISO 3166-1 code, as {code}"


_STORES = {
    "s3": "s3://BUCKET/PREFIX", "gs": "gs://BUCKET/PREFIX", "az": "az://ACCOUNT/CONTAINER/PREFIX",
    "file": "file:///PREFIX",
}  # fmt: skip


def of_text(field: str, given: str) -> str:
    """How the text of this field is written; empty where its characters are all there is to say."""
    match field:
        case "url":
            meant = [form for scheme, form in _STORES.items() if given.lower().startswith(scheme)]
            return f"write it as {', or '.join(meant or _STORES.values())}"
        case "from":
            task = given if re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", given) else "fit"
            return f"write TASK.ARTIFACT, as {task}.model"
        case "endpoint":
            host = given if re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]+)?", given) else "HOST:PORT"
            return f"write it as https://{host}"
        case "hosts":
            return "write a host name, as api.example.com or *.example.com, with :port where only one port is meant"
        case "expect":
            return "write a status, as 201, or a class of them, as 2xx"
    return ""


def of_security_context(given: Any) -> str:
    """How what Kubernetes has in a securityContext is written."""
    ours = ("runAsUser", "runAsGroup", "fsGroup")
    meant = [f"pod.{field}" for field in ours if isinstance(given, dict) and field in given]
    if meant:
        return f"write {' and '.join(meant)}"
    return "the operator makes it; of it pod.runAsUser, pod.runAsGroup and pod.fsGroup are yours"


def in_seconds(given: Any) -> int | None:
    """The seconds that a text such as 90s, 10m, 1h or 1d means, else None."""
    found = _DURATION.fullmatch(given.strip()) if isinstance(given, str) else None
    return int(float(found[1]) * _SECONDS[found[2][0].lower()]) if found is not None else None


def _flow(value: Any) -> str:
    """A value as it stands in `{}` of YAML, shortened."""
    if isinstance(value, str) and len(value) <= _LONGEST and _PLAIN_TEXT.fullmatch(value):
        return value
    text = dump(value)
    return text if len(text) <= _LONGEST else "..."
