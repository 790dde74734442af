"""Checks of `$` before an expression, in fields where `$(NAME)` is resolved after they were rendered."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from nexus.api.codes import Code
from nexus.core.expressions.kubelet_variables import first_open
from nexus.core.expressions.templates import Expression, TemplateError, parse
from nexus.core.manifest.problem import Path, Problem


def open_dollars(path: Path, text: str, task: str | None) -> Iterator[Problem]:
    """Yield each `$` of the author's that the value behind it could complete to a reference to an environment
    variable."""
    try:
        parts = parse(text).parts
    except TemplateError:
        return  # reported where expressions are checked
    for literal, behind in pairwise(parts):
        if not isinstance(literal, str) or not isinstance(behind, Expression):
            continue
        start = first_open(literal)
        if start is not None:
            opening = text.rindex("${{", 0, behind.offset)
            yield Problem(path, Code.OPEN_REFERENCE, _message(literal[start:]), task, opening - len(literal) + start)


def _message(rest: str) -> str:
    if rest == "$":
        return 'a "$" before "${{" would make a reference of a value such as (NAME); write "$$" for a dollar sign'
    return '"$(" is not closed before "${{", and no value may be part of a reference; write "$$(" for these characters'
