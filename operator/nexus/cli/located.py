"""Problems with their place in a file: FILE:LINE:COLUMN, as compilers and editors write it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nexus.api.codes import Code
from nexus.api.manifest import JSON, Document
from nexus.core.manifest.problem import Path, Problem, field_name
from nexus.core.manifest.suggestions import of_string
from nexus.core.text.plain import one_line

_KEY = re.compile(r"(y|n|yes|no|on|off)(?=\s*:)", re.IGNORECASE)

# Characters from where a field begins to its value: its key, quotes and blanks.
_NEAR = 1_000

# A value that follows its key, or an entry of a list, which YAML 1.1 takes for a boolean.
_YES_OR_NO = re.compile(r"(?:[^:,{}\[\]]+:\s+)?(y|n|yes|no|on|off)(?=\s*(?:[,\]}]|#|$))", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Located:
    """A problem at a place; line and column count from 1."""

    source: str
    line: int
    column: int
    code: Code
    message: str
    warning: bool = False
    """Whether it keeps nothing from running."""
    task: str | None = None
    field: str = ""
    """The path of the field from its task, or from the spec where it belongs to none."""

    def __str__(self) -> str:
        kind = "warning: " if self.warning else ""
        return one_line(f"{self.source}:{self.line}:{self.column}: {kind}{self.message}")

    def to_json(self) -> dict[str, JSON]:
        """For `-o json`."""
        return {
            "file": self.source, "line": self.line, "column": self.column, "code": self.code.value,
            "severity": "warning" if self.warning else "error", "task": self.task, "field": self.field or None,
            "message": self.message,
        }  # fmt: skip


def locate(problem: Problem, document: Document, lines: Sequence[str], below: Path = ("spec",)) -> Located:
    """Return the place of a problem in the file's lines; the problem's path starts at `below`, counted from the
    document."""
    path = (*below, *problem.path)
    line, column = document.line(path), document.column(path)
    if isinstance(problem.boolean, bool):
        # Who wrote `name: n` never wrote false.
        word = unquoted(document, lines, path)
        if word is not None:
            problem = replace(problem, message=of_string(problem.boolean, word))
    if problem.offset is not None:
        line, column = _within(_value(document.body, path), problem.offset, lines, line, column)
    field = field_name(problem.field)
    return Located(document.source, line, column, problem.code, str(problem), task=problem.task, field=field)


def unquoted(document: Document, lines: Sequence[str], path: Path) -> str | None:
    """Return the word at a path that YAML 1.1 reads as a boolean, as its author wrote it: y, no, on."""
    line, column = document.line(path), document.column(path)
    written = _YES_OR_NO.match(lines[line - 1], column - 1) if line <= len(lines) else None
    return written[1] if written is not None else None


def odd_keys(document: Document, lines: Sequence[str]) -> Iterator[Located]:
    """Yield keys that were meant as strings and are booleans in YAML, as `n: 3`: the API server would see {"false":
    3}."""
    for path in _keys(document.body, ()):
        line, column = document.line(path), document.column(path)
        written = _KEY.match(lines[line - 1], column - 1) if line <= len(lines) else None
        if written is not None:
            message = f'YAML reads the unquoted key {written[1]} as the boolean {path[-1]}; quote it: "{written[1]}"'
            yield Located(document.source, line, column, Code.INVALID_KEY, message)


def _keys(value: JSON, path: Path) -> Iterator[Path]:
    """Yield the paths of all keys that are booleans."""
    if isinstance(value, dict):
        for name, child in value.items():
            if name in ("true", "false"):
                yield (*path, name)
            yield from _keys(child, (*path, name))
    elif isinstance(value, list):
        for position, child in enumerate(value):
            yield from _keys(child, (*path, position))


def _value(body: JSON, path: Path) -> str:
    value: JSON = body
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
    return value if isinstance(value, str) else ""


def _within(value: str, offset: int, lines: Sequence[str], line: int, column: int) -> tuple[int, int]:
    """Return the place of a character of a field, for fields that are written as they read: unescaped on one line, or
    as a block. What is written otherwise (escapes, folded lines) keeps the place of the field."""
    written = value.splitlines() or [""]
    before = value[:offset].count("\n")
    in_line = offset - (value.rfind("\n", 0, offset) + 1)
    if before >= len(written) or not 0 < line <= len(lines):
        return line, column
    if len(written) == 1:
        # Escaped it is not there, and a file may be one long line: it is looked for where it would be.
        found = lines[line - 1].find(value.rstrip("\n"), column - 1, column + 2 * len(value) + _NEAR)
        if found >= 0:
            return line, found + in_line + 1
    at = line + before  # a block starts in the line after its key
    if at < len(lines) and lines[at].strip() and lines[at].strip() == written[before].strip():
        indented = len(written[before]) - len(written[before].lstrip())
        return at + 1, lines[at].find(written[before].strip()) + max(in_line - indented, 0) + 1
    return line, column
