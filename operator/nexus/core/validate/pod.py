"""Checks of `pod`: what the schema cannot say of labels, quantities, volumes and their mounts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from nexus.api.base import GROUP
from nexus.api.codes import Code
from nexus.api.pod import VOLUME_SOURCES, Pod, Resources, Volume, VolumeMount
from nexus.core.manifest.problem import Path, Problem, duplicates
from nexus.core.pods import render
from nexus.core.pods.quantity import amount
from nexus.core.text.similar_names import closest, did_you_mean

# Labels that the Job controller and the operator go by; everybody else's, Kueue's above all, are for the author.
_TAKEN_DOMAINS = (GROUP, "batch.kubernetes.io", "kubernetes.io", "k8s.io")
_TAKEN_LABELS = ("job-name", "controller-uid")
# Annotations that once chose, and on some nodes still choose, profiles of AppArmor and seccomp.
_PROFILES = re.compile(r"(.*\.)?security\.(alpha|beta)\.kubernetes\.io")
_KEY = re.compile(
    r"(?P<domain>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
# Mounts that would take the place of what the container, the kubelet or the task contract needs there.
_TAKEN_PATHS = ("/", "/tmp", "/dev", "/dev/termination-log")
_TAKEN_TREES = ("/nexus", "/artifacts", "/proc", "/sys")


def pod_problems(path: Path, pod: Pod | None, task: str | None) -> Iterator[Problem]:
    """Yield what is wrong with a `pod` at `path` by itself; its mounts are checked together with the defaults'."""
    if pod is None:
        return
    for problem in _of(path, pod):
        yield Problem(problem.path, problem.code, problem.message, task, problem.offset)


def _of(path: Path, pod: Pod) -> Iterator[Problem]:
    for field, text in render.literal(pod):
        if "${{" in text:
            what = "the author chooses account, images, volumes and nodes; write the value itself"
            yield Problem(
                (*path, *field),
                Code.EXPRESSION_NOT_ALLOWED,
                f"${{{{ }}}} is not supported here: {what}",
                offset=text.index("${{"),
            )
    for attribute, name in render.MAPS.items():
        for key, value in (getattr(pod, attribute) or {}).items():
            yield from _entry((*path, name), name, key, value)
    yield from _resources((*path, "resources"), pod.resources)
    yield from _volumes((*path, "volumes"), pod.volumes or [])
    yield from _mount_paths((*path, "volumeMounts"), pod.volume_mounts or [])


def mounts(path: Path, own: Pod | None, merged: Pod | None, task: str | None) -> Iterator[Problem]:
    """Yield mounts of a task whose volume neither the task nor the defaults have."""
    if own is None or merged is None:
        return
    known = [volume.name for volume in merged.volumes or ()]
    for position, mount in enumerate(own.volume_mounts or ()):
        if mount.name not in known:
            close = closest(mount.name, known)
            hint = did_you_mean(close) if close else "add it to pod.volumes"
            yield Problem(
                (*path, "volumeMounts", position, "name"),
                Code.UNKNOWN_VOLUME,
                f'unknown volume "{mount.name}"; {hint}',
                task,
            )


def is_label_key(text: str) -> bool:
    """Return whether Kubernetes accepts a key of a label or annotation: name, or domain/name."""
    return _KEY.fullmatch(text) is not None and len(text.rpartition("/")[0]) <= 253


def _entry(path: Path, field: str, key: str, value: str) -> Iterator[Problem]:
    """Yield one label, annotation or entry of a nodeSelector."""
    found = _KEY.fullmatch(key)
    domain = (found["domain"] or "")[:-1] if found is not None else ""
    if found is None:
        yield Problem(
            (*path, key), Code.INVALID_LABEL, "invalid key; use a name of at most 63 characters, or domain/name"
        )
    elif field != "nodeSelector" and (domain in _TAKEN_DOMAINS or domain.endswith(f".{GROUP}") or key in _TAKEN_LABELS):
        yield Problem(
            (*path, key),
            Code.RESERVED_NAME,
            f'"{domain or key}" is reserved for NEXUS and Kubernetes; choose another key',
        )
    elif field == "annotations" and _PROFILES.fullmatch(domain):
        yield Problem(
            (*path, key),
            Code.NO_EFFECT,
            "the pod's security profile is always RuntimeDefault; remove this annotation",
        )
    if field != "annotations" and "${{" not in value and not _LABEL_VALUE.fullmatch(value):
        rule = "at most 63 letters, digits, -, _ and ., the first and the last a letter or digit"
        yield Problem((*path, key), Code.INVALID_LABEL, f'invalid label value "{value[:80]}"; {rule}')


