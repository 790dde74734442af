"""The Ready condition of a Workflow: its definition is checked once a generation."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Any

from nexus.adapters.kube.api import WORKFLOWS, Conflict, KubeApi, NotFound
from nexus.adapters.kube.definitions import checked
from nexus.api.reasons import Reason
from nexus.api.workflow import Condition, WorkflowSpec, WorkflowStatus
from nexus.core.expressions import Evaluator
from nexus.core.shape import read
from nexus.runtime.ports import RunKey, Unstartable


async def check(api: KubeApi, evaluator: Evaluator, key: RunKey, now: datetime) -> None:
    """Write whether the definition can run, if its status does not say so of this generation yet."""
    try:
        body = await api.get(WORKFLOWS, key.namespace, key.name)
    except NotFound:
        return
    generation = int(body["metadata"].get("generation") or 1)
    recorded = body.get("status") or {}
    if recorded.get("observedGeneration") == generation:
        return
    load = partial(read, body["spec"], WorkflowSpec)
    result = await asyncio.to_thread(checked, load, evaluator, now, key.name)
    status = _status(
        result, generation, sum(len(body["spec"].get(key) or ()) for key in ("tasks", "finally")), recorded, now
    )
    patch = {
        "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
        "status": status.to_json(),
    }
    try:
        await api.patch_status(WORKFLOWS, key.namespace, key.name, patch)
    except (Conflict, NotFound):
        return  # it changed or went meanwhile, and the watch tells of that


def _status(result: object, generation: int, tasks: int, recorded: dict[str, Any], now: datetime) -> WorkflowStatus:
    ready = not isinstance(result, Unstartable)
    value = "True" if ready else "False"
    before = [entry for entry in recorded.get("conditions") or () if entry.get("type") == "Ready"]
    unchanged = bool(before) and before[0].get("status") == value
    condition = Condition(
        type="Ready",
        status="True" if ready else "False",
        observed_generation=generation,
        last_transition_time=before[0]["lastTransitionTime"] if unchanged else now,
        reason=(result.reason if isinstance(result, Unstartable) else Reason.VALID).value,
        message=result.message[:2_000] if isinstance(result, Unstartable) else "",
    )
    return WorkflowStatus(observed_generation=generation, conditions=[condition], task_count=tasks)
