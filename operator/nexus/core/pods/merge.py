"""Pod merge: a task's `pod` over the workflow's defaults. By field; maps by key, named lists by name; the task wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from nexus.api.pod import Pod, Resources

Entry = TypeVar("Entry")

_MAPS = ("node_selector", "labels", "annotations")
# What tells the entries of a list apart. Tolerations and spread constraints have no names: the task's list is the list.
_LISTS: dict[str, Callable[[Any], str]] = {
    "volumes": lambda volume: volume.name,
    "volume_mounts": lambda mount: mount.mount_path,
    "image_pull_secrets": lambda secret: secret.name,
}


def merged(default: Pod | None, own: Pod | None) -> Pod | None:
    """Return the `pod` of a task with the workflow's defaults in it."""
    if default is None or own is None:
        return own or default
    update: dict[str, Any] = {
        name: getattr(own, name) for name in type(own).model_fields if getattr(own, name) is not None
    }
    for name in _MAPS:
        update[name] = {**(getattr(default, name) or {}), **(getattr(own, name) or {})} or None
    for name, key in _LISTS.items():
        update[name] = _by_key(getattr(default, name) or (), getattr(own, name) or (), key) or None
    update["resources"] = _resources(default.resources, own.resources)
    return default.model_copy(update=update)


def _by_key(defaults: Sequence[Entry], own: Sequence[Entry], key: Callable[[Entry], str]) -> list[Entry]:
    taken = {key(entry) for entry in own}
    return [*(entry for entry in defaults if key(entry) not in taken), *own]


def _resources(default: Resources | None, own: Resources | None) -> Resources | None:
    if default is None or own is None:
        return own or default
    return Resources(
        requests={**(default.requests or {}), **(own.requests or {})} or None,
        limits={**(default.limits or {}), **(own.limits or {})} or None,
    )
