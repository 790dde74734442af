"""JSON text that task code wrote, and the one form in which values are measured and stored."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from nexus.api.numbers import stored_number

DEPTH_LIMIT = 100
"""Levels of nesting."""

_INT_LIMIT = 2**63
_TOO_DEEP = f"it is nested more than {DEPTH_LIMIT} levels deep"


def load(text: str) -> Any:
    """Return the value of a JSON text that task code wrote, its numbers as the API server gives them back.

    Raises ValueError for what is not JSON, and for what the API server, CEL or the next reader would not take, or not
    as it was written: NaN, infinities, integers beyond 64 bits, half a surrogate pair, a key that an object has twice,
    more than 100 levels.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check(value, DEPTH_LIMIT)
    return value


def dump(value: object) -> str:
    """Return compact JSON, non-ASCII kept: the one form in which sizes are measured and outputs are stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = Counter(key for key, _ in pairs)
        twice = keys.most_common(1)[0][0]
        raise ValueError(f"duplicate key {json.dumps(twice[:40], ensure_ascii=False)}")
    return found


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> int | float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return stored_number(number)


def _whole(text: str) -> int:
    # Counted before it is read: Python takes quadratic time for digits beyond all use.
    if len(text) > 20 or not -_INT_LIMIT <= int(text) < _INT_LIMIT:
        raise ValueError(f"{text[:40]} does not fit into 64 bits: write it as text")
    return int(text)


def _check(value: Any, levels: int) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("it contains half a surrogate pair, which UTF-8 cannot encode")
    elif isinstance(value, dict | list):
        if levels == 0:
            raise ValueError(_TOO_DEEP)
        for item in value if isinstance(value, list) else (*value, *value.values()):
            _check(item, levels - 1)
