"""The operator's HTTP port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from yarl import URL

from nexus.adapters.prometheus import PrometheusStats
from nexus.app.watch_ages import KINDS, SETTLED_SECONDS, STALE_SECONDS, WatchAges
from nexus.app.web import WebServer
from nexus.runtime.label_limit import LabelLimit


def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """A server whose watches have a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ages = WatchAges("https://cluster.example", (), lambda: self.now)
        self.stats = PrometheusStats(LabelLimit())
        self.port = port()

    def run(self, story: Callable[[Served], Awaitable[None]]) -> None:
        async def told() -> None:
            server = WebServer(self.ages, self.stats.exposition)
            await server.start(self.port)
            try:
                await story(self)
            finally:
                await server.stop()

        asyncio.run(told())

    async def get(self, path: str, accept: str = "*/*") -> tuple[int, str, str]:
        """Status, content type and text."""
        async with (
            aiohttp.ClientSession(headers={"Accept": accept}) as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as response,
        ):
            return response.status, response.headers["Content-Type"], await response.text()

    def fill(self) -> None:
        """Every watch is open, and what it listed is seen."""
        for kind in KINDS:
            self.ages.answered(URL(f"https://cluster.example{kind.path(None)}?watch=true"), 200)
        self.now += SETTLED_SECONDS


def test_a_starting_operator_is_healthy_and_not_ready() -> None:
    async def story(served: Served) -> None:
        assert (await served.get("/healthz"))[0] == 200
        status, _, text = await served.get("/readyz")
        assert status == 503
        assert "workflowruns: not read yet\n" in text
        served.fill()
        assert (await served.get("/readyz"))[::2] == (200, "ok\n")

    Served().run(story)


def test_stale_watches_fail_both_probes_and_are_named() -> None:
    async def story(served: Served) -> None:
        served.fill()
        served.now += STALE_SECONDS + 1
        for path in ("/healthz", "/readyz"):
            status, _, text = await served.get(path)
            assert status == 503
            assert "pods: no message for 18" in text

    Served().run(story)


def test_metrics_come_in_the_form_that_is_asked_for() -> None:
    async def story(served: Served) -> None:
        served.stats.count("task_failures", 3, namespace="default", reason="TaskError")
        _, kind, text = await served.get("/metrics")
        assert kind.startswith("text/plain; version=")
        assert 'nexus_task_failures_total{namespace="default",reason="TaskError"} 3.0\n' in text
        _, kind, text = await served.get("/metrics", "application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")

    Served().run(story)


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    async def story(served: Served) -> None:
        with pytest.raises(OSError, match="in use"):
            await WebServer(served.ages, served.stats.exposition).start(served.port)

    Served().run(story)
