"""How a command ends: its exit status, and what it says where it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from nexus.api.reasons import RunPhase


class Exit(IntEnum):
    """Exit statuses: a contract with scripts."""

    SUCCEEDED = 0
    FAILED = 1
    """The run ended Failed or Cancelled; `lint` found problems."""
    REFUSED = 2
    """Nothing was started."""
    INTERNAL = 70
    """A fault of the program itself (EX_SOFTWARE of sysexits.h)."""
    UNWRITTEN = 74
    """The output could not be written, such as to a full disk (EX_IOERR of sysexits.h)."""
    INTERRUPTED = 130
    """Ctrl-C, as shells report it."""


class UsageError(Exception):
    """The command cannot do what it was asked to; each of `problems` is one line for standard error."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


def of_phase(phase: RunPhase) -> Exit:
    """Return the exit status for a run that ended in this phase."""
    return Exit.SUCCEEDED if phase is RunPhase.SUCCEEDED else Exit.FAILED
