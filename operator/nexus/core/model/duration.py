"""How long a run takes."""

from __future__ import annotations

from datetime import datetime

from nexus.api.run import WorkflowRunStatus


def duration(status: WorkflowRunStatus, now: datetime) -> str | None:
    """From start to completion, or to `now`, as 1h2m3s: the DURATION column of kubectl."""
    if status.start_time is None:
        return None
    seconds = max(int(((status.completion_time or now) - status.start_time).total_seconds()), 0)
    hours, rest = divmod(seconds, 3_600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
