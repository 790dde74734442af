"""The two API servers that the contract tests ask the same questions: the fake one, and a real one."""

from __future__ import annotations

import asyncio
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nexus.adapters.fake import FakeCluster
from nexus.adapters.fake.outcome import Behaviour
from nexus.adapters.kube.client.access import from_kubeconfig
from nexus.adapters.kube.client.api import ApiError, Kind, KubeApi, NotFound, Object
from nexus.adapters.kube.client.http import KubeClient

NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False)

Check = Callable[[], Awaitable[Any]]


class Server(ABC):
    """An API server with an empty namespace in it."""

    api: KubeApi
    namespace: str

    @abstractmethod
    async def open(self) -> None:
        """Get ready; to be called in the event loop of the test."""

    @abstractmethod
    async def close(self) -> None:
        """Leave nothing behind."""

    @abstractmethod
    async def eventually(self, check: Check, seconds: float = 60.0) -> Any:
        """Wait until the check gives something true, and return that. Calls that fail count as not yet."""

    @abstractmethod
    async def evict(self, pod: str) -> None:
        """Evict a pod as `kubectl drain` does."""

    @abstractmethod
    def container(self, command: str, outcome: Behaviour) -> Object:
        """A container named `task` that runs a shell command, or behaves like it."""


async def _tried(check: Check) -> Any:
    try:
        return await check()
    except ApiError:
        return None


class FakeServer(Server):
    """The fake cluster; waiting moves its clock."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.api = self.cluster
        self.namespace = "default"

    async def open(self) -> None:
        """There is nothing to do."""

    async def close(self) -> None:
        """There is nothing to do."""

    async def eventually(self, check: Check, seconds: float = 60.0) -> Any:
        """See Server."""
        for _ in range(int(seconds * 10)):
            if found := await _tried(check):
                return found
            self.cluster.advance(0.1)
        raise AssertionError(f"not within {seconds} s")

    async def evict(self, pod: str) -> None:
        """See Server."""
        self.cluster.evict(pod)

    def container(self, command: str, outcome: Behaviour) -> Object:
        """See Server."""
        self.cluster.script("", outcome)
        return {"name": "task", "image": "busybox", "command": ["sh", "-c", command]}


class RealServer(Server):
    """A cluster of which the tests are the administrator."""

    IMAGE = "nexus/task-bash:dev"

    def __init__(self, kubeconfig: Path) -> None:
        self.client = KubeClient(from_kubeconfig([kubeconfig]))
        self.api = self.client
        self.namespace = f"contract-{secrets.token_hex(4)}"

    async def open(self) -> None:
        """Make a namespace of our own."""
        await self.api.create(NAMESPACES, "", {"metadata": {"name": self.namespace}})

    async def close(self) -> None:
        """Delete the namespace; it goes on by itself."""
        with suppress(NotFound):
            await self.api.delete(NAMESPACES, "", self.namespace, None)
        await self.client.close()

    async def eventually(self, check: Check, seconds: float = 60.0) -> Any:
        """See Server."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := await _tried(check):
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"not within {seconds} s")

    async def evict(self, pod: str) -> None:
        """See Server."""
        eviction = {"apiVersion": "policy/v1", "metadata": {"name": pod, "namespace": self.namespace}}
        await self.api.create(Kind("", "v1", f"pods/{pod}/eviction", "Eviction"), self.namespace, eviction)

    def container(self, command: str, outcome: Behaviour) -> Object:
        """See Server."""
        del outcome
        return {
            "name": "task",
            "image": self.IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", command],
        }
