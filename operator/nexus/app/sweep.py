"""The sweep: everything is listed now and then, for a watch that broke off never tells of what was deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, ApiError, KubeApi
from nexus.core.names import LABEL_RUN
from nexus.runtime.ports import RunKey

log = logging.getLogger("nexus")


async def sweep(
    api: KubeApi,
    namespaces: Sequence[str],
    seconds: float,
    cache: Cache,
    queue: Callable[[RunKey], None],
    workflows: WorkflowCache,
    queue_workflow: Callable[[RunKey], None],
) -> None:
    """Drop objects that no longer exist from the caches, every `seconds`, and queue the runs that this concerns."""
    while True:
        await asyncio.sleep(seconds)
        known, known_workflows = cache.known(), workflows.known()
        try:
            listed = await _listed(api, namespaces)
        except ApiError as error:
            log.warning("the periodic check could not list: %s", error)
            continue
        except Exception:
            # An unforeseen answer must not make it drop all runs; the next one may be another.
            log.exception("the periodic check could not list")
            continue
        for key in cache.sweep(known, listed):
            queue(key)
        for key in workflows.sweep(known_workflows, listed["runs"], listed["workflows"]):
            queue_workflow(key)


async def _listed(api: KubeApi, namespaces: Sequence[str]) -> dict[str, set[str]]:
    """Return the UIDs of all objects."""
    kinds = (
        ("workflows", WORKFLOWS, ""),
        ("runs", WORKFLOW_RUNS, ""),
        ("jobs", JOBS, LABEL_RUN),
        ("pods", PODS, LABEL_RUN),
    )
    return {
        name: set().union(*[await api.uids(kind, space, label) for space in namespaces or (None,)])
        for name, kind, label in kinds
    }
