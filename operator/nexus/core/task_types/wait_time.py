"""When a wait is over, as far as what is written tells it: lint asks that without the engine."""

from __future__ import annotations

from datetime import datetime, timedelta

from nexus.api.base import parse_time
from nexus.api.tasks import MOST_SECONDS

LONGEST = timedelta(seconds=MOST_SECONDS)
TOO_LONG = f"a wait can take at most {MOST_SECONDS:,} seconds (a year)"


class WaitInvalid(ValueError):
    """A wait that cannot be meant; the message says what to write."""


def instant(value: object, now: datetime | None) -> datetime:
    """Return the time that a `wait.until` names. Raises WaitInvalid where it is none, or more than a year after
    `now`."""
    try:
        if not isinstance(value, str):
            raise ValueError
        written = datetime.fromisoformat(value)
        if written.tzinfo is None:
            raise WaitInvalid(f'time "{value}" has no offset; write it with Z, or as +02:00')
        due = parse_time(written)
    except WaitInvalid:
        raise
    except (ValueError, OverflowError):
        raise WaitInvalid(f'invalid time "{value}"; write it as 2026-11-23T10:00:00Z') from None
    if now is not None and due - now > LONGEST:
        raise WaitInvalid(f"{value} is more than a year away; {TOO_LONG}")
    return due
