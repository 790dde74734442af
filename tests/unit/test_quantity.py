"""Amounts in Kubernetes' own way of writing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from nexus.core.pods.quantity import amount


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (2, 2),
        ("2", 2),
        ("0.5", Decimal("0.5")),
        (".5", Decimal("0.5")),
        ("500m", Decimal("0.5")),
        ("1k", 1_000),
        ("1Ki", 1_024),
        ("1.5Gi", Decimal(3) * 2**29),
        ("2M", 2_000_000),
        ("1e3", 1_000),
        ("1E3", 1_000),
        ("1E", 10**18),
        ("-1", -1),
        ("100n", Decimal("1e-7")),
        ("", None),
        ("1 Gi", None),
        ("1KB", None),
        ("Gi", None),
        ("1e999", None),
        ("lots", None),
        ("9" * 65, None),
    ],
)
def test_what_an_amount_stands_for(text: int | str, number: Decimal | int | None) -> None:
    assert amount(text) == number
