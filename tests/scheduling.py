"""How pytest-xdist spreads the tests: those on the cluster wait for most of their time, the others compute."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

WAITING = 3
"""Workers for the tests on the cluster, besides one for each core. Each test module there stays in one worker."""

WHOLE_CLUSTER = ("tests/e2e/test_chart.py", "tests/e2e/test_whole_cluster.py")
"""Modules with an operator for all namespaces. It would handle the runs of other tests too, so nothing else uses the
cluster meanwhile. They come first: to wait for their turn would leave workers idle."""

FIRST = ("tests/e2e/test_schedules.py", "tests/e2e/test_crd.py", "tests/contract/test_jobs.py")
"""The modules that take longest, in this order: the other ones fill what is left."""

REAL = re.compile(r"[\[-]real[\]-]")
"""The parameter of the contract tests on a real API server."""


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(config: pytest.Config) -> int:
    """Return the number of workers for `-n auto`."""
    return cores() + (0 if config.option.markexpr == "not cluster" else WAITING)


def is_for_cluster(worker: str, count: int) -> bool:
    """Return whether a worker (gw0, gw1, ...), one of `count`, takes tests on the cluster first."""
    return int(worker.removeprefix("gw")) < max(1, min(WAITING, count - cores()))


def lower_priority(items: list[pytest.Item]) -> None:
    """Let a worker that computes give way to the cluster, whose tests measure times.

    Without tests on the cluster, and in a session without workers, priorities stay.
    """
    worker, count = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    on_cluster = any(item.get_closest_marker("cluster") for item in items)
    if worker is not None and on_cluster and not is_for_cluster(worker, count):
        os.nice(10)


def assert_whole_cluster() -> None:
    """Fail a test that changes what all namespaces share, unless its module has the cluster for itself."""
    test = os.environ["PYTEST_CURRENT_TEST"]
    assert test.partition("::")[0] in WHOLE_CLUSTER, f"{test}: add its module to tests.scheduling.WHOLE_CLUSTER"


def scope(nodeid: str) -> str:
    """Return what a test is distributed with: its module if it uses the cluster, otherwise only itself."""
    module = nodeid.partition("::")[0]
    on_cluster = module.startswith("tests/e2e/") or (module.startswith("tests/contract/") and REAL.search(nodeid))
    return module if on_cluster else nodeid


def is_module(found: str) -> bool:
    """Return whether a scope is a module on the cluster."""
    return "::" not in found


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Distribute the modules on the cluster to the workers that wait and the other tests to those that compute.

    A worker takes what is left of the other kind when its own is used up.
    """

    def __init__(self, config: pytest.Config, log: Any, bring_up: Callable[[bool], Callable[[], bool]]) -> None:
        """`bring_up` starts the cluster in the background, for a whole run with all programs that modules need, and
        returns a function that tells whether it is up."""
        super().__init__(config, log)
        self._bring_up = bring_up
        self._is_up: Callable[[], bool] = lambda: False
        self._index: dict[str, int] = {}
        self._modules: list[str] = []

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)

    def schedule(self) -> None:
        """Start the cluster if a test uses it, and distribute the first tests."""
        if self.collection is None:
            found = next(iter(self.registered_collections.values()))
            self._index = {nodeid: index for index, nodeid in enumerate(found)}
            modules = {each for each in map(scope, found) if is_module(each)}
            self._modules = [*(each for each in FIRST if each in modules), *sorted(modules.difference(FIRST))]
            if self._modules:
                self._is_up = self._bring_up(not all(is_module(scope(nodeid)) for nodeid in found))
        super().schedule()

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:  # noqa: ARG002
        """Note that a test has ended, and give its worker the next one."""
        nodeid = self.registered_collections[node][item_index]
        of = scope(nodeid)
        unit = self.assigned_work[node][of]
        unit[nodeid] = True
        ended = all(unit.values())
        if ended:
            # The base class keeps them, and counts all of them after each test.
            del self.assigned_work[node][of]
        # Others may wait for the end of a module that needed the whole cluster.
        for each in self.nodes if ended and of in WHOLE_CLUSTER else [node]:
            self._reschedule(each)

    def _assign_work_unit(self, node: WorkerController) -> None:
        chosen = self._choose(node)
        if chosen is None:
            return
        unit = self.workqueue.pop(chosen)
        self.assigned_work[node][chosen] = unit
        node.send_runtest_some([self._index[nodeid] for nodeid, ended in unit.items() if not ended])

    def _choose(self, node: WorkerController) -> str | None:
        """Return the scope that a worker runs next; None where all that is left waits for the whole cluster's tests."""
        modules = [module for module in self._modules if module in self.workqueue]
        other = next((found for found in self.workqueue if not is_module(found)), None)
        waits = is_for_cluster(node.gateway.id, self.numnodes) and self._is_up()
        if other is not None and not (waits and modules):
            return other
        # Modules that need the whole cluster run one after the other in one worker, which then goes on with the rest.
        at_work = [each for each in self.nodes if any(of in WHOLE_CLUSTER for of in self.assigned_work[each])]
        if at_work and node not in at_work:
            return other
        return next((module for module in modules if module in WHOLE_CLUSTER), None) or next(iter(modules), None)
