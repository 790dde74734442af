"""What expressions can call beyond CEL itself, and the JSON form of CEL's values. Standard library only.

Every function raises ValueError with a message for the author of the expression.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MAX_RANGE = 10_000
_MAX_FORMAT = 200  # characters
_LONGEST_ZONE = 64  # characters; what is not in the tz database is looked for in packages, one for each slash

# A code is one letter; flags, widths and modifiers, which are extensions of C libraries, are taken along for messages.
_CODE = re.compile(r"%([-_0^#:+]*\d*[EO]?(?:.|$))", re.DOTALL)
_CODES = "aAwdbBmyYHIpMSfzZjUWcxXGuV%"
_INSTEAD = {
    "s": "write int(t) for the seconds since 1970", "F": "write %Y-%m-%d", "T": "write %H:%M:%S", "D": "write %m/%d/%y",
    "R": "write %H:%M", "r": "write %I:%M:%S %p", "P": "write %p, or lowerAscii(...) of it", "h": "write %b",
    "k": "write %H, or string(t.getHours(zone)) without a zero", "l": "write %I", "C": "write %Y", "g": "write %G",
    "e": "write %d, or string(t.getDate(zone)) without a zero", ":z": "write %z", "L": "write %f", "n": "write \\n",
    "t": "write \\t", "-d": "write %d, or string(t.getDate(zone)) without a zero",
    "-m": "write %m, or string(t.getMonth(zone) + 1) without a zero",
    "-H": "write %H, or string(t.getHours(zone)) without a zero",
}  # fmt: skip


def date(at: datetime, zone: str) -> str:
    """Return the day at `at` in a time zone, as YYYY-MM-DD."""
    return _local(at, zone).date().isoformat()


def strftime(at: datetime, text: str, zone: str) -> str:
    """Return `at` in a time zone, in those of Python's format codes that mean the same everywhere, in English.

    Source: https://docs.python.org/3/library/datetime.html#format-codes. The C library knows more, each its own.
    """
    problem = wrong_format(text)
    if problem is not None:
        raise ValueError(problem[0])
    local = _local(at, zone)
    return _CODE.sub(lambda found: _coded(local, found[1]), text)


def wrong_format(text: str) -> tuple[str, int] | None:
    """Return what is wrong with a format of strftime, and where in it; None where nothing is."""
    if len(text) > _MAX_FORMAT:
        return f"strftime takes a format of at most {_MAX_FORMAT} characters, this one has {len(text):,}", 0
    for found in _CODE.finditer(text):
        code = found[1]
        if not code or code not in _CODES:
            what = f'strftime has no code "%{code}"' if code else 'the format ends in a single "%"'
            advice = _INSTEAD.get(code, f"codes are % and one of {_CODES}" if code else "write %% for the character")
            return f"{what}; {advice}", found.start()
    return None


def _coded(local: datetime, code: str) -> str:
    if code in "YG":  # some C libraries write the year 33 as it is, some as 0033
        return f"{local.year if code == 'Y' else local.isocalendar()[0]:04}"
    return local.strftime(f"%{code}")


def numbers(count: int) -> list[int]:
    """Return the integers from 0 up to `count`, itself excluded: range(n)."""
    if not 0 <= count <= MAX_RANGE:
        raise ValueError(f"range(n) takes n from 0 to {MAX_RANGE:,}, not {count:,}")
    return list(range(count))


def flatten(items: Sequence[Any]) -> list[Any]:
    """Return the lists in a list put one after another, one level deep; anything else stays as it is."""
    flat: list[Any] = []
    for item in items:
        if isinstance(item, list):
            flat.extend(item)
        else:
            flat.append(item)
    return flat


def get(source: Mapping[str, Any] | None, key: str, default: Any) -> Any:
    """Return a map's value, or the default where the key is absent or there is no map at all (null)."""
    return default if source is None else source.get(key, default)


def to_json(value: Any) -> str:
    """Return a value as compact JSON with sorted keys, non-ASCII characters kept."""
    return json.dumps(json_value(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def json_value(value: Any) -> Any:
    """Return the JSON value of a CEL value: timestamps and durations become text, bytes base64, keys text.

    Source: CEL's own conversion to JSON,
    https://github.com/google/cel-spec/blob/master/doc/langdef.md#json-data-conversion.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("the result is infinite or not a number, and JSON has neither")
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return _seconds(value)
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        # In the order of the names: cel-cpp's own differs from process to process, and what is made of the same values
        # twice, by two operators for instance, is to be the same text.
        return dict(sorted(((_key(key), json_value(item)) for key, item in value.items()), key=lambda pair: pair[0]))
    if isinstance(value, Sequence):
        return [json_value(item) for item in value]
    raise ValueError("the result is a type, and JSON has none: compare it, as in type(x) == string")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def _seconds(duration: timedelta) -> str:
    """Return a duration as protobuf writes it in JSON: 3.5s."""
    micros = duration // timedelta(microseconds=1)
    whole, rest = divmod(abs(micros), 1_000_000)
    fraction = f".{rest:06}".rstrip("0") if rest else ""
    return f"{'-' if micros < 0 else ''}{whole}{fraction}s"


def _local(at: datetime, zone: str) -> datetime:
    try:
        return at.astimezone(_zone(zone))
    except OverflowError:
        raise ValueError(f"the time is out of range in {zone}: the years go from 1 to 9999") from None


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    try:
        if len(name) > _LONGEST_ZONE:
            raise ValueError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        shown = name[:_LONGEST_ZONE]
        raise ValueError(f'unknown time zone "{shown}"; write it as in Europe/Berlin, or UTC') from None
