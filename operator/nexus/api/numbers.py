"""Numbers as the API server gives them back: it stores 3.0 as 3, and whoever reads it sees an integer.

The API server reads a number of JSON that has neither point nor exponent as an int64 where it fits, every other as a
float64 (sigs.k8s.io/json, convertNumber), and writes a float64 with the fewest digits that tell it, without an exponent
below 1e21 (encoding/json, floatEncoder): 3.0 as 3, 1e16 as 10000000000000000, -0.0 as -0. What it wrote is read again
by those rules: 3, 10 ** 16 and 0 are integers then, 1e19 stays a float. A value that never passes the API server, as
in a local run, goes through here to be the same. The bootstraps carry this module (nexus.bootstrap.text).
"""

from __future__ import annotations

import math
from typing import Any

INT_LIMIT = 2**63  # the API server and CEL hold integers in 64 bits


def stored_number(number: int | float) -> int | float:
    """Return the number after a way through the API server. Raises ValueError for what JSON cannot hold (NaN,
    infinity), and for an integer beyond the range of a float."""
    if isinstance(number, int):
        if -INT_LIMIT <= number < INT_LIMIT:
            return number
        try:
            return float(number)
        except OverflowError:
            raise ValueError("an integer of more than 308 digits is too large for a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a JSON number")
    if not number.is_integer() or not -INT_LIMIT <= number < INT_LIMIT:
        return number
    # The fewest digits, as repr gives them, then zeros: int(number) would give the digits behind them, too.
    mantissa, _, exponent = float.__repr__(number).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    found = int(whole + fraction) * 10 ** (int(exponent or 0) - len(fraction))
    return found if -INT_LIMIT <= found < INT_LIMIT else number


def as_stored(value: Any) -> Any:
    """Return a JSON value after a way through the API server, its numbers as `stored_number` has them; itself where
    nothing in it changes. Raises ValueError as `stored_number` does."""
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, int | float):
        return stored_number(value)
    if isinstance(value, dict):
        found: dict[str, Any] = {key: as_stored(item) for key, item in value.items()}
        return found if any(found[key] is not item for key, item in value.items()) else value
    if isinstance(value, (list, tuple)):
        items = [as_stored(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value
