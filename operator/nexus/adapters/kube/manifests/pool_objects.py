"""The objects of pools: a ConfigMap with everybody's sizes, which people write, and one a pool with its line.

The line is text that a person can read as well: an entry a line, those who hold and those who wait apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from nexus.adapters.kube.cache.parse import job_fact, pod_fact
from nexus.adapters.kube.client.api import Object
from nexus.adapters.kube.owners import owner_uid
from nexus.core.names import LABEL_POOL, LABEL_RUN, LABEL_TASK
from nexus.core.pools.queue import Entry, PoolQueue

HOLDERS, WAITING = "holders", "waiting"


def name_of(pool: str) -> str:
    """Return the name of the ConfigMap with a pool's line."""
    return f"nexus-pool-{pool}"


def object_of(pool: str, line: PoolQueue) -> Object:
    """Return the ConfigMap of a line."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name_of(pool), "labels": {LABEL_POOL: pool}},
        "data": {HOLDERS: _text(line.holders), WAITING: _text(line.waiting)},
    }


def _text(entries: Iterable[Entry]) -> str:
    return "".join(json.dumps(asdict(entry), separators=(",", ":")) + "\n" for entry in entries)


def line_of(body: Object) -> PoolQueue | None:
    """Return the line in a ConfigMap, None if another client made it unreadable."""
    data = body.get("data") or {}
    try:
        return PoolQueue(_entries(data[HOLDERS]), _entries(data[WAITING]))
    except (KeyError, TypeError, ValueError):
        return None


def _entries(text: str) -> tuple[Entry, ...]:
    found = tuple(Entry(**json.loads(line)) for line in text.splitlines())
    if any(not isinstance(value, str) for entry in found for value in asdict(entry).values()):
        raise TypeError
    return found


def entries_of(jobs: Sequence[Object], pods: Iterable[Object], since: str, size: int) -> tuple[Entry, ...]:
    """Return who holds slots of a pool, from Jobs and pods alone: Jobs that are not finished, and pods that are live.
    Where there are Jobs, there was a line, and grants in it that were not used yet: for them all other slots count as
    taken until they have run out."""
    found: dict[str, Entry] = {}
    for body in jobs:
        fact, uid = job_fact(body), owner_uid(body, "WorkflowRun")
        if fact is not None and uid is not None and not fact.finished:
            found[fact.name] = Entry(_label(body, LABEL_RUN), uid, fact.task, fact.name, since, "-")
    for body in pods:
        job = _label(body, "batch.kubernetes.io/job-name")
        if job and job not in found and pod_fact(body).live:
            found[job] = Entry(_label(body, LABEL_RUN), "", _label(body, LABEL_TASK), job, since, "-")
    unknown = range(size - len(found)) if jobs else ()
    return (*found.values(), *(Entry("-", "", "-", f"unknown-{number}", since, "-") for number in unknown))


def _label(body: Object, name: str) -> str:
    return str((body["metadata"].get("labels") or {}).get(name, ""))
