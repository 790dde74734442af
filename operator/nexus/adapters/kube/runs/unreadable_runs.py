"""Runs that have begun and cannot be read, as after an upgrade to narrower bounds: they are left alone."""

from __future__ import annotations

import logging

from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, Conflict, KubeApi, NotFound, Object
from nexus.api.reasons import Reason
from nexus.runtime.ports import Stale

log = logging.getLogger("nexus")


async def leave(api: KubeApi, record: RunRecord, why: str) -> Object | None:
    """Say on the run why nothing more is done for it; the answer, None where its status says so already. Raises Stale.

    Its tasks and outputs may be what cannot be read: the status is changed in two fields, and neither replaced nor
    ended.
    """
    message = f"{why}; the run is not processed, delete it to stop its tasks"
    shown = {"reason": Reason.UNREADABLE.value, "message": message}
    if record.status is not None and record.status.model_dump(mode="json", include=set(shown)) == shown:
        return None
    log.warning("run %s: %s", record.key, message)
    patch = {
        "metadata": {"resourceVersion": str(record.resource_version)},
        "status": shown,
    }
    try:
        return await api.patch_status(WORKFLOW_RUNS, record.key.namespace, record.key.name, patch)
    except (Conflict, NotFound) as error:
        raise Stale(str(error)) from error
