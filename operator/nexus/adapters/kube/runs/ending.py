"""Ending what is another object's life: deletions and cancels that tell a refusal from what is over already."""

from __future__ import annotations

from nexus.adapters.kube.client.api import WORKFLOW_RUNS, Conflict, Invalid, Kind, KubeApi, NotFound, Object
from nexus.api.run import Cancel


async def delete(api: KubeApi, kind: Kind, namespace: str, name: str, uid: str) -> None:
    """Delete an object, if it still is the one that was meant. Raises ApiError where it stays."""
    try:
        await api.delete(kind, namespace, name, uid)
    except (NotFound, Conflict) as error:
        try:
            body = await api.get(kind, namespace, name)
        except NotFound:
            return
        if body["metadata"]["uid"] == uid and "deletionTimestamp" not in body["metadata"]:
            raise error from None


async def cancel(api: KubeApi, namespace: str, name: str, uid: str, mode: Cancel) -> Object | None:
    """Have a run cancelled, if it still is the one that was meant; None where it is gone, another, or was cancelled so
    already. Raises ApiError where the API server refuses that."""
    patch: Object = {"metadata": {"uid": uid}, "spec": {"cancel": mode.value}}
    try:
        return await api.patch(WORKFLOW_RUNS, namespace, name, patch)
    except (NotFound, Conflict, Invalid) as error:
        # Invalid: by the CRD's rule, if another client was quicker and cancelled it Immediately; or by an admission
        # rule.
        return await _cancelled(api, namespace, name, uid, mode, error)


async def _cancelled(
    api: KubeApi, namespace: str, name: str, uid: str, mode: Cancel, refused: NotFound | Conflict | Invalid
) -> Object | None:
    """Return the run, where it is cancelled; None where it is gone or another one. Raises what was refused where
    neither."""
    try:
        body = await api.get(WORKFLOW_RUNS, namespace, name)
    except NotFound:
        return None
    if body["metadata"]["uid"] != uid:
        return None
    if (body.get("spec") or {}).get("cancel") in (mode.value, Cancel.IMMEDIATE.value):
        return body
    raise refused
