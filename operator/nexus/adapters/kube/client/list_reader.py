"""Answers as they arrive: the items of a LIST one after the other, each as its JSON text, so that no page is in memory
as a whole; the event in a line of a watch; a body that has a bound.

Of a LIST the API server writes either `{"kind":...,"metadata":{...},"items":[{...},{...}]}` or, of custom resources,
`{"apiVersion":...,"items":[...],"kind":...,"metadata":{...}}`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol

from nexus.adapters.kube.client.bounded_json import MAX_BYTES, NotJson, TooDeep, decode, encode, entries, fields

_WHOLE = 4 * 1024 * 1024
"""A shorter list is taken apart at once, by a parser in C; the way item by item takes five times as long."""
_HEAD = 64 * 1024
"""Beside the items there are a few short fields."""
_PART = 32 * 1024
"""Bytes that are looked through between two turns of the event loop."""
_ITEMS = re.compile(rb'"items"\s*:\s*\[')
# A string that continues in the next chunk has no quote at its end.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("?)|[\[{\]}]', re.DOTALL)
_STRING_END = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_EVENT = re.compile(rb'\{\s*"type"\s*:\s*"([A-Z]+)"\s*,\s*"object"\s*:\s*(?=\{)')
"""How each line of a watch begins (metav1.WatchEvent)."""
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_PAIRS = tuple(b"[" * levels + b"]" * levels for levels in (4096, 512, 64, 8, 1))
_ROUNDS = 8


class Content(Protocol):
    """The body of an answer, as aiohttp's StreamReader gives it."""

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Yield the body in chunks of at most `n` bytes, as they arrive."""
        ...


async def read_list(content: Content, take: Callable[[bytes], Awaitable[None]]) -> dict[str, Any]:
    """Call `take` with each item of a LIST, in their order, and return the list without them.

    Raises NotJson, also for an item over MAX_BYTES, and what `take` raises.
    """
    begun = bytearray()
    reader: ListReader | None = None
    async for chunk in content.iter_chunked(_PART):
        begun += chunk
        if reader is None and len(begun) <= _WHOLE:
            continue
        reader = reader or ListReader()
        await _feed(reader, bytes(begun), take)
        begun.clear()
    if reader is None:
        try:
            parts = fields(begun)
            items = entries(parts["items"]) if "items" in parts and bytes(parts["items"]) != b"null" else []
        except TooDeep:
            reader = ListReader()
            await _feed(reader, bytes(begun), take)
        else:
            for item in items:
                await take(bytes(item))
            parts.pop("items", None)
            return _fields(encode(parts))
    return _fields(reader.rest())


async def read_bounded(content: Content) -> bytes:
    """Return a body as a whole. Raises NotJson for one over MAX_BYTES, which no object of the API server has."""
    body = bytearray()
    async for chunk in content.iter_chunked(MAX_BYTES):
        body += chunk
        if len(body) > MAX_BYTES:
            raise NotJson(f"an answer of over {MAX_BYTES:,} bytes")
    return bytes(body)


def read_event(line: bytes) -> tuple[str, bytes]:
    """Return the type of a watch's event, and the JSON text of its object. Raises NotJson."""
    begin, line = _EVENT.match(line), line.rstrip()
    if begin is None or not line.endswith(b"}"):
        raise NotJson(f"{line[:80]!r} is not a watch event")
    return begin[1].decode(), line[begin.end() : -1]


async def _feed(reader: ListReader, text: bytes, take: Callable[[bytes], Awaitable[None]]) -> None:
    for start in range(0, len(text), _PART):
        for item in reader.feed(text[start : start + _PART]):
            await take(item)
        await asyncio.sleep(0)


def _fields(text: bytes) -> dict[str, Any]:
    found = decode(text)
    if not isinstance(found, dict):
        raise NotJson("the response is not a JSON object")
    return found


class ListReader:
    """Takes the body of a LIST in chunks and gives its items; `rest` is the list without them when it has ended.

    What is not a list at all, as a Status, is `rest` as a whole.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._item = bytearray()
        self._tail = bytearray()
        self._carried = b""
        self._depth = 0
        self._in_string = False
        self._state = self._before

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the items that end in this chunk. Raises NotJson for an item over MAX_BYTES."""
        part = self._carried + chunk
        # An escape stays in one piece.
        whole = len(part) - (len(part) - len(part.rstrip(b"\\"))) % 2
        self._carried = part[whole:]
        yield from self._state(part[:whole])

    def rest(self) -> bytes:
        """Return the list with no items in it, once its body has been fed. Raises NotJson where it broke off."""
        if self._state == self._between:
            raise NotJson("the list was interrupted")
        return bytes(self._head + (b"]" if self._state == self._after else b"") + self._tail + self._carried)

    def _before(self, part: bytes) -> Iterator[bytes]:
        self._head += part
        found = _ITEMS.search(self._head)
        if found is None:
            if len(self._head) > MAX_BYTES:
                raise NotJson(f"an answer of over {MAX_BYTES:,} bytes")
            return
        items = bytes(self._head[found.end() :])
        del self._head[found.end() :]
        self._state = self._between
        yield from self._between(items)

    def _between(self, part: bytes) -> Iterator[bytes]:
        """Within the list: between its items, or in one."""
        start = 0
        if self._in_string:
            end = _STRING_END.match(part)
            if end is None:
                self._keep(part)
                return
            self._in_string, start = False, end.end()
        # Only within an item that has filled a chunk already: in others an end is likely, and looked for below.
        if len(self._item) > _PART and self._goes_on(part, start):
            self._keep(part)
            return
        begun = 0
        for token in _TOKEN.finditer(part, start):
            kind = part[token.start()]
            if kind == 0x22:
                self._in_string = not token[1]
            elif kind in b"[{":
                if self._depth == 0:
                    begun = token.start()
                self._depth += 1
            elif self._depth == 0:
                self._state = self._after
                yield from self._after(part[token.end() :])
                return
            else:
                self._depth -= 1
                if self._depth == 0:
                    yield bytes(self._item) + part[begun : token.end()]
                    self._item.clear()
                    begun = token.end()
        if self._depth:
            self._keep(part[begun:])

    def _goes_on(self, part: bytes, start: int) -> bool:
        """Return whether the item certainly does not end in this part; the depth is as at its end then.

        In a few passes at the speed of memory: the tokens of `[[0],[0],...` take a hundred times as long.
        """
        text = part[start:]
        if b"\\" in text:
            text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = text.split(b'"')
        left = b"".join(pieces[::2]).translate(_BRACKETS, _NO_BRACKETS)
        for pair in _PAIRS:
            for _ in range(_ROUNDS):
                if left.count(b"]") < self._depth:
                    break
                left = left.replace(pair, b"")
        closing = left.count(b"]")
        if closing >= self._depth:
            return False
        self._depth += left.count(b"[") - closing
        self._in_string = len(pieces) % 2 == 0
        return True

    def _keep(self, part: bytes) -> None:
        self._item += part
        if len(self._item) > MAX_BYTES:
            raise NotJson(f"an object of over {MAX_BYTES:,} bytes")

    def _after(self, part: bytes) -> Iterator[bytes]:
        self._tail += part
        if len(self._tail) > _HEAD:
            raise NotJson(f"over {_HEAD:,} bytes behind the items of a list")
        yield from ()
