"""A hundred objects of the worst kinds that an API server accepts, and a server on the loopback that serves them.

Half of them are there when an operator lists, the others come by the watch. The server keeps JSON text, answers what an
operator asks for, and stores the statuses that it writes: `python -m tests.hostile KIND [AMOUNT]` prints its port.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from aiohttp import web

from nexus.adapters.kube.client.api import JOBS, LEASES, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind

AMOUNT = 100
BYTES = 1_400_000
"""Of one object: etcd takes 1.5 MiB."""
KINDS = (WORKFLOWS, WORKFLOW_RUNS, JOBS, PODS, Kind("", "v1", "namespaces", "Namespace", namespaced=False))
TIME = "2026-11-23T09:00:00Z"

_VERSION = re.compile(rb'"resourceVersion":"\d+"')
Made = tuple[Kind, str, bytes]


def _object(kind: Kind, name: str, spec: str, status: str = "{}", metadata: str = "") -> Made:
    head = (
        f'"name":"{name}","namespace":"d","uid":"uid-{kind.plural}-{name}","resourceVersion":"@@","generation":1,'
        f'"creationTimestamp":"{TIME}"{metadata}'
    )
    text = f'{{"apiVersion":"{kind.api_version}","kind":"{kind.kind}","metadata":{{{head}}},"spec":{spec},'
    return kind, name, f'{text}"status":{status}}}'.encode()


def _run(number: int, params: str, workflow: str = "nope", status: str = "{}") -> Made:
    spec = f'{{"workflowRef":{{"name":"{workflow}"}},"params":{params}}}'
    return _object(WORKFLOW_RUNS, f"r{number}", spec, status)


def _wide(size: int) -> str:
    """Lists in lists: 26 bytes of Python for one of JSON."""
    return '{"p":[' + ",".join(["[0]"] * (size // 4)) + "]}"


def _deep(levels: int, size: int) -> str:
    one = "[" * levels + "]" * levels
    return '{"p":[' + ",".join([one] * max(1, size // (2 * levels + 1))) + "]}"


def _definition() -> str:
    """A valid one that is nearly all names of variables."""
    env = ",".join(f'{{"name":"A{number}"}}' for number in range(200))
    tasks = (f'{{"name":"t{number}","container":{{"image":"x"}},"env":[{env}]}}' for number in range(400))
    return '{"tasks":[' + ",".join(tasks) + "]}"


def _small() -> Made:
    """A Workflow whose runs wait for each other."""
    params = '[{"name":"p","type":"array"}]'
    task = '{"name":"t","wait":{"duration":"1h"}}'
    spec = f'{{"concurrency":{{"policy":"Queue"}},"suspend":true,"params":{params},"tasks":[{task}]}}'
    return _object(WORKFLOWS, "small", spec)


def _status() -> str:
    """Of a run under way: 500 tasks, 64 of them with an output of a kibibyte."""
    output = "[" + ",".join(["[0]"] * 250) + "]"
    tasks = [
        f'{{"name":"t{number}","phase":"{"Succeeded" if number < 64 else "Pending"}","message":"{"m" * 200}",'
        f'"output":{{"o":{output if number < 64 else 0}}}}}'
        for number in range(500)
    ]
    return f'{{"phase":"Running","startTime":"{TIME}","revision":"gone","tasks":[{",".join(tasks)}]}}'


def _scheduled(number: int) -> Made:
    params = ",".join(["[0]"] * 6_000)
    schedules = ",".join(f'{{"name":"s{each}","cron":"0 0 1 1 *","params":{{"p":[{params}]}}}}' for each in range(50))
    return _object(WORKFLOWS, f"w{number}", f'{{"schedules":[{schedules}],{_definition()[1:600]}]}}]}}')


def _pod(number: int) -> Made:
    owner = ',"ownerReferences":[{"kind":"Job","controller":true,"uid":"j","name":"j"}],"labels":{"nexus.dev/run":"r"}'
    env = ",".join('{"name":"A","value":""}' for _ in range(BYTES // 24))
    return _object(PODS, f"p{number}", f'{{"containers":[{{"env":[{env}]}}]}}', metadata=owner)


ENDED = '{"phase":"Failed","reason":"WorkflowNotFound"}'
SCENARIOS: dict[str, Callable[[int], Made]] = {
    "ended": lambda number: _run(number, _wide(BYTES), status=ENDED),
    "new": lambda number: _run(number, _wide(BYTES)),
    "waiting": lambda number: _run(number, _wide(60_000), "small"),
    "deep": lambda number: _run(number, _deep(9_000 if number % 2 else 600, BYTES)),
    "nested": lambda number: _run(number, _deep(90, BYTES)),
    "inline": lambda number: _object(WORKFLOW_RUNS, f"r{number}", f'{{"workflowSpec":{_definition()}}}'),
    "workflows": lambda number: _object(WORKFLOWS, f"w{number}", _definition()),
    "scheduled": _scheduled,
    "statuses": lambda number: _run(number, _wide(60_000), status=_status()),
    "pods": _pod,
}
"""What each of the hundred objects is."""


class HostileServer:
    """Discovery, the objects, and what is written to them."""

    def __init__(self, scenario: str, amount: int = AMOUNT) -> None:
        self._versions = count(1_000)
        self._objects: dict[tuple[str, str], bytes] = {}
        self._changed = asyncio.Condition()
        self._log: list[tuple[str, bytes]] = []
        self._late = [SCENARIOS[scenario](number) for number in range(amount)]
        self._keep(*_small())
        for made in self._late[: amount // 2]:
            self._keep(*made)
        del self._late[: amount // 2]
        self.statuses = 0

    def _keep(self, kind: Kind, name: str, text: bytes) -> bytes:
        text = text.replace(b'"@@"', b'"%d"' % next(self._versions), 1)
        self._objects[kind.plural, name] = text
        return text

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        if request.path == "/late":
            return await self._add_late()
        if (found := discovery(request.path)) is not None:
            return web.json_response(found)
        parts = request.path.strip("/").split("/")
        plural = parts[parts.index("d") + 1] if "d" in parts else parts[-1]
        name = parts[parts.index("d") + 2] if "d" in parts and len(parts) > parts.index("d") + 2 else ""
        if request.path.startswith(LEASES.path("default")) or request.method in ("POST", "DELETE"):
            return await self._write(request)
        if request.method in ("PUT", "PATCH"):
            return await self._status(plural, name, await request.json())
        if name:
            text = self._objects.get((plural, name))
            return _json(text) if text is not None else refusal(404, "NotFound", f"{plural} {name} not found")
        return await self._watch(request, plural) if "watch" in request.query else self._list(request, plural)

    def _list(self, request: web.Request, plural: str) -> web.Response:
        if "fieldSelector" in request.query:
            return _json(b'{"metadata":{"resourceVersion":"1"},"items":[]}')
        items = [text for (kind, _), text in self._objects.items() if kind == plural]
        return _json(b'{"kind":"List","metadata":{"resourceVersion":"1"},"items":[' + b",".join(items) + b"]}")

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        sent = 0
        while True:
            for kind, line in self._log[sent:]:
                if kind == plural:
                    await stream.write(line)
            sent = len(self._log)
            async with self._changed:
                while len(self._log) == sent:
                    await self._changed.wait()

    async def _tell(self, kind: str, type_: bytes, text: bytes) -> None:
        async with self._changed:
            self._log.append((kind, b'{"type":"%b","object":%b}\n' % (type_, text)))
            self._changed.notify_all()

    async def _add_late(self) -> web.Response:
        for made in self._late:
            await self._tell(made[0].plural, b"ADDED", self._keep(*made))
        self._late.clear()
        return web.json_response({"statuses": self.statuses})

    async def _write(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return refusal(404, "NotFound", "no Lease")
        body = await request.json()
        metadata = {"namespace": "d", "resourceVersion": "1", **body.get("metadata", {})}
        made = {**body, "metadata": {"uid": f"uid-{metadata.get('name')}", "creationTimestamp": TIME, **metadata}}
        return web.json_response(made, status=201 if request.method == "POST" else 200)

    async def _status(self, plural: str, name: str, body: dict[str, Any]) -> web.Response:
        stored = self._objects.get((plural, name))
        if stored is None:
            return refusal(404, "NotFound", f"{plural} {name} not found")
        self.statuses += 1
        # As text: the server's own parser does not take what is too deep either.
        status = json.dumps(body.get("status", {}), separators=(",", ":")).encode()
        text = stored.rpartition(b',"status":')[0] + b',"status":' + status + b"}"
        text = _VERSION.sub(b'"resourceVersion":"%d"' % next(self._versions), text, count=1)
        self._objects[plural, name] = text
        await self._tell(plural, b"MODIFIED", text)
        return _json(text)


def _json(text: bytes) -> web.Response:
    return web.Response(body=text, content_type="application/json")


def refusal(code: int, reason: str, message: str) -> web.Response:
    """An error as the API server says it."""
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": message}, status=code)


def discovery(path: str) -> dict[str, Any] | None:
    """What kopf asks for before it watches."""
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        return {"groups": list(_groups())}
    found = [kind for kind in KINDS if kind.path(None).rpartition("/")[0] == path]
    return {"resources": [_resource(kind) for kind in found]} if found else None


def _groups() -> Iterator[dict[str, Any]]:
    for name, version in sorted({(kind.group, kind.version) for kind in KINDS if kind.group}):
        entry = {"groupVersion": f"{name}/{version}", "version": version}
        yield {"name": name, "versions": [entry], "preferredVersion": entry}


def _resource(kind: Kind) -> dict[str, Any]:
    return {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "kind": kind.kind,
        "namespaced": kind.namespaced,
        "verbs": ["list", "watch", "patch"],
    }


async def serve(scenario: str, amount: int) -> None:
    """Serve for ever; the port is the first line that is printed."""
    server = HostileServer(scenario, amount)
    application = web.Application(client_max_size=2**26)
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else AMOUNT))
