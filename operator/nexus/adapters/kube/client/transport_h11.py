"""HTTP for short commands: h11, which knows the protocol, over asyncio's streams."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlencode, urlsplit

import h11

from nexus import __version__
from nexus.adapters.kube.client.access import Access
from nexus.adapters.kube.client.transport import Request, Response, Unanswered, detail

_READ = 64 * 1024
_IDLE_SECONDS = 60.0
"""How long a connection is kept: the API server closes it after 90."""
_NEXT_ADDRESS_SECONDS = 0.25
"""After which a host's next address is tried too (RFC 8305)."""


class H11Transport:
    """See `Transport`. It knows no proxy: `transport_aiohttp` does."""

    def __init__(self, access: Access, agent: str) -> None:
        """`agent` is how the API server's audit log knows the caller."""
        self._access = access
        self._server = urlsplit(access.server)
        self._head = {
            "Host": self._server.netloc.rpartition("@")[2],
            "User-Agent": f"{agent}/{__version__}",
            "Accept-Encoding": "gzip",
        }
        self._idle: list[_Connection] = []

    @asynccontextmanager
    async def exchange(self, request: Request, seconds: float) -> AsyncIterator[Response]:
        """See `Transport`."""
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(seconds):
                connection = self._kept() or await self._opened()
                await connection.send(self._target(request), request, self._head)
                yield await connection.response()
        except (h11.ProtocolError, TimeoutError, OSError, zlib.error) as error:
            raise Unanswered(detail(error), sent=connection is not None) from error
        finally:
            if connection is not None and connection.is_reusable():
                self._idle.append(connection)
            elif connection is not None:
                connection.close()

    async def close(self) -> None:
        """See `Transport`."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # for the transports to see it

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open(time.monotonic()):
                return connection
            connection.close()
        return None

    async def _opened(self) -> _Connection:
        server, tls = self._server, self._access.tls
        port = server.port or (443 if server.scheme == "https" else 80)
        name = None if tls is None else self._access.tls_server_name or server.hostname
        streams = await asyncio.open_connection(
            server.hostname,
            port,
            limit=_READ,
            ssl=tls,
            server_hostname=name,
            happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
        )
        return _Connection(*streams)

    def _target(self, request: Request) -> str:
        query = urlencode(request.params)
        return self._server.path + quote(request.path) + (f"?{query}" if query else "")


class _Connection:
    """A connection, for one exchange at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._protocol = h11.Connection(h11.CLIENT)
        self._used = time.monotonic()

    async def send(self, target: str, request: Request, head: dict[str, str]) -> None:
        """Send a request."""
        body = request.body or b""
        length = {} if request.body is None else {"Content-Length": str(len(body))}
        headers = [*{**head, **request.headers, **length}.items()]
        begin = h11.Request(method=request.method, target=target, headers=headers)
        for event in (begin, h11.Data(body), h11.EndOfMessage()):
            self._writer.write(self._protocol.send(event) or b"")
        await self._writer.drain()

    async def response(self) -> Response:
        """Read the head of the answer."""
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        if not isinstance(event, h11.Response):
            raise ConnectionError("Server disconnected")
        headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        gzipped = headers.get("content-encoding") == "gzip"
        return Response(event.status_code, _Body(self._data(), gzipped), headers.get("retry-after"))

    def is_open(self, now: float) -> bool:
        """Return whether another exchange may be tried on it."""
        return not self._reader.at_eof() and not self._writer.is_closing() and now - self._used < _IDLE_SECONDS

    def is_reusable(self) -> bool:
        """Return whether its exchange has ended, body included, and another one may follow."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        self._used = time.monotonic()
        return True

    def close(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()

    async def _data(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    async def _next(self) -> h11.Event | None:
        """Return what comes next; None where no answer was asked for."""
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self._reader.read(_READ))
        return event if isinstance(event, h11.Event) else None


class _Body:
    """The body of an answer, as `list_reader.Content`."""

    def __init__(self, parts: AsyncIterator[bytes], gzipped: bool) -> None:
        self._parts = parts
        self._unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if gzipped else None

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """See Content."""
        async for part in self._parts:
            for chunk in self._chunks(part, n):
                yield chunk

    def _chunks(self, part: bytes, size: int) -> Iterator[bytes]:
        if self._unpack is None:
            yield from (part[start : start + size] for start in range(0, len(part), size))
            return
        chunk = part
        while part or len(chunk) == size:
            # Chunk by chunk, for a short part may be a thousand times its bytes when unpacked.
            chunk = self._unpack.decompress(part, size)
            part = self._unpack.unconsumed_tail
            if chunk:
                yield chunk
