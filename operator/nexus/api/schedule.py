"""A schedule of a Workflow: when it runs by itself."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from nexus.api.base import Model, Time
from nexus.api.tasks import Seconds, TaskName

Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$", max_length=10)]


class Dst(StrEnum):
    """What happens where clocks change."""

    ONCE = "Once"
    CRON_JOB = "CronJob"


class CatchUp(StrEnum):
    """What happens to ticks at which nobody was there to start them."""

    NONE = "None"
    LATEST = "Latest"
    ALL = "All"


class PublicHolidays(Model):
    """The public holidays of a country or of a part of it."""

    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,3}$", max_length=3)]
    """The country, as its ISO 3166-1 code: DE, or DEU."""
    region: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """A part of it, as the code that ISO 3166-2 has after the country's: BY for Bavaria. Default: only what is a
    holiday in all of the country."""


class Exclude(Model):
    """Days without ticks, by the date in the schedule's time zone."""

    weekends: bool | None = None
    """No ticks on Saturdays and Sundays."""
    holidays: Annotated[list[PublicHolidays], Field(max_length=10)] | None = None
    """No ticks on the public holidays of these countries and regions."""
    dates: Annotated[list[Day], Field(max_length=366)] | None = None
    """No ticks on these days, as 2026-12-24."""


class Schedule(Model):
    """When a workflow runs by itself, and with which params."""

    name: TaskName
    """Name of the schedule, unique in the workflow."""
    cron: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """Five fields (minute, hour, day of the month, month, day of the week) with names, ranges, steps, lists and `?`; or
    @hourly, @daily, @weekly, @monthly, @yearly; or @every 90m (at least 60s), counted from 1970-01-01T00:00:00Z."""
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """The IANA time zone in which `cron` and `exclude` are read, as Europe/Berlin. Default UTC."""
    params: Annotated[dict[str, Any], Field(max_length=100)] | None = None
    """Values for the workflow's params; may use `${{ }}` over `run`: run.scheduledTime, run.intervalStart and
    run.intervalEnd are those of the tick."""
    suspend: bool | None = None
    """No ticks while it is true; those that pass meanwhile are not made up for."""
    starting_deadline_seconds: Seconds | None = None
    """How late a tick may still be started. Default: without limit, but 60 with catchUp None."""
    from_: Time | None = Field(None, alias="from")
    """The first instant at which a tick may be. Default: the creation of the Workflow."""
    until: Time | None = None
    """The end: ticks are before it. Default: none."""
    exclude: Exclude | None = None
    """Days without ticks."""
    dst: Dst | None = None
    """Once (default): a local time that clocks jump over runs at the jump, one that comes twice at its first; where the
    hour is `*` or a step, each hour that clocks show runs. CronJob: as Kubernetes' CronJob: the one is left out, the
    other runs twice."""
    jitter_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Start each tick up to so many seconds late, but before the next one: always the same for a tick. Default 0."""
    catch_up: CatchUp | None = None
    """Which of the ticks that were missed, if they are not too late (startingDeadlineSeconds), are started. Latest
    (default): the latest one. All: up to catchUpLimit of the latest. None: a tick is started within 60 seconds, or
    startingDeadlineSeconds, or never."""
    catch_up_limit: Annotated[int, Field(ge=1, le=100)] | None = None
    """How many missed ticks catchUp All starts at most. Default 10."""
