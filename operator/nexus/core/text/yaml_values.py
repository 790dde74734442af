"""Values as an author writes them in YAML."""

from __future__ import annotations

import re
from typing import Any

from nexus.core.text.json_text import dump

# What YAML needs no quotes for, and does not take for a boolean, null or a number.
_PLAIN_TEXT = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z][\w-]*(?: [\w-]+)*", re.IGNORECASE)
_LONGEST = 40
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def in_seconds(given: Any) -> int | None:
    """Return the seconds of a duration such as 90s, 10m, 1h or 1d; None if it is not one."""
    found = _DURATION.fullmatch(given.strip()) if isinstance(given, str) else None
    return int(float(found[1]) * _SECONDS[found[2][0].lower()]) if found is not None else None


def flow(value: Any) -> str:
    """Return a value in YAML's flow style, shortened."""
    if isinstance(value, str) and len(value) <= _LONGEST and _PLAIN_TEXT.fullmatch(value):
        return value
    text = dump(value)
    return text if len(text) <= _LONGEST else "..."
