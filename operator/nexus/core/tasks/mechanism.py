"""Mechanism: what carries the attempts of a task out. It is recorded when an attempt is started, and read from there
when a run is continued, so that another version may start attempts of the same type in another way."""

from __future__ import annotations

from nexus.api.reasons import Mechanism
from nexus.api.run import TaskStatus
from nexus.core.model.definition import Node
from nexus.core.tasks.item_mechanism import is_indexed


def mechanism_of(node: Node, status: TaskStatus) -> Mechanism:
    """Return what carries out the last attempt of a task; of one that has had none, what its first one will be.

    A status written by 0.1 does not say: that version always did as the type says. Of a fan-out over Jobs it is JOB
    then, whether one Job runs all items or not: what is there of it tells.
    """
    return status.mechanism or next_mechanism(node)


def next_mechanism(node: Node) -> Mechanism:
    """Return what will carry out the next attempt of a task, or of an item."""
    return node.record.mechanism


def defined_mechanism(node: Node) -> Mechanism:
    """Return what the definition of a task asks for where the cluster does the retries, INDEXED_JOB among it."""
    if (
        node.record.mechanism is Mechanism.JOB
        and node.task.for_each is not None
        and is_indexed(node, native_backoff=True)
    ):
        return Mechanism.INDEXED_JOB
    return node.record.mechanism
