"""Attempt records: one for each attempt that failed, by both mechanisms of retry, and never more than fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.builders import at, definition, ended, facts, failed, job, pod, spec, succeeded, task
from tests.operators import Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import PODS, WORKFLOW_RUNS, error_from
from nexus.api.reasons import Reason, RunPhase
from nexus.api.run import AttemptRecord, TaskStatus, WorkflowRunStatus
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model import status_limits
from nexus.core.model.facts import JobFact
from nexus.core.model.plan import ReadLog
from nexus.core.text.json_text import dump

RAISED = '{"error":{"type":"ValueError","message":"no such region: xx","line":3}}'
CODE = {"python": {"code": "1"}}
NATIVE = {"limit": 9}
OWN = {"limit": 9, "delaySeconds": 1, "factor": 1}


def records(status: WorkflowRunStatus, name: str = "t") -> Sequence[AttemptRecord]:
    return next(entry.attempt_records or () for entry in status.tasks or () if entry.name == name)


def told(
    cel: Evaluator,
    *outcomes: Outcome,
    prepare: Callable[[Story], None] = lambda _: None,
    **fields: Any,
) -> WorkflowRunStatus:
    with story(spec(task("t", **fields)), cel) as subject:
        subject.cluster.script("t", *outcomes)
        prepare(subject)
        subject.operator()
        return subject.run()


@pytest.mark.parametrize("retry", [NATIVE, OWN], ids=["native", "own"])
def test_each_attempt_of_a_task_that_did_not_succeed_at_once_has_a_record(
    cel: Evaluator, retry: dict[str, Any]
) -> None:
    outcomes = [Outcome(exit_code=1, message=RAISED), Outcome.oom(), Outcome(message='{"output":{}}')]
    found = records(told(cel, *outcomes, retry=retry, **CODE))

    assert [(entry.attempt, entry.exit_code, entry.reason) for entry in found] == [
        (1, 1, Reason.TASK_ERROR),
        (2, 137, Reason.OUT_OF_MEMORY),
        (3, 0, None),
    ]
    assert found[0].exception is not None
    assert found[0].exception.to_json() == {"type": "ValueError", "message": "no such region: xx", "line": 3}
    assert found[0].message == "ValueError: no such region: xx (line 3)"
    assert found[1].exception is None
    for entry in found:
        assert entry.start_time is not None
        assert entry.completion_time is not None
        assert entry.start_time <= entry.completion_time
        assert entry.pod is not None
    assert len({entry.pod for entry in found}) == 3


@pytest.mark.parametrize("fields", [{}, {"forEach": {"items": [1]}}], ids=["one", "fan-out"])
@pytest.mark.parametrize("retry", [NATIVE, OWN], ids=["native", "own"])
@pytest.mark.parametrize("kind", [{"python": {"code": "1"}}, {"bash": {"command": "true"}}], ids=["python", "bash"])
def test_each_pod_is_told_the_attempt_that_it_is_recorded_as(
    cel: Evaluator, kind: dict[str, Any], retry: dict[str, Any], fields: dict[str, Any]
) -> None:
    outcomes = [Outcome(exit_code=1), Outcome.drained(), Outcome(exit_code=1), Outcome(message='{"output":{}}')]
    pods: dict[str, dict[str, Any]] = {}
    with story(spec(task("t", retry=retry, **kind, **fields)), cel) as subject:
        subject.cluster.script("t", *outcomes)
        subject.cluster.subscribe(PODS, lambda _, body: pods.update({body["metadata"]["name"]: body}))
        subject.operator()
        status = subject.run()

    # The drained pod is told the number of the one that it is replaced by.
    assert sorted(attempt_of(body) for body in pods.values()) == [1, 2, 2, 3]
    for record in records(status):
        assert attempt_of(pods[record.pod or ""]) == record.attempt


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("queued", [False, True], ids=["by hand", "by Kueue"])
def test_a_job_that_was_suspended_between_two_attempts_makes_no_attempt_too_many(
    cel: Evaluator, limit: int, queued: bool
) -> None:
    """The Job controller forgets the failures of an index while its Job is suspended."""
    label = {"pod": {"labels": {"kueue.x-k8s.io/queue-name": "q"}}} if queued else {}
    pods: dict[str, dict[str, Any]] = {}
    with story(spec(task("t", bash={"command": "true"}, retry={"limit": limit}, **label)), cel) as subject:
        cluster = subject.cluster
        cluster.script("t", Outcome(exit_code=1), Outcome.hangs(), *[Outcome(exit_code=1)] * 8)
        cluster.subscribe(PODS, lambda _, body: pods.update({body["metadata"]["name"]: body}))
        cluster.clock.after(60, lambda: cluster.suspend(subject.witness.made[-1]))
        cluster.clock.after(120, lambda: cluster.suspend(subject.witness.made[-1], suspended=False))
        subject.operator()
        status = subject.run()

    assert len(pods) == limit + 2, "the one that was suspended is none of the attempts"
    (entry,) = status.tasks or ()
    assert (entry.phase, entry.attempts) == ("Failed", limit + 1)
    if queued:
        numbers = [attempt_of(pods[record.pod or ""]) for record in records(status)]
        assert numbers == [record.attempt for record in records(status)] == list(range(1, limit + 2))


@pytest.mark.parametrize("trouble", [Outcome.evicted(), Outcome.drained()], ids=["evicted", "drained"])
@pytest.mark.parametrize("limit", [1, 2])
def test_no_attempt_is_waited_for_after_the_last_disruption_that_counts(
    cel: Evaluator, limit: int, trouble: Outcome
) -> None:
    seen: list[tuple[str | None, int | None]] = []
    retry = {"limit": limit, "disruptions": "Count"}
    with story(spec(task("t", bash={"command": "true"}, retry=retry)), cel) as subject:
        subject.cluster.script("t", *[trouble] * (limit + 1))
        subject.cluster.subscribe(WORKFLOW_RUNS, lambda _, body: seen.extend(waits(body)))
        subject.operator()
        subject.run()

    assert ("RetryDelay", 1) in seen
    assert ("RetryDelay", limit + 1) not in seen


def waits(body: dict[str, Any]) -> list[tuple[str | None, int | None]]:
    """The reason and the attempts of the tasks of a run."""
    return [(entry.get("reason"), entry.get("attempts")) for entry in (body.get("status") or {}).get("tasks") or ()]


def attempt_of(body: dict[str, Any]) -> int:
    """What the code in a pod finds as its attempt: the sum that the bootstrap makes, of what the kubelet gives it."""
    variables = {entry["name"]: entry for entry in body["spec"]["containers"][0]["env"]}
    failed = variables["NEXUS_FAILED_ATTEMPTS"]
    if "value" in failed:
        return int(variables["NEXUS_ATTEMPT"]["value"]) + int(failed["value"])
    path = failed["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.annotations['batch.kubernetes.io/job-index-failure-count']"
    count = body["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"]
    return int(variables["NEXUS_ATTEMPT"]["value"]) + int(count)


def test_a_first_attempt_that_succeeds_needs_none(cel: Evaluator) -> None:
    assert records(told(cel, Outcome())) == ()


def test_a_first_attempt_that_fails_for_good_has_one(cel: Evaluator) -> None:
    (entry,) = records(told(cel, Outcome(exit_code=1, message=RAISED), **CODE))

    assert (entry.attempt, entry.reason) == (1, Reason.TASK_ERROR)


@pytest.mark.parametrize("retry", [NATIVE, OWN], ids=["native", "own"])
def test_the_last_five_are_kept(cel: Evaluator, retry: dict[str, Any]) -> None:
    found = records(told(cel, *[Outcome(exit_code=1)] * 7, Outcome(), retry=retry))

    assert [entry.attempt for entry in found] == [4, 5, 6, 7, 8]


def test_a_drained_pod_that_is_replaced_free_is_no_attempt(cel: Evaluator) -> None:
    outcomes = [Outcome.drained(), Outcome(exit_code=1), Outcome.drained(), Outcome()]

    assert [(entry.attempt, entry.exit_code) for entry in records(told(cel, *outcomes, retry=NATIVE))] == [
        (1, 1),
        (2, 0),
    ]


@pytest.mark.parametrize("retry", [NATIVE, OWN], ids=["native", "own"])
def test_the_log_is_kept_where_the_task_asks_for_it(cel: Evaluator, retry: dict[str, Any]) -> None:
    outcomes = [Outcome(exit_code=1, log=b"one\ntwo\nthree\n"), Outcome(log=b"fine\n\nNEXUS-OUTPUT eJwrLU4=\n")]
    found = records(told(cel, *outcomes, retry=retry, recordLogLines=2))

    assert [entry.log_tail for entry in found] == ["two\nthree", "fine"]
    assert [entry.log_tail for entry in records(told(cel, *outcomes, retry=retry))] == [None, None]


def test_a_task_that_asks_for_its_log_has_a_record_of_its_success(cel: Evaluator) -> None:
    (entry,) = records(told(cel, Outcome(log=b"all is well\n"), recordLogLines=1))

    assert (entry.attempt, entry.exit_code, entry.log_tail) == (1, 0, "all is well")


def test_a_log_that_is_gone_holds_nothing_up(cel: Evaluator) -> None:
    def unreadable(subject: Story) -> None:
        answer = error_from(500, "InternalError", "dial tcp: no route to host", kind="Pod", name="p")
        subject.on_birth = lambda told: told.operators[-1].api.fail_next("logs", PODS, answer)

    (entry, _) = records(
        told(cel, Outcome(exit_code=1, log=b"lost"), Outcome(), prepare=unreadable, retry=OWN, recordLogLines=5)
    )

    assert entry.log_tail is None


def test_a_job_that_somebody_deleted_is_recorded_without_a_pod(cel: Evaluator) -> None:
    before = WorkflowRunStatus.model_validate(
        {
            "phase": "Running",
            "startTime": at(0),
            "tasks": [{"name": "t", "phase": "Running", "attempts": 1, "startTime": at(0), "job": {"name": "j"}}],
        }
    )
    plan = decide(definition(task("t")), facts(status=before), at(30), cel)

    (entry,) = records(plan.status)
    assert (entry.attempt, entry.pod, entry.reason) == (1, None, Reason.JOB_DELETED)
    assert entry.completion_time == at(30)


def test_pods_that_were_not_seen_failing_are_recorded_with_the_last(cel: Evaluator) -> None:
    pods = [pod(ended(n, after=n), name=f"p{n}", uid=f"u{n}") for n in (1, 2, 3)]
    lost = job("t", *pods, failed=3, failure="BackoffLimitExceeded", finished_at=at(4))

    plan = decide(definition(task("t", retry={"limit": 2})), facts(lost), at(30), cel)

    assert [(entry.attempt, entry.pod, entry.exit_code) for entry in records(plan.status)] == [
        (1, "p1", 1),
        (2, "p2", 2),
        (3, "p3", 3),
    ]


def test_what_was_recorded_is_not_read_again(cel: Evaluator) -> None:
    subject = definition(task("t", recordLogLines=3, retry=OWN))
    first = decide(subject, facts(failed("t")), at(5.5), cel)
    assert first.reads == (ReadLog("t", "pod", "pod-uid", 3),)

    second = decide(subject, facts(failed("t"), logs={"pod-uid": "the end"}), at(5.5), cel)
    assert records(second.status)[0].log_tail == "the end"

    third = decide(subject, facts(failed("t"), status=second.status), at(5.5), cel)
    assert (third.reads, third.status) == ((), second.status)


# -- room -------------------------------------------------------------------------------------------------------------


def failing(count: int, cel: Evaluator, log: str | None = None) -> WorkflowRunStatus:
    message = dump({"error": {"type": "E" * 200, "message": "u" * 300, "line": 1}})
    jobs: list[JobFact] = [
        job(
            f"t{n}",
            pod(ended(1, message), name=f"pod-{n}", uid=f"u{n}"),
            failed=1,
            failure="BackoffLimitExceeded",
            finished_at=at(6),
        )
        for n in range(count)
    ]
    asks = {} if log is None else {"recordLogLines": 50}
    tasks = [task(f"t{n}", **CODE, **asks) for n in range(count)]
    logs = {f"u{n}": log for n in range(count)}
    return decide(definition(*tasks, maxParallelTasks=1_000), facts(*jobs, logs=logs), at(30), cel).status


def size(status: WorkflowRunStatus) -> int:
    kept = (entry.attempt_records or () for entry in status.tasks or ())
    return sum(len(dump(record.to_json()).encode()) for entries in kept for record in entries)


def test_the_records_of_five_hundred_tasks_fit_into_their_share(cel: Evaluator) -> None:
    status = failing(500, cel, "ü" * 512)

    assert (
        status_limits.RECORDS_LIMIT * 0.9
        < size(status)
        <= status_limits.RECORDS_LIMIT
        == status_limits.records_limit(500)
    )


def test_a_few_tasks_have_all_that_there_is_to_tell(cel: Evaluator) -> None:
    status = failing(20, cel, "x" * 1_024)

    for entry in status.tasks or ():
        (record,) = entry.attempt_records or ()
        assert record.log_tail == "x" * 1_024
        assert record.message is not None
        assert len(record.message.encode()) == status_limits.RECORD_TEXT_LIMIT


def test_where_room_ends_the_log_goes_first_and_the_reason_stays_longest(cel: Evaluator) -> None:
    order = ["whole", "no log", "terse", "nothing"]
    seen: set[str] = set()
    for length in range(400, 1_024, 75):  # what room the whole ones leave is another each time
        shapes = [shape(entry) for entry in failing(200, cel, "x" * length).tasks or ()]
        assert shapes == sorted(shapes, key=order.index)
        seen |= set(shapes)

    assert seen == set(order)


def shape(entry: TaskStatus) -> str:
    if not entry.attempt_records:
        return "nothing"
    (record,) = entry.attempt_records
    if record.log_tail is not None:
        return "whole"
    return "terse" if record.message is None else "no log"


def test_where_there_is_no_room_no_log_is_read(cel: Evaluator) -> None:
    full = failing(500, cel, "x" * 1_024)
    assert shape((full.tasks or [])[-1]) == "nothing"
    tasks = [task(f"t{n}", **CODE, recordLogLines=5) for n in range(500)]
    status = full.model_copy(
        update={
            "phase": RunPhase.RUNNING,
            "tasks": [entry if n < 499 else TaskStatus(name="t499") for n, entry in enumerate(full.tasks or ())],
        }
    )

    plan = decide(definition(*tasks), facts(failed("t499"), status=status), at(60), cel)

    assert plan.reads == ()


def test_an_output_that_is_refused_is_an_attempt_that_failed(cel: Evaluator) -> None:
    refused = '{"error":{"reason":"InvalidOutput","message":"output is a set"}}'
    plan = decide(definition(task("t", **CODE)), facts(succeeded("t", refused)), at(30), cel)

    (entry,) = records(plan.status)
    assert (entry.reason, entry.exit_code, entry.message) == (Reason.INVALID_OUTPUT, 0, "output is a set")
