"""Answers that are none, and runs whose object has no room for a status."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.builders import spec, task
from tests.operators import story

from nexus.adapters.fake import FakeCluster
from nexus.adapters.fake.admission import ETCD_LIMIT
from nexus.adapters.kube.client.api import EVENTS, JOBS, WORKFLOW_RUNS, Kind, Object, Unreachable
from nexus.adapters.kube.client.attributed import AttributedApi
from nexus.core.expressions.templates import Evaluator


def full(room: int) -> Object:
    """A run whose object has so many bytes left when it is made."""
    metadata = {"name": "full", "managedFields": [{"manager": "x" * (ETCD_LIMIT - room)}]}
    return {"metadata": metadata, "spec": {"workflowRef": {"name": "sales"}}}


@pytest.mark.parametrize("room", [800, 900])
def test_a_run_whose_status_does_not_fit_ends_with_as_much_of_it_as_does(cel: Evaluator, room: int) -> None:
    with story(spec(task("a")), cel, by_reference=True) as subject:
        api = subject.operator().api
        subject.run()
        subject.cluster.add(WORKFLOW_RUNS, full(room))
        before = api.reads + sum(api.attempts.values())

        subject.quiet(600)

        status = subject.status_of("full")
        assert (status.phase, status.reason) == ("Failed", "StatusTooLarge")
        assert api.reads + sum(api.attempts.values()) - before < 30
        live = [body for body in subject.cluster.objects(JOBS) if not body["status"].get("conditions")]
        assert live == []


def test_a_run_with_no_room_for_anything_is_told_by_one_event_and_tried_ever_more_seldom(cel: Evaluator) -> None:
    with story(spec(task("a")), cel, by_reference=True) as subject:
        api = subject.operator().api
        subject.run()
        subject.cluster.add(WORKFLOW_RUNS, full(600))
        subject.quiet(3_600)

        events = [
            body["reason"] for body in subject.cluster.objects(EVENTS) if body["involvedObject"]["name"] == "full"
        ]
        assert events == ["StatusNotWritten"]
        before = sum(api.attempts.values())
        subject.quiet(3_600)
        assert sum(api.attempts.values()) - before < 100


@pytest.mark.parametrize("page", ["<html>", [], {}, {"metadata": []}, {"metadata": {"name": "x"}}, None])
def test_an_answer_that_is_no_object_is_no_answer(page: Any) -> None:
    class Proxy(FakeCluster):
        async def get(self, _kind: Kind, _namespace: str, _name: str) -> Object:
            found: Object = page
            return found

    with pytest.raises(Unreachable) as raised:
        asyncio.run(AttributedApi(Proxy()).get(JOBS, "default", "x"))

    assert raised.value.outcome_unknown
    assert raised.value.call is not None
    assert raised.value.call.verb == "get"
