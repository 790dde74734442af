"""One operator process, from its start to its end.

    listen → check → watch → (wait for the Lease) → work → finish what is under way → give the Lease back → close

SIGTERM ends it within five seconds, three of which are for what is under way and its Events. What is not done by then
is broken off, which loses nothing: each write to the API server is whole or not there, and the next operator decides
anew. A leader that cannot renew its Lease breaks off at once, and the process ends: all that it knows starts anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import product
from typing import Any

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.client.access import Access
from nexus.adapters.kube.client.api import (
    LEASES,
    WORKFLOW_RUNS,
    WORKFLOWS,
    ApiError,
    Forbidden,
    Kind,
    KubeApi,
    NotFound,
    NotLeading,
)
from nexus.adapters.kube.client.http import KubeClient
from nexus.adapters.kube.client.rate_limit import RateLimiter
from nexus.adapters.kube.lease import KubeLease
from nexus.adapters.kube.runs.backend import wall_clock
from nexus.adapters.prometheus import PrometheusStats
from nexus.app import logs, loop_lag
from nexus.app.heap import Heap
from nexus.app.operator import Operator
from nexus.app.settings import Settings
from nexus.app.watch_ages import WatchAges
from nexus.app.watching import AGENT, Watching
from nexus.app.web import WebServer
from nexus.core.lease import Terms
from nexus.runtime.election import Election, LeaseLost
from nexus.runtime.label_limit import LabelLimit
from nexus.runtime.stats import Stats

log = logging.getLogger("nexus")

FINISH_SECONDS = 3.0
"""Time that reconciles in progress have when the operator gets a signal to stop."""
END_SECONDS = 4.5
"""After a signal, or the loss of the Lease, the process ends at the latest: threads cannot be broken off."""
NICE = 10
"""Niceness of the processes that evaluate expressions: the event loop goes first."""
SWITCH_SECONDS = 0.001
"""After each wait for the network the event loop waits for the interpreter's lock, so long behind each thread that
checks a definition or decides; Python's own is 5 ms."""
READS = frozenset({"get", "list", "logs", "watch"})
# Unlike time.monotonic it continues while the machine sleeps: a process that wakes up has not led meanwhile.
SECONDS: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


class StartRefused(Exception):
    """The operator cannot work here; the message says why, and what to do."""


async def check_start(api: KubeApi, settings: Settings) -> None:
    """Ask for what will be watched once. Raises StartRefused: kopf would try for a quarter of a minute and end in
    tracebacks. An API server that has just got the CRDs answers 429 for a moment; the client waits that out."""
    for namespace, kind in product(settings.namespaces or (None,), (WORKFLOW_RUNS, WORKFLOWS)):
        try:
            await api.list(kind, namespace, field_selector="metadata.name=none", in_brief=True)
        except NotFound as error:
            raise StartRefused(
                f"the CRD of {kind.kind} is not installed; install it with kubectl apply -f crds/"
            ) from error
        except Forbidden as error:
            where = f"namespace {namespace}" if namespace else "all namespaces (select some with --namespace)"
            raise StartRefused(f"not allowed to list {kind.kind}s in {where}: {error.message}") from error
        except ApiError as error:
            raise StartRefused(str(error)) from error


async def check_lease(api: KubeApi, namespace: str, name: str) -> None:
    """Ask for the Lease once. Raises StartRefused."""
    try:
        await api.get(LEASES, namespace, name)
    except NotFound:
        return
    except Forbidden as error:
        message = f"NEXUS_LEASE={name}: not allowed to read Leases in namespace {namespace}: {error.message}"
        raise StartRefused(message) from error
    except ApiError as error:
        raise StartRefused(str(error)) from error


