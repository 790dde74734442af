"""Label selectors as text, the way `kubectl -l` and the API server's `labelSelector` parameter read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Matcher = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?"
_SET = re.compile(rf"^(?P<key>{_KEY})\s+(?P<operator>in|notin)\s+\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(rf"^(?P<key>{_KEY})\s*(?P<operator>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)$")
_EXISTS = re.compile(rf"^(?P<absent>!?)\s*(?P<key>{_KEY})$")


def selector(text: str) -> Matcher:
    """The test that a selector makes of labels; the empty text takes everything.

    Raises:
        ValueError: where the API server would answer 400.
    """
    matchers = [_requirement(part.strip()) for part in _split(text)] if text.strip() else []
    return lambda labels: all(matches(labels) for matches in matchers)


def _split(text: str) -> list[str]:
    """Split at the commas outside of parentheses."""
    return re.split(r",(?![^()]*\))", text)


def _requirement(text: str) -> Matcher:
    if found := _SET.match(text):
        key = found["key"]
        values = frozenset(value.strip() for value in found["values"].split(","))
        if found["operator"] == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(text):
        key, value = found["key"], found["value"]
        if found["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(text):
        key, wanted = found["key"], not found["absent"]
        return lambda labels: (key in labels) is wanted
    raise ValueError(f"unable to parse requirement {text!r} of a label selector")
