"""One HTTP exchange with the API server: the port behind the client's calls, with two adapters.

`transport_aiohttp` keeps many connections and streams; the operator lives on it. `transport_h11` is for commands that
make a call or two and end: it loads in a tenth of the time.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from nexus.adapters.kube.client.list_reader import Content


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; `path` is below the server's URL and not percent-encoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """The head of an answer, and its body as it arrives, decompressed."""

    status: int
    content: Content
    retry_after: str | None = None
    """The Retry-After header."""


class Unanswered(Exception):
    """There was no whole answer. The message says why in the system's words."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        """`sent` says whether the server may have received the request."""
        super().__init__(detail)
        self.sent = sent


class Transport(Protocol):
    """The connections to one server."""

    def exchange(self, request: Request, seconds: float) -> AbstractAsyncContextManager[Response]:
        """Send a request and yield the answer; all of it, reading the body included, within `seconds`.

        Raises:
            Unanswered: The connection or the time was used up first.
        """
        ...

    async def close(self) -> None:
        """Close all connections; the next exchange opens new ones."""
        ...


def detail(error: BaseException) -> str:
    """Return why a connection failed: `strerror` knows neither the numbers of the resolver nor those of TLS."""
    if isinstance(error, TimeoutError):
        return "no response in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verification failed: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
