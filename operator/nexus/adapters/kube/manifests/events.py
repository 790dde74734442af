"""Events about runs, as `kubectl describe workflowrun` shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from nexus.adapters.kube.client.api import EVENTS, ApiError, KubeApi, Object
from nexus.api.base import API_VERSION, format_time
from nexus.core.model.plan import RunEvent
from nexus.core.names import digest
from nexus.core.workflow.ticks import WorkflowEvent

COMPONENT = "nexus-operator"
# Events that wait to be published; in a storm beyond that, the newest are dropped, as client-go's recorder does.
WAITING = 1_000


class Recorder:
    """Publishes Events at once, in order. One that is refused is not worth a second reconcile."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def record(self, events: Sequence[tuple[str, Object]]) -> None:
        """Publish (namespace, Event) pairs."""
        for namespace, body in events:
            try:
                await self._api.create(EVENTS, namespace, body)
            except ApiError:
                continue


class BackgroundRecorder(Recorder):
    """Publishes Events in a task of its own: the next task of a run does not wait for the news of the last one."""

    def __init__(self, api: KubeApi) -> None:
        super().__init__(api)
        self._waiting: asyncio.Queue[tuple[str, Object]] = asyncio.Queue(WAITING)

    async def record(self, events: Sequence[tuple[str, Object]]) -> None:
        """Take (namespace, Event) pairs for publishing."""
        for entry in events:
            if not self._waiting.full():
                self._waiting.put_nowait(entry)

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await super().record([await self._waiting.get()])
            self._waiting.task_done()

    async def drained(self) -> None:
        """Wait until everything taken is published."""
        await self._waiting.join()


class Subject(Protocol):
    """What an Event is about: the facts of a run or of a Workflow."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...


def event(subject: Subject, entry: RunEvent | WorkflowEvent, now: datetime) -> dict[str, Any]:
    """The core/v1 Event for an entry."""
    time = format_time(now)
    kind = "Workflow" if isinstance(entry, WorkflowEvent) else "WorkflowRun"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{subject.name[:200]}.{digest(subject.uid, entry.reason, entry.message, time)}"},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
        },
        "type": "Warning" if entry.warning else "Normal",
        "reason": entry.reason,
        "message": entry.message[:1_024],
        "source": {"component": COMPONENT},
        "firstTimestamp": time[:19] + "Z",
        "lastTimestamp": time[:19] + "Z",
        "count": 1,
    }
