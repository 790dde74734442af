"""Fields of a Workflow about all of its runs: how many at once, and how long ended ones are kept."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from nexus.api.base import Model

HistoryCount = Annotated[int, Field(ge=0, le=1_000)]
# Ten years.
TtlSeconds = Annotated[int, Field(ge=0, le=315_360_000)]
RevisionCount = Annotated[int, Field(ge=0, le=100)]
KeyText = Annotated[str, StringConstraints(min_length=1, max_length=1_100)]


class ConcurrencyPolicy(StrEnum):
    """Treatment of a run that is created while another run of its Workflow has not ended."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"
    QUEUE = "Queue"

    @property
    def takes_turns(self) -> bool:
        """Return whether runs wait for one another."""
        return self is not ConcurrencyPolicy.ALLOW


class Concurrency(Model):
    """Limit on runs of the Workflow in progress at the same time."""

    policy: ConcurrencyPolicy
    """Allow (default): no limit. With the other policies `limit` runs are in progress at a time, and a run that is
    created manually or by a backfill is queued. At the limit, a tick of a schedule is dropped with Forbid, cancels and
    replaces the scheduled run in progress with Replace, and is queued with Queue."""
    limit: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Maximum number of runs in progress at a time. Default 1."""
    key: KeyText | None = None
    """String with `${{ }}` over params and run; the limit applies to each value separately. With `${{ params.env }}` a
    run for staging starts while one for production is in progress. Default: one limit for all runs."""


class History(Model):
    """Number of ended runs to keep, counted for each trigger separately: manual runs do not displace scheduled ones."""

    succeeded: HistoryCount | None = None
    """Number of succeeded runs to keep. Default 3."""
    failed: HistoryCount | None = None
    """Number of failed and cancelled runs to keep. Default 3."""
