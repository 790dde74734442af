"""Jobs without a pod: asked about once for a whole run, and not again before ten seconds are over."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.builders import spec, task
from tests.operators import KEY, story

from nexus.adapters.kube.runs.event_lookup import ASK_AGAIN_AFTER
from nexus.adapters.kube.runs.podless import PODLESS_AFTER, PodlessJobs
from nexus.core.expressions.templates import Evaluator


def test_thirty_podless_jobs_cost_one_list_in_ten_seconds(cel: Evaluator) -> None:
    names = [f"t{number}" for number in range(30)]
    definition = spec(*(task(name) for name in names), maxParallelTasks=30)
    with story(definition, cel) as subject:
        subject.cluster.refuse_pods("exceeded quota: pods")
        operator = subject.operator()
        subject.quiet(5)
        record, now = operator.cache.runs[KEY], subject.cluster.clock.now()
        podless = PodlessJobs(operator.api, operator.cache)
        made = min(job.created_at for jobs in operator.cache.jobs(record.uid).values() for job in jobs)
        reads = operator.api.reads

        async def ask_often() -> None:
            assert await podless.ask(record, made) == made + PODLESS_AFTER
            assert operator.api.reads == reads, "nothing is wrong yet"
            later = max(now, made + PODLESS_AFTER)
            for _ in range(10):
                assert await podless.ask(record, later) == later + ASK_AGAIN_AFTER
            assert operator.api.reads == reads + 1
            await podless.ask(record, later + ASK_AGAIN_AFTER + timedelta(seconds=1))
            assert operator.api.reads == reads + 2

        asyncio.run(ask_often())
        reasons = {job.pods_refused for jobs in operator.cache.jobs(record.uid).values() for job in jobs}
        assert reasons == {"Error creating: the pod is forbidden: exceeded quota: pods"}
