"""The port to whoever watches a local run: a terminal, a log, a parent run."""

from __future__ import annotations

from typing import Protocol

from nexus.api.run import WorkflowRunStatus


class Observer(Protocol):
    """Who watches a local run."""

    def status(self, status: WorkflowRunStatus) -> None:
        """Handle a change of the status."""

    def line(self, task: str, line: str) -> None:
        """Handle a line that a task wrote."""

    def child(self, path: str, status: WorkflowRunStatus) -> None:
        """Handle a change of the status of a child run. `path` is the task that made it, behind those above it:
        nightly/price."""

    def note(self, text: str) -> None:
        """There is something to say about the run as a whole."""
