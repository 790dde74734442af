"""Pods whose volumes cannot be mounted: asked about once for a whole run, and told by what is missing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.builders import entry_of, spec, task
from tests.operators import KEY, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.runs.event_lookup import ASK_AGAIN_AFTER
from nexus.adapters.kube.runs.unmounted import UNMOUNTED_AFTER, UnmountedPods
from nexus.core.expressions.templates import Evaluator

MISSING = 'MountVolume.SetUp failed for volume "d" : configmap "nope" not found'
NO_KEY = 'MountVolume.SetUp failed for volume "d" : references non-existent secret key: token'
SLOW = 'MountVolume.SetUp failed for volume "d" : mount failed: exit status 32'


@pytest.mark.parametrize(
    ("words", "reason"), [(MISSING, "MissingConfig"), (NO_KEY, "MissingConfig"), (SLOW, "StartTimeout")]
)
@pytest.mark.parametrize("for_each", [{}, {"forEach": {"items": [1, 2]}}])
def test_what_cannot_be_mounted_is_told_and_fails_in_time(
    cel: Evaluator, words: str, reason: str, for_each: dict[str, object]
) -> None:
    with story(spec(task("t", startTimeoutSeconds=20, **for_each)), cel) as subject:
        subject.cluster.script("t", Outcome.unmounted(words))
        subject.operator()
        subject.quiet(15)
        waits = entry_of(subject.status, "t")
        if reason == "MissingConfig":
            assert (waits.phase, waits.message) == ("Pending", words)
        failed = entry_of(subject.run(), "t")
    assert (failed.phase, failed.reason) == ("Failed", reason)
    assert failed.message == f"the container did not start within startTimeoutSeconds (20): {words}"


def test_a_pod_that_starts_at_last_is_waited_for_no_more(cel: Evaluator) -> None:
    with story(spec(task("t")), cel) as subject:
        subject.cluster.script("t", Outcome(seconds=30))
        operator = subject.operator()
        subject.run(until=lambda: subject.phases.get("t") == "Running")
        reads = operator.api.reads
        subject.run()
        assert operator.api.reads == reads


def test_thirty_pods_that_wait_cost_one_list_in_ten_seconds(cel: Evaluator) -> None:
    definition = spec(*(task(f"t{number}") for number in range(30)), maxParallelTasks=30)
    with story(definition, cel) as subject:
        for number in range(30):
            subject.cluster.script(f"t{number}", Outcome.unmounted(MISSING))
        operator = subject.operator()
        subject.quiet(3)
        record, now = operator.cache.runs[KEY], subject.cluster.clock.now()
        unmounted = UnmountedPods(operator.api, operator.cache)
        reads = operator.api.reads

        async def ask_often() -> None:
            due = await unmounted.ask(record, now)
            assert due is not None
            assert now < due <= now + UNMOUNTED_AFTER
            assert operator.api.reads == reads, "nothing is wrong yet"
            for _ in range(10):
                assert await unmounted.ask(record, due) == due + ASK_AGAIN_AFTER
            assert operator.api.reads == reads + 1
            await unmounted.ask(record, due + ASK_AGAIN_AFTER + timedelta(seconds=1))
            assert operator.api.reads == reads + 2

        asyncio.run(ask_often())
        pods = [pod for jobs in operator.cache.jobs(record.uid).values() for job in jobs for pod in job.pods]
        assert {pod.unmounted for pod in pods} == {MISSING}
