"""Pods whose containers come one after the other: `fetch`, `task`, `put` (see nexus.adapters.kube.manifests.transfer).

All but the last are init containers. A pod with one container has one turn, and is as it always was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from nexus.adapters.kube.client.api import Object
from nexus.adapters.kube.containers import CONTAINER, FETCH, PUT

TAKES = 0.5
"""Seconds that a transfer takes."""

_LISTS = (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses"))


def containers(body: Object) -> Iterator[Object]:
    """Yield the containers of a pod, in the order of their turns."""
    for field, _ in _LISTS:
        yield from body["spec"].get(field) or []


def has(body: Object, name: str) -> bool:
    """Return whether a pod has this container."""
    return any(container["name"] == name for container in containers(body))


def set_states(body: Object, state: Object, turn: str | None = None) -> None:
    """Give the container whose turn it is its state, by default the task; those after it wait. In a pod of one turn
    every container gets the state."""
    order = [container["name"] for container in containers(body)]
    several = bool(body["spec"].get("initContainers"))
    known = {entry["name"]: entry["state"] for entry in statuses(body)}
    at = order.index(turn or CONTAINER) if several else 0
    waiting = {"waiting": {"reason": "PodInitializing"}}
    for field, statuses_field in _LISTS:
        entries = []
        for container in body["spec"].get(field) or []:
            place = order.index(container["name"])
            own = state if not several or place == at else known.get(container["name"], waiting)
            entries.append(_status(container, own))
        if entries:
            body["status"][statuses_field] = entries


def statuses(body: Object) -> list[Object]:
    """Return the statuses of all containers, in the order of their turns."""
    status = body.get("status", {})
    return [entry for _, field in _LISTS for entry in status.get(field) or []]


def ended(body: Object) -> Object | None:
    """Return how the task's container ended, None where it has not."""
    entries = statuses(body)
    named = [entry for entry in entries if entry["name"] == CONTAINER]
    for entry in named or entries:
        if "terminated" in entry["state"]:
            return dict(entry["state"]["terminated"])
    return None


def stored(body: Object, task_message: str) -> str:
    """Return the report of a transfer that finds everything it is to store: its sizes and hashes are of the
    names."""
    spec = next(container for container in containers(body) if container["name"] == PUT)
    told = json.loads(next(entry["value"] for entry in spec["env"] if entry["name"] == "NEXUS_TRANSFER"))
    attempt = hashlib.sha256(body["metadata"]["uid"].encode()).hexdigest()
    found: dict[str, Any] = {"id": attempt[:32]}
    artifacts = {entry["name"]: _of(entry["name"]) for entry in told["put"]}
    if artifacts:
        found["artifacts"] = artifacts
    if task_message.startswith('{"kept"'):
        kept = json.loads(task_message)["kept"]
        found["output"] = {"size": kept["size"], "sha256": kept["sha256"]}
    return json.dumps({"stored": found})


def _of(name: str) -> Object:
    return {"size": len(name), "sha256": hashlib.sha256(name.encode()).hexdigest()}


def _status(spec: Object, state: Object) -> Object:
    running = "running" in state
    return {
        "name": spec["name"],
        "image": spec.get("image", ""),
        "imageID": "",
        "state": state,
        "lastState": {},
        "ready": running,
        "started": running,
        "restartCount": 0,
    }


__all__ = ["CONTAINER", "FETCH", "PUT", "TAKES", "containers", "ended", "has", "set_states", "statuses", "stored"]
