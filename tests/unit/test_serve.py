"""An operator process from its start to its end, against an API server on the loopback that answers as told."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from tests.e2e.operator_process import OperatorProcess

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import JOBS, LEASES, PODS, WORKFLOW_RUNS, WORKFLOWS, ApiError, Kind

SECONDS = 40
"""For what takes two on a machine with nothing else to do."""
# Kopf wants to know of namespaces, whatever it is to watch.
KINDS = (WORKFLOWS, WORKFLOW_RUNS, JOBS, PODS, Kind("", "v1", "namespaces", "Namespace", namespaced=False))


class ApiServer:
    """Discovery, empty lists, watches that tell nothing, and one Lease."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.gone = False
        """Whether the kinds are not there any more, and watches of them break off."""
        self.silent = False
        """Whether writes never come back."""
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(SECONDS)

    async def _listen(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    @property
    def holder(self) -> str:
        lease = self.cluster.find(LEASES, "default", "nexus")
        return str(lease["spec"]["holderIdentity"]) if lease is not None else ""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if (found := _discovery(request.path)) is not None:
            return web.json_response(found)
        if request.path.startswith(LEASES.path("default")):
            return await self._lease(request)
        if self.gone:
            return _status(404, "NotFound", "the server could not find the requested resource")
        if "watch" not in request.query:
            return web.json_response({"kind": "List", "metadata": {"resourceVersion": "1000"}, "items": []})
        stream = web.StreamResponse()
        await stream.prepare(request)
        while not self.gone:  # noqa: ASYNC110  set from another thread
            await asyncio.sleep(0.05)
        return stream

    async def _lease(self, request: web.Request) -> web.Response:
        while self.silent and not self.gone and request.method != "GET":  # noqa: ASYNC110  set from another thread
            await asyncio.sleep(0.05)
        try:
            if request.method == "POST":
                return web.json_response(await self.cluster.create(LEASES, "default", await request.json()))
            if request.method == "PATCH":
                return web.json_response(await self.cluster.patch(LEASES, "default", "nexus", await request.json()))
            return web.json_response(await self.cluster.get(LEASES, "default", "nexus"))
        except ApiError as error:
            return _status(error.status, error.reason, error.message)


def _status(code: int, reason: str, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": message}, status=code)


def _discovery(path: str) -> dict[str, Any] | None:
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        groups = sorted({(kind.group, kind.version) for kind in KINDS if kind.group})
        return {"groups": [_group(*each) for each in groups]}
    found = [kind for kind in KINDS if kind.path(None).rpartition("/")[0] == path]
    return {"resources": [_resource(kind) for kind in found]} if found else None


def _group(name: str, version: str) -> dict[str, Any]:
    entry = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [entry], "preferredVersion": entry}


def _resource(kind: Kind) -> dict[str, Any]:
    return {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "kind": kind.kind,
        "namespaced": kind.namespaced,
        "verbs": ["list", "watch", "patch"],
    }


@pytest.fixture
def server() -> Iterator[ApiServer]:
    served = ApiServer()
    served.start()
    yield served
    served.gone = True
    served.stop()


@pytest.fixture
def operator(server: ApiServer, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator process that takes the Lease, not started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    settings = {"NEXUS_LEASE": "nexus", "NEXUS_HTTP_PORT": str(port)}
    process = OperatorProcess(kubeconfig, tmp_path / "operator.log", settings=settings)
    yield process
    process.stop()


def until(holds: Callable[[], object], operator: OperatorProcess) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, operator.tail()
        time.sleep(0.1)


def test_it_gets_ready_takes_the_lease_and_gives_it_back_when_it_is_told_to_stop(
    server: ApiServer, operator: OperatorProcess
) -> None:
    operator.start()
    until(lambda: server.holder, operator)
    address = f"http://127.0.0.1:{operator.settings['NEXUS_HTTP_PORT']}"
    assert httpx.get(f"{address}/readyz").text == "ok\n"
    assert "nexus_leading 1.0" in httpx.get(f"{address}/metrics").text

    assert operator.stop() == 0
    assert server.holder == ""
    assert operator.alarms() == []


def test_it_ends_and_says_why_where_its_watches_cannot_go_on(server: ApiServer, operator: OperatorProcess) -> None:
    operator.start()
    until(lambda: server.holder, operator)
    server.gone = True
    assert operator.ended(SECONDS) == 1
    assert "could not find the requested resource" in operator.log()
    assert server.holder == ""


def test_it_ends_in_time_though_the_api_server_does_not_answer(server: ApiServer, operator: OperatorProcess) -> None:
    operator.start()
    until(lambda: server.holder, operator)
    server.silent = True
    assert operator.stop(15) in (0, 1)
