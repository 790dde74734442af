"""What reaches a terminal or a log: no control characters, no forged line, and every value still what it was."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.app.logs import JsonFormatter, TextFormatter
from nexus.cli import terminal
from nexus.core.text.plain import coloured, json_text, one_line, plain

EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b]0;owned\x1b\\\x1b[2J\x1b[1;1Hall is well\r\x9b2J\u202e\x00\x7f"
OBEYED = {*map(chr, range(0x09)), *map(chr, range(0x0B, 0x20)), *map(chr, range(0x7F, 0xA0))} | set(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
hostile = st.text(
    alphabet=st.one_of(st.sampled_from([*sorted(OBEYED), "\n", "\u2028", "[", "m", "1", ";", "]"]), st.characters())
)


def test_escape_sequences_go_whole() -> None:
    assert plain(EVIL) == "all is well2J"
    assert plain("\x1b[31mred\x1b[0m \x1b(B\x1bcx\ty\n") == "red x\ty\n"


def test_colours_stay_where_they_are_drawn() -> None:
    assert coloured(f"\x1b[1;31m{EVIL}red\x1b[0m\x9b2J") == "\x1b[1;31mall is well2Jred\x1b[0m2J"


@given(hostile)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not OBEYED & set(plain(text))
    assert not (OBEYED | {"\n", "\u2028", "\u2029"}) & set(one_line(text))
    assert set(coloured(text)) & OBEYED <= {"\x1b"}


@given(hostile)
def test_one_line_says_what_was_there(text: str) -> None:
    kept = text.replace("\\", "/")
    assert one_line(kept).encode("latin-1", "backslashreplace").decode("unicode_escape") == kept


@given(st.recursive(hostile, lambda inner: st.lists(inner) | st.dictionaries(hostile, inner), max_leaves=5))
def test_json_is_safe_to_show_and_means_what_it_did(value: object) -> None:
    for text in (json_text(value), json_text(value, indent=2), json_text(value, ascii_only=True)):
        assert json.loads(text) == value
        assert not OBEYED & set(text)
        text.encode()


@pytest.mark.parametrize("text", ["\x1b]" * 50_000, "\x1b[" * 50_000, "\x9d" * 100_000, "\x1bP" * 50_000 + "\x07"])
def test_cleaning_is_linear(text: str) -> None:
    """A quadratic pattern would take minutes, and the test's own time limit ends it."""
    assert not OBEYED & set(plain(text))


def record(message: str, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error is not None else None
    return logging.LogRecord("nexus", logging.INFO, "", 0, message, None, info)


def test_a_record_is_one_line_whatever_its_message_holds() -> None:
    forged = "x\n2026-11-30 15:00:00,000 INFO nexus run prod/deploy-1: approved\u2028y\x1b[2J"
    assert len(TextFormatter().format(record(forged)).splitlines()) == 1
    assert json.loads(JsonFormatter().format(record(forged)))["message"] == forged
    assert len(JsonFormatter().format(record(forged)).splitlines()) == 1


def test_the_lines_of_an_exception_are_indented() -> None:
    head, *below = TextFormatter().format(record("failed", ValueError("x\n2026 INFO forged\x1b[2J"))).split("\n")
    assert head.endswith("failed")
    assert below == ["    ValueError: x", "    2026 INFO forged\\x1b[2J"]


class Stream(io.TextIOWrapper):
    """A terminal of some encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def written(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize(("shown", "code"), [("", 70), ("1", 1)])
def test_a_fault_of_the_program_is_a_sentence_unless_a_traceback_is_asked_for(shown: str, code: int) -> None:
    script = "import nexus.cli.main as m\ndef app(**_): raise KeyError('a\\x1b[2J\\nb')\nm.app = app\nm.main()"
    env = {**os.environ, "NEXUS_TRACEBACK": shown}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == code
    assert ("Traceback" in done.stderr) is bool(shown)
    if not shown:
        assert done.stderr.startswith("internal error: KeyError: ")
        assert done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_of_any_encoding_shows_every_line(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    stream = Stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.prepare()
    terminal.say("a → b ✓ 中 \udc80")
    terminal.say_json({"名": "→ \udc80 é"})
    words, _, rest = stream.written().partition("\n")
    if encoding == "utf-8":
        assert words == "a → b ✓ 中 \\udc80"
    else:
        assert words == r"a -> b + \u4e2d \udc80"
    assert json.loads(rest) == {"名": "→ \udc80 é"}
