"""A task's status in the words and symbols of the terminal."""

from __future__ import annotations

import time
from datetime import datetime

from nexus.api.fanout import ItemsStatus
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import TaskStatus
from nexus.core.text.plain import plain

SYMBOLS = {
    TaskPhase.PENDING: "·",
    TaskPhase.RUNNING: "▶",
    TaskPhase.SUCCEEDED: "✓",
    TaskPhase.FAILED: "✗",
    TaskPhase.SKIPPED: "○",
    TaskPhase.OMITTED: "–",
    TaskPhase.CANCELLED: "⊘",
}
STYLES = {
    TaskPhase.PENDING: "dim",
    TaskPhase.RUNNING: "cyan",
    TaskPhase.SUCCEEDED: "green",
    TaskPhase.FAILED: "bold red",
    TaskPhase.SKIPPED: "dim",
    TaskPhase.OMITTED: "yellow",
    TaskPhase.CANCELLED: "yellow",
}
RUN_STYLES = {
    RunPhase.PENDING: "dim",
    RunPhase.RUNNING: "cyan",
    RunPhase.SUSPENDED: "yellow",
    RunPhase.SUCCEEDED: "bold green",
    RunPhase.FAILED: "bold red",
    RunPhase.CANCELLED: "bold yellow",
}
# These say of a task that it is not its turn yet, which the order of the tasks says already.
_ORDINARY = (None, Reason.DEPENDENCIES, Reason.PARALLELISM)


def seconds_of(status: TaskStatus, now: datetime) -> float | None:
    """Return the seconds from the task's start to its end, or to `now`; None where it never started."""
    if status.start_time is None:
        return None
    return max(((status.completion_time or now) - status.start_time).total_seconds(), 0.0)


def seconds_text(seconds: float | None) -> str:
    """0.1s, 12.3s, 2m05s, 1h02m; empty for None."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"


def why(status: TaskStatus, *, attempts: bool = True) -> str:
    """Return the reason and message on one line; empty where there is nothing to explain."""
    message = " ".join(plain(status.message or "").split())
    attempt = f" (attempt {status.attempts})" if attempts and (status.attempts or 0) > 1 else ""
    if status.phase in (TaskPhase.RUNNING, TaskPhase.SUCCEEDED) and status.items is not None:
        message = "; ".join(filter(None, (items_text(status.items), message)))
    if status.reason is None:
        if not message and status.child_run is not None:
            message = f"child run {status.child_run.name}"
        return (message + attempt).strip()
    return f"{status.reason.value}: {message}{attempt}" if message else status.reason.value + attempt


def items_text(items: ItemsStatus) -> str:
    """57 of 100 items done, 2 failed (3,41)."""
    failed = f", {items.failed} failed ({items.failed_indexes or ''})" if items.failed else ""
    return f"{items.succeeded} of {items.total} items done{failed}"


def is_news(before: TaskStatus | None, after: TaskStatus) -> bool:
    """Return True where the change is worth a line of a log that is only ever added to."""
    if before is not None and (before.phase, before.reason, before.attempts, before.items) == (
        after.phase,
        after.reason,
        after.attempts,
        after.items,
    ):
        return False
    return not (after.phase is TaskPhase.PENDING and after.reason in _ORDINARY)


def clock() -> str:
    """Return the time of day here: 12:00:01."""
    return time.strftime("%H:%M:%S")
