"""What ends is counted once, whoever looks at it, how often, and after which deaths."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import START, at, spec, task
from tests.operators import KEY, Story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, Unreachable
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import Facts, RunFact
from nexus.runtime.outcomes import count_write
from nexus.runtime.ports import View
from nexus.runtime.stats import Counters

RUN = RunFact("default", "sales-x7k2p", "run-uid", START, workflow="sales")
OURS = {"workflow": "sales", "namespace": "default"}


def written(before: WorkflowRunStatus | None, after: WorkflowRunStatus) -> Counters:
    stats = Counters()
    count_write(stats, View(KEY, Facts(RUN), None, before), after)
    return stats


def status(phase: RunPhase = RunPhase.RUNNING, **tasks: TaskStatus) -> WorkflowRunStatus:
    entries = [task.model_copy(update={"name": name}) for name, task in tasks.items()]
    end = at(60) if phase.ended else None
    return WorkflowRunStatus(phase=phase, start_time=START, completion_time=end, tasks=entries)


def entry(phase: TaskPhase = TaskPhase.RUNNING, attempts: int | None = 1, **fields: Any) -> TaskStatus:
    return TaskStatus(name="a", phase=phase, attempts=attempts, start_time=START, **fields)


DONE = entry(TaskPhase.SUCCEEDED, completion_time=at(30))
FAILED = entry(TaskPhase.FAILED, 3, reason=Reason.TASK_ERROR, completion_time=at(30))


@pytest.mark.parametrize(
    ("before", "after", "counted"),
    [
        (None, status(a=entry()), {}),
        (status(a=entry()), status(a=DONE), {("task_executions", "Succeeded"): 1}),
        (status(a=DONE), status(a=DONE), {}),
        # What has ended is no news, though something else of it should change.
        (status(a=DONE), status(a=DONE.model_copy(update={"message": "x"})), {}),
        (status(a=entry()), status(a=entry(attempts=3)), {("task_retries", ""): 2}),
        (status(a=entry(attempts=2)), status(a=FAILED), {("task_retries", ""): 1, ("task_executions", "Failed"): 1}),
        (None, status(RunPhase.FAILED), {("workflow_executions", "Failed"): 1}),
        (status(RunPhase.FAILED), status(RunPhase.FAILED), {}),
        (
            status(a=entry(), b=TaskStatus(name="b")),
            status(RunPhase.CANCELLED, a=entry(TaskPhase.CANCELLED), b=TaskStatus(name="b", phase=TaskPhase.OMITTED)),
            {
                ("task_executions", "Cancelled"): 1,
                ("task_executions", "Omitted"): 1,
                ("workflow_executions", "Cancelled"): 1,
            },
        ),
    ],
)
def test_a_write_counts_what_ended_with_it(
    before: WorkflowRunStatus | None, after: WorkflowRunStatus, counted: dict[tuple[str, str], int]
) -> None:
    stats = written(before, after)
    found = {
        (name, dict(labels).get("status", "")): number for (name, labels), number in stats.counts.items() if number
    }
    assert {key: number for key, number in found.items() if key[0] != "task_failures"} == counted


def test_a_run_that_starts_has_its_endings_counted_from_zero() -> None:
    stats = written(None, status(a=entry()))
    assert {dict(labels)["status"] for _, labels in stats.counts} == {"Succeeded", "Failed", "Cancelled"}
    assert written(status(a=entry()), status(a=entry(attempts=1))).counts == {}


def test_durations_are_from_the_start_to_the_end_and_a_skipped_task_has_none() -> None:
    skipped = TaskStatus(name="b", phase=TaskPhase.SKIPPED, completion_time=at(5))
    stats = written(status(a=entry()), status(RunPhase.SUCCEEDED, a=DONE, b=skipped))
    sums = {(name, dict(labels).get("task", "")): total for (name, labels), (_, total, _) in stats.observed.items()}
    assert sums == {("task_execution_duration_seconds", "a"): 30, ("workflow_execution_duration_seconds", ""): 60}


def test_failures_are_counted_by_reason() -> None:
    stats = written(status(a=entry()), status(a=FAILED))
    assert stats.total("task_failures", namespace="default", reason="TaskError") == 1


def dag(cel: Evaluator) -> Story:
    told = Story(
        spec(
            task("first"),
            task("flaky", retry={"limit": 2, "delaySeconds": 0}),
            task("native", retry={"limit": 1}),
            task("fails", "first"),
            task("skipped", "first", when="${{ false }}"),
            task("omitted", "fails"),
        ),
        cel,
        by_reference=True,
    )
    told.cluster.script("flaky", Outcome(exit_code=1), Outcome(exit_code=1), Outcome())
    told.cluster.script("native", Outcome(exit_code=1), Outcome())
    told.cluster.script("fails", Outcome(exit_code=3))
    return told


def assert_counted_once(*all_stats: Counters) -> None:
    def total(name: str, **labels: str) -> int:
        return sum(stats.total(name, **labels) for stats in all_stats)

    assert total("workflow_executions") == total("workflow_executions", **OURS, status="Failed") == 1
    assert total("task_executions") == 6
    ended = {"Succeeded": 3, "Failed": 1, "Skipped": 1, "Omitted": 1}
    assert {phase: total("task_executions", status=phase) for phase in ended} == ended
    assert (total("task_retries", task="flaky"), total("task_retries", task="native")) == (2, 1)
    assert total("task_failures", reason="TaskError") == 1


def test_a_run_is_counted_once_though_it_is_looked_at_again_and_again(cel: Evaluator) -> None:
    told = dag(cel)
    operator = told.operator()
    told.run()
    for _ in range(5):
        told.loop.run_until_complete(operator.reconciler.reconcile(KEY))
    told.quiet()
    assert_counted_once(operator.stats)
    told.close()


def test_of_two_operators_one_counts(cel: Evaluator) -> None:
    told = dag(cel)
    operators = [told.operator(), told.operator()]
    told.run()
    assert_counted_once(*(operator.stats for operator in operators))
    told.close()


def test_a_new_operator_does_not_count_what_ended_before_it(cel: Evaluator) -> None:
    told = dag(cel)
    first = told.operator()
    told.run(until=lambda: told.phases.get("first") == "Succeeded")
    first.die()
    told.operators.remove(first)
    second = told.operator()
    told.run()
    assert_counted_once(first.stats, second.stats)
    assert second.stats.total("task_executions", task="first") == 0
    third = told.operator()
    told.quiet()
    assert third.stats.counts == {}
    told.close()


@pytest.mark.parametrize("takes_effect", [True, False])
@pytest.mark.parametrize("writes", range(0, 14, 2))
def test_a_write_whose_answer_is_lost_is_counted_once(cel: Evaluator, writes: int, takes_effect: bool) -> None:
    told = dag(cel)
    operator = told.operator()
    told.run(until=lambda: len(operator.api.writes) >= writes or told.ended)
    lost = Unreachable("no answer in time", outcome_unknown=True)
    operator.api.fail_next("replace_status", WORKFLOW_RUNS, lost, takes_effect=takes_effect)
    told.run()
    told.quiet()
    assert_counted_once(operator.stats)
    told.close()
