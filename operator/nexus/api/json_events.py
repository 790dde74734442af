"""JSON as the events of a YAML parser, for files that kubectl reads as JSON since they begin with `{`.

Nearly all JSON is YAML; what is not is what programs write: a character beyond U+FFFF as two escapes (RFC 8259, section
7), tabs for indentation, keys of more than 1,024 characters. Several objects may follow each other.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import NoReturn

import yaml

_OPENING = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*["}]')
_BLANK = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")"""
    r"""|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![-+.0-9A-Za-z]))"""
    r"""|(?P<word>(?:true|false|null)(?![0-9A-Za-z_]))|(?P<sign>[{}\[\],:])"""
)
_LONE = re.compile("[\ud800-\udfff]")
_CLOSING = {"{": "}", "[": "]"}


class JsonInvalid(Exception):
    """Invalid JSON; `line` and `column` count from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message


def is_json(text: str) -> bool:
    """Return whether a file is meant as JSON: `{` alone begins a mapping of YAML as well, mostly with keys unquoted."""
    return _OPENING.match(text) is not None


def events(text: str) -> Iterator[yaml.Event]:
    """Yield what a YAML parser would for the same objects. Raises JsonInvalid, once it is met."""
    return _Events(text).all()


class _Events:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line = 0
        self.line_start = 0

    def all(self) -> Iterator[yaml.Event]:
        self._skip()
        while self.position < len(self.text):
            yield yaml.DocumentStartEvent(self._mark())
            yield from self._document()
            yield yaml.DocumentEndEvent(self._mark())
            self._skip()
            while self._take("---"):  # YAML's separator may be between objects of JSON, too
                pass

    def _document(self) -> Iterator[yaml.Event]:
        open_: list[str] = []
        while True:
            event, opened = self._value()
            yield event
            if opened:
                open_.append(opened)
                if self._take(_CLOSING[opened]):
                    yield self._closed(open_.pop())
                elif opened == "{":
                    yield self._key()
                    continue
                else:
                    continue
            while open_ and self._take(_CLOSING[open_[-1]]):
                yield self._closed(open_.pop())
            if not open_:
                return
            if not self._take(","):
                self._refuse(f'expected "," or "{_CLOSING[open_[-1]]}"')
            if open_[-1] == "{":
                yield self._key()

    def _value(self) -> tuple[yaml.Event, str]:
        """Return the event of the next value, and the bracket if it opens an object or a list."""
        mark = self._mark()
        found = self._token("a value")
        if found["sign"] in ("{", "["):
            kind = yaml.MappingStartEvent if found["sign"] == "{" else yaml.SequenceStartEvent
            return kind(None, None, True, mark, mark), found["sign"]
        if found["sign"] is not None:
            self._refuse("expected a value", mark)
        if found["string"] is not None:
            return self._string(found["string"], mark), ""
        if found["number"] is not None and math.isinf(float(found[0])):
            self._refuse(f'the number "{found[0][:40]}" is too large', mark)
        return yaml.ScalarEvent(None, None, (True, False), found[0], mark, mark), ""

    def _key(self) -> yaml.Event:
        mark = self._mark()
        found = self._token("a key in double quotes")
        if found["string"] is None:
            self._refuse("expected a key in double quotes", mark)
        key = self._string(found["string"], mark)
        if not self._take(":"):
            self._refuse('expected ":" after the key')
        return key

    def _string(self, text: str, mark: yaml.Mark) -> yaml.Event:
        value = json.loads(text)
        if _LONE.search(value):
            self._refuse("half of a surrogate pair; write both escapes", mark)
        return yaml.ScalarEvent(None, None, (False, True), value, mark, mark, style='"')

    def _closed(self, bracket: str) -> yaml.Event:
        return yaml.MappingEndEvent() if bracket == "{" else yaml.SequenceEndEvent()

    def _token(self, expected: str) -> re.Match[str]:
        found = _TOKEN.match(self.text, self.position)
        if found is None:
            self._refuse(f"expected {expected}, a string closed on its line, a number, true, false or null")
        self.position = found.end()
        self._skip()
        return found

    def _take(self, sign: str) -> bool:
        if not self.text.startswith(sign, self.position):
            return False
        self.position += len(sign)
        self._skip()
        return True

    def _skip(self) -> None:
        found = _BLANK.match(self.text, self.position)
        assert found is not None
        breaks = found[0].count("\n")
        if breaks:
            self.line += breaks
            self.line_start = self.position + found[0].rindex("\n") + 1
        self.position = found.end()

    def _mark(self) -> yaml.Mark:
        return yaml.Mark("", self.position, self.line, self.position - self.line_start, None, 0)

    def _refuse(self, message: str, mark: yaml.Mark | None = None) -> NoReturn:
        at = mark or self._mark()
        raise JsonInvalid(at.line + 1, at.column + 1, f"invalid JSON: {message}")
