"""Ticks: which runs the schedules of a Workflow have to make now, which ticks never get one, and when the next is due.

A tick's run is made first and recorded (lastScheduleTime) after: whoever dies in between finds it by its name. Under
Forbid a tick that comes while a run has not ended is dropped. A run that the API server refuses, or whose name another
run has, is tried again until a later tick, or its deadline, takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nexus.api.base import format_time
from nexus.api.policies import ConcurrencyPolicy
from nexus.api.reasons import Reason, RunPhase
from nexus.api.run import Trigger
from nexus.api.schedule import Schedule
from nexus.api.schedule_status import NextTick, ScheduleStatus
from nexus.core.names import scheduled_run_name
from nexus.core.schedule.as_of import AsOf, of_tick
from nexus.core.schedule.due import Due, due
from nexus.core.schedule.timetable import Skipped, Tick, Timetable
from nexus.core.workflow.facts import RunRefused, RunSummary, ScheduleFact, WorkflowFacts
from nexus.core.workflow.history import CLOCK_SKEW, SLOW_TIME

UPCOMING = 5
SHOWN = 10
# Delay before a refused run is tried again.
TRY_AGAIN = timedelta(seconds=30)
# A tick that is later than this may have had its run, and that may be gone (see history.LOCK_TIME): who acts on it has
# to know the newest status.
LATE = SLOW_TIME / 2
# The clock of an operator, or of whoever calls `nexus backfill`, may be ahead of the API server's by so much: more,
# and no certificate or token is valid any longer.
AHEAD = CLOCK_SKEW


@dataclass(frozen=True, slots=True)
class CreateRun:
    """Make the run of a tick. Idempotent by its name."""

    name: str
    as_of: AsOf
    due: datetime
    """When it is to be made: the tick, and its jitter."""


@dataclass(frozen=True, slots=True)
class WorkflowEvent:
    """A Kubernetes Event about the Workflow."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """An increment of a counter: `name` with its labels."""

    name: str
    schedule: str
    reason: str = ""
    amount: int = 1


@dataclass
class Ticks:
    """What is to be done for the schedules. With `confirm` nothing else may be acted upon: it is to be decided again,
    upon the newest status and, under Forbid, the runs that the API server lists."""

    creates: list[CreateRun] = field(default_factory=list)
    schedules: list[ScheduleStatus] = field(default_factory=list)
    events: list[WorkflowEvent] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    wakes: list[datetime] = field(default_factory=list)
    confirm: bool = False


def is_run_of(run: RunSummary, workflow_uid: str, schedule: str, tick: datetime) -> bool:
    """Return whether a run is that of a tick. Anybody who may create runs can give one its name beforehand: it must
    belong to the Workflow and be for that very tick, and neither a schedule nor a backfill makes the run of a tick to
    come."""
    if (run.workflow_uid, run.schedule) != (workflow_uid, schedule) or run.scheduled_time is None:
        return False
    made_for_it = run.trigger in (Trigger.SCHEDULE, Trigger.BACKFILL) and run.created_at >= tick - AHEAD
    return made_for_it and format_time(run.scheduled_time) == format_time(tick)


def ticks(facts: WorkflowFacts, now: datetime) -> Ticks:
    """Return what to do about the schedules of a Workflow whose definition has no errors.

    `facts.made` are the names of runs that were made for ticks in this reconcile, `facts.refused` those that could not
    be, with the reason.
    """
    result = Ticks()
    known = {status.name: status for status in (facts.status.schedules or () if facts.status else ())}
    # As long as its parent was not looked at, no child is known to be one, and a tick that it held back would be lost.
    others = [run for run in facts.runs if not (run.ended or run.parent) and run.name not in facts.made]
    for schedule in facts.schedules:
        status = _begun(schedule, known.get(schedule.name), facts, now)
        result.schedules.append(_one(facts, schedule.timetable, status, others, now, result))
    return result


def _begun(schedule: ScheduleFact, known: ScheduleStatus | None, facts: WorkflowFacts, now: datetime) -> ScheduleStatus:
    """Return the status of a schedule, begun anew if it was changed: ticks before that are dropped."""
    if known is not None and known.definition == schedule.definition:
        return known
    if known is not None and known.definition in schedule.earlier:
        return known.model_copy(update={"definition": schedule.definition})
    new = facts.status is None or facts.status.schedules is None
    since = facts.created_at if known is None and new and facts.generation == 1 else now
    before = known or ScheduleStatus(name=schedule.name, definition=schedule.definition, since=since)
    return before.model_copy(
        update={
            "definition": schedule.definition,
            "since": since,
            "next_schedule_times": None,
            "failing": None,
            "failing_reason": None,
        }
    )


def _one(
    facts: WorkflowFacts,
    timetable: Timetable,
    status: ScheduleStatus,
    others: list[RunSummary],
    now: datetime,
    result: Ticks,
) -> ScheduleStatus:
    status = status.model_copy(update=_succeeded(status, facts.runs))
    if facts.policy.suspend or timetable.schedule.suspend:
        return status
    coming = next((tick for tick in status.next_schedule_times or () if not tick.skipped), None)
    if coming is not None and (at := timetable.fire_at(Tick(coming.time, coming.time))) > now:
        result.wakes.append(at)
        return status
    since = max(status.since, status.last_schedule_time or status.since)
    found = due(timetable, since, now)
    if not (facts.confirmed or all(_is_there(facts, timetable, tick.time) for tick in found.start)):
        late = now - timetable.fire_at(found.start[0]) > LATE
        result.confirm |= late or facts.policy.concurrency is ConcurrencyPolicy.FORBID
    handled, refused = _start(facts, timetable, found, others, result)
    _tell_missed(timetable.schedule, found, result)
    failing, failing_reason = (refused.message, refused.reason) if refused is not None else (None, None)
    if refused is not None and not refused.final and refused.message[:512] != status.failing:
        words = f"schedule {timetable.schedule.name}: {refused.message}; retrying"
        result.events.append(WorkflowEvent(refused.reason.value, words, warning=True))
    if refused is not None:
        result.wakes.append(now + TRY_AGAIN)
    elif found.wake_at is not None:
        result.wakes.append(found.wake_at)
    if found.handled is not None and not found.start and not _is_there(facts, timetable, found.handled):
        failing_reason = Reason.TICK_MISSED
        failing = f"the tick of {found.handled:%Y-%m-%d %H:%M}Z passed without a run: {_missed_words(found)}"
    elif found.handled is None and failing is None:
        failing, failing_reason = status.failing, status.failing_reason
    update: dict[str, object] = {"failing": failing and failing[:512], "failing_reason": failing_reason}
    update |= {"next_schedule_times": _upcoming(timetable, handled or since)}
    return status.model_copy(update=update | ({"last_schedule_time": handled} if handled is not None else {}))


def _start(
    facts: WorkflowFacts, timetable: Timetable, found: Due, others: list[RunSummary], result: Ticks
) -> tuple[datetime | None, RunRefused | None]:
    """Make, or drop, what is due. Returns the tick up to which all is decided, and why the one after it has no run."""
    schedule = timetable.schedule
    # Missed ones are reported in this decision, and must not be reported again in the next.
    missed = timetable.previous(found.start[0].time) if found.start and found.missed else None
    handled = missed.time if missed is not None else None
    for tick in found.start:
        name = _name(facts, timetable, tick.time)
        refused = facts.refused.get(name)
        if refused is not None and refused.reason is Reason.NAME_TAKEN and tick is not found.start[-1]:
            # Whoever holds the name of one tick must not hold up those after it.
            _miss(schedule, tick, refused, result)
            handled = tick.time
            continue
        if refused is not None and not refused.final:
            return handled, refused
        if refused is not None:
            _miss(schedule, tick, refused, result)
            return found.handled, refused
        there = _is_there(facts, timetable, tick.time)
        forbid = facts.policy.concurrency is ConcurrencyPolicy.FORBID and not there
        before = _in_the_way(facts, timetable, tick, [run for run in others if run.name != name]) if forbid else []
        if len(before) >= facts.policy.limit and forbid:
            words = f"run {before[0].name} has not ended, and concurrency is Forbid"
            result.events.append(
                WorkflowEvent(Reason.TICK_DROPPED.value, f"schedule {schedule.name}, tick {_clock(tick)}: {words}")
            )
            result.counts.append(Count("ticks_dropped", schedule.name, ConcurrencyPolicy.FORBID))
        elif there:
            words = f"schedule {schedule.name}, tick {_clock(tick)}: created run {name}"
            result.events.append(WorkflowEvent("RunCreated", words))
            result.counts.append(Count("ticks_started", schedule.name))
            others.append(_made(facts, timetable, tick, name))
        else:
            result.creates.append(CreateRun(name, of_tick(timetable, tick), timetable.fire_at(tick)))
            others.append(_made(facts, timetable, tick, name))
        handled = tick.time
    return found.handled, None


def _in_the_way(facts: WorkflowFacts, timetable: Timetable, tick: Tick, others: list[RunSummary]) -> list[RunSummary]:
    """Return those of the runs that have not ended that count for the same key as the tick's would."""
    if facts.policy.key is None or not others:
        return others
    key = facts.tick_key(of_tick(timetable, tick))
    return [run for run in others if key is not None and run.key == key]


