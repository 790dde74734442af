"""What kopf is given in place of the API server's answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from nexus.adapters.kube.client.api import PODS, WORKFLOW_RUNS
from nexus.adapters.kube.client.brief import UNREADABLE
from nexus.adapters.kube.client.watch_response import BoundedResponse


class Impatient(BoundedResponse):
    """One that breaks off at once."""

    pause = 0.0


RUNS = WORKFLOW_RUNS.path(None)


def run(name: str, levels: int = 0) -> str:
    """A WorkflowRun, as JSON."""
    spec = '{"params":{"p":' + "[" * levels + "]" * levels + "}}" if levels else "{}"
    return f'{{"metadata":{{"name":"{name}","managedFields":[]}},"spec":{spec}}}'


def play(path: str, answer: bytes, ask: Callable[[aiohttp.ClientResponse], Awaitable[Any]], code: int = 200) -> Any:
    """What `ask` finds in an answer to a session with our response class."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=answer, status=code, content_type="application/json")

    async def main() -> Any:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
        try:
            async with aiohttp.ClientSession(response_class=Impatient) as session, session.get(url) as response:
                return await ask(response)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


async def lines(response: aiohttp.ClientResponse) -> list[Any]:
    """The events of a watch, as kopf reads them."""
    text = b"".join([chunk async for chunk in response.content.iter_chunked(2**20)])
    return [json.loads(line) for line in text.splitlines()]


async def value(response: aiohttp.ClientResponse) -> Any:
    """The JSON of an answer, as kopf reads it."""
    return await response.json()


def test_a_list_comes_in_brief_and_what_is_too_deep_in_it_as_a_stub() -> None:
    items = ",".join((run("a"), run("b", 5_000), run("c", 200), run("d", 1)))
    found = play(RUNS, f'{{"kind":"L","items":[{items}],"metadata":{{"continue":"x"}}}}'.encode(), value)
    assert (found["kind"], found["metadata"]) == ("L", {"continue": "x"})
    assert [item["metadata"] for item in found["items"]] == [{"name": name} for name in "abcd"]
    assert [UNREADABLE in item for item in found["items"]] == [False, True, True, False]
    assert found["items"][3]["spec"] == {"params": {"p": []}}


def test_the_lines_of_a_watch_come_in_brief_and_bookmarks_as_they_are() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"kind": "WorkflowRun", "metadata": {"resourceVersion": "9"}}}
    watched = [f'{{"type":"ADDED","object":{run("a", levels)}}}' for levels in (1, 20_000)]
    found = play(f"{RUNS}?watch=true", "\n".join([*watched, json.dumps(bookmark), ""]).encode(), lines)
    assert [event["type"] for event in found] == ["ADDED", "ADDED", "BOOKMARK"]
    assert [UNREADABLE in event["object"] for event in found] == [False, True, False]
    assert found[2] == bookmark


def pod(version: int, phase: str, ip: str = "", uid: str = "u") -> str:
    """A pod, as JSON."""
    metadata = {"name": "p", "uid": uid, "resourceVersion": str(version)}
    return json.dumps({"metadata": metadata, "status": {"phase": phase, "podIP": ip}})


def test_a_change_of_a_pod_that_nobody_reads_comes_as_a_bookmark() -> None:
    events = [
        ("ADDED", pod(1, "Pending")),
        ("MODIFIED", pod(2, "Pending", ip="10.0.0.1")),
        ("ADDED", pod(3, "Pending", uid="another")),
        ("MODIFIED", pod(4, "Running")),
        ("MODIFIED", pod(5, "Pending")),
        ("MODIFIED", pod(6, "Pending", ip="10.0.0.2")),
        ("DELETED", pod(7, "Pending")),
        ("ADDED", pod(8, "Pending")),
    ]
    answer = "".join(f'{{"type":"{name}","object":{text}}}\n' for name, text in events).encode()
    found = play(f"{PODS.path(None)}?watch=true", answer, lines)
    assert [event["object"]["metadata"]["resourceVersion"] for event in found] == list("12345678")
    bookmark = "BOOKMARK"
    kinds = ["ADDED", bookmark, "ADDED", "MODIFIED", "MODIFIED", bookmark, "DELETED", "ADDED"]
    assert [event["type"] for event in found] == kinds


def test_a_pod_without_a_uid_is_news_each_time() -> None:
    text = pod(1, "Pending").replace('"uid": "u", ', "")
    assert '"uid"' not in text
    found = play(f"{PODS.path(None)}?watch=true", f'{{"type":"MODIFIED","object":{text}}}\n'.encode() * 2, lines)
    assert [event["type"] for event in found] == ["MODIFIED", "MODIFIED"]


@pytest.mark.parametrize("code", [410, 500, 429])
def test_a_watch_that_the_server_gives_up_is_listed_anew_whatever_it_says(code: int) -> None:
    error = {"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "no"}}
    (found,) = play(f"{RUNS}?watch=true", json.dumps(error).encode() + b"\n", lines)
    assert (found["type"], found["object"]["code"]) == ("ERROR", 410)


@pytest.mark.parametrize("path", [RUNS, f"{RUNS}?watch=true"])
@pytest.mark.parametrize("answer", [b"<html>\n", b'{"items":[{"metadata":\n', b'{"items":[7]}\n'])
def test_what_is_no_answer_of_an_api_server_counts_as_a_network_that_failed(path: str, answer: bytes) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        play(path, answer, lines if "watch" in path else value)


def test_errors_and_what_else_kopf_asks_for_come_as_they_are() -> None:
    assert play("/apis", b'{"groups":[]}', value) == {"groups": []}
    assert play(RUNS, b'{"code":403,"message":"no"}', value, code=403) == {"code": 403, "message": "no"}
    with pytest.raises(json.JSONDecodeError):
        play(RUNS, b"<html>", value, code=502)