def _resources(path: Path, resources: Resources | None) -> Iterator[Problem]:
    if resources is None:
        return
    for field in ("requests", "limits"):
        for name, quantity in (getattr(resources, field) or {}).items():
            if isinstance(quantity, str) and "${{" in quantity:
                continue
            number = amount(quantity)
            if number is None or number < 0:
                yield Problem(
                    (*path, field, name),
                    Code.INVALID_QUANTITY,
                    f'invalid quantity "{quantity}"; write it as 500m, 2, 64Mi or 1.5Gi',
                )
            elif "/" in name and number != int(number):
                yield Problem(
                    (*path, field, name), Code.INVALID_QUANTITY, f'{name} must be an integer, got "{quantity}"'
                )
    for name, request in (resources.requests or {}).items():
        limit = (resources.limits or {}).get(name)
        wanted, most = amount(request), amount(limit) if limit is not None else None
        if wanted is not None and most is not None and wanted > most:
            yield Problem(
                (*path, "requests", name),
                Code.OUT_OF_RANGE,
                f"request {request} exceeds limit {limit}; raise the limit",
            )


def _volumes(path: Path, volumes: list[Volume]) -> Iterator[Problem]:
    yield from duplicates(path, [volume.name for volume in volumes], "volume")
    for position, volume in enumerate(volumes):
        at = (*path, position)
        if volume.name in ("tmp", "nexus", "artifacts", "store"):
            yield Problem(
                (*at, "name"),
                Code.RESERVED_NAME,
                f'volume name "{volume.name}" is reserved; choose another name',
            )
        sources = [name for attribute, name in VOLUME_SOURCES.items() if getattr(volume, attribute) is not None]
        if len(sources) != 1:
            has = f"has {' and '.join(sources)}" if sources else "has no source"
            yield Problem(
                at,
                Code.EXCLUSIVE_FIELDS,
                f"volume {volume.name} {has}; set exactly one of {', '.join(VOLUME_SOURCES.values())}",
            )
        size = volume.empty_dir.size_limit if volume.empty_dir is not None else None
        if size is not None and "${{" not in str(size) and amount(size) is None:
            yield Problem(
                (*at, "emptyDir", "sizeLimit"),
                Code.INVALID_QUANTITY,
                f'invalid quantity "{size}"; write it as 64Mi or 1Gi',
            )
        for index, source in enumerate(volume.projected.sources if volume.projected is not None else ()):
            if (source.config_map is None) == (source.secret is None):
                yield Problem(
                    (*at, "projected", "sources", index),
                    Code.EXCLUSIVE_FIELDS,
                    "set exactly one of configMap and secret",
                )


def _mount_paths(path: Path, found: list[VolumeMount]) -> Iterator[Problem]:
    taken: set[str] = set()
    for position, mount in enumerate(found):
        at = (*path, position)
        place = "/" + posixpath.normpath(mount.mount_path).lstrip("/")  # it would keep two slashes in front
        if not mount.mount_path.startswith("/") or ".." in mount.mount_path.split("/") or ":" in mount.mount_path:
            yield Problem(
                (*at, "mountPath"),
                Code.INVALID_MOUNT,
                f'invalid path "{mount.mount_path}"; start it with /, without .. and :',
            )
        elif place in _TAKEN_PATHS or any(place == tree or place.startswith(f"{tree}/") for tree in _TAKEN_TREES):
            yield Problem(
                (*at, "mountPath"),
                Code.INVALID_MOUNT,
                f'path "{mount.mount_path}" is reserved; mount it elsewhere, as at /data',
            )
        elif place in taken:
            yield Problem((*at, "mountPath"), Code.INVALID_MOUNT, f'duplicate mount path "{place}"; choose another one')
        taken.add(place)
        if mount.sub_path is not None and (mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/")):
            yield Problem(
                (*at, "subPath"),
                Code.INVALID_MOUNT,
                f'invalid path "{mount.sub_path}": it leads out of the volume; write it relative, without ..',
            )
