"""The aiohttp client against a server on loopback that answers as told: what is repeated, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from aiohttp import web

from nexus.adapters.kube.client.access import Access, FixedCredentials
from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    JOBS,
    LOG_READ,
    PODS,
    ApiError,
    Conflict,
    Expired,
    Gate,
    Kind,
    NotFound,
    NotLeading,
    ServerError,
    Throttled,
    Unauthorized,
    Unreachable,
)
from nexus.adapters.kube.client.http import KubeClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = int | dict[str, Any] | web.Response | Handler
FOUND: dict[str, Any] = {"kind": "Job", "metadata": {"name": "j"}}


def status(code: int, reason: str = "", message: str = "no", **headers: str) -> web.Response:
    """An error as the API server says it."""
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code, headers=headers)


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Take the request and close the connection without an answer."""
    await request.read()
    assert request.transport is not None
    request.transport.close()
    return web.Response()


class RenewedToken:
    """Credentials whose token is a new one after each refusal."""

    def __init__(self) -> None:
        self.tokens = 0

    async def headers(self, *, refused: bool = False) -> Mapping[str, str]:
        """See Credentials."""
        self.tokens += refused
        return {"Authorization": f"Bearer t{self.tokens}"}


@pytest.fixture(params=[False, True], ids=["operator", "command"], autouse=True)
def _connections(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here holds for the connections of the operator, and for those of a command."""
    monkeypatch.setattr(Script, "short", request.param)


class Script:
    """A server that gives one answer after the other, the last one for ever, and notes what it was asked."""

    short: ClassVar[bool] = False

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.counted: list[tuple[str, str, int]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The next answer."""
        self.requests.append((request.method, request.path_qs))
        self.bodies.append(await request.read())
        self.headers.append(request.headers)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, web.Response):
            return answer
        if isinstance(answer, dict):
            return web.json_response(answer)
        return status(answer) if isinstance(answer, int) else await answer(request)

    def count(self, verb: str, kind: Kind, code: int, seconds: float) -> None:
        """The client's counter."""
        assert seconds >= 0
        self.counted.append((verb, kind.plural, code))

    def play(
        self,
        calls: Callable[[KubeClient], Awaitable[Any]],
        *,
        budget: float = 5.0,
        credentials: Any = None,
        gate: Gate | None = None,
    ) -> Any:
        """Let a client make its calls."""

        async def main() -> Any:
            application = web.Application(client_max_size=2**25)
            application.router.add_route("*", "/{path:.*}", self.handle)
            runner = web.AppRunner(application, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            access = Access(
                f"http://127.0.0.1:{runner.addresses[0][1]}", None, "default", credentials or FixedCredentials({})
            )
            try:
                async with KubeClient(access, counter=self.count, gate=gate, budget=budget, short=self.short) as client:
                    return await calls(client)
            finally:
                await runner.cleanup()

        return asyncio.run(main())

    @property
    def methods(self) -> str:
        """The methods asked for, in order."""
        return " ".join(method for method, _ in self.requests)


def get(client: KubeClient) -> Awaitable[Any]:
    """Read a Job."""
    return client.get(JOBS, "d", "j")


def create(client: KubeClient) -> Awaitable[Any]:
    """Create a Job."""
    return client.create(JOBS, "d", {"metadata": {"name": "j"}})


def delete(client: KubeClient) -> Awaitable[Any]:
    """Delete a Job by UID."""
    return client.delete(JOBS, "d", "j", "u1")


# -- what is repeated --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [500, 502, 503, 504, 429, hang_up])
def test_a_read_is_repeated_until_it_succeeds(trouble: Answer) -> None:
    script = Script(trouble, trouble, FOUND)
    assert script.play(get) == FOUND
    assert len(script.requests) >= 3


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_write_the_server_failed_at_is_not_repeated(code: int) -> None:
    script = Script(code)
    with pytest.raises(ServerError) as caught:
        script.play(create)
    assert (caught.value.status, script.methods) == (code, "POST")


def test_a_write_whose_answer_was_lost_is_not_repeated_and_says_so() -> None:
    script = Script(hang_up)
    with pytest.raises(Unreachable) as caught:
        script.play(create)
    assert (caught.value.outcome_unknown, script.methods) == (True, "POST")


def test_a_write_the_server_had_no_time_for_is_repeated_after_the_time_it_asks_for() -> None:
    script = Script(status(429, "TooManyRequests", **{"Retry-After": "1"}), FOUND)
    start = time.monotonic()
    assert script.play(create) == FOUND
    assert time.monotonic() - start >= 1
    assert script.methods == "POST POST"


def test_a_server_that_asks_for_more_time_than_there_is_gets_none() -> None:
    script = Script(status(429, "TooManyRequests", **{"Retry-After": "60"}))
    start = time.monotonic()
    with pytest.raises(Throttled) as caught:
        script.play(create)
    assert (caught.value.retry_after, script.methods) == (60, "POST")
    assert time.monotonic() - start < 2


def test_all_tries_together_keep_to_the_budget() -> None:
    script = Script(503)
    start = time.monotonic()
    with pytest.raises(ServerError):
        script.play(get, budget=0.6)
    assert time.monotonic() - start < 1.5
    assert len(script.requests) >= 2


def test_a_server_that_never_answers_is_given_up_within_the_budget() -> None:
    async def forever(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    start = time.monotonic()
    with pytest.raises(Unreachable, match="no response in time"):
        Script(forever).play(get, budget=0.5)
    assert time.monotonic() - start < 3


def test_a_refused_connection_is_known_to_have_done_nothing() -> None:
    async def main() -> None:
        access = Access("http://127.0.0.1:9", None, "default", FixedCredentials({}))
        async with KubeClient(access, budget=0.3, short=Script.short) as client:
            await create(client)

    with pytest.raises(Unreachable) as caught:
        asyncio.run(main())
    assert not caught.value.outcome_unknown
    assert caught.value.message == "cannot reach http://127.0.0.1:9: Connection refused"


def test_a_delete_that_names_a_uid_is_repeated() -> None:
    script = Script(hang_up, 503, FOUND)
    assert script.play(delete) is None
    assert script.methods == "DELETE DELETE DELETE"


def test_a_delete_of_what_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound):
        Script(status(404, "NotFound")).play(delete)


def test_a_delete_without_a_uid_is_not_repeated() -> None:
    script = Script(503)
    with pytest.raises(ServerError):
        script.play(lambda client: client.delete(JOBS, "d", "j", None))
    assert script.methods == "DELETE"


def test_an_expired_token_is_renewed_once() -> None:
    script = Script(status(401, "Unauthorized"), FOUND)
    assert script.play(create, credentials=RenewedToken()) == FOUND
    assert [headers["Authorization"] for headers in script.headers] == ["Bearer t0", "Bearer t1"]
    script = Script(401)
    with pytest.raises(Unauthorized):
        script.play(create, credentials=RenewedToken())
    assert script.methods == "POST POST"


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_bodies_are_compact_and_deletes_name_uid_and_propagation() -> None:
    script = Script(FOUND)

    async def calls(client: KubeClient) -> None:
        await client.create(JOBS, "d", {"metadata": {"name": "j", "labels": {"ü": "y"}}})
        await client.patch_status(JOBS, "d", "j", {"status": {"a": None}})
        await delete(client)

    script.play(calls)
    assert script.requests == [
        ("POST", "/apis/batch/v1/namespaces/d/jobs"),
        ("PATCH", "/apis/batch/v1/namespaces/d/jobs/j/status"),
        ("DELETE", "/apis/batch/v1/namespaces/d/jobs/j"),
    ]
    assert (
        script.bodies[0] == '{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j","labels":{"ü":"y"}}}'.encode()
    )
    assert script.bodies[1] == b'{"status":{"a":null}}'
    assert script.headers[1]["Content-Type"] == "application/merge-patch+json"
    assert script.bodies[2] == (
        b'{"apiVersion":"v1","kind":"DeleteOptions","propagationPolicy":"Background","preconditions":{"uid":"u1"}}'
    )


def test_every_exchange_is_counted_with_its_code() -> None:
    script = Script(503, FOUND, status(409, "AlreadyExists"), hang_up)

    async def calls(client: KubeClient) -> None:
        await get(client)
        for expected in (Conflict, Unreachable):
            with pytest.raises(expected):
                await create(client)

    script.play(calls)
    assert script.counted == [
        ("get", "jobs", 503),
        ("get", "jobs", 200),
        ("create", "jobs", 409),
        ("create", "jobs", 0),
    ]


def test_one_connection_serves_call_after_call() -> None:
    ports: set[Any] = set()

    async def note(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        return web.json_response(FOUND)

    async def calls(client: KubeClient) -> None:
        for _ in range(5):
            await get(client)

    Script(note).play(calls)
    assert len(ports) == 1


# -- answers -----------------------------------------------------------------------------------------------------------


def test_a_list_goes_through_all_pages_and_names_the_kind_of_its_items() -> None:
    first = {"metadata": {"resourceVersion": "5", "continue": "more"}, "items": [{"metadata": {"name": "a"}}]}
    second = {"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "b"}}]}
    script = Script(first, second)
    found = script.play(lambda client: client.list(CONFIG_MAPS, None, "a=b"))
    assert [(body["metadata"]["name"], body["apiVersion"], body["kind"]) for body in found] == [
        ("a", "v1", "ConfigMap"),
        ("b", "v1", "ConfigMap"),
    ]
    assert found.resource_version == "5"
    assert [path for _, path in script.requests] == [
        "/api/v1/configmaps?labelSelector=a%3Db&limit=500",
        "/api/v1/configmaps?labelSelector=a%3Db&limit=500&continue=more",
    ]


def test_a_list_whose_pages_expired_is_read_again_in_one_piece() -> None:
    first = {"metadata": {"continue": "old"}, "items": [{"metadata": {"name": "a"}}]}
    whole = {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]}
    script = Script(first, status(410, "Expired"), whole)
    found = script.play(lambda client: client.list(CONFIG_MAPS, "d"))
    assert [body["metadata"]["name"] for body in found] == ["b"]
    assert script.requests[-1] == ("GET", "/api/v1/namespaces/d/configmaps")


def test_for_uids_only_metadata_comes_in_pages_or_whole_where_they_expired() -> None:
    first = {"metadata": {"continue": "old"}, "items": [{"metadata": {"name": "a", "uid": "1"}}]}
    whole = {
        "metadata": {},
        "items": [{"metadata": {"name": "b", "uid": "2"}}, {"metadata": {"name": "c", "uid": "3"}}],
    }
    script = Script(first, status(410, "Expired"), whole)
    assert script.play(lambda client: client.uids(CONFIG_MAPS, None, "a=b")) == {"2", "3"}
    assert script.requests[0] == ("GET", "/api/v1/configmaps?labelSelector=a%3Db&limit=500")
    assert {"as=PartialObjectMetadataList" in headers["Accept"] for headers in script.headers} == {True}


def test_of_nothing_there_are_no_uids() -> None:
    script = Script({"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "5"}, "items": None})
    assert script.play(lambda client: client.uids(CONFIG_MAPS, None)) == set()


def test_an_error_that_is_no_status_shows_the_beginning_of_what_came() -> None:
    script = Script(web.Response(status=403, text="<html>the proxy says no</html>"))
    with pytest.raises(ApiError, match="the proxy says no") as caught:
        script.play(get)
    assert (caught.value.kind, caught.value.name, caught.value.status) == ("Job", "j", 403)


def test_an_error_says_what_it_is_about() -> None:
    script = Script(status(409, "AlreadyExists", 'jobs.batch "j" already exists'))
    with pytest.raises(Conflict) as caught:
        script.play(create)
    assert str(caught.value) == 'Job j: jobs.batch "j" already exists (409 AlreadyExists)'


def test_a_watch_takes_events_however_they_are_cut_and_raises_what_the_server_says() -> None:
    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        line = b'{"type":"ADDED","object":{"metadata":{"name":"%s"}}}\n'
        await response.write(line % b"a" + (line % (b"b" * 200_000))[:100])
        await asyncio.sleep(0.05)
        await response.write((line % (b"b" * 200_000))[100:])
        await response.write(b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}\n')
        return response

    async def calls(client: KubeClient) -> list[str]:
        watch = client.watch(JOBS, None, "x=y", "7")
        seen = [(await anext(watch)).object["metadata"]["name"] for _ in range(2)]
        with pytest.raises(Expired, match="too old"):
            await anext(watch)
        return seen

    script = Script(events)
    assert script.play(calls) == ["a", "b" * 200_000]
    assert script.requests[0][1].endswith("jobs?watch=true&timeoutSeconds=300&labelSelector=x%3Dy&resourceVersion=7")


def test_a_stream_that_cannot_be_opened_raises_what_the_server_says() -> None:
    async def calls(client: KubeClient) -> None:
        async for _ in client.stream_logs("d", "p", tail_lines=3):
            pass

    script = Script(status(404, "NotFound"))
    with pytest.raises(NotFound):
        script.play(calls)
    assert script.requests == [("GET", f"{PODS.path('d', 'p', 'log')}?container=task&follow=true&tailLines=3")]


def test_the_gate_is_asked_before_each_try_and_what_it_refuses_is_never_sent() -> None:
    asked: list[tuple[str, str]] = []

    async def gate(verb: str, kind: Kind) -> None:
        asked.append((verb, kind.plural))
        if len(asked) == 3:
            raise NotLeading("not sent")

    script = Script(status(429), status(429), FOUND)
    with pytest.raises(NotLeading):
        script.play(create, gate=gate)
    assert asked == [("create", "jobs")] * 3
    assert script.methods == "POST POST"


def test_time_at_the_gate_is_no_time_of_the_call() -> None:
    async def gate(verb: str, kind: Kind) -> None:
        del verb, kind
        await asyncio.sleep(0.4)

    assert Script(FOUND).play(get, gate=gate, budget=0.3)["kind"] == "Job"


def test_of_a_log_that_has_no_end_only_the_end_of_what_was_read_is_kept() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        number = 0
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"%07d\n" % number * 8_192)
                number += 1
        return response

    kept = Script(endless).play(lambda client: client.logs("d", "p", keep_bytes=100_000))
    last = int(kept.splitlines()[-2])
    assert len(kept) == 100_000
    assert (last + 1) * 65_536 >= LOG_READ


def test_an_answer_that_is_no_json_is_an_error_of_the_server() -> None:
    for ask in (lambda client: client.get(JOBS, "d", "j"), lambda client: client.list(JOBS, "d")):
        with pytest.raises(ServerError, match="cannot read the response"):
            Script(web.Response(body=b"<html>", content_type="text/html")).play(ask)


def test_a_large_answer_may_come_compressed() -> None:
    async def packed(request: web.Request) -> web.StreamResponse:
        assert "gzip" in request.headers["Accept-Encoding"]
        response = web.json_response({**FOUND, "spec": {"text": "a" * 3_000_000}})
        response.enable_compression(web.ContentCoding.gzip)
        return response

    assert Script(packed).play(get)["spec"]["text"] == "a" * 3_000_000


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("http://nowhere.invalid", "Name or service not known|nodename nor servname"),
        ("https://127.0.0.1:{port}", "TLS failed: [A-Z_]+ "),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_in_words(server: str, words: str) -> None:
    async def main() -> None:
        async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 no TLS here\r\n\r\n")
            writer.close()

        plain = await asyncio.start_server(refuse, "127.0.0.1")
        address = server.format(port=plain.sockets[0].getsockname()[1])
        access = Access(address, ssl.create_default_context(), "default", FixedCredentials({}))
        async with plain, KubeClient(access, budget=3, short=Script.short) as client:
            await create(client)

    with pytest.raises(Unreachable, match=words) as caught:
        asyncio.run(main())
    assert not caught.value.outcome_unknown


def test_a_proxy_is_asked_for_the_api_server() -> None:
    async def calls(client: KubeClient) -> Any:
        access = replace(client.access, server="http://cluster.invalid", proxy=client.access.server)
        async with KubeClient(access, budget=3, short=Script.short) as behind:
            return await get(behind)

    script = Script(FOUND)
    assert script.play(calls) == FOUND
    assert [headers["Host"] for headers in script.headers] == ["cluster.invalid"]
