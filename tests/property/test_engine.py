"""The engine under everything at once: any DAG, any outcome, any deaths of the operator, and what must hold even so.

The whole of it runs: decide, the reconcile loop, the place that speaks to the API server, its cache, and behind the
port the fake cluster with its Job controller and kubelet. `Witness` looks at every change as it happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.operators import Story, story
from tests.property.workflows import CHILD, Case, assert_idle, cases, holds

from nexus.adapters.kube.client.api import JOBS, PODS
from nexus.api.run import TaskStatus
from nexus.core.expressions.templates import Evaluator

ENGINE = settings(
    max_examples=(settings.default or settings()).max_examples // 2,  # each is a whole run, or two
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@ENGINE
@given(case=cases(timed=True))
def test_every_run_ends_whatever_its_tasks_do(cel: Evaluator, case: Case) -> None:
    with story(case.spec, cel, workflows={"child": CHILD}) as subject:
        case.told_on(subject)
        subject.operator()
        subject.run()
        holds(subject, case)


@ENGINE
@given(case=cases(timed=True), seed=st.integers(0, 2**32), every=st.integers(1, 6))
def test_every_run_ends_though_the_operator_dies_again_and_again(
    cel: Evaluator, case: Case, seed: int, every: int
) -> None:
    with story(case.spec, cel, workflows={"child": CHILD}) as subject:
        case.told_on(subject)
        subject.on_birth = mortal(random.Random(seed), every)
        subject.operator()
        subject.run()
        subject.on_birth = None
        holds(subject, case)


@ENGINE
@given(case=cases(timed=False), seed=st.integers(0, 2**32), every=st.integers(1, 6))
def test_a_run_ends_the_same_with_deaths_as_without(cel: Evaluator, case: Case, seed: int, every: int) -> None:
    with story(case.spec, cel, workflows={"child": CHILD}) as calm:
        case.told_on(calm)
        calm.operator()
        calm.run()
    with story(case.spec, cel, workflows={"child": CHILD}) as troubled:
        case.told_on(troubled)
        troubled.on_birth = mortal(random.Random(seed), every)
        troubled.operator()
        troubled.run()

    def summary(subject: Story) -> object:
        status = subject.status
        tasks = [
            (entry.name, entry.phase, entry.reason, entry.attempts, entry.exit_code, entry.output, records(entry))
            for entry in status.tasks or ()
        ]
        return status.phase, status.reason, tasks, sorted(subject.witness.order)

    def records(entry: TaskStatus) -> object:
        return [(record.attempt, record.reason, record.exit_code) for record in entry.attempt_records or ()]

    assert summary(troubled) == summary(calm)


@ENGINE
@given(case=cases(timed=True), seed=st.integers(0, 2**32))
def test_every_run_ends_though_somebody_deletes_and_evicts_what_it_runs(cel: Evaluator, case: Case, seed: int) -> None:
    with story(case.spec, cel, workflows={"child": CHILD}) as subject:
        case.told_on(subject)
        subject.operator()
        vandal(subject, random.Random(seed))
        subject.run()
        holds(subject, case)


@ENGINE
@given(case=cases(timed=True))
def test_nothing_is_written_between_two_changes(cel: Evaluator, case: Case) -> None:
    with story(case.spec, cel, workflows={"child": CHILD}) as subject:
        case.told_on(subject)
        subject.operator()
        clock = subject.cluster.clock
        subject.settle()
        while not subject.ended:
            # What is due at this very instant, as the start of a retry, is a change that the test has not made yet.
            if clock.next_due() != clock.now():
                assert_idle(subject)
            assert clock.step(), f"nothing will ever happen again: {subject.status.to_json()}"
            subject.settle()


def mortal(chance: random.Random, every: int) -> Callable[[Story], None]:
    """Each new operator is to die before or after one of its next writes; thirty of them, so that the run can end."""

    def on_birth(subject: Story) -> None:
        if subject.deaths < 30:
            api = subject.operators[-1].api
            die = chance.choice([api.crash_after, api.crash_before])
            die(chance.randint(1, every))

    return on_birth


def vandal(subject: Story, chance: random.Random) -> None:
    """Now and then somebody deletes a Job or a pod, drains a node, or holds a Job back for a while."""
    cluster = subject.cluster

    def strike() -> None:
        jobs, pods = cluster.objects(JOBS), cluster.objects(PODS)
        what = chance.choice(["job", "pod", "evict", "suspend"])
        if what == "job" and jobs:
            cluster.remove(JOBS, chance.choice(jobs)["metadata"]["name"])
        elif what == "pod" and pods:
            cluster.remove(PODS, chance.choice(pods)["metadata"]["name"])
        elif what == "suspend" and jobs:
            name = chance.choice(jobs)["metadata"]["name"]
            cluster.suspend(name)
            cluster.clock.after(chance.uniform(0, 20), partial(cluster.suspend, name, suspended=False))
        elif what == "evict" and pods:
            running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
            if running:
                cluster.evict(chance.choice(running)["metadata"]["name"])

    for _ in range(6):
        cluster.clock.after(chance.uniform(0, 30), strike)
