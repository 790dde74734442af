"""The handlers: each tells the cache what a watch said and queues the runs it is about. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from nexus.adapters.kube.cache.parse import has_ended
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind
from nexus.app.storages import NoDiffBase, NoProgress
from nexus.app.turns import Turns
from nexus.app.watch_ages import WATCH_SECONDS, WatchAges
from nexus.core.names import LABEL_RUN
from nexus.runtime.ports import RunKey, Wake

# Objects that are listed at once.
PAGE = 200

See = Callable[..., tuple[RunKey, ...]]


def register(
    registry: kopf.OperatorRegistry,
    cache: Cache,
    queue: Wake,
    workflows: WorkflowCache,
    queue_workflow: Callable[[RunKey], None],
    ages: WatchAges,
) -> None:
    """Watch runs, their Jobs and pods, and workflows. `ages` gets every event.

    The handlers are coroutines though they wait for nothing but their turn: kopf calls plain functions in threads,
    beside the reconciles that read the same caches.
    """

    turns = Turns()

    def add(key: RunKey, _: Any) -> None:
        queue(key)

    def add_workflow(key: RunKey, _: Any) -> None:
        queue_workflow(key)

    def add_pod(key: RunKey, pod: Any) -> None:
        # The next task, and whoever waits for the slot that is free now, do not wait behind runs that begin.
        queue(key, urgent=has_ended(pod))

    def watch(kind: Kind, *listeners: tuple[See, Callable[[RunKey, Any], None]]) -> None:
        @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)
        async def on_event(event: Any, **_: Any) -> None:
            async with turns.part():
                ages.saw(kind, event["object"]["metadata"]["namespace"], listed=event["type"] is None)
                for see, tell in listeners:
                    for key in see(event["object"], gone=event["type"] == "DELETED"):
                        tell(key, event["object"])

    watch(WORKFLOWS, (workflows.see_workflow, add_workflow))
    watch(WORKFLOW_RUNS, (cache.see_run, add), (workflows.see_run, add_workflow))
    watch(JOBS, (cache.see_job, add))
    watch(PODS, (cache.see_pod, add_pod))


def configure(settings: kopf.OperatorSettings) -> None:
    """Set kopf up: watches notice their death, and kopf itself writes nothing."""
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    # Watching the lists of CRDs and namespaces takes rights over the whole cluster, and nothing depends on it.
    settings.scanning.disabled = True
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = [0.2, 0.5, 1, 2, 5]
    # Of thousands of objects, all at once in memory at every start otherwise, as JSON: and that stays with the process.
    settings.watching.chunk_size = PAGE
    # Kopf's worker for an object waits so long for the next event of it, and there is one for each that was listed.
    settings.queueing.idle_timeout = 0.5
    settings.queueing.error_delays = [0.2, 0.5, 1, 2, 5]
    # Of all Jobs and pods in the cluster only ours come over the wire.
    settings.watching.label_selectors["", "pods"] = LABEL_RUN
    settings.watching.label_selectors["batch", "jobs"] = LABEL_RUN
