"""What tests/conftest.py asks of hypothesis: a test that fails ends soon, and says how to replay it."""

from __future__ import annotations

import time

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine

MANY = st.lists(st.integers(0, 1 << 40), min_size=50, unique=True)


def test_a_failing_example_is_made_smaller_for_a_limited_time_and_can_be_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert engine.MAX_SHRINKING_SECONDS <= 60
    monkeypatch.setattr(engine, "MAX_SHRINKING_SECONDS", 1)

    @settings(phases=(Phase.generate, Phase.shrink), database=None)
    @given(MANY)
    def fails(numbers: list[int]) -> None:
        time.sleep(0.05)
        assert sum(numbers) < 1 << 30  # takes minutes to make small

    began = time.monotonic()
    with pytest.raises(AssertionError) as caught:
        fails()
    assert time.monotonic() - began < 20
    assert any("@reproduce_failure(" in note for note in caught.value.__notes__)
