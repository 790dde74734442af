"""How long ago each watch was heard of: what the liveness probe asks, and what says that the caches are filled.

Kopf tells its handlers of changes only, and of an idle cluster there are none. So this listens to the calls below it
(aiohttp's tracing): every answer to a LIST or WATCH is a sign of life of that watch. Watches end after a minute
(`WATCH_SECONDS`, timeoutSeconds in the call) and are opened anew, also where nothing happens; one whose connection has
died is given up by kopf after 70 s without even a bookmark. A healthy watch is thus heard of every 70 s, and the
backlog has no part in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace

import aiohttp
from yarl import URL

from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind

KINDS = (WORKFLOWS, WORKFLOW_RUNS, JOBS, PODS)
WATCH_SECONDS = 60
"""After how long the API server ends a watch; it sends a bookmark before that, so nothing is listed anew."""
STALE_SECONDS = 180.0
"""A minute of watch, the 70 s of kopf's inactivity timeout, and as long again as its repeated tries may take."""
LOOK_SECONDS = 0.1
SETTLED_SECONDS = 0.5
"""What was listed goes through kopf's queues before handlers see it. This long after the last of it, it is seen."""

Clock = Callable[[], float]


@dataclass(slots=True)
class _Watch:
    heard: float
    opened: bool = False


class WatchAges:
    """The watches of one operator, each by its kind and namespace (None: all of them)."""

    def __init__(self, server: str, namespaces: Sequence[str], clock: Clock = time.monotonic) -> None:
        """`server` is the API server's address, which may have a path; `clock` gives seconds that only grow."""
        self._clock = clock
        self._listed = clock()
        self._filled = False
        pairs: Iterable[tuple[Kind, str | None]] = product(KINDS, namespaces or (None,))
        self._watches = {(kind, namespace): _Watch(clock()) for kind, namespace in pairs}
        prefix = URL(server).path.rstrip("/")
        self._by_path = {prefix + kind.path(namespace): (kind, namespace) for kind, namespace in self._watches}

    def saw(self, kind: Kind, namespace: str, *, listed: bool) -> None:
        """Record that a handler got an object, from a LIST or by a change."""
        watch = self._watches.get((kind, namespace)) or self._watches.get((kind, None))
        if watch is not None:
            watch.heard = self._clock()
        if listed:
            self._listed = self._clock()

    def answered(self, url: URL, status: int) -> None:
        """Record that the API server answered a call."""
        watch = self._watches.get(self._by_path.get(url.path, (KINDS[0], "")))
        if watch is None or status != 200:
            return
        watch.heard = self._clock()
        if "watch" in url.query and not watch.opened:
            watch.opened = True
            self._listed = self._clock()

    def ages(self) -> dict[tuple[Kind, str | None], float]:
        """Return the seconds since each watch was heard of."""
        now = self._clock()
        return {key: now - watch.heard for key, watch in self._watches.items()}

    def stale(self) -> list[str]:
        """Return what is wrong with watches that have not been heard of for too long, one sentence each."""
        return [
            f"{_name(*key)}: no message for {age:.0f} s, limit {STALE_SECONDS:.0f}"
            for key, age in self.ages().items()
            if age > STALE_SECONDS
        ]

    def unread(self) -> list[str]:
        """Return what is not in the caches yet. Once they are filled it stays empty: a watch that is read again has
        them."""
        if self._filled:
            return []
        missing = [f"{_name(*key)}: not read yet" for key, watch in self._watches.items() if not watch.opened]
        if not missing and self._clock() - self._listed < SETTLED_SECONDS:
            missing = ["processing what was read"]
        self._filled = not missing
        return missing

    async def filled(self) -> None:
        """Wait until the caches are."""
        while self.unread():  # noqa: ASYNC110  it is time that passes, and nothing tells of that
            await asyncio.sleep(LOOK_SECONDS)

    def trace(self) -> aiohttp.TraceConfig:
        """Tells an aiohttp session's calls to this."""

        async def ended(
            _session: aiohttp.ClientSession, _context: SimpleNamespace, end: aiohttp.TraceRequestEndParams
        ) -> None:
            self.answered(end.url, end.response.status)

        config = aiohttp.TraceConfig()
        config.on_request_end.append(ended)
        return config


def _name(kind: Kind, namespace: str | None) -> str:
    return f"{kind.plural} in {namespace}" if namespace else kind.plural
