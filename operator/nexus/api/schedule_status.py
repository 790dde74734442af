"""Status of the schedules of a Workflow."""

from typing import Annotated

from pydantic import Field, StringConstraints

from nexus.api.base import Model, Time
from nexus.api.reasons import Reason
from nexus.api.tasks import TaskName


class NextTick(Model):
    """A future tick, or a time that is skipped."""

    time: Time
    """Time of the tick. With jitterSeconds the run is created up to that many seconds later."""
    skipped: bool | None = None
    """True if no run starts at this time; `note` says why."""
    note: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Effect of clock changes, holidays or excluded days on the tick."""


class ScheduleStatus(Model):
    """Status of one schedule."""

    name: TaskName
    """Name of the schedule."""
    definition: Annotated[str, StringConstraints(max_length=32)]
    """Hash of the fields that decide the ticks. If it changes, the schedule starts over at `since`."""
    since: Time
    """Time after which ticks count: the creation of the Workflow, or the time at which the schedule was added, changed
    or resumed."""
    last_schedule_time: Time | None = None
    """Last tick that was handled: its run was created or, as an Event says, never will be. No tick at or before it is
    started."""
    last_successful_time: Time | None = None
    """Time at which a run of the schedule last succeeded."""
    next_schedule_times: Annotated[list[NextTick], Field(max_length=10)] | None = None
    """Next five ticks and the skipped times between them, at most ten entries. Absent while the schedule is
    suspended."""
    failing: Annotated[str, StringConstraints(max_length=512)] | None = None
    """Reason why the last tick has no run although it should; the condition DidNotRun is True then."""
    failing_reason: Reason | None = None
    """Code of `failing`. Absent with `failing`, and if an older version of the operator wrote that."""
