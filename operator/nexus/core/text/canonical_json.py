"""Canonical: one text for each JSON value, before and after the API server stored it."""

from __future__ import annotations

import contextlib
import json
import re

from nexus.api.numbers import as_stored

_SURROGATE = re.compile("[\ud800-\udfff]")


def canonical(value: object) -> str:
    """Return the text of a JSON value: keys in order, numbers as the API server gives them back (3.0 as 3), half a
    surrogate pair as the U+FFFD that it makes of one. true and 1 stay apart."""
    # A number that no API server stores equals nothing that it gives back.
    with contextlib.suppress(ValueError):
        value = as_stored(value)
    return _SURROGATE.sub("\ufffd", json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