def _made(facts: WorkflowFacts, timetable: Timetable, tick: Tick, name: str) -> RunSummary:
    """Return the run of a tick, as the ticks after it see it."""
    forbid = facts.policy.concurrency is ConcurrencyPolicy.FORBID
    key = facts.tick_key(of_tick(timetable, tick)) if facts.policy.key is not None and forbid else None
    return RunSummary(name, name, tick.time, key=key)


def _is_there(facts: WorkflowFacts, timetable: Timetable, tick: datetime) -> bool:
    """Return whether the run of a tick has been made."""
    name, schedule = _name(facts, timetable, tick), timetable.schedule.name
    return name in facts.made or any(
        run.name == name and is_run_of(run, facts.uid, schedule, tick) for run in facts.runs
    )


def _miss(schedule: Schedule, tick: Tick, refused: RunRefused, result: Ticks) -> None:
    words = f"schedule {schedule.name}, tick {_clock(tick)}: {refused.message}"
    result.events.append(WorkflowEvent(refused.reason.value, words, warning=True))
    result.counts.append(Count("ticks_missed", schedule.name, refused.reason))


def _name(facts: WorkflowFacts, timetable: Timetable, tick: datetime) -> str:
    return scheduled_run_name(facts.name, facts.uid, timetable.schedule.name, tick)


