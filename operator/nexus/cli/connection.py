"""The way of a command into a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nexus.adapters.kube.client.access import AccessError, find_access
from nexus.adapters.kube.client.api import ApiError, KubeApi
from nexus.adapters.kube.client.http import KubeClient
from nexus.cli.ending import UsageError


@dataclass(frozen=True)
class Target:
    """Which cluster and namespace the user means, where the kubeconfig is not to decide."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[tuple[KubeApi, str]]:
    """Connect to the API server; yield it with the namespace. What it refuses is raised as UsageError."""
    try:
        access = find_access(target.kubeconfig, context=target.context)
        async with KubeClient(access, short=True) as api:
            yield api, target.namespace or access.namespace
    except (AccessError, ApiError) as error:
        raise UsageError(str(error)) from error
