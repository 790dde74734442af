"""How long ago each watch was heard of."""

from __future__ import annotations

import asyncio

import looptime
import pytest
from yarl import URL

from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS
from nexus.app.watch_ages import KINDS, SETTLED_SECONDS, STALE_SECONDS, WatchAges


class Seconds:
    """A clock that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


SERVER = "https://cluster.example/k8s/clusters/c-1"


def opened(ages: WatchAges, *namespaces: str | None) -> None:
    for kind in KINDS:
        for namespace in namespaces or (None,):
            ages.answered(URL(f"{SERVER}{kind.path(namespace)}"), 200)
            ages.answered(URL(f"{SERVER}{kind.path(namespace)}?watch=true&resourceVersion=7"), 200)


def test_an_idle_cluster_with_no_events_is_healthy_as_long_as_watches_are_opened_anew(clock: Seconds) -> None:
    ages = WatchAges(SERVER, (), clock)
    for _ in range(50):
        opened(ages)
        clock.now += 61
        assert ages.stale() == []


def test_one_dead_watch_among_busy_ones_is_stale_and_is_named(clock: Seconds) -> None:
    ages = WatchAges(SERVER, ("a", "b"), clock)
    opened(ages, "a", "b")
    for _ in range(4):
        clock.now += STALE_SECONDS / 3
        for kind in KINDS:
            ages.saw(kind, "a", listed=False)
            if kind is not PODS:
                ages.saw(kind, "b", listed=False)

    assert ages.stale() == ["pods in b: no message for 240 s, limit 180"]
    assert ages.ages()[PODS, "b"] == pytest.approx(240)
    assert ages.ages()[PODS, "a"] == 0


@pytest.mark.parametrize("status", [401, 403, 410, 429, 500, 503])
def test_a_refusal_is_no_sign_of_life(clock: Seconds, status: int) -> None:
    ages = WatchAges(SERVER, (), clock)
    clock.now += STALE_SECONDS + 1
    for kind in KINDS:
        ages.answered(URL(f"{SERVER}{kind.path(None)}?watch=true"), status)

    assert len(ages.stale()) == len(KINDS)


def test_calls_for_anything_else_are_nobodys_sign_of_life(clock: Seconds) -> None:
    ages = WatchAges(SERVER, (), clock)
    clock.now += STALE_SECONDS + 1
    for path in ("/version", JOBS.path("a"), JOBS.path(None, "x"), "/api/v1/nodes"):
        ages.answered(URL(f"{SERVER}{path}?watch=true"), 200)

    assert len(ages.stale()) == len(KINDS)


def test_the_caches_are_filled_when_each_watch_is_open_and_what_was_listed_is_looked_through(clock: Seconds) -> None:
    ages = WatchAges(SERVER, (), clock)
    assert "workflows: not read yet" in ages.unread()
    for kind in (WORKFLOWS, WORKFLOW_RUNS, JOBS):
        ages.answered(URL(f"{SERVER}{kind.path(None)}?watch=true"), 200)
    ages.answered(URL(f"{SERVER}{PODS.path(None)}"), 200)
    assert ages.unread() == ["pods: not read yet"]

    ages.answered(URL(f"{SERVER}{PODS.path(None)}?watch=true"), 200)
    for _ in range(3):
        clock.now += SETTLED_SECONDS * 0.9
        ages.saw(PODS, "a", listed=True)
        assert ages.unread() == ["processing what was read"]
    clock.now += SETTLED_SECONDS
    assert ages.unread() == []


def test_caches_that_were_filled_once_stay_so_while_a_watch_is_read_anew(clock: Seconds) -> None:
    ages = WatchAges(SERVER, (), clock)
    opened(ages)
    clock.now += SETTLED_SECONDS
    assert ages.unread() == []

    ages.saw(PODS, "a", listed=True)
    assert ages.unread() == []


def test_who_waits_for_the_caches_goes_on_as_soon_as_they_are_filled() -> None:
    async def story() -> float:
        loop = asyncio.get_running_loop()
        ages = WatchAges(SERVER, (), loop.time)
        loop.call_later(7, opened, ages)
        await ages.filled()
        return loop.time()

    loop = looptime.new_event_loop(start=0)
    try:
        assert loop.run_until_complete(story()) == pytest.approx(7 + SETTLED_SECONDS, abs=0.2)
    finally:
        loop.close()
