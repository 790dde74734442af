"""A fan-out: one task for each of many items, and its status."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from nexus.api.base import Model, Time
from nexus.api.reasons import Reason

MAX_ITEMS = 1_000
"""Maximum number of items of one fan-out."""
FAILURES_SHOWN = 10
"""Maximum number of failed items in a status, the first ones."""
FailureText = Annotated[str, StringConstraints(max_length=200)]


class ForEach(Model):
    """Run the task once for each item: exactly one of items and matrix."""

    items: Any = None
    """List of at most 1,000 items of any type, or a single `${{ }}` that evaluates to one."""
    matrix: Annotated[dict[str, Any], Field(min_length=1, max_length=10)] | None = None
    """Lists by name, or `${{ }}` that evaluate to lists. Every combination is an item: an object with these names. The
    alphabetically last name varies fastest, since Kubernetes does not keep the order in which names are written."""
    parallelism: Annotated[int, Field(ge=1, le=MAX_ITEMS)] | None = None
    """Maximum number of items that run at the same time. maxParallelTasks of the workflow limits them too; it limits
    child runs only if this field is absent."""
    max_failed_items: Annotated[int, Field(ge=0, le=MAX_ITEMS)] | None = None
    """Maximum number of failed items with which the task still succeeds. Default 0."""


class ItemFailure(Model):
    """Why one item failed."""

    index: Annotated[int, Field(ge=0)]
    """Index of the item, from 0."""
    reason: Reason
    """Reason, a single CamelCase word."""
    message: FailureText | None = None
    """Explanation, for readers."""
    exit_code: int | None = None
    """Exit code of its last attempt."""


class ItemsStatus(Model):
    """Counts of a fan-out's items, updated at most every ten seconds and when the task ends."""

    total: Annotated[int, Field(ge=0)]
    """Number of items."""
    succeeded: Annotated[int, Field(ge=0)] = 0
    """Number of succeeded items."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Number of failed items."""
    failed_indexes: Annotated[str, StringConstraints(max_length=1_100)] | None = None
    """Indexes of the failed items, such as 3,7-9; truncated with … if too long."""
    failures: Annotated[list[ItemFailure], Field(max_length=FAILURES_SHOWN)] | None = None
    """Details of the first failed items, at most 10."""
    reused: Annotated[int, Field(ge=0)] | None = None
    """Number of succeeded items that succeeded in the run that this one reruns."""
    stored_indexes: Annotated[str, StringConstraints(max_length=2_100)] | None = None
    """Indexes of the items of a running task whose outputs are stored, those that the SHA-256 in outputRef covers; in
    the format of failedIndexes."""
    checkpoint_time: Time | None = None
    """Time at which outputs of finished items were last stored while others ran."""
