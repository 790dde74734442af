"""History: which ended runs go, and which versions of the definition.

Of each trigger the newest `history.succeeded` runs that succeeded stay, and the newest `history.failed` of the others;
`ttlSecondsAfterFinished` ends the stay of all. What a run made, child runs too, goes with it, by owner references.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus.api.reasons import RunPhase
from nexus.api.run import Trigger
from nexus.core.workflow.facts import RunPolicy, RunSummary

# Longer than any call of an operator may take.
SLOW_TIME = timedelta(minutes=2)
# As far may the clocks of an operator and of the API server differ.
CLOCK_SKEW = timedelta(minutes=5)
# The name of a tick's run is the lock on the tick. An operator that looked before another one made the run, and is
# slow, may still be about to make it: so long the run stays as the answer to that. Its age depends on two clocks.
LOCK_TIME = SLOW_TIME + CLOCK_SKEW
# Who waits for a run, as `nexus run --watch` and `kubectl wait` do, is to see how it ended before `history` takes it.
SEEN_TIME = timedelta(minutes=2)
# A backfill without progress for this long counts as given up.
BACKFILL_PATIENCE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Prune:
    """Runs to delete now, oldest first, and when the next one is due."""

    runs: tuple[RunSummary, ...] = ()
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """A ControllerRevision of the Workflow."""

    name: str
    uid: str
    number: int


def prune(runs: Iterable[RunSummary], policy: RunPolicy, now: datetime) -> Prune:
    """Return which ended runs are over their stay."""
    runs = tuple(runs)
    unfinished = _unfinished_backfills(runs, now)
    kept: dict[tuple[Trigger, bool], int] = defaultdict(int)
    due: list[tuple[datetime, RunSummary]] = []
    # A run that names another as its controller goes with that one. Whether it really is a part of it is not known
    # before that one is looked at: at the start of an operator the items of a fan-out would be deleted, and run again.
    for run in sorted((run for run in runs if run.ended and not run.parent), key=_ended_at, reverse=True):
        if run.backfill in unfinished:
            continue
        succeeded = run.phase is RunPhase.SUCCEEDED
        kept[run.trigger, succeeded] += 1
        stays = []
        if kept[run.trigger, succeeded] > (policy.succeeded if succeeded else policy.failed):
            stays.append(SEEN_TIME)
        if policy.ttl_seconds is not None:
            stays.append(timedelta(seconds=policy.ttl_seconds))
        if not stays:
            continue
        leaves = _ended_at(run)[0] + min(stays)
        if run.trigger in (Trigger.SCHEDULE, Trigger.BACKFILL):
            leaves = max(leaves, run.created_at + LOCK_TIME)
        due.append((leaves, run))
    gone = tuple(run for leaves, run in sorted(due, key=lambda entry: entry[1].place) if leaves <= now)
    return Prune(gone, min((leaves for leaves, _ in due if leaves > now), default=None))


def _ended_at(run: RunSummary) -> tuple[datetime, str]:
    return run.completed_at or run.created_at, run.name


def _unfinished_backfills(runs: Sequence[RunSummary], now: datetime) -> set[str]:
    """Return those with a run that has not ended, or whose last run was not made yet."""
    names = {run.name for run in runs}
    open_ = {run.backfill for run in runs if run.backfill and not run.ended}
    for run in runs:
        if run.backfill and run.backfill_ends not in names and _ended_at(run)[0] + BACKFILL_PATIENCE > now:
            open_.add(run.backfill)
    return open_


def outdated(
    revisions: Iterable[Revision], runs: Iterable[RunSummary], current: str, limit: int
) -> tuple[Revision, ...]:
    """Return the versions to delete: all but the current one, those that runs name, and the newest `limit` of the
    others. None while a run names none yet: it may have read an older definition, and be about to name that."""
    runs = tuple(runs)
    if any(not (run.revision or run.ended) for run in runs):
        return ()
    pinned = {run.revision for run in runs}
    others = [entry for entry in revisions if entry.name != current and entry.name not in pinned]
    others.sort(key=lambda entry: (entry.number, entry.name), reverse=True)
    return tuple(reversed(others[limit:]))
