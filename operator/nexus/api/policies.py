"""What a Workflow says about its runs as a whole: how many at once, how long the ended ones are kept."""

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
    """What happens to a run that comes while another one of its Workflow has not ended."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"
    QUEUE = "Queue"

    @property
    def takes_turns(self) -> bool:
        """Whether runs wait for one another."""
        return self is not ConcurrencyPolicy.ALLOW


class Concurrency(Model):
    """Whether runs of the Workflow may be under way at the same time."""

    policy: ConcurrencyPolicy
    """Allow (default): any number at once. The others: `limit` at a time, and a run made by hand or by a backfill waits
    its turn. A tick of a schedule that comes too early is dropped under Forbid, cancels the scheduled run that is under
    way and takes its place under Replace, and waits its turn under Queue."""
    limit: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """How many runs may be under way at a time. Default 1."""
    key: KeyText | None = None
    """Text with `${{ }}` over params and run: the limit holds for each value apart. `${{ params.env }}` lets a run for
    staging begin while one for production is under way."""


class History(Model):
    """How many ended runs are kept, counted for each trigger apart: those made by hand do not push out those of a
    schedule."""

    succeeded: HistoryCount | None = None
    """Runs that succeeded. Default 3."""
    failed: HistoryCount | None = None
    """Runs that failed or were cancelled. Default 3."""
