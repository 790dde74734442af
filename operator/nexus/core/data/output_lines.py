"""Output lines: what a bash task appended to the file $NEXUS_OUTPUT, taken apart.

    key=text             a string of one line
    key:=json            a JSON value of one line
    key<<DELIMITER       a string of several lines, up to a line that is the delimiter and nothing else
    key:<<DELIMITER      a JSON value of several lines

The third form is that of GitHub Actions (actions/runner, FileCommandManager.cs): the lines between are taken as they
are, without the line end before the closing delimiter; empty lines between entries are skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

QUOTED = 80
"""Characters of a line that a message quotes."""

_ENTRY = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)(:?)(=|<<)(.*)", re.DOTALL)
# Bytes that are not UTF-8, as "surrogateescape" decodes them: no UTF-8 decodes to these characters.
_BAD_BYTES = re.compile("[\udc80-\udcff]")
_FORMS = "key=value, key:=json or key<<DELIMITER"
_KEYS = "a key has letters, digits, _, - and ., and starts with a letter or _"
MULTILINE = "write a string of several lines with: nexus_output KEY VALUE"
_MULTILINE_JSON = "write a JSON value with: nexus_output --json KEY VALUE"
# The end of a text that base64 broke into lines reads like a key whose value is "" or "=". GNU's base64 breaks after 76
# characters, OpenSSL's after 64, which a SHA-256 in hexadecimal has as well.
_FULL_BASE64_LINE = re.compile(r"[^=]*=((?![0-9a-fA-F]{64}$)[A-Za-z0-9+/]{64}|[A-Za-z0-9+/]{76})\r?")
_LAST_BASE64_LINE = re.compile(r"(?=.{4,76}$)(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)")


class LineError(Exception):
    """A line that cannot be read; the message starts with its place."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"line {number} of $NEXUS_OUTPUT {problem}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One key with its content; `number` is the line where it starts, counted from 1."""

    number: int
    key: str
    is_json: bool
    text: str


def entries(text: str) -> Iterator[Entry]:
    """Yield the entries in the order in which they were written.

    `text` may hold bytes that are not UTF-8, decoded with "surrogateescape".

    Raises:
        LineError: a line has none of the forms, or is not valid text.
    """
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        number, line = position + 1, lines[position]
        position += 1
        _check_text(number, line)
        # A file with CRLF line ends: one CR belongs to the line end.
        is_crlf, line = line.endswith("\r"), line.removesuffix("\r")
        if not line:
            continue
        found = _ENTRY.fullmatch(line)
        if found is None:
            raise LineError(number, f"must be {_FORMS}, got {quoted(line)}; {_hint(line)}")
        key, colon, operator, content = found.groups()
        if number > 1 and _continues_base64(lines[number - 2], line):
            raise LineError(
                number,
                f"looks like the rest of the base64 on line {number - 1}; encode with base64 -w0, or {MULTILINE}",
            )
        if operator == "<<":
            closing = _closing(lines, position, number, content, is_crlf)
            content = _between(lines, position, closing, is_crlf)
            position = closing + 1
        yield Entry(number, key, bool(colon), content)


def _continues_base64(before: str, line: str) -> bool:
    return _LAST_BASE64_LINE.fullmatch(line) is not None and _FULL_BASE64_LINE.fullmatch(before) is not None


def _closing(lines: list[str], first: int, number: int, delimiter: str, is_crlf: bool) -> int:
    """Return the position of the line that closes a block of lines, from `first` on."""
    if not delimiter:
        raise LineError(number, "has no delimiter behind <<; write key<<$NEXUS_EOF, and a last line $NEXUS_EOF")
    closing = (delimiter, f"{delimiter}\r") if is_crlf else (delimiter,)
    for position in range(first, len(lines)):
        if lines[position] in closing:
            return position
        _check_text(position + 1, lines[position])
    bare = delimiter.strip("\"' ")
    close = next((line for line in lines[first:] if line.strip() == bare or line.endswith(delimiter)), None)
    near = f" (found {quoted(close[-QUOTED:])}, which is not the same)" if close is not None else ""
    raise LineError(number, f"opens a block with <<, but no later line is {quoted(delimiter)} alone{near}; add it")


def _between(lines: list[str], first: int, closing: int, is_crlf: bool) -> str:
    text = "\n".join(lines[first:closing])
    return text.removesuffix("\r") if is_crlf else text


def _check_text(number: int, line: str) -> None:
    # isascii() costs nothing, and most lines are.
    if not line.isascii() and _BAD_BYTES.search(line) is not None:
        raise LineError(number, not_utf8(line))
    if "\0" in line:
        raise LineError(number, f"holds a NUL byte, which text cannot: {quoted(line)}; encode binary data as base64")


def not_utf8(line: str) -> str:
    """Return what is wrong with a line whose bytes are not UTF-8."""
    return f"must be UTF-8, got {quoted(line)}; convert it (iconv -f LATIN1 -t UTF-8), or encode binary data as base64"


def quoted(line: str) -> str:
    """Return the start of a line for a message; a byte that is not UTF-8 shows as U+FFFD."""
    start = _BAD_BYTES.sub("\ufffd", line[:QUOTED])
    return json.dumps(start, ensure_ascii=False) + ("…" if len(line) > QUOTED else "")


def _hint(line: str) -> str:
    key, equals, _ = line.partition("=")
    if equals and not re.search(r"[\s{}\"'<]", key.strip()):
        return f"{_KEYS}; spaces around = are not allowed" if key != key.strip() else _KEYS
    return _MULTILINE_JSON if line.lstrip()[:1] in ("{", "[", "]", "}") else MULTILINE
