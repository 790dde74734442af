"""The sweep goes on for ever, whatever one of its lists answers."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.operators import KEY

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.cache.workflows import WorkflowCache
from nexus.adapters.kube.client.api import WORKFLOW_RUNS
from nexus.app.sweep import sweep
from nexus.runtime.ports import RunKey


def test_an_answer_that_cannot_be_read_is_logged_and_the_next_sweep_finds_what_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster, cache, found = FakeCluster(), Cache(), asyncio.Queue[RunKey]()
    body = cluster.add(WORKFLOW_RUNS, {"metadata": {"name": KEY.name}, "spec": {"workflowRef": {"name": "sales"}}})
    cache.see_run(body)
    cluster.remove(WORKFLOW_RUNS, KEY.name)

    async def story() -> RunKey:
        api = cluster.connect()
        api.fail_next("list", None, TypeError("'NoneType' object is not iterable"))
        sweeping = asyncio.create_task(sweep(api, (), 0.01, cache, found.put_nowait, WorkflowCache(), found.put_nowait))
        try:
            async with asyncio.timeout(20):
                return await found.get()
        finally:
            sweeping.cancel()

    with caplog.at_level(logging.ERROR, "nexus"):
        assert asyncio.run(story()) == KEY
    assert "the periodic check could not list" in caplog.text
