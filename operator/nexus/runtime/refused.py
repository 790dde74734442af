"""Refused writes: those that the API server did not carry out, what for, since when, and when each is tried again.

A memory of this process alone. It paces the tries of each write by itself, so that neither an event nor a status that
says so has a refused write tried at once again; and it keeps what passes within seconds out of the statuses. Without it
(after a restart) everything is tried again, and what lasts is reported again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from nexus.api.reasons import Reason
from nexus.core.model.refusal import Code, Refusal
from nexus.runtime.ports import Refused, Stale
from nexus.runtime.stats import Stats

log = logging.getLogger("nexus")

FIRST_DELAY, FIRST_PASSING_DELAY = timedelta(seconds=1), timedelta(seconds=0.05)
LONGEST_DELAY = timedelta(seconds=30)
LONGEST_DELAY_TOO_LARGE = timedelta(minutes=5)
"""What is too large stays so, unless a limit is changed in between."""
TOLD_AFTER = timedelta(seconds=5)
"""How long trouble that most often passes is kept to the log's debug lines."""

CALL, STATUS = "call", "status"
"""What a refusal goes by that is of no object of the plan: a call on which all depends, and the status itself."""

Key = TypeVar("Key", bound=Hashable)


class NotWritten(Exception):
    """The status was not stored, for this reason."""

    def __init__(self, cause: Refused | Stale) -> None:
        self.cause = cause
        super().__init__(str(cause))


def refusal_of(error: Refused | Stale) -> Refusal:
    """Return what an error says; one that is stale again and again is refused, too."""
    if isinstance(error, Refused):
        return error.refusal
    words = f"conflicting writes of another client: {error}"
    return Refusal(Reason.API_UNAVAILABLE, words, final=False, code=Code.CONFLICT, write="update", resource="")


@dataclass
class RefusedWrites(Generic[Key]):
    """By run (or Workflow) and by what was to be written."""

    stats: Stats
    _entries: dict[Key, dict[str, tuple[Refusal, int]]] = field(default_factory=dict)
    """Each with how often it was tried."""

    def note(self, key: Key, name: str, refusal: Refusal, now: datetime) -> Refusal:
        """Remember a refusal and return it with what is known of it: since when, when to retry, whether to report
        it."""
        if refusal.code is not Code.CONFLICT:  # an everyday matter: the view was not the newest
            self.stats.count("writes_refused", verb=refusal.write, resource=refusal.resource, code=refusal.code.value)
        known, tries = self._entries.get(key, {}).get(name, (None, 0))
        since = known.since if known is not None and known.since is not None else now
        # A missing right becomes no other refusal by an outage between two tries of it.
        told = not refusal.code.passing or now - since >= TOLD_AFTER or (known is not None and known.told)
        first = FIRST_PASSING_DELAY if refusal.code.passing else FIRST_DELAY
        longest = LONGEST_DELAY_TOO_LARGE if refusal.code is Code.TOO_LARGE else LONGEST_DELAY
        delay = min(first * 2 ** min(tries, 16), longest)
        noted = replace(refusal, since=since, told=told, again_at=now + delay)
        if told and not (known is not None and known.told):
            log.warning("%s: %s", key, refusal.message)
        self._entries.setdefault(key, {})[name] = noted, tries + 1
        return noted

    def accept(self, key: Key, name: str) -> None:
        """Forget the refusal of a write that went through."""
        entry = self._entries.get(key, {}).pop(name, None)
        if entry is not None and entry[0].told:
            log.info("%s: accepted after %d refused attempts: %s", key, entry[1], entry[0].message)
        if not self._entries.get(key, True):
            del self._entries[key]

    def held(self, key: Key, now: datetime) -> dict[str, Refusal]:
        """Return the refusals whose writes are not to be tried yet."""
        return {
            name: refusal
            for name, (refusal, _) in self._entries.get(key, {}).items()
            if refusal.again_at is not None and refusal.again_at > now
        }

    def due(self, key: Key, now: datetime) -> dict[str, Refusal]:
        """Return the others."""
        held = self.held(key, now)
        return {name: refusal for name, (refusal, _) in self._entries.get(key, {}).items() if name not in held}

    def next_at(self, key: Key) -> datetime | None:
        """Return when the first of them is tried again."""
        times = (refusal.again_at for refusal, _ in self._entries.get(key, {}).values())
        return min((time for time in times if time is not None), default=None)

    def of(self, key: Key, *, but: str = "") -> list[Refusal]:
        """Return all of a run, the oldest first, `but` for that of one write."""
        refusals = [refusal for name, (refusal, _) in self._entries.get(key, {}).items() if name != but]
        return sorted(refusals, key=lambda refusal: (refusal.since is None, refusal.since))

    def is_told(self, key: Key) -> bool:
        """Return whether a refusal is to be reported."""
        return any(refusal.told for refusal, _ in self._entries.get(key, {}).values())

    def get(self, key: Key, name: str) -> Refusal | None:
        """Return the refusal of one write."""
        return self._entries.get(key, {}).get(name, (None, 0))[0]

    def drop_due(self, key: Key, since: datetime) -> None:
        """Forget those that were due at `since` and have not been tried: these writes are no longer needed."""
        held = self.held(key, since)
        self.drop(key, lambda name: name not in held)

    def drop(self, key: Key, which: Callable[[str], bool]) -> None:
        """Forget some, by what was to be written."""
        left = {name: entry for name, entry in self._entries.pop(key, {}).items() if not which(name)}
        if left:
            self._entries[key] = left

    def forget(self, key: Key) -> None:
        """Forget everything about a run that is gone."""
        self._entries.pop(key, None)
