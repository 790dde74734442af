"""The pod of an attempt: the hardened one that every task has, and in it what the task asks for."""

from __future__ import annotations

from typing import Any

from nexus.api.pod import Pod
from nexus.core.model.plan import Transfer

USER = 65532

# Of the pod's own fields those that are handed on as they are.
_HANDED_ON = (
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "serviceAccountName",
    "imagePullSecrets",
    "priorityClassName",
    "runtimeClassName",
)


def literal(text: str) -> str:
    """Return the text that the kubelet must not expand: it turns `$$` into `$`, and knows no other escape."""
    return text.replace("$", "$$")


def pod_spec(pod: Pod | None, container: dict[str, Any], volumes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the PodSpec. It passes Pod Security `restricted`, unless the operator let the task be root."""
    asked = (pod or Pod()).to_json()
    user = asked.get("runAsUser", USER)
    if "resources" in asked:
        container["resources"] = asked["resources"]
    container["volumeMounts"] = [*container.get("volumeMounts", ()), *asked.get("volumeMounts", ())]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": "serviceAccountName" in asked,
        "enableServiceLinks": False,
        "securityContext": {
            # Root stays without capabilities and privileges: it owns files, and no more.
            **({"runAsNonRoot": True} if user else {}),
            "runAsUser": user,
            "runAsGroup": asked.get("runAsGroup", USER),
            "fsGroup": asked.get("fsGroup", USER),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [*volumes, *asked.get("volumes", ())],
        **{field: asked[field] for field in _HANDED_ON if field in asked},
    }


def pod_labels(pod: Pod | None) -> dict[str, str]:
    """Return the labels of the pod and its Job that the task asks for; those of NEXUS go over them."""
    return dict(pod.labels or {}) if pod is not None else {}


def pod_annotations(pod: Pod | None, transfer: Transfer | None = None) -> dict[str, Any]:
    """Return the part of the pod's metadata that only it has."""
    asked = dict(pod.annotations or {}) if pod is not None else {}
    # Of several containers `kubectl logs` shows the task's.
    own = {"kubectl.kubernetes.io/default-container": "task"} if transfer is not None else {}
    return {"annotations": {**own, **asked}} if own or asked else {}
