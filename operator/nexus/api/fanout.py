"""A fan-out: one task for each of many items, and what a status says of them."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from nexus.api.base import Model, Time
from nexus.api.reasons import Reason

MAX_ITEMS = 1_000
"""Items of one fan-out."""
FAILURES_SHOWN = 10
"""Failed items that a status tells of, the first ones."""
FailureText = Annotated[str, StringConstraints(max_length=200)]


class ForEach(Model):
    """Run the task once for each item: exactly one of items and matrix."""

    items: Any = None
    """A list of at most 1,000 items, or one `${{ }}` that gives one. Items may be of any type."""
    matrix: Annotated[dict[str, Any], Field(min_length=1, max_length=10)] | None = None
    """Lists by name, or `${{ }}` that give them: every combination is an item, an object with these names. The last
    name in the order of the alphabet varies fastest; Kubernetes does not keep the order in which they are written."""
    parallelism: Annotated[int, Field(ge=1, le=MAX_ITEMS)] | None = None
    """Items that run at the same time, at most. maxParallelTasks of the workflow bounds them too; child runs only
    where this is absent."""
    max_failed_items: Annotated[int, Field(ge=0, le=MAX_ITEMS)] | None = None
    """Items that may fail while the task succeeds. Default 0."""


class ItemFailure(Model):
    """Why one item failed."""

    index: Annotated[int, Field(ge=0)]
    """Which item, counted from 0."""
    reason: Reason
    """Why, in one word."""
    message: FailureText | None = None
    """Why, in words."""
    exit_code: int | None = None
    """Exit code of its last attempt."""


class ItemsStatus(Model):
    """The items of a fan-out in numbers, brought up to date at most every ten seconds and when the task ends."""

    total: Annotated[int, Field(ge=0)]
    """How many items there are."""
    succeeded: Annotated[int, Field(ge=0)] = 0
    """How many have succeeded."""
    failed: Annotated[int, Field(ge=0)] = 0
    """How many have failed."""
    failed_indexes: Annotated[str, StringConstraints(max_length=1_100)] | None = None
    """Which have failed, as 3,7-9; cut with … where it would be long."""
    failures: Annotated[list[ItemFailure], Field(max_length=FAILURES_SHOWN)] | None = None
    """How the first of them failed."""
    reused: Annotated[int, Field(ge=0)] | None = None
    """Of those that succeeded, how many did so in the run that this one reruns."""
    stored_indexes: Annotated[str, StringConstraints(max_length=2_100)] | None = None
    """Whose outputs are stored, of a running task: those that the SHA-256 in outputRef is of; as failedIndexes."""
    checkpoint_time: Time | None = None
    """When outputs of finished items were last stored while others ran."""
