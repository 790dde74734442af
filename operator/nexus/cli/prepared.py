"""A local run that is ready to start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexus.adapters.local.bindings import Bindings
from nexus.api.run import Approval, WorkflowRunSpec
from nexus.core.model.definition import Definition
from nexus.core.model.facts import RunFact


@dataclass(frozen=True)
class Prepared:
    """A run that may start."""

    fact: RunFact
    spec: WorkflowRunSpec
    definition: Definition
    bindings: Bindings
    search_path: Path
    notes: Sequence[str]
    workflows: Mapping[str, Definition]
    """The Workflows that child runs execute."""
    answers: Mapping[str, Approval]
    """What is said beforehand to approval tasks of child runs, by their paths."""
