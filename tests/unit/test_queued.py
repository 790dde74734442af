"""Jobs that somebody else suspends, as Kueue does: the task waits, and a pod that was taken back is no failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.builders import ended, entry_of, job, pod, spec, states, task
from tests.operators import Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import JOBS, PODS
from nexus.api.reasons import Reason, TaskPhase
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import JobFact
from nexus.core.tasks.evidence import Active, Backoff, Failed, Succeeded, Waiting, judge

TAKEN_BACK = pod(ended(143), deleted=3, withdrawn=True, uid="old")


@pytest.mark.parametrize(
    ("subject", "evidence"),
    [
        (job("t", suspended=True), Waiting),
        (job("t", pod(), suspended=True), Waiting),
        (job("t", TAKEN_BACK, suspended=True), Waiting),
        (job("t", pod(ended(0)), suspended=True), Succeeded),
        (job("t", pod(ended(0), deleted=3, withdrawn=True), suspended=True), Waiting),
        (job("t", suspended=True, failing=True), Active),
        (job("t", suspended=True, failure="DeadlineExceeded"), Failed),
        (job("t", TAKEN_BACK), Waiting),
        (job("t", TAKEN_BACK, pod()), Active),
        (job("t", TAKEN_BACK, pod(ended(0), uid="new")), Succeeded),
        (job("t", TAKEN_BACK, pod(ended(1), uid="new"), failed=1), Backoff),
        (job("t", TAKEN_BACK, pod(ended(1), uid="new"), failed=1, failure="BackoffLimitExceeded"), Failed),
    ],
)
def test_what_a_suspended_job_proves(subject: JobFact, evidence: type[object]) -> None:
    found = judge(subject)

    assert isinstance(found, evidence)
    if isinstance(found, Waiting):
        assert found.since is None
        assert found.reason is (Reason.QUEUED if subject.suspended else Reason.STARTING)
    if isinstance(found, Failed) and subject.failure == "BackoffLimitExceeded":
        assert found.exit_code == 1


def suspend_at(subject: Story, first: float, last: float) -> None:
    """Suspend the task's Job from the first to the last of these seconds."""
    clock = subject.cluster.clock

    def turn(suspended: bool) -> Callable[[], None]:
        def act() -> None:
            for body in subject.cluster.objects(JOBS):
                subject.cluster.suspend(body["metadata"]["name"], suspended=suspended)

        return act

    clock.after(first, turn(True))
    clock.after(last, turn(False))


@pytest.mark.parametrize("retry", [{}, {"limit": 2}, {"limit": 2, "delaySeconds": 1}], ids=["none", "native", "own"])
@pytest.mark.parametrize("first", [0.005, 0.3, 3.0], ids=["at once", "before it starts", "while it runs"])
def test_a_task_waits_as_long_as_its_job_is_suspended_and_then_goes_on(
    cel: Evaluator, first: float, retry: dict[str, Any]
) -> None:
    with story(spec(task("t", retry=retry, startTimeoutSeconds=5)), cel) as subject:
        subject.cluster.script("t", Outcome(seconds=10))
        suspend_at(subject, first, 900)
        subject.operator()
        waiting = subject.run(until=lambda: states(subject.status).get("t") == "Pending Queued")
        assert "Kueue" in (entry_of(waiting, "t").message or "")
        subject.quiet(400)
        assert states(subject.status) == {"t": "Pending Queued"}
        assert [body for body in subject.cluster.objects(PODS) if body["status"]["phase"] == "Running"] == []

        status = subject.run()

        entry = entry_of(status, "t")
        assert (entry.phase, entry.reason, entry.attempts) == (TaskPhase.SUCCEEDED, None, 1)
        assert entry.attempt_records is None
        assert len(subject.witness.made) == 1


def test_a_failure_after_it_went_on_is_the_first_attempt(cel: Evaluator) -> None:
    with story(spec(task("t", retry={"limit": 1})), cel) as subject:
        subject.cluster.script("t", Outcome.hangs(sigterm_exit_code=143), Outcome(exit_code=3), Outcome())
        suspend_at(subject, 3, 60)
        subject.operator()
        entry = entry_of(subject.run(), "t")

        assert (entry.phase, entry.attempts) == (TaskPhase.SUCCEEDED, 2)
        assert [(record.attempt, record.exit_code) for record in entry.attempt_records or ()] == [(1, 3), (2, 0)]


@pytest.mark.parametrize("every", [1, 2, 3])
def test_operators_that_die_find_it_queued_and_going_on(cel: Evaluator, every: int) -> None:
    with story(spec(task("a"), task("t", "a")), cel) as subject:
        subject.cluster.script("t", Outcome(seconds=5))
        subject.on_birth = lambda told: told.operators[-1].api.crash_after(every) if told.deaths < 9 else None
        suspend_at(subject, 5, 50)
        subject.operator()

        assert states(subject.run()) == {"a": "Succeeded", "t": "Succeeded"}
        assert sorted(subject.witness.order) == [("a", 1), ("t", 1)]


def test_a_queued_task_is_asked_about_nothing(cel: Evaluator) -> None:
    """A Job without a pod is looked up in the Events, every ten seconds; not one of which that is known why."""
    with story(spec(task("t")), cel) as subject:
        suspend_at(subject, 0.005, 500)
        operator = subject.operator()
        subject.run(until=lambda: states(subject.status).get("t") == "Pending Queued")
        subject.quiet(5)
        reads = operator.api.reads
        subject.quiet(300)

        assert operator.api.reads == reads


def test_the_deadline_of_a_task_counts_while_it_is_queued(cel: Evaluator) -> None:
    with story(spec(task("t", deadlineSeconds=30)), cel) as subject:
        suspend_at(subject, 0.005, 500)
        subject.operator()

        assert entry_of(subject.run(), "t").reason is Reason.DEADLINE_EXCEEDED


def test_a_fan_out_is_held_back_as_a_whole_and_no_item_has_failed(cel: Evaluator) -> None:
    with story(spec(task("t", forEach={"items": [1, 2, 3], "parallelism": 2}, startTimeoutSeconds=5)), cel) as subject:
        subject.cluster.script("t", Outcome(seconds=10))
        suspend_at(subject, 3, 60)
        subject.operator()
        subject.run(until=lambda: states(subject.status).get("t") == "Pending Queued")
        subject.quiet(40)
        assert states(subject.status) == {"t": "Pending Queued"}

        entry = entry_of(subject.run(), "t")

        assert (entry.phase, entry.reason) == (TaskPhase.SUCCEEDED, None)
        assert entry.items is not None
        assert (entry.items.succeeded, entry.items.failed) == (3, 0)


def test_items_with_jobs_of_their_own_are_held_back_one_by_one(cel: Evaluator) -> None:
    retry = {"limit": 1, "delaySeconds": 1}
    with story(spec(task("t", forEach={"items": [1, 2]}, retry=retry)), cel) as subject:
        subject.cluster.script("t", Outcome(seconds=10))
        suspend_at(subject, 3, 60)
        subject.operator()
        subject.run(until=lambda: states(subject.status).get("t") == "Pending Queued")

        entry = entry_of(subject.run(), "t")

        assert entry.items is not None
        assert (entry.phase, entry.items.succeeded) == (TaskPhase.SUCCEEDED, 2)
        assert len(subject.witness.made) == 2
