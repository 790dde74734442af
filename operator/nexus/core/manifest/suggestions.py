"""Forms: how a value that was written too short, or in another unit, is written right."""

from __future__ import annotations

import re
from typing import Any

from nexus.core.task_types import TYPES
from nexus.core.text.json_text import dump
from nexus.core.text.yaml_values import flow, in_seconds

# The field that the value of an object was meant for, where only that value was written; those of the types of tasks
# are in their records (nexus.core.task_types).
_MEANT = {
    "concurrency": "policy", "forEach": "items", "history": "succeeded", "holidays": "country", "retry": "limit",
    "workflowRef": "name",
}  # fmt: skip
# What their values are where what was written is of another type.
_EXAMPLES = {
    "concurrency": "Forbid", "forEach": "[a, b]", "history": "3", "holidays": "DE", "retry": "3",
    "workflowRef": "report",
}  # fmt: skip
_NUMBERS = ("history", "retry")
_LISTS_OF_NAMED = {"env": "value", "params": "default", "headers": "value", "query": "value"}

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def described(value: Any) -> str:
    """Return a value with its JSON type: integer 5, boolean true, string "x", a list, an object, null."""
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean {dump(value)}"
        case int():
            return f"integer {dump(value)}"
        case float():
            return f"number {dump(value)}"
        case str():
            return f"string {dump(value[:80])}"
        case list():
            return "a list"
    return "an object"


def of_string(value: Any, word: str | None = None) -> str:
    """Return why a value is not a string. `word` is how the author of a YAML file wrote the boolean: y, no, on."""
    match value:
        case bool():
            text = dump(value)
            word = word or text
            return f'must be a string; YAML reads unquoted {word} as the boolean {text}, quote it: "{word}"'
        case int() | float():
            return f'must be a string, got {described(value)}; quote it: "{dump(value)}"'
    return f"must be a string, got {described(value)}"


def of_object(field: str, given: Any) -> str:
    """Return how the object of this field is written; empty where that is not known."""
    text = isinstance(given, str) and bool(given)
    if field in TYPES:
        meant = TYPES[field].shorthand
        if meant.choose is not None:
            inner, value = meant.choose(given)
        else:
            inner, value = meant.field, flow(given) if text else meant.example
        return f"; write it as {{{inner}: {value}}}"
    if field not in _MEANT:
        return ""
    number = isinstance(given, int) and not isinstance(given, bool)
    fits = (number if field in _NUMBERS else text) or (field == "forEach" and isinstance(given, list))
    value = flow(given) if fits else _EXAMPLES[field]
    return f"; write it as {{{_MEANT[field]}: {value}}}"


def of_list(field: str, given: Any) -> str:
    """Return how the list of this field is written; empty where that is not known."""
    if isinstance(given, dict) and field in _LISTS_OF_NAMED and given:
        name, value = next(iter(given.items()))
        return f"; write it as [{{name: {name}, {_LISTS_OF_NAMED[field]}: {flow(value)}}}]"
    if isinstance(given, dict | list) or given is None or given == "":
        return ""
    return f"; write it as [{flow(given)}]"


def of_number(field: str, given: Any) -> str:
    """Return how a number that was given as text is written; empty where the text is none."""
    if not isinstance(given, str):
        return ""
    if "${{" in given:
        return "; ${{ }} is not rendered here, write the value itself"
    if _NUMBER.fullmatch(given):
        return "; remove the quotes"
    seconds = in_seconds(given)
    if seconds is not None and "seconds" in field.lower():
        return f"; write it in seconds, as {seconds}"
    return ""


def of_boolean(given: Any) -> str:
    """Return how a boolean is written."""
    word = given.lower() if isinstance(given, str) else ""
    if word in ("true", "false"):
        return "; remove the quotes"
    meant = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}.get(word)
    return f"; write {meant}" if meant else ""


def of_day(given: str) -> str:
    """Return how a date is written."""
    german = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", given)
    if german is not None:
        return f"write it as {german[3]}-{int(german[2]):02}-{int(german[1]):02}"
    return "write year, month and day, as 2026-12-24"


def of_country(given: str) -> str:
    """Return how a country is written."""
    code = given.upper() if re.fullmatch(r"[A-Za-z]{2,3}", given) else "DE"
    return f"write its ISO 3166-1 code, as {code}"


_STORES = {
    "s3": "s3://BUCKET/PREFIX", "gs": "gs://BUCKET/PREFIX", "az": "az://ACCOUNT/CONTAINER/PREFIX",
    "file": "file:///PREFIX",
}  # fmt: skip


def of_text(field: str, given: str) -> str:
    """Return how the text of this field is written; empty where its characters are all there is to say."""
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
    """Return how what Kubernetes has in a securityContext is written."""
    ours = ("runAsUser", "runAsGroup", "fsGroup")
    meant = [f"pod.{field}" for field in ours if isinstance(given, dict) and field in given]
    if meant:
        return f"write {' and '.join(meant)}"
    return "the operator sets it, apart from pod.runAsUser, pod.runAsGroup and pod.fsGroup"
