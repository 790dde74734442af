"""The label limit: how many Workflows, namespaces, tasks and schedules get label values of their own.

Each combination of label values is a time series that Prometheus keeps in memory; users make as many Workflows as they
like. The first ones seen keep their names while the process lives, all later ones share `other`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

Value = TypeVar("Value")

OTHER = "other"
INLINE = "inline"
"""In place of a Workflow's name: the run has a definition of its own."""
PARTS = ("task", "schedule")


@dataclass
class LabelLimit:
    """At most `workflows` Workflows, as many namespaces, and `parts` tasks and schedules of all Workflows together."""

    workflows: int = 100
    parts: int = 500
    _workflows: set[tuple[str, str]] = field(default_factory=set)
    _namespaces: set[str] = field(default_factory=set)
    _parts: set[tuple[str, ...]] = field(default_factory=set)

    def bounded(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return the labels with `other` in place of the values that are too many."""
        result = dict(labels)
        namespace = labels.get("namespace")
        if namespace is None:
            return result
        if not _admitted(self._namespaces, namespace, self.workflows):
            result["namespace"] = OTHER
        if "workflow" not in labels:
            return result
        workflow = labels["workflow"]
        named = bool(workflow) and _admitted(self._workflows, (namespace, workflow), self.workflows)
        result["workflow"] = workflow if named else OTHER if workflow else INLINE
        for part in PARTS:
            # Runs with a definition of their own may all have different tasks.
            if part in labels and not (
                named and _admitted(self._parts, (namespace, workflow, part, labels[part]), self.parts)
            ):
                result[part] = OTHER
        return result


def _admitted(known: set[Value], value: Value, limit: int) -> bool:
    if value in known:
        return True
    if len(known) >= limit:
        return False
    known.add(value)
    return True
