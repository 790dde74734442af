"""What Events say is asked for once for all the runs of a namespace."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.builders import START, at

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import EVENTS
from nexus.adapters.kube.runs.event_lookup import FRESH, SOON, EventLookup, ProbeSchedule

JOB_EVENT = {"involvedObject": {"kind": "Job", "name": "j", "uid": "u1"}, "reason": "FailedCreate", "message": "no"}


def told(cluster: FakeCluster) -> EventLookup:
    cluster.add(EVENTS, {"metadata": {"name": "e"}, **JOB_EVENT})
    selector = "involvedObject.kind=Job,reason=FailedCreate"
    return EventLookup(
        cluster.connect(), selector, lambda found: {item["involvedObject"]["uid"]: item["message"] for item in found}
    )


def test_a_thousand_runs_cost_one_list_and_none_waits_for_that_of_another() -> None:
    events = told(FakeCluster())

    async def story() -> None:
        answers = await asyncio.gather(*(events.ask("default", START) for _ in range(1_000)))
        assert answers == [{"u1": "no"}, *[None] * 999]
        assert await events.ask("default", START + FRESH - timedelta(milliseconds=1)) == {"u1": "no"}
        assert events.api.reads == 1  # type: ignore[attr-defined]
        assert await events.ask("other", START) == {}
        assert await events.ask("default", START + FRESH) == {"u1": "no"}
        assert events.api.reads == 3  # type: ignore[attr-defined]

    asyncio.run(story())


def test_a_list_that_failed_is_tried_by_the_next_one() -> None:
    events = told(FakeCluster())

    async def story() -> None:
        events.api.fail_next("list", EVENTS, TimeoutError())  # type: ignore[attr-defined]
        (error,) = await asyncio.gather(events.ask("default", START), return_exceptions=True)
        assert isinstance(error, TimeoutError)
        assert await events.ask("default", START) == {"u1": "no"}

    asyncio.run(story())


def test_nothing_is_kept_of_a_namespace_where_nobody_asks_any_more() -> None:
    events = told(FakeCluster())

    async def story() -> None:
        for number in range(50):
            await events.ask(f"n{number}", at(10 * number))

    asyncio.run(story())
    assert list(events._known) == ["n49"]


def test_who_got_no_answer_asks_again_soon() -> None:
    pace = ProbeSchedule(timedelta(seconds=3))
    assert pace.wait("run", [START], at(5)) is None
    assert pace.soon("run", at(5)) == at(5) + SOON
    assert pace.wait("run", [START], at(5)) == at(5) + SOON
    assert pace.wait("run", [START], at(5) + SOON) is None