async def serve(settings: Settings, access: Access) -> None:
    """Run an operator until a signal stops it. Raises StartRefused, LeaseLost."""
    stopping = asyncio.Event()
    _take_signals(stopping)
    election: Election | None = None

    pace = RateLimiter(settings.api_qps, settings.api_burst or 2 * settings.api_qps) if settings.api_qps else None

    async def gate(verb: str, kind: Kind) -> None:
        if pace is not None:
            await pace.turn()
        if election is not None and verb not in READS and not election.leading:
            raise NotLeading(f"{verb} was not sent: this operator does not lead", kind=kind.kind)

    terms = Terms(settings.lease_seconds)
    stats = PrometheusStats(LabelLimit(settings.metrics_workflows, settings.metrics_tasks))
    counter = partial(_count_call, stats)
    with CelEvaluator(size=settings.expression_workers, nice=NICE) as evaluator:
        async with (
            KubeClient(access, counter=counter, gate=gate, agent=AGENT) as api,
            # Renewals wait neither behind other calls nor for their connections.
            KubeClient(access, counter=counter, agent=AGENT, budget=terms.try_for) as lease_api,
        ):
            ages = WatchAges(access.server, settings.namespaces)
            operator = Operator(settings, api, evaluator, stats, ages)
            web = WebServer(ages, stats.exposition)
            try:
                await _listen(web, settings.http_port)
                if not await _unless(stopping, check_start(api, settings)):
                    return
                if settings.lease:
                    namespace = settings.lease_namespace or access.namespace
                    if not await _unless(stopping, check_lease(lease_api, namespace, settings.lease)):
                        return
                    me = f"{socket.gethostname()}_{secrets.token_hex(4)}"
                    election = Election(KubeLease(lease_api, namespace, settings.lease, wall_clock), me, terms, SECONDS)
                await _run(operator, Watching(access, settings.namespaces, ages), election, web, stopping)
            finally:
                await web.stop()


def _count_call(stats: Stats, verb: str, kind: Kind, code: int, seconds: float) -> None:
    stats.count("api_requests", verb=verb, resource=kind.plural, code=str(code))
    stats.observe("api_request_duration_seconds", seconds, verb=verb)


async def _listen(web: WebServer, port: int) -> None:
    if port:
        try:
            await web.start(port)
        except OSError as error:
            raise StartRefused(f"NEXUS_HTTP_PORT={port}: {error.strerror}") from error


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do something that a signal may break off; False where one did."""
    doing, stopped = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if doing.done():
        doing.result()
        return not stopping.is_set()
    await _ended(doing)
    return False


async def _run(
    operator: Operator, watching: Watching, election: Election | None, web: WebServer, stopping: asyncio.Event
) -> None:
    """Watch and work until a signal comes or something breaks. Raises what broke."""
    watches = await watching.start(operator.register)
    _take_signals(stopping)  # kopf has just taken them
    working = asyncio.create_task(lead(operator, election))
    sweeping, stopped = asyncio.create_task(operator.sweep()), asyncio.create_task(stopping.wait())
    measuring = asyncio.create_task(loop_lag.measure(operator.stats))
    heap = Heap()
    heap.watch()
    tidying = asyncio.create_task(heap.keep(lambda: not len(operator.queue)))
    try:
        done, _ = await asyncio.wait({watches, working, sweeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if done == {stopped}:
            if operator.working:
                operator.finish()
                await asyncio.wait({working}, timeout=FINISH_SECONDS)
        else:
            _end_soon()
        for task in done:
            await task
    finally:
        heap.leave()
        await _ended(working, sweeping, stopped, measuring, tidying)
        await web.stop()
        await watching.stop()


async def lead(operator: Operator, election: Election | None) -> None:
    """Work; with an election, only while this operator holds the Lease. Raises LeaseLost."""
    if election is None:
        await operator.work()
        return
    lost = False
    tasks: set[asyncio.Task[None]] = set()
    try:
        # Who has not read everything yet has nothing to lead with; another replica may have.
        await operator.ages.filled()
        await election.acquire()
        tasks = {asyncio.create_task(operator.work()), asyncio.create_task(election.keep())}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    except LeaseLost:
        lost = True
        raise
    finally:
        await _ended(*tasks)
        if not lost:
            await election.release()


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _take_signals(stopping: asyncio.Event) -> None:
    def stop() -> None:
        if not stopping.is_set():
            log.info("stopping: starting no new work")
            stopping.set()
            _end_soon()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _end_soon() -> None:
    """End the process in a few seconds if it does not end by itself, as where a thread is busy."""
    timer = threading.Timer(END_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


def main(settings: Settings, access: Access, ignored: Sequence[str] = ()) -> None:
    """Run an operator in this process; it ends on SIGTERM or SIGINT. Raises StartRefused, LeaseLost.

    `ignored`: variables that look like settings and are none."""
    logs.configure(settings.log_level, settings.log_format)
    for name in ignored:
        log.warning("%s: unknown setting, ignored (docs/settings.md lists all)", name)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        asyncio.run(serve(settings, access))
    except LeaseLost as error:
        log.error("stopping: %s", error)
        raise