def _tell_missed(schedule: Schedule, found: Due, result: Ticks) -> None:
    if not found.missed:
        return
    words = f"schedule {schedule.name}: {_missed_words(found)}"
    result.events.append(WorkflowEvent(Reason.TICK_MISSED.value, words, warning=True))
    for reason, amount in found.missed.items():
        result.counts.append(Count("ticks_missed", schedule.name, reason, amount))


_WHY = {
    "Suspended": "while suspended",
    "Deadline": "later than startingDeadlineSeconds allows",
    "CatchUp": "replaced by later ones (catchUp)",
}


def _missed_words(found: Due) -> str:
    parts = [f"{amount} {_WHY[reason.value]}" for reason, amount in found.missed.items()]
    return f"{'more than ' if found.more else ''}{sum(found.missed.values())} missed ({', '.join(parts)})"


def _clock(tick: Tick) -> str:
    return f"{tick.time:%Y-%m-%dT%H:%MZ}"


def _succeeded(status: ScheduleStatus, runs: Sequence[RunSummary]) -> Mapping[str, object]:
    times = [
        run.completed_at
        for run in runs
        if run.schedule == status.name and run.phase is RunPhase.SUCCEEDED and run.completed_at is not None
    ]
    last = max([*times, *([status.last_successful_time] if status.last_successful_time else [])], default=None)
    return {"last_successful_time": last}


def _upcoming(timetable: Timetable, after: datetime) -> list[NextTick] | None:
    """Return what is shown of the times to come."""
    entries: list[Tick | Skipped] = timetable.upcoming(after, UPCOMING)
    shown = [
        NextTick(
            time=entry.time,
            skipped=True if isinstance(entry, Skipped) else None,
            note=entry.note[:256] or None,
        )
        for entry in entries[:SHOWN]
    ]
    return shown or None
