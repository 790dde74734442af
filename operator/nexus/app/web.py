"""The operator's HTTP port: /healthz and /readyz for the kubelet, /metrics for Prometheus."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from nexus.app.watch_ages import WatchAges

SHUTDOWN_SECONDS = 0.5
"""For requests under way when the operator stops: a probe or a scrape takes milliseconds."""


class WebServer:
    """Answers on one port. Both a leader and a standby are ready as soon as their caches are filled."""

    def __init__(self, watches: WatchAges, exposition: Callable[[str], Awaitable[tuple[bytes, str]]]) -> None:
        """`exposition` gives what /metrics answers to an Accept header: the text and its content type."""
        self._watches = watches
        self._exposition = exposition
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> None:
        """Listen on all addresses. Raises OSError, for example if the port is in use."""
        application = web.Application()
        routes = (("/healthz", self._healthz), ("/readyz", self._readyz), ("/metrics", self._metrics))
        application.add_routes([web.get(path, handler) for path, handler in routes])
        # It handles neither the log nor signals; a probe every few seconds is not worth a line.
        self._runner = web.AppRunner(
            application, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await self._runner.setup()
        await web.SockSite(self._runner, _socket(port)).start()

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        """Fail if a restart would help: a watch is stale. A long backlog is not a reason."""
        return _verdict(self._watches.stale())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _verdict(self._watches.unread() or self._watches.stale())

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._exposition(request.headers.get("Accept", ""))
        # Header and not argument: aiohttp takes no charset in `content_type`, which Prometheus expects there.
        return web.Response(body=body, headers={"Content-Type": content_type})


def _verdict(troubles: list[str]) -> web.Response:
    text = "".join(f"{trouble}\n" for trouble in troubles) or "ok\n"
    return web.Response(status=503 if troubles else 200, text=text)


def _socket(port: int) -> socket.socket:
    """Return a socket for IPv4 and IPv6, or for IPv4 alone if the machine has no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
    return socket.create_server(("", port))
