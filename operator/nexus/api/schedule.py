"""A schedule of a Workflow: the times at which it runs by itself."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from nexus.api.base import Model, Time
from nexus.api.tasks import Seconds, TaskName

Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$", max_length=10)]


class Dst(StrEnum):
    """Handling of clock changes."""

    ONCE = "Once"
    CRON_JOB = "CronJob"


class CatchUp(StrEnum):
    """Handling of ticks that were missed because no operator was running."""

    NONE = "None"
    LATEST = "Latest"
    ALL = "All"


class PublicHolidays(Model):
    """The public holidays of a country or of a part of it."""

    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,3}$", max_length=3)]
    """ISO 3166-1 code of the country: DE, or DEU."""
    region: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """Part of the country, as the ISO 3166-2 code after the country's: BY for Bavaria. Default: only holidays of the
    whole country."""


class Exclude(Model):
    """Days without ticks, by the date in the schedule's time zone."""

    weekends: bool | None = None
    """Exclude Saturdays and Sundays. Default false."""
    holidays: Annotated[list[PublicHolidays], Field(max_length=10)] | None = None
    """Exclude the public holidays of these countries and regions."""
    dates: Annotated[list[Day], Field(max_length=366)] | None = None
    """Exclude these days, such as 2026-12-24."""


class Schedule(Model):
    """Times at which a workflow runs by itself, and the params of these runs."""

    name: TaskName
    """Name of the schedule, unique in the workflow."""
    cron: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """Cron expression of five fields (minute, hour, day of the month, month, day of the week) with names, ranges,
    steps, lists and `?`; or @hourly, @daily, @weekly, @monthly, @yearly; or @every 90m (at least 60s), counted from
    1970-01-01T00:00:00Z."""
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """IANA time zone of `cron` and `exclude`, such as Europe/Berlin. Default UTC."""
    params: Annotated[dict[str, Any], Field(max_length=100)] | None = None
    """Values of the workflow's params. May use `${{ }}` over `run`: run.scheduledTime, run.intervalStart and
    run.intervalEnd are those of the tick."""
    suspend: bool | None = None
    """If true, the schedule does not tick; ticks that pass meanwhile are not started later. Default false."""
    starting_deadline_seconds: Seconds | None = None
    """Maximum delay after which a tick is still started, in seconds. Default: no limit; 60 with catchUp None."""
    from_: Time | None = Field(None, alias="from")
    """Earliest time of a tick, inclusive. Default: the creation of the Workflow."""
    until: Time | None = None
    """End of the schedule, exclusive: all ticks are before it. Default: none."""
    exclude: Exclude | None = None
    """Days without ticks."""
    dst: Dst | None = None
    """Handling of clock changes. Once (default): a local time that clocks skip runs at the change, one that occurs
    twice runs the first time; if the hour is `*` or a step, each hour that clocks show runs. CronJob, as in Kubernetes'
    CronJob: a skipped time does not run, a repeated one runs twice."""
    jitter_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Maximum delay of each tick, in seconds. The delay of a tick is always the same and ends before the next tick.
    Default 0."""
    catch_up: CatchUp | None = None
    """Missed ticks to start, of those within startingDeadlineSeconds. Latest (default): the latest one. All: the latest
    ones, at most catchUpLimit. None: a tick is started within 60 seconds, or startingDeadlineSeconds, or never."""
    catch_up_limit: Annotated[int, Field(ge=1, le=100)] | None = None
    """Maximum number of missed ticks that catchUp All starts. Default 10."""
