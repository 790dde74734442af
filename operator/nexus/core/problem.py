"""A problem in a definition: where, what, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` leads from the spec to the field, as ("tasks", 1, "python", "code"); `offset` counts characters from
    the start of that field's text where the place within it is known."""

    path: Path
    message: str
    task: str | None = None
    offset: int | None = None

    def __str__(self) -> str:
        """`task price, python.code: …`, or the path where it is in no task."""
        field = field_name(self.path[2:] if self.task else self.path)
        where = ", ".join(part for part in (f"task {self.task}" if self.task else "", field) if part)
        return f"{where}: {self.message}" if where else self.message


def field_name(path: Iterable[str | int]) -> str:
    """A path as users write it: env[0].value."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
