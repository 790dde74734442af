"""Numbers: what the API server makes of them. tests/e2e/test_numbers.py asks the real one for the same table."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.api.numbers import as_stored, stored_number

TABLE: list[tuple[str, int | float]] = [
    ("0", 0),
    ("-0", 0),
    ("-0.0", 0),
    ("3", 3),
    ("3.0", 3),
    ("-3.00", -3),
    ("1e0", 1),
    ("1e3", 1000),
    ("2.5e1", 25),
    ("2.5", 2.5),
    ("0.1", 0.1),
    ("1e-6", 1e-6),
    ("1e-7", 1e-7),
    ("5e-324", 5e-324),
    ("1e15", 10**15),
    ("1e16", 10**16),
    ("9007199254740993", 9007199254740993),
    ("9007199254740993.0", 9007199254740992),
    ("1.2345678901234567e18", 1234567890123456800),
    ("9223372036854775807", 2**63 - 1),
    ("9223372036854775807.0", 2.0**63),
    ("9223372036854775808", 2.0**63),
    ("-9223372036854775808", -(2**63)),
    ("-9223372036854775808.0", -(2.0**63)),
    ("-9223372036854775809", -(2.0**63)),
    ("18446744073709551615", 2.0**64),
    ("1e19", 1e19),
    ("1e20", 1e20),
    ("1e21", 1e21),
    ("1.5e300", 1.5e300),
    ("1.7976931348623157e308", 1.7976931348623157e308),
]


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same type: Python takes 3 and 3.0 for equal."""
    return type(one) is type(other) and one == other and math.copysign(1, one) == math.copysign(1, other)


@pytest.mark.parametrize(("text", "value"), TABLE)
def test_a_number_is_what_the_api_server_gives_back(text: str, value: int | float) -> None:
    assert same(stored_number(json.loads(text)), value)


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**80), 2**80)))
def test_a_number_that_was_stored_is_not_changed_again(number: int | float) -> None:
    once = stored_number(number)
    assert same(stored_number(once), once)
    assert once == number or (abs(number) >= 2**53 and math.isclose(once, number, rel_tol=1e-15))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 10**400])
def test_what_json_cannot_hold_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="number"):
        stored_number(number)


def test_numbers_are_found_wherever_they_are_and_all_else_is_kept() -> None:
    value = {"a": [1.0, True, None, "1.0", {"b": 2.50, "c": [[-0.0]]}], "d": False}
    assert json.dumps(as_stored(value)) == '{"a": [1, true, null, "1.0", {"b": 2.5, "c": [[0]]}], "d": false}'


def test_a_value_without_such_numbers_is_not_copied() -> None:
    value = {"a": [1, "x", {"b": 2.5}]}
    assert as_stored(value) is value
