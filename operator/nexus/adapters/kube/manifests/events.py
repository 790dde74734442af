"""Events about runs, as `kubectl describe workflowrun` shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
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
# While runs wait, so many Events wait for them, and for so long: theirs are the calls that are made meanwhile.
PATIENT = WAITING // 2
PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.1


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
    """Publishes Events in a task of its own: the next task of a run does not wait for the news of the last one. While
    the operator is `busy`, Events wait a little."""

    def __init__(self, api: KubeApi, busy: Callable[[], bool] = lambda: False) -> None:
        super().__init__(api)
        self._busy = busy
        self._waiting: asyncio.Queue[tuple[float, tuple[str, Object]]] = asyncio.Queue(WAITING)

    async def record(self, events: Sequence[tuple[str, Object]]) -> None:
        """Take (namespace, Event) pairs for publishing."""
        now = asyncio.get_running_loop().time()
        for entry in events:
            if not self._waiting.full():
                self._waiting.put_nowait((now, entry))

    async def run(self) -> None:
        """Publish until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            taken, entry = await self._waiting.get()
            while self._busy() and self._waiting.qsize() < PATIENT and loop.time() - taken < PATIENCE_SECONDS:  # noqa: ASYNC110  nothing tells of the end of a rush
                await asyncio.sleep(LOOK_SECONDS)
            await super().record([entry])
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
    """Return the core/v1 Event for an entry."""
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
