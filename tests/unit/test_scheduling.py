"""How the tests themselves are distributed: a simulation of workers, without pytest-xdist's processes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from tests.scheduling import WHOLE_CLUSTER, Scheduling, is_module, scope

MODULES = [*(f"tests/e2e/test_{name}.py" for name in "abcdef"), *WHOLE_CLUSTER]
ON_CLUSTER = [f"{module}::test_{n}" for module in MODULES for n in range(5)]
CONTRACT = [f"tests/contract/test_jobs.py::test_{n}[{server}]" for n in range(4) for server in ("fake", "real")]
UNIT = [f"tests/unit/test_x.py::test_{n}" for n in range(60)]


@dataclass(eq=False)
class Worker:
    """A worker of pytest-xdist: it runs a test once it knows the next one, or that there is none."""

    number: int
    queue: list[int] = field(default_factory=list)
    shutting_down: bool = False
    workerinput: dict[str, Any] = field(default_factory=dict)

    @property
    def gateway(self) -> SimpleNamespace:
        return SimpleNamespace(id=f"gw{self.number}")

    def send_runtest_some(self, indices: list[int]) -> None:
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def can_run(self) -> bool:
        return len(self.queue) > 1 or bool(self.queue and self.shutting_down)


class Session:
    """A session whose workers run their tests in a random order of events."""

    def __init__(self, tests: list[str], count: int, up_after: int, seed: int) -> None:
        self.tests, self.random = tests, random.Random(seed)
        self.ran: list[tuple[int, str]] = []
        self.started: list[bool] = []
        config = SimpleNamespace(option=SimpleNamespace(loadscopereorder=False), getvalue=lambda _: [f"{count}*popen"])
        self.scheduling = Scheduling(config, None, self._bring_up)  # type: ignore[arg-type]
        self.up_after = up_after
        self.workers = [Worker(n) for n in range(count)]

    def _bring_up(self, programs: bool) -> Any:
        self.started.append(programs)
        return lambda: len(self.ran) >= self.up_after

    def run(self) -> None:
        for worker in self.workers:
            self.scheduling.add_node(worker)  # type: ignore[arg-type]
            self.scheduling.add_node_collection(worker, self.tests)  # type: ignore[arg-type]
        self.scheduling.schedule()
        while able := [worker for worker in self.workers if worker.can_run]:
            worker = self.random.choice(able)
            index = worker.queue.pop(0)
            self.ran.append((worker.number, self.tests[index]))
            self.scheduling.mark_test_complete(worker, index)  # type: ignore[arg-type]


@pytest.mark.parametrize("tests", [ON_CLUSTER + CONTRACT + UNIT, ON_CLUSTER, UNIT, ON_CLUSTER[-10:], UNIT[:3]])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize("up_after", [0, 20, 1_000])
def test_every_test_runs_once_and_those_of_the_whole_cluster_alone(tests: list[str], count: int, up_after: int) -> None:
    for seed in range(20):
        session = Session(tests, count, up_after, seed)
        session.run()
        assert sorted(test for _, test in session.ran) == sorted(tests)
        of_modules = [scope(test) for _, test in session.ran if is_module(scope(test))]
        alone = [of for of in of_modules if of in WHOLE_CLUSTER]
        # Before all others: nothing of another module on the cluster lies between them.
        assert of_modules[: len(alone)] == alone
        assert len({worker for worker, test in session.ran if scope(test) in WHOLE_CLUSTER}) <= 1
        for module in set(of_modules):
            assert len({worker for worker, test in session.ran if scope(test) == module}) == 1
        assert session.started == ([not all(map(is_module, map(scope, tests)))] if of_modules else [])


def test_workers_compute_until_the_cluster_is_up() -> None:
    session = Session(ON_CLUSTER + CONTRACT + UNIT, 5, 40, seed=1)
    session.run()
    assert not any(is_module(scope(test)) for _, test in session.ran[:40])
    first = [test for _, test in session.ran[:60]]
    assert any(is_module(scope(test)) for test in first)


def test_contract_tests_on_the_fake_server_are_distributed_one_by_one() -> None:
    assert [scope(test) for test in CONTRACT[:2]] == [CONTRACT[0], "tests/contract/test_jobs.py"]
