"""Runs that have ended: the one thing that may still change in their status is what is refused after their end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nexus.adapters.kube.client.api import WORKFLOW_RUNS, Conflict, KubeApi, NotFound
from nexus.api.workflow import Condition
from nexus.core.model.facts import RunFact
from nexus.core.model.refusal import CONDITION, Refusal, refusal_condition
from nexus.runtime.ports import Stale


async def tell(api: KubeApi, run: RunFact, refused: Sequence[Refusal], now: datetime) -> None:
    """Write the condition WriteRefused into the status as it is stored: the cache keeps little of it. Raises Stale."""
    try:
        body = await api.get(WORKFLOW_RUNS, run.namespace, run.name)
    except NotFound:
        return
    if body["metadata"]["uid"] != run.uid:
        return
    status = body.get("status") or {}
    stored = status.get("conditions") or []
    known = [Condition.model_validate(entry) for entry in stored if entry["type"] == CONDITION]
    conditions = refusal_condition(known, refused, run.generation, now)
    if conditions == known:
        return
    others = [entry for entry in stored if entry["type"] != CONDITION]
    changed = {**status, "conditions": [*others, *(entry.to_json() for entry in conditions)]}
    metadata = {"resourceVersion": body["metadata"]["resourceVersion"], "uid": run.uid}
    try:
        await api.replace_status(WORKFLOW_RUNS, run.namespace, run.name, {"metadata": metadata, "status": changed})
    except (Conflict, NotFound) as error:
        raise Stale(str(error)) from error
