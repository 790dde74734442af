"""Logs, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.core.data.log_lines import LONGEST, TAIL_LIMIT, LogLines, tail
from nexus.core.data.outputs import FRAME_PREFIX

FRAME = f"\n{FRAME_PREFIX}eJyrVkrLz1eyUkpKLFKqBQAd9QQr\n"


def lines(*chunks: bytes) -> list[str]:
    reader = LogLines()
    return [line for chunk in chunks for line in reader.feed(chunk)] + reader.end()


def test_the_frame_and_the_empty_line_it_brings_are_left_out() -> None:
    assert lines(b"one\ntwo\n" + FRAME.encode()) == ["one", "two"]


def test_a_last_line_that_was_not_ended_is_kept_apart_from_the_frame() -> None:
    assert lines(b"one\ntwo" + FRAME.encode()) == ["one", "two"]


def test_empty_lines_of_the_task_stay() -> None:
    assert lines(b"one\n\n\ntwo\n\n" + FRAME.encode()) == ["one", "", "", "two", ""]


def test_a_line_that_only_mentions_the_prefix_stays() -> None:
    assert lines(f"look: {FRAME_PREFIX}x\n".encode()) == [f"look: {FRAME_PREFIX}x"]


def test_a_line_without_an_end_is_passed_on_in_pieces() -> None:
    reader = LogLines()
    assert len(reader.feed(b"x" * (LONGEST + 1))[0]) == LONGEST + 1
    assert reader.feed(b"y\n") == ["y"]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")), max_size=8),
    st.integers(1, 9),
)
def test_the_size_of_the_chunks_does_not_matter(texts: list[str], size: int) -> None:
    written = ("\n".join([*texts, "end"]) + FRAME).encode()
    chunks = [written[at : at + size] for at in range(0, len(written), size)]
    assert lines(*chunks) == [*texts, "end"]


@pytest.mark.parametrize(
    ("log", "count", "expected"),
    [
        (b"", 3, ""),
        (b"one\ntwo\nthree\n", 2, "two\nthree"),
        (b"one\ntwo", 5, "one\ntwo"),
        (b"rows\n\nNEXUS-OUTPUT eJwrLU4=\n", 1, "rows"),
        (b"a\0b\xff\n", 1, "ab\ufffd"),
    ],
)
def test_the_tail_is_the_last_lines_without_the_frame(log: bytes, count: int, expected: str) -> None:
    assert tail(log, count) == expected


def test_the_tail_of_a_long_line_is_its_end_and_no_half_character() -> None:
    kept = tail(("x" + "ü" * 2_000).encode(), 50)

    assert len(kept.encode()) <= TAIL_LIMIT
    assert set(kept) == {"ü"}
