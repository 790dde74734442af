"""The watches: kopf runs them, and they call the handlers, until a signal stops them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

import aiohttp
import kopf

from nexus import __version__
from nexus.adapters.kube.client.access import Access
from nexus.adapters.kube.client.watch_response import BoundedResponse
from nexus.app.handlers import configure
from nexus.app.watch_ages import WatchAges

# How the API server's audit log tells the operator's calls apart from those of a person with the CLI.
AGENT = "nexus-operator"


class Watching:
    """All watches of one operator."""

    def __init__(self, access: Access, namespaces: Sequence[str], ages: WatchAges) -> None:
        """`namespaces` empty: all of them."""
        self._access = access
        self._namespaces = tuple(namespaces)
        self._ages = ages
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self, register: Callable[[kopf.OperatorRegistry], None]) -> asyncio.Task[None]:
        """Open them; `register` adds the handlers. The task that is returned ends only if something is wrong.

        Kopf takes the signals of the process: a caller that needs them takes them back after this.
        """
        registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
        configure(settings)
        register(registry)
        kopf.on.login(registry=registry)(self._login)
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=settings,
            standalone=True,
            # Kopf would look for this user's name, and in a container there is none. The type is private to kopf.
            identity=AGENT,  # type: ignore[arg-type]
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
        )
        self._running = asyncio.create_task(_run(tasks))
        return self._running

    async def stop(self) -> None:
        """Close them."""
        self._stop.set()
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    async def _login(self, **_: object) -> kopf.AiohttpSession:
        """Kopf's watches go by the same way as our own calls; kopf asks again after a 401."""
        headers = dict(await self._access.credentials.headers(refused=False))
        connector = aiohttp.TCPConnector(limit=0, ssl=self._access.tls if self._access.tls is not None else True)
        session = aiohttp.ClientSession(
            connector=connector,
            headers={**headers, "User-Agent": f"{AGENT}/{__version__}"},
            proxy=self._access.proxy,
            trace_configs=[self._ages.trace()],
            response_class=BoundedResponse,
        )
        return kopf.AiohttpSession(
            server=self._access.server, default_namespace=self._access.namespace, aiohttp_session=session
        )


async def _run(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Let kopf's tasks run until one of them ends, then end all of them. Raises what was wrong.

    Kopf takes every task that came after its own for a part of it, waits for them for 5 s and cancels them: so it gets
    the list of all tasks as soon as it is to end, and ends only its own.
    """
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await kopf.run_tasks(tasks, ignored=asyncio.all_tasks())
