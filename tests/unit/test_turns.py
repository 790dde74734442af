"""Turns at the evaluator: time is no error, and whoever needs much of it keeps nobody else from it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import at, definition, facts, spec, task
from tests.operators import KEY, story

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.cel.seats import LIGHT_SECONDS, Seat, Seats
from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import WORKFLOW_RUNS
from nexus.api.reasons import Reason
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import EvaluationLost, Evaluator
from nexus.core.model.definition import Definition
from nexus.runtime.away import away
from nexus.runtime.lines import Lines
from nexus.runtime.ports import Refused
from nexus.runtime.share import share_of
from nexus.runtime.turns import Overtaken

# Some 30 ms on the machine that this was written on.
SLOW = "range(25).all(i, size(range(10000)) > index)"


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as made:
        yield made


def test_the_lines_of_namespaces_that_are_gone_are_forgotten() -> None:
    lines: Lines[int] = Lines()
    for number in range(10_000):
        lines.put(f"ns-{number}", number)
        assert lines.next() == (f"ns-{number}", number)
        lines.charge(f"ns-{number}", 0.0)
    assert len(lines._had) < 200
    assert len(lines._served) < 200


def test_what_may_not_be_served_keeps_its_place() -> None:
    lines: Lines[str] = Lines()
    for name in ("a1", "b1", "a2"):
        lines.put(name[0], name)
    assert lines.next(lambda namespace: namespace != "a") == ("b", "b1")
    assert lines.next(lambda _: False) is None
    assert (len(lines), lines.next(), lines.next(), lines.next()) == (2, ("a", "a1"), ("a", "a2"), None)


def test_what_is_urgent_takes_turns_with_all_else_of_its_namespace() -> None:
    lines: Lines[str] = Lines()
    for number in range(4):
        lines.put("a", f"begin-{number}")
    for number in range(2):
        lines.put("a", f"end-{number}", urgent=True)
    order = [found[1] for found in iter(lines.next, None)]
    assert order == ["end-0", "begin-0", "end-1", "begin-1", "begin-2", "begin-3"]


def test_an_item_that_becomes_urgent_leaves_its_place_and_stays_urgent() -> None:
    lines: Lines[str] = Lines()
    for name in ("x", "y", "z"):
        lines.put("a", name)
    lines.put("a", "z", urgent=True)
    lines.put("a", "z")
    lines.put("a", "z", urgent=True)
    assert len(lines) == 3
    assert [found[1] for found in iter(lines.next, None)] == ["z", "x", "y"]


def heavy(seats: Seats, *namespaces: str) -> list[Seat]:
    """Every seat but the one in reserve, taken by namespaces that have had much."""
    for namespace in namespaces:
        seats.give(seats.take(namespace), namespace, 10 * LIGHT_SECONDS)
    return [seats.take(namespace) for namespace in namespaces]


def test_who_needs_little_does_not_wait_for_who_needs_much(threads: ThreadPoolExecutor) -> None:
    seats = Seats(2, Clock())
    taken = heavy(seats, "hog-1", "hog-2")

    more = threads.submit(seats.take, "hog-1")
    innocent = threads.submit(seats.take, "innocent").result(1)

    assert innocent.reserve
    assert not more.done()
    seats.give(innocent, "innocent", 0.001)
    assert not more.done()
    seats.give(taken[0], "hog-2", 0.1)
    assert not more.result(1).reserve


def test_who_needed_much_needs_little_again_a_minute_later() -> None:
    clock = Clock()
    seats = Seats(1, clock)
    heavy(seats, "hog")
    clock.now = 60.0
    assert seats.take("hog").reserve


def test_what_counts_for_no_namespace_starts_no_second_process(threads: ThreadPoolExecutor) -> None:
    seats = Seats(1)
    first = seats.take()
    second = threads.submit(seats.take)
    time.sleep(0.05)
    assert not second.done()
    seats.give(first, "", 0.0)
    assert second.result(1) is first


def test_whoever_waits_when_the_end_comes_is_told(threads: ThreadPoolExecutor) -> None:
    seats = Seats(1)
    seat = seats.take("a")
    reserve = seats.take("b")
    waiting = threads.submit(seats.take, "c")
    closing = threads.submit(seats.close)
    with pytest.raises(RuntimeError, match="closed"):
        waiting.result(1)
    assert not closing.done()
    seats.give(seat, "a", 0.1)
    seats.give(reserve, "b", 0.1)
    assert closing.result(1) == []


def fan_out() -> Definition:
    fields = {"forEach": {"items": list(range(12))}, "python": {"call": "a:b", "with": {"n": "${{ index * 2 + 1 }}"}}}
    return definition(task("f", **fields), task("g", when="${{ run.name != 'x' }}"))


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 10.0])
def test_a_decision_is_the_same_however_often_it_has_to_wait(seconds: float) -> None:
    """With 0 seconds it waits after each evaluation, here for others that do the same."""
    with CelEvaluator(1, turn_seconds=seconds) as cel, ThreadPoolExecutor(4) as threads:

        def decision(namespace: str) -> object:
            with cel.turn(namespace):
                return decide(fan_out(), facts(), at(0), cel)

        plain = decide(fan_out(), facts(), at(0), cel)
        plans = list(threads.map(decision, ["a", "a", "b", "c"] * 4))
    assert plain.starts
    assert all(plan == plain for plan in plans)


def test_a_decision_that_takes_seconds_delays_others_by_one_expression() -> None:
    stop = threading.Event()
    done: list[float] = []

    def hog(namespace: str) -> None:
        with cel.turn(namespace):
            while not stop.is_set():
                cel.evaluate(SLOW, {"index": "int"}, {"index": 1})

    with CelEvaluator(2) as cel, ThreadPoolExecutor(8) as threads:
        hogs = [threads.submit(hog, f"hog-{number % 2}") for number in range(6)]
        time.sleep(2 * LIGHT_SECONDS)
        for _ in range(30):
            began = time.monotonic()
            with cel.turn("innocent"):
                for number in range(5):
                    assert cel.evaluate("index + 1", {"index": "int"}, {"index": number}) == number + 1
            done.append(time.monotonic() - began)
        stop.set()
        for one in hogs:
            one.result(10)
    # Behind six that take 30 ms for each expression this would be five times 90 ms at the least.
    assert sorted(done)[len(done) // 2] < 0.1


def test_a_decision_whose_result_nobody_wants_ends_at_its_next_turn() -> None:
    overtaken = threading.Event()
    with CelEvaluator(1, turn_seconds=0.0) as cel:
        with cel.turn("a", overtaken.is_set):
            assert cel.evaluate("1", {}, {}) == 1
            overtaken.set()
            with pytest.raises(Overtaken):
                cel.evaluate("1", {}, {})
        assert cel.evaluate("1 + 1", {}, {}) == 2


def test_who_is_cancelled_leaves_its_turn_to_others() -> None:
    aside: list[str] = []
    evaluated = threading.Event()

    @asynccontextmanager
    async def counted() -> AsyncIterator[None]:
        aside.append("in")
        try:
            yield
        finally:
            aside.append("out")

    def endless(cel: CelEvaluator) -> Callable[[], None]:
        def work() -> None:
            while True:
                cel.evaluate("1", {}, {})
                evaluated.set()

        return work

    async def story(cel: CelEvaluator) -> int:
        with share_of("hog", cel, counted):
            hog = asyncio.create_task(away(endless(cel)))
            await asyncio.to_thread(evaluated.wait)
            hog.cancel()
            await asyncio.wait([hog])
        with share_of("innocent", cel, counted):
            return int(await away(lambda: cel.evaluate("1 + 1", {}, {})))

    with CelEvaluator(1, turn_seconds=0.0) as cel:
        assert asyncio.run(asyncio.wait_for(story(cel), 20)) == 2
    assert aside == ["in", "out", "in", "out"]


@pytest.mark.parametrize(
    ("steer", "seconds", "overtaken"),
    [
        ({}, 0, False),
        ({"cancel": "Graceful"}, 0, True),
        ({"suspend": True}, 0, True),
        ({}, 30, False),
        ({}, 61, True),
    ],
)
def test_a_decision_is_overtaken_by_who_steers_its_run_and_by_its_deadline(
    cel: Evaluator, steer: dict[str, Any], seconds: int, overtaken: bool
) -> None:
    with story(spec(task("a"), deadlineSeconds=60), cel) as subject:
        subject.cluster.script("a", Outcome.hangs())
        operator = subject.operator()
        subject.run(until=lambda: subject.phases.get("a") == "Running")
        view = asyncio.run(operator.reconciler.backend.view(KEY))
        assert view is not None
        began = operator.now()
        if steer:
            subject.steer(**steer)
        operator.skew = timedelta(seconds=seconds)

        assert operator.reconciler._overtaken(view, began) is overtaken


def test_a_decision_about_a_run_that_is_gone_is_overtaken(cel: Evaluator) -> None:
    with story(spec(task("a")), cel) as subject:
        subject.cluster.script("a", Outcome.hangs())
        operator = subject.operator()
        subject.run(until=lambda: subject.phases.get("a") == "Running")
        view = asyncio.run(operator.reconciler.backend.view(KEY))
        assert view is not None
        subject.cluster.remove(WORKFLOW_RUNS, KEY.name, KEY.namespace)

        assert operator.reconciler._overtaken(view, operator.now())


def test_without_a_share_a_function_runs_in_a_thread() -> None:
    async def story() -> bool:
        return await away(lambda: threading.current_thread() is threading.main_thread())

    assert asyncio.run(story()) is False


def test_an_evaluator_that_fails_is_a_refusal_and_no_error_of_the_expression() -> None:
    def lost() -> None:
        raise EvaluationLost("the evaluator of expressions did not answer in time")

    with pytest.raises(Refused) as caught:
        asyncio.run(away(lost))
    refusal = caught.value.refusal
    assert (refusal.reason, refusal.final, refusal.limited) == (Reason.EVALUATOR_FAILED, False, False)
    assert refusal.message == "the evaluator of expressions did not answer in time; retried"
