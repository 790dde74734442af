"""Events about runs, as `kubectl describe workflowrun` shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from nexus.api.base import API_VERSION, format_time
from nexus.core.facts import RunFact
from nexus.core.names import digest
from nexus.core.plan import RunEvent

COMPONENT = "nexus-operator"


def event(run: RunFact, entry: RunEvent, now: datetime) -> dict[str, Any]:
    """The core/v1 Event for an entry."""
    time = format_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{run.name[:200]}.{digest(run.uid, entry.reason, entry.message, time)}"},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": "WorkflowRun",
            "namespace": run.namespace,
            "name": run.name,
            "uid": run.uid,
        },
        "type": "Warning" if entry.warning else "Normal",
        "reason": entry.reason,
        "message": entry.message[:1_024],
        "source": {"component": COMPONENT},
        "firstTimestamp": time[:19] + "Z",
        "lastTimestamp": time[:19] + "Z",
        "count": 1,
    }
