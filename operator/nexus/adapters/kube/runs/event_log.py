"""Events about runs, in the operator's log."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from nexus.adapters.kube.cache.records import RunRecord
from nexus.core.model.plan import RunEvent
from nexus.runtime.ports import RunKey

log = logging.getLogger("nexus")


def log_events(key: RunKey, record: RunRecord | None, events: Iterable[RunEvent]) -> None:
    """Log each with what the run's status says of its task."""
    if not log.isEnabledFor(logging.INFO):
        return
    tasks = {task.name: task for task in (record.status.tasks or () if record and record.status else ())}
    for entry in events:
        task = tasks.get(entry.task or "")
        job = task.job.name if task is not None and task.job is not None else None
        attempt = task.attempts if task is not None else None
        extra = {"reason": entry.reason, "task": entry.task, "attempt": attempt, "job": job}
        log.info("run %s: %s: %s", key, entry.reason, entry.message, extra=extra)
