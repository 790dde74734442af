"""The API server over HTTP: the port `KubeApi`.

Kept-alive connections, compact JSON, all tries of a call within one time budget. What is repeated and what is not is
defined in the docstring of `api`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nexus.adapters.kube.client.access import Access
from nexus.adapters.kube.client.api import (
    LOG_BYTES,
    LOG_READ,
    PODS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    ApiError,
    Counter,
    Expired,
    Gate,
    Kind,
    KubeApi,
    Listing,
    Object,
    ServerError,
    Unreachable,
    WatchEvent,
    error_from,
)
from nexus.adapters.kube.client.bounded_json import MAX_BYTES, STEP, NotJson, TooDeep, decode
from nexus.adapters.kube.client.brief import brief_object, read_object
from nexus.adapters.kube.client.list_reader import Content, read_bounded, read_event, read_list
from nexus.adapters.kube.client.transport import Request, Response, Transport, Unanswered
from nexus.runtime.share import served
from nexus.runtime.turnstile import Turnstile

if TYPE_CHECKING:
    from nexus.adapters.kube.client.transport_aiohttp import AiohttpTransport

BUDGET = 10.0
"""Seconds for all tries of one call together."""
CONNECTIONS = 16
"""Maximum number at once: each keeps 0.28 MiB of TLS buffers (asyncio), and a call takes milliseconds."""
PAGE = 500
"""Objects a LIST asks for at once, as kubectl does."""
LARGE_ANSWER = 128 * 1024
"""A longer answer to a write of a run or a Workflow comes in brief form."""
LOG_SECONDS = 5.0
"""For reading a log, whatever comes."""
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""The form of a LIST that has nothing of its objects but their metadata."""
WATCH_SECONDS = 300
"""After how long a watch asks the server to end it; the caller opens the next one."""
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 2.0
_SERVER_TROUBLE = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class _Call:
    verb: str
    kind: Kind
    method: str
    path: str
    name: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    body: Object | None = None
    content_type: str = "application/json"
    accept: str = "application/json"
    harmless: bool = False
    """Whether doing it twice does nothing more than doing it once."""
    item: Callable[[bytes], Object] | None = None
    """Of a LIST: what becomes of each item's JSON text."""
    keep_bytes: int = 0
    """Of a log: how much of its end."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after: float = 0.0
    items: Sequence[Object] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)
    """Of a LIST: it without its items."""


class KubeClient(KubeApi):
    """An API server. Use it as an async context manager, or call close()."""

    def __init__(
        self,
        access: Access,
        *,
        counter: Counter | None = None,
        gate: Gate | None = None,
        budget: float = BUDGET,
        agent: str = "nexus",
        short: bool = False,
    ) -> None:
        """`counter` is called with every HTTP exchange; `gate` is asked before every call and may hold it up or refuse
        it; `budget` is the time for all tries of one call, in seconds; `agent` is how the API server's audit log knows
        the caller; `short` is for a process that makes a few calls and ends: it loads a tenth of the modules."""
        self.access = access
        self._agent = agent
        self._count = counter or (lambda _verb, _kind, _code, _seconds: None)
        self._gate = gate
        self._budget = budget
        self._places = Turnstile(CONNECTIONS)
        self._calls = _short(access, agent) if short else _long(access, agent)

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        await self._calls.close()
        if "_streams" in vars(self):
            await self._streams.close()

    # -- the port ----------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See KubeApi."""
        return await self._object(_Call("get", kind, "GET", kind.path(namespace, name), name, harmless=True))

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        label_selector: str = "",
        *,
        field_selector: str = "",
        in_brief: bool = False,
    ) -> Listing:
        """See KubeApi."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        params = {key: text for key, text in selectors.items() if text}
        item = partial(brief_object, kind) if in_brief else read_object
        try:
            return await self._whole(kind, namespace, {**params, "limit": str(PAGE)}, item)
        except Expired:
            # The pages' snapshot was compacted away while we read: one LIST in one piece, as client-go's pager does.
            return await self._whole(kind, namespace, params, item)

    async def uids(self, kind: Kind, namespace: str | None, label_selector: str = "") -> set[str]:
        """See KubeApi."""
        params = {"labelSelector": label_selector} if label_selector else {}
        try:
            return await self._uids(kind, namespace, {**params, "limit": str(PAGE)})
        except Expired:
            return await self._uids(kind, namespace, params)

    async def _whole(
        self, kind: Kind, namespace: str | None, params: Mapping[str, str], item: Callable[[bytes], Object]
    ) -> Listing:
        items: Objects = []
        version = ""
        async for page in self._pages(kind, namespace, params, item):
            # Items of a list come without them, alone among all answers.
            items += ({"apiVersion": kind.api_version, "kind": kind.kind, **found} for found in page.items)
            version = page.rest["metadata"].get("resourceVersion", "")
        return Listing(items, version)

    async def _uids(self, kind: Kind, namespace: str | None, params: Mapping[str, str]) -> set[str]:
        pages = self._pages(kind, namespace, params, partial(brief_object, kind), accept=METADATA_ONLY)
        return {item["metadata"]["uid"] async for page in pages for item in page.items}

    async def _pages(
        self,
        kind: Kind,
        namespace: str | None,
        params: Mapping[str, str],
        item: Callable[[bytes], Object],
        accept: str = "application/json",
    ) -> AsyncIterator[_Answer]:
        path = kind.path(namespace)
        while True:
            page = await self._call(
                _Call("list", kind, "GET", path, params=params, accept=accept, harmless=True, item=item)
            )
            if not isinstance(page.rest.get("metadata"), dict):
                raise _nonsense(kind, "", "no list")
            yield page
            if not page.rest["metadata"].get("continue"):
                return
            params = {**params, "continue": page.rest["metadata"]["continue"]}

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """See KubeApi."""
        name = body.get("metadata", {}).get("name", "")
        body = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        return await self._object(_Call("create", kind, "POST", kind.path(namespace), name, body=body))

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """See KubeApi."""
        return await self._patch("patch", kind, kind.path(namespace, name), name, patch)

    async def patch_status(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """See KubeApi."""
        return await self._patch("patch_status", kind, kind.path(namespace, name, "status"), name, patch)

    async def replace_status(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """See KubeApi."""
        path, head = kind.path(namespace, name, "status"), {"apiVersion": kind.api_version, "kind": kind.kind}
        body = {**head, **body, "metadata": {"name": name, "namespace": namespace, **body["metadata"]}}
        return await self._object(_Call("replace_status", kind, "PUT", path, name, body=body))

    async def _patch(self, verb: str, kind: Kind, path: str, name: str, patch: Object) -> Object:
        call = _Call(verb, kind, "PATCH", path, name, body=patch, content_type="application/merge-patch+json")
        return await self._object(call)

    async def _object(self, call: _Call) -> Object:
        body = (await self._call(call)).body
        made = call.method != "GET" and call.kind in (WORKFLOWS, WORKFLOW_RUNS) and len(body) > LARGE_ANSWER
        # Who wrote an object knows what is in it: sixteen answers of 1.4 MiB at once would be 600 MiB of trees.
        read = partial(brief_object, call.kind) if made else read_object
        try:
            # Off the event loop where it may take milliseconds.
            found = await asyncio.to_thread(read, body) if len(body) > STEP else read(body)
        except NotJson as error:
            raise _nonsense(call.kind, call.name, str(error)) from error
        return found

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str | None) -> None:
        """See KubeApi."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        path = kind.path(namespace, name)
        await self._call(_Call("delete", kind, "DELETE", path, name, body=options, harmless=uid is not None))

    async def logs(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "task",
        tail_lines: int | None = None,
        keep_bytes: int = LOG_BYTES,
    ) -> bytes:
        """See KubeApi."""
        call = _log_call(namespace, pod, {"container": container}, tail_lines)
        return (await self._call(replace(call, harmless=True, keep_bytes=keep_bytes))).body

    async def stream_logs(
        self, namespace: str, pod: str, *, container: str = "task", tail_lines: int | None = None, follow: bool = True
    ) -> AsyncIterator[bytes]:
        """See KubeApi."""
        params = {"container": container, **({"follow": "true"} if follow else {})}
        async with self._stream(_log_call(namespace, pod, params, tail_lines)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def watch(
        self, kind: Kind, namespace: str | None, label_selector: str = "", resource_version: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """See KubeApi."""
        params = {"watch": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        if label_selector:
            params["labelSelector"] = label_selector
        if resource_version:
            params["resourceVersion"] = resource_version
        rest = b""
        async with self._stream(_Call("watch", kind, "GET", kind.path(namespace), params=params)) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_BYTES:
                    raise _nonsense(kind, "", f"a line of over {MAX_BYTES:,} bytes")
                for line in lines:
                    event = _event(kind, line)
                    if event.type == "ERROR":
                        status = event.object
                        code, reason = int(status.get("code", 500)), status.get("reason", "")
                        raise error_from(code, reason, status.get("message", ""), kind=kind.kind)
                    yield event

    # -- one call, as often as it takes ------------------------------------------------------------------------------

    async def _call(self, call: _Call) -> _Answer:
        await self._pass(call)
        end = time.monotonic() + self._budget
        delay, refused = _FIRST_DELAY, False
        while True:
            try:
                asked = time.monotonic()
                async with self._places.place(served()):
                    end += time.monotonic() - asked  # for the places only this operator is to blame
                    answer = await self._exchange(call, end - time.monotonic(), refused=refused)
            except Unreachable as unreachable:
                error: ApiError = unreachable
                again = call.harmless or not unreachable.outcome_unknown
            else:
                if answer.status < 400:
                    return answer
                error = _error(call, answer)
                if answer.status == 401 and not refused:
                    refused = True  # a token may have expired just now: once more with a fresh one
                    continue
                again = answer.status == 429 or (call.harmless and answer.status in _SERVER_TROUBLE)
            # Spread, for what refused us refused everybody at the same time.
            pause = error.retry_after or random.uniform(0.5, 1.0) * delay
            if not again or time.monotonic() + pause >= end:
                raise error
            await asyncio.sleep(pause)
            await self._pass(call)
            delay = min(_LONGEST_DELAY, delay * 2)

    async def _pass(self, call: _Call) -> None:
        """Ask the gate, before each try: what was allowed seconds ago need not be any more."""
        if self._gate is not None:
            await self._gate(call.verb, call.kind)

    async def _exchange(self, call: _Call, seconds: float, *, refused: bool) -> _Answer:
        start, code = time.monotonic(), 0
        try:
            async with self._calls.exchange(await self._request(call, refused=refused), max(0.01, seconds)) as response:
                if call.item is not None and response.status < 400:
                    answer = await _read_items(response, call.item)
                elif call.keep_bytes and response.status < 400:
                    answer = _Answer(response.status, await _read_end(response.content, call.keep_bytes))
                else:
                    body = await read_bounded(response.content)
                    answer = _Answer(response.status, body, _seconds(response.retry_after))
                code = answer.status
                return answer
        except NotJson as error:
            raise _nonsense(call.kind, call.name, str(error)) from error
        except Unanswered as error:
            raise self._unreachable(call, error) from error
        finally:
            self._count(call.verb, call.kind, code, time.monotonic() - start)

    @asynccontextmanager
    async def _stream(self, call: _Call) -> AsyncIterator[AsyncIterator[bytes]]:
        """Chunks as they come; opening it is tried once, and neither it nor the stream has a time limit."""
        start = time.monotonic()
        try:
            request = await self._request(call, refused=False)
            async with self._streams.stream(request, self._budget) as (status, content):
                self._count(call.verb, call.kind, status, time.monotonic() - start)
                if status >= 400:
                    raise _error(call, _Answer(status, await read_bounded(content)))
                yield content.iter_any()
        except Unanswered as error:
            raise self._unreachable(call, error) from error

    @cached_property
    def _streams(self) -> AiohttpTransport:
        """What streams: the connections of all calls, or, where those are for short ones, others."""
        from nexus.adapters.kube.client.transport_aiohttp import AiohttpTransport

        return (
            self._calls
            if isinstance(self._calls, AiohttpTransport)
            else AiohttpTransport(self.access, self._agent, CONNECTIONS)
        )

    async def _request(self, call: _Call, *, refused: bool) -> Request:
        headers = {**await self.access.credentials.headers(refused=refused), "Accept": call.accept}
        if call.body is None:
            return Request(call.method, call.path, headers, call.params)
        headers["Content-Type"] = call.content_type
        return Request(call.method, call.path, headers, call.params, _encoded(call.body))

    def _unreachable(self, call: _Call, error: Unanswered) -> Unreachable:
        message = f"cannot reach {self.access.server}: {error}"
        return Unreachable(message, kind=call.kind.kind, name=call.name, outcome_unknown=error.sent)


def _long(access: Access, agent: str) -> Transport:
    from nexus.adapters.kube.client.transport_aiohttp import AiohttpTransport

    return AiohttpTransport(access, agent, CONNECTIONS)


def _short(access: Access, agent: str) -> Transport:
    if access.proxy is not None:
        return _long(access, agent)
    from nexus.adapters.kube.client.transport_h11 import H11Transport

    return H11Transport(access, agent)


Objects = list[Object]


def _encoded(body: Object) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


async def _read_items(response: Response, item: Callable[[bytes], Object]) -> _Answer:
    items: Objects = []

    async def take(text: bytes) -> None:
        items.append(await asyncio.to_thread(item, text) if len(text) > STEP else item(text))

    rest = await read_list(response.content, take)
    return _Answer(response.status, b"", items=items, rest=rest)


async def _read_end(content: Content, keep: int) -> bytes:
    """Return the last bytes of a log. One that a task goes on writing may come without an end, as fast as it can be
    read."""
    kept, read = bytearray(), 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOG_SECONDS):
            async for chunk in content.iter_chunked(STEP):
                kept += chunk
                read += len(chunk)
                if len(kept) > keep + 16 * STEP:
                    del kept[:-keep]
                if read >= LOG_READ:
                    break
    return bytes(kept[-keep:])


def _log_call(namespace: str, pod: str, params: Mapping[str, str], tail_lines: int | None) -> _Call:
    tail = {} if tail_lines is None else {"tailLines": str(tail_lines)}
    return _Call("logs", PODS, "GET", PODS.path(namespace, pod, "log"), pod, params={**params, **tail})


def _event(kind: Kind, line: bytes) -> WatchEvent:
    try:
        name, text = read_event(line)
        return WatchEvent(name, read_object(text))
    except NotJson as error:
        raise _nonsense(kind, "", str(error)) from error


def _nonsense(kind: Kind, name: str, what: str) -> ServerError:
    """Return an answer that is none of the API server's, as a proxy's page with code 200."""
    return ServerError(f"cannot read the response: {what}", kind=kind.kind, name=name)


def _error(call: _Call, answer: _Answer) -> ApiError:
    """Return the error in a Status body, or, where a proxy answered in its own words, in the body's beginning."""
    try:
        status = decode(answer.body)
        reason, message = str(status.get("reason", "")), str(status["message"])
    except (NotJson, TooDeep, KeyError, AttributeError, TypeError):
        reason, message = "", answer.body[:200].decode(errors="replace").strip() or "no explanation"
    return error_from(
        answer.status, reason, message, kind=call.kind.kind, name=call.name, retry_after=answer.retry_after
    )


def _seconds(text: str | None) -> float:
    """Retry-After in seconds; the API server never sends the form with a date."""
    return float(text) if text and text.isdigit() else 0.0
