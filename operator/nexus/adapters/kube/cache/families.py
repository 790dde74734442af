"""Families: what is known of runs above and below another, from the cache of runs."""

from __future__ import annotations

from nexus.adapters.kube.cache.records import RunRecord
from nexus.adapters.kube.cache.runs import Cache
from nexus.core.tasks.child_run import MAX_DEPTH
from nexus.core.tasks.identity import is_recorded


def is_child(cache: Cache, namespace: str, parent: str, uid: str) -> bool:
    """Return whether a run, of which another (by its UID) is the controller, was made by that one: its status records
    it, or it was compared with what the task there starts."""
    home = cache.home(parent)
    if home is None or home.namespace != namespace:
        return False
    if uid in cache.vouched(parent):
        return True
    status = cache.runs[home].status
    tasks = {task.name: task for task in (status.tasks or () if status is not None else ())}
    found = cache.sorted(parent).children
    return any(child.uid == uid and is_recorded(tasks.get(name), child) for name in found for child in found[name])


def depth(cache: Cache, record: RunRecord) -> int:
    """Return the depth of a run below its root run. Where one of those above is not known (yet), its label
    says the rest."""
    above, deep = record, 0
    while above.parent and deep <= MAX_DEPTH:
        key = cache.home(above.parent)
        if key is None or key.namespace != record.key.namespace:
            return max(deep + 1, deep + above.depth)
        above, deep = cache.runs[key], deep + 1
    return deep


def approved_below(cache: Cache, run_uid: str) -> frozenset[str]:
    """Return the tasks of a run in whose child runs, or in those below, a person decided."""
    return frozenset(
        task
        for task, children in cache.sorted(run_uid).children.items()
        if any(_is_approved(cache, child.uid) for child in children)
    )


def _is_approved(cache: Cache, run_uid: str, deep: int = MAX_DEPTH) -> bool:
    key = cache.home(run_uid)
    if key is None:
        return False
    if cache.runs[key].approved:
        return True
    below = cache.sorted(run_uid).children.values() if deep else ()
    return any(_is_approved(cache, child.uid, deep - 1) for children in below for child in children)
