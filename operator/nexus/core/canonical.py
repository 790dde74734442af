"""Canonical: one text for each JSON value, whoever wrote it down."""

from __future__ import annotations

import json
import re
from typing import Any

# The API server keeps whole numbers in 64 bits, others as doubles.
_INTEGERS = range(-(2**63), 2**63)
_SURROGATE = re.compile("[\ud800-\udfff]")


def canonical(value: object) -> str:
    """The text of a JSON value, the same before and after it went through the API server: keys in order, 3.0 as 3, an
    integer beyond 64 bits as the double that it becomes, half a surrogate pair as U+FFFD. true and 1 stay apart."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    match value:
        case bool() | None:
            return value
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case int():
            return value if value in _INTEGERS else _integer(value)
        case float():
            return int(value) if value.is_integer() else value
        case dict():
            return {_plain(str(key)): _plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_plain(entry) for entry in value]
        case _:
            return str(value)


def _integer(value: int) -> int:
    try:
        return int(float(value))
    except OverflowError:
        return value  # no JSON number of the API server's
