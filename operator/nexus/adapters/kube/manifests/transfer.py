"""The containers of a pod that move data to and from the output store.

They come one after the other: `fetch`, then `task`, then `put`. All but the last are init containers, which the kubelet
runs in their order, each when the one before it has exited with 0. So `task` finds its inputs there, and `put` runs
once, after the code and only where that succeeded: no sidecar that has to find out, none that has to be stopped. Where
`put` fails the pod has failed, and with it the attempt. Only pods that move something have them.
"""

from __future__ import annotations

from typing import Any

from nexus import bootstrap
from nexus.adapters.kube.containers import FETCH, PUT
from nexus.adapters.kube.manifests.pod import literal
from nexus.core.model.plan import Payload, Transfer
from nexus.core.tasks.transfers import SHARED, instructions, variable

VOLUME = "artifacts"
CLAIM = "store"
ROOT = "/store"
# `make bench` moves 1 GiB within 84 MiB: four chunks of 8 MiB under way, as many in the library, and the interpreter.
RESOURCES = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


def task_env(payload: Payload) -> list[dict[str, Any]]:
    """Return the variables by which a task finds what is shared. First, so that its own may name them as
    $(ARTIFACT_X)."""
    transfer = payload.transfer
    assert transfer is not None
    env = [{"name": "NEXUS_ARTIFACTS", "value": SHARED}]
    env += [
        {"name": variable(name), "value": f"{SHARED}/{name}"}
        for name in (*transfer.artifacts_in, *transfer.artifacts_out)
    ]
    if transfer.keeps_output:
        env.append({"name": "NEXUS_OUTPUT_FILE", "value": f"{SHARED}/.nexus/output.json"})
    return env


def add_containers(spec: dict[str, Any], transfer: Transfer, image: str) -> None:
    """Put the transfer's containers around the one that the PodSpec has."""
    (task,) = spec["containers"]
    spec["volumes"].append({"name": VOLUME, "emptyDir": {}})
    task["volumeMounts"].append({"name": VOLUME, "mountPath": SHARED})
    if transfer.store.volume_claim is not None:
        spec["volumes"].append({"name": CLAIM, "persistentVolumeClaim": {"claimName": transfer.store.volume_claim}})
    order = [
        *([_container(FETCH, transfer, image, task)] if transfer.fetches else []),
        task,
        *([_container(PUT, transfer, image, task)] if transfer.puts else []),
    ]
    spec["initContainers"], spec["containers"] = order[:-1], order[-1:]


def _container(name: str, transfer: Transfer, image: str, task: dict[str, Any]) -> dict[str, Any]:
    told = instructions(transfer, _store(transfer))
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "command": ["python3", "-c", literal(bootstrap.packed("transfer")), name],
        "env": [
            {"name": "HOME", "value": "/tmp"},
            {"name": "NEXUS_ARTIFACTS", "value": SHARED},
            {"name": "NEXUS_TRANSFER", "value": literal(told)},
        ],
        "securityContext": {**task["securityContext"], "readOnlyRootFilesystem": True},
        "resources": RESOURCES,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": VOLUME, "mountPath": SHARED}],
    }
    if transfer.store.credentials_secret is not None:
        container["envFrom"] = [{"secretRef": {"name": transfer.store.credentials_secret}}]
    if transfer.store.volume_claim is not None:
        container["volumeMounts"].append({"name": CLAIM, "mountPath": ROOT})
    return container


def _store(transfer: Transfer) -> dict[str, Any]:
    store = transfer.store
    assert store.url is not None
    if store.volume_claim is not None:
        return {"root": f"{ROOT}/{store.url.removeprefix('file:///')}".rstrip("/")}
    told = {"url": store.url.rstrip("/"), "endpoint": store.endpoint, "region": store.region}
    return {name: value for name, value in told.items() if value is not None}
