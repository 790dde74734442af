"""Where the schedules of a Workflow stand."""

from typing import Annotated

from pydantic import Field, StringConstraints

from nexus.api.base import Model, Time
from nexus.api.tasks import TaskName


class NextTick(Model):
    """A tick to come, or one that will not."""

    time: Time
    """When. With jitterSeconds the run is made up to so many seconds later."""
    skipped: bool | None = None
    """True: nothing runs then, as `note` says."""
    note: Annotated[str, StringConstraints(max_length=256)] | None = None
    """What clocks, holidays or excluded days did to it."""


class ScheduleStatus(Model):
    """Where one schedule stands."""

    name: TaskName
    """Name of the schedule."""
    definition: Annotated[str, StringConstraints(max_length=32)]
    """A hash of what decides when it ticks: with each change of that, it begins anew at `since`."""
    since: Time
    """Ticks after this are looked at: the Workflow's creation, or when the schedule was added, changed or resumed."""
    last_schedule_time: Time | None = None
    """The last tick that was decided: its run was made or, as Events say, will never be. Nothing at or before it
    is started (again)."""
    last_successful_time: Time | None = None
    """When a run of the schedule last succeeded."""
    next_schedule_times: Annotated[list[NextTick], Field(max_length=10)] | None = None
    """The next five ticks and between them what is skipped, ten entries at most. Absent while it is suspended."""
    failing: Annotated[str, StringConstraints(max_length=512)] | None = None
    """Why its last tick has no run though it should; the condition DidNotRun is True then."""
