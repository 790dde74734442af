"""HTTP on aiohttp: one session with kept-alive connections, proxies, and streams that go on for hours."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from nexus import __version__
from nexus.adapters.kube.client.access import Access
from nexus.adapters.kube.client.transport import Request, Response, Unanswered, detail

KEEP_ALIVE = 60.0
"""Seconds an idle connection is kept: less than the 90 s after which the API server closes it, so that no write meets a
connection that is being closed and comes back with its outcome unknown."""


class AiohttpTransport:
    """See `Transport`; it streams as well."""

    def __init__(self, access: Access, agent: str, connections: int) -> None:
        """`agent` is how the API server's audit log knows the caller; more than `connections` are never open."""
        self._access = access
        self._agent = agent
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def exchange(self, request: Request, seconds: float) -> AsyncIterator[Response]:
        """See `Transport`."""
        async with self._answer(request, aiohttp.ClientTimeout(total=seconds)) as response:
            yield Response(response.status, response.content, response.headers.get("Retry-After"))

    @asynccontextmanager
    async def stream(self, request: Request, connect_seconds: float) -> AsyncIterator[tuple[int, aiohttp.StreamReader]]:
        """Yield the status and the body of an answer that may be endless; only the connection has a
        time limit. Raises Unanswered."""
        async with self._answer(request, aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)) as response:
            yield response.status, response.content

    async def close(self) -> None:
        """See `Transport`."""
        if self._session:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def _answer(self, request: Request, limits: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEP_ALIVE),
                headers={"User-Agent": f"{self._agent}/{__version__}"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        access, body = self._access, request.body
        try:
            async with self._session.request(
                request.method,
                access.server + request.path,
                params=request.params,
                # aiohttp warns of larger ones as bytes: it would hand them to the transport in one piece.
                data=io.BytesIO(body) if body is not None and len(body) > 2**20 else body,
                headers=request.headers,
                timeout=limits,
                ssl=access.tls if access.tls is not None else True,
                server_hostname=access.tls_server_name,
                proxy=access.proxy,
                allow_redirects=False,
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Connector errors come before anything was sent, all others may come after everything was.
            raise Unanswered(_detail(error), sent=not isinstance(error, aiohttp.ClientConnectorError)) from error


def _detail(error: Exception) -> str:
    """Return the system's own words: aiohttp's hold the repr of a TLS context."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return detail(error.certificate_error)
    return detail(error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error)
