"""The floor: the same DAG shapes as bare Jobs, each next one posted as soon as a container has terminated.

Nothing that drives Jobs can be faster than this: it keeps no status, makes no retry, and forgets everything.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from nexus.adapters.kube.client.api import JOBS, PODS, KubeApi

LABEL = "bench.nexus.dev/floor"


def job(shape: str, task: str, image: str) -> dict[str, Any]:
    """A bare Job with a no-op container, as a person would write it."""
    container = {"name": "task", "image": image, "command": ["/bin/true"]}
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod_security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "restartPolicy": "Never",
        "containers": [container | {"securityContext": security}],
        "securityContext": pod_security,
    }
    labels = {LABEL: shape, "bench.nexus.dev/task": task}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{shape}-{task}", "labels": labels},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


async def drive(api: KubeApi, namespace: str, shape: str, dag: Mapping[str, Sequence[str]], image: str) -> float:
    """Seconds from the first POST to the termination of the last container. `dag`: task to its dependencies."""
    began = time.monotonic()
    listing = await api.list(PODS, namespace, f"{LABEL}={shape}")
    done: set[str] = set()
    posted: set[str] = set()

    async def advance() -> None:
        for task, dependencies in dag.items():
            if task not in posted and done.issuperset(dependencies):
                posted.add(task)
                await api.create(JOBS, namespace, job(shape, task, image))

    await advance()
    async for event in api.watch(PODS, namespace, f"{LABEL}={shape}", listing.resource_version):
        for status in event.object.get("status", {}).get("containerStatuses") or ():
            if "terminated" in status["state"]:
                done.add(event.object["metadata"]["labels"]["bench.nexus.dev/task"])
        if len(done) == len(dag):
            return time.monotonic() - began
        await advance()
    raise RuntimeError("the watch ended before the last container did")
