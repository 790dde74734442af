"""Contract tests are coroutines that run once against the fake and once against a real API server."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.servers import FakeServer, RealServer, Server

from nexus.adapters.kube.client.api import KubeApi


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def server(request: pytest.FixtureRequest) -> Server:
    """One of the two."""
    return FakeServer() if request.param == "fake" else RealServer(request.getfixturevalue("kubeconfig"))


@pytest.fixture
def api(server: Server) -> KubeApi:
    """The port under test."""
    return server.api


@pytest.fixture
def namespace(server: Server) -> str:
    """An empty namespace of the test's own."""
    return server.namespace


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that takes a server in one event loop with it."""
    server = pyfuncitem.funcargs.get("server")
    if not isinstance(server, Server):
        return None
    names = pyfuncitem._fixtureinfo.argnames

    async def run(server: Server) -> None:
        await server.open()
        try:
            await pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
        finally:
            await server.close()

    asyncio.run(run(server))
    return True
