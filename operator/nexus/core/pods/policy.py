"""Pod policy: what an operator lets tasks ask of their pods.

The models are the allow-list for everybody; an operator takes more away, and alone gives root.
"""

from __future__ import annotations

from dataclasses import dataclass

from nexus.api.pod import VOLUME_SOURCES, Pod
from nexus.api.reasons import Reason

_IDS = {"run_as_user": "runAsUser", "run_as_group": "runAsGroup", "fs_group": "fsGroup"}


@dataclass(frozen=True, slots=True)
class PodPolicy:
    """Settings of an operator."""

    forbidden: frozenset[str] = frozenset()
    """Fields of `pod`, and sources of volumes as `volumes.csi`, that no task may have."""
    baseline: bool = False
    """Whether tasks may run as root: Pod Security `baseline` instead of `restricted`."""


RESTRICTED = PodPolicy()
"""What an operator allows that says nothing."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Why a task may not start."""

    reason: Reason
    message: str


def judge(pod: Pod | None, policy: PodPolicy) -> Forbidden | None:
    """Return what the operator refuses of a task's `pod`, defaults applied; None where it may start."""
    if pod is None:
        return None
    asked = fields_of(pod)
    refused = [name for name in asked if name in policy.forbidden]
    if refused:
        return Forbidden(
            Reason.POD_FIELD_FORBIDDEN,
            f"pod.{refused[0]}: this operator forbids it (NEXUS_POD_FORBIDDEN): remove it from the task and from "
            "defaults.pod, or ask who runs the operator",
        )
    root = [field for name, field in _IDS.items() if getattr(pod, name) == 0]
    if root and not policy.baseline:
        return Forbidden(
            Reason.RUNS_AS_ROOT,
            f"pod.{root[0]}: 0 is root, and this operator keeps pods to Pod Security restricted: give another number, "
            "or leave it out (65532)",
        )
    return None


def fields_of(pod: Pod) -> list[str]:
    """Return the fields that a `pod` has, as manifests write them, and its sources of volumes as `volumes.secret`."""
    names = list(pod.to_json())
    for volume in pod.volumes or ():
        names += [f"volumes.{name}" for source, name in VOLUME_SOURCES.items() if getattr(volume, source) is not None]
    return names
