"""A problem in a definition: where, what, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from nexus.api.codes import Code

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` leads from the spec to the field, as ("tasks", 1, "python", "code"); `offset` counts characters from
    the start of that field's text where the place within it is known."""

    path: Path
    code: Code
    message: str
    task: str | None = None
    offset: int | None = None
    subject: str | None = None
    """What else than a task the field belongs to, as `schedule nightly` or `param day`: named like one."""
    value: object = None
    """What was given, where the words about it depend on how it was written."""
    boolean: bool | None = None
    """The boolean that was read where the field must be a string: the file may have said `n` or `on`."""

    @property
    def field(self) -> Path:
        """The path from what the field belongs to: a task, a schedule or a param, else the spec."""
        return self.path[2:] if self.task or self.subject else self.path

    def __str__(self) -> str:
        """Return `task price, python.code: …`, or the path where it belongs to nothing with a name."""
        subject = f"task {self.task}" if self.task else self.subject
        field = field_name(self.field)
        where = ", ".join(part for part in (subject, field) if part)
        return f"{where}: {self.message}" if where else self.message


MOST_PROBLEMS = 500
"""Maximum number of problems reported of one definition: each may cost a search among all names known there."""


def first(found: Iterable[Problem]) -> list[Problem]:
    """Return the first of them, and where there are more a last one that says so."""
    told = list(islice(found, MOST_PROBLEMS + 1))
    if len(told) > MOST_PROBLEMS:
        message = f"more than {MOST_PROBLEMS} problems, the others are not listed; fix these first"
        told[MOST_PROBLEMS] = Problem((), Code.MORE_PROBLEMS, message)
    return told


def field_name(path: Iterable[str | int]) -> str:
    """Return a path as users write it: env[0].value."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def duplicates(path: Path, names: Sequence[str], what: str) -> Iterator[Problem]:
    """Yield a problem for each name that a list of named things has more than once, at its last place."""
    for name, count in Counter(names).items():
        if count > 1:
            last = len(names) - 1 - names[::-1].index(name)
            yield Problem((*path, last, "name"), Code.DUPLICATE_NAME, f'duplicate {what} name "{name}"')
