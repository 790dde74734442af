"""What kopf reads from the API server, bounded: a response class for the session that it is given.

Kopf takes the JSON of a LIST and of each line of a watch by itself, whatever its size and depth, and ends the operator
over what it cannot read. So it is handed brief forms (`brief`) in their place, made one object at a time; and an
invalid answer breaks the connection off, which kopf takes for a network that failed: it tries again.

Of the twelve changes that the Job and the pod of a one-task run go through, four change nothing that is read. Kopf gets
a bookmark in place of each: it continues from there, and no handler is called.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp

from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind
from nexus.adapters.kube.client.bounded_json import MAX_BYTES, STEP, NotJson, TooDeep, decode, encode
from nexus.adapters.kube.client.brief import Long, Read, brief, read_of
from nexus.adapters.kube.client.list_reader import Content, read_bounded, read_event, read_list

if TYPE_CHECKING:
    from aiohttp.connector import Connection

log = logging.getLogger("nexus")

_KINDS = {kind.plural: kind for kind in (WORKFLOWS, WORKFLOW_RUNS, JOBS, PODS)}
_EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}


class BoundedResponse(aiohttp.ClientResponse):
    """An answer whose objects are in brief form."""

    pause = 1.0
    """Seconds before what makes no sense breaks the connection off: a proxy's error page comes again at once."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """See ClientResponse."""
        await super().start(connection)
        kind = self._kind()
        if kind is not None and "watch" in self.url.query:
            # Kopf reads it by chunks; all else that is asked of it, the stream itself answers.
            self.content = _Lines(kind, self.content, self.pause)  # type: ignore[assignment]
        return self

    async def json(self, **_: Any) -> Any:
        """Return the value, of a LIST with its items in brief form."""
        kind = self._kind()
        try:
            if kind is None:
                return decode(await read_bounded(self.content))
            items: list[Any] = []

            async def take(text: bytes) -> None:
                items.append(decode(await brief_in_turn(kind, text)))

            rest = await read_list(self.content, take)
        except (NotJson, TooDeep) as error:
            if kind is None:
                raise json.JSONDecodeError(str(error), "", 0) from error
            log.warning("cannot read the list of %s: %s", kind.plural, error)
            await asyncio.sleep(self.pause)
            raise aiohttp.ClientPayloadError(str(error)) from error
        return {**rest, "items": items}

    def _kind(self) -> Kind | None:
        return _KINDS.get(self.url.path.rpartition("/")[2]) if self.status == 200 else None


async def brief_in_turn(kind: Kind, text: bytes) -> bytes:
    """Return the brief form of an object; other tasks of the loop have their turn with large ones. Raises NotJson."""
    try:
        found = brief(kind, text)
    except Long:
        found = await asyncio.to_thread(brief, kind, text, patient=True)
    if len(text) > STEP:
        await asyncio.sleep(0)
    return found


class _Lines:
    """The body of a watch, each line of it in brief form."""

    def __init__(self, kind: Kind, content: Content, pause: float) -> None:
        self._kind = kind
        # By the UID of an object, of what kopf was last given of it. As long as the connection: a minute.
        self._given: dict[bytes, bytes] = {}
        self._pause = pause
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Yield whole lines."""
        rest = bytearray()
        try:
            async for chunk in self._content.iter_chunked(n):
                end = chunk.rfind(b"\n")
                if end >= 0:
                    for line in (bytes(rest) + chunk[:end]).split(b"\n"):
                        if line:
                            yield await self._brief(line) + b"\n"
                    rest.clear()
                rest += chunk[end + 1 :]
                if len(rest) > MAX_BYTES:
                    raise NotJson(f"a line of over {MAX_BYTES:,} bytes")
        except NotJson as error:
            log.warning("cannot read the watch of %s; reopening it: %s", self._kind.plural, error)
            await asyncio.sleep(self._pause)
            raise aiohttp.ClientPayloadError(str(error)) from error

    async def _brief(self, line: bytes) -> bytes:
        name, text = read_event(line)
        if name == "BOOKMARK":
            return line
        if name == "ERROR":
            return self._error(text)
        found = await brief_in_turn(self._kind, text)
        read = read_of(self._kind, found)
        if read is not None and read.uid and not self._is_news(name, read):
            return b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":%b}}}' % read.version
        return b'{"type":"%b","object":%b}' % (name.encode(), found)

    def _is_news(self, name: str, read: Read) -> bool:
        """Return whether what is read of an object is other than what kopf was last given of it, or the object is
        gone."""
        if name == "DELETED":
            self._given.pop(read.uid, None)
            return True
        digest = hashlib.blake2b(read.facts, digest_size=16).digest()
        known = self._given.get(read.uid)
        self._given[read.uid] = digest
        return digest != known

    def _error(self, text: bytes) -> bytes:
        """Kopf lists anew after one that says 410, and ends over all others: they too pass by listing anew."""
        try:
            status = decode(text)
        except TooDeep as error:
            raise NotJson(str(error)) from error
        if status.get("code") != 410:
            log.warning("the watch of %s was interrupted: %s", self._kind.plural, str(status.get("message"))[:200])
        return encode(_EXPIRED)
