"""Crashes: the operator is killed at every single write it makes, before and after; nobody may notice."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import Any

import pytest
from tests.builders import spec, task
from tests.effort import sample
from tests.operators import KEY, Operator, Story, story

from nexus.adapters.fake import FakeApi, Outcome
from nexus.adapters.kube.client.api import CONFIG_MAPS, EVENTS, JOBS, PODS, WORKFLOW_RUNS, Unreachable, error_from
from nexus.api.run import TaskStatus
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator

ROWS = json.dumps({"rows": list(range(2_000))}).encode()
FRAME = json.dumps({"frame": {"size": len(ROWS), "sha256": hashlib.sha256(ROWS).hexdigest(), "format": "json"}})
LINE = b"\nNEXUS-OUTPUT " + base64.b64encode(zlib.compress(ROWS)) + b"\n"


def small_dag() -> WorkflowSpec:
    """A retry of each kind, a skip, a large output that two tasks read, a failure with its handler, and a deadline."""
    return spec(
        task("extract", python={"code": "..."}),
        task("flaky", retry={"limit": 2, "delaySeconds": 0}),
        task("native", retry={"limit": 1}),
        task("numbered", python={"code": "..."}, retry={"limit": 1}),
        task("mounts", "extract", python={"code": "..."}),
        task("renders", "extract", env=[{"name": "N", "value": "${{ tasks.extract.output.rows.size() }}"}]),
        task("skipped", "flaky", when="${{ false }}"),
        task("fails", "flaky"),
        task("omitted", "fails"),
        task("late", "flaky", deadlineSeconds=4),
        task("handler", "fails", "skipped", "late", triggerRule="AnyFailed"),
        maxParallelTasks=11,
    )


def script(subject: Story) -> None:
    cluster = subject.cluster
    cluster.script("extract", Outcome(message=FRAME, log=b"hello" + LINE))
    cluster.script("mounts", Outcome(message='{"output":{}}'))
    cluster.script("flaky", Outcome(exit_code=1), Outcome(exit_code=1), Outcome(message='{"n":1}'))
    cluster.script("native", Outcome(exit_code=1), Outcome())
    cluster.script("numbered", Outcome(exit_code=1), Outcome(message='{"output":{}}'))
    cluster.script("fails", Outcome(exit_code=3))
    cluster.script("late", Outcome.hangs())


ENDS = {
    "extract": ("Succeeded", None, 1),
    "flaky": ("Succeeded", None, 3),
    "native": ("Succeeded", None, 2),
    "numbered": ("Succeeded", None, 2),
    "mounts": ("Succeeded", None, 1),
    "renders": ("Succeeded", None, 1),
    "skipped": ("Skipped", "WhenFalse", None),
    "fails": ("Failed", "TaskError", 1),
    "omitted": ("Omitted", "DependencyFailed", None),
    "late": ("Failed", "DeadlineExceeded", 1),
    "handler": ("Succeeded", None, 1),
}
JOBS_MADE = sorted(
    [(name, 1) for name, (_, _, attempts) in ENDS.items() if attempts] + [("flaky", 2), ("flaky", 3)]
)  # fmt: skip


def assert_as_if_nothing_had_happened(subject: Story) -> None:
    status = subject.status
    told = {entry.name: (entry.phase.value, entry.reason, entry.attempts) for entry in status.tasks or ()}
    assert told == ENDS
    assert (status.phase, status.tasks_done) == ("Failed", "11/11")
    assert sorted(subject.witness.order) == JOBS_MADE
    reference = entry(subject, "extract").output_ref
    assert reference is not None
    stored = subject.cluster.find(CONFIG_MAPS, KEY.namespace, reference.config_map)
    assert stored is not None
    assert json.loads(stored["data"]["output.json"]) == json.loads(ROWS)
    subject.quiet(60)
    live = [pod for pod in subject.cluster.objects(PODS) if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    assert live == []


def entry(subject: Story, name: str) -> TaskStatus:
    return next(entry for entry in subject.status.tasks or () if entry.name == name)


def writes_of_a_calm_run(cel: Evaluator) -> int:
    with story(small_dag(), cel, by_reference=True) as subject:
        script(subject)
        subject.operator()
        subject.run()
        assert_as_if_nothing_had_happened(subject)
        return subject.writes()


def test_the_writes_of_a_run_are_few(cel: Evaluator) -> None:
    """At most three a task, one of them its Event, and four a run; a retry has a Job, a status and an Event more.
    Its Workflow's status has one: that it can run."""
    jobs, tasks, retries = len(JOBS_MADE), len(ENDS), 4
    stored, stopped = 1, 1

    assert writes_of_a_calm_run(cel) <= jobs + 2 * tasks + 2 * retries + stored + stopped + 4 + 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_write_the_run_ends_as_if_nothing_had_happened(cel: Evaluator, when: str) -> None:
    count = writes_of_a_calm_run(cel)
    assert count > 30
    for number in sample(range(1, count + 1)):
        with story(small_dag(), cel, by_reference=True) as subject:
            script(subject)
            api = subject.operator().api
            (api.crash_after if when == "after" else api.crash_before)(number)
            subject.run()
            subject.quiet(5)
            assert subject.deaths == 1, f"write {number} of {count} never came"
            assert_as_if_nothing_had_happened(subject)


@pytest.mark.parametrize("first", [1, 2, 3, 5])
def test_killed_again_and_again_the_run_still_ends(cel: Evaluator, first: int) -> None:
    """Every operator lives for a few writes only: each finds its predecessor's work half done."""

    def doomed(subject: Story) -> None:
        subject.operators[-1].api.crash_after(first + subject.deaths % 2)

    with story(small_dag(), cel, by_reference=True) as subject:
        script(subject)
        subject.on_birth = doomed
        subject.operator()
        subject.run()
        assert subject.deaths > 5
        subject.on_birth = None
        assert_as_if_nothing_had_happened(subject)


def test_an_operator_that_was_away_for_an_hour_finishes_the_run(cel: Evaluator) -> None:
    with story(spec(task("a"), task("b", "a")), cel) as subject:
        subject.operator().api.crash_after(2)
        subject.run(until=lambda: subject.deaths == 1)
        subject.operators.pop().die()
        subject.cluster.advance(3_600)
        subject.operator()

        subject.run()

        assert subject.phases == {"a": "Succeeded", "b": "Succeeded"}
        assert subject.witness.order == [("a", 1), ("b", 1)]


# -- lost answers and refused writes ----------------------------------------------------------------------------------


def lost(_: FakeApi) -> Unreachable:
    return Unreachable("no answer", outcome_unknown=True)


@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize(
    ("verb", "kind"), [("create", JOBS), ("create", CONFIG_MAPS), ("replace_status", WORKFLOW_RUNS), ("delete", JOBS)]
)
def test_an_answer_that_never_came_changes_nothing(cel: Evaluator, verb: str, kind: Any, takes_effect: bool) -> None:
    with story(small_dag(), cel, by_reference=True) as subject:
        script(subject)
        api = subject.operator().api
        for _ in range(3 if takes_effect else 1):
            api.fail_next(verb, kind, lost(api), takes_effect=takes_effect)
        subject.run()
        assert_as_if_nothing_had_happened(subject)


def test_a_conflict_on_the_status_is_decided_anew(cel: Evaluator) -> None:
    with story(small_dag(), cel, by_reference=True) as subject:
        script(subject)
        api = subject.operator().api
        for _ in range(5):
            api.fail_next("replace_status", WORKFLOW_RUNS, error_from(409, "Conflict", "modified"))
        subject.run()
        assert_as_if_nothing_had_happened(subject)


def test_events_that_are_refused_are_not_missed(cel: Evaluator) -> None:
    with story(small_dag(), cel, by_reference=True) as subject:
        script(subject)
        api = subject.operator().api
        for _ in range(5):
            api.fail_next("create", EVENTS, error_from(403, "Forbidden", "no events for you"))
        subject.run()
        assert_as_if_nothing_had_happened(subject)


# -- two operators, and caches that lag -------------------------------------------------------------------------------


def test_two_operators_at_once_do_the_work_of_one(cel: Evaluator) -> None:
    with story(small_dag(), cel, by_reference=True) as subject:
        script(subject)
        subject.operator()
        subject.operator()
        subject.run()
        assert_as_if_nothing_had_happened(subject)


@pytest.mark.parametrize("lag", [1, 3, 10])
def test_an_operator_with_a_stale_cache_does_no_harm_beside_one_with_a_fresh_one(cel: Evaluator, lag: int) -> None:
    """The stale one hears of each change only when `lag` more have happened, and is asked all the time."""
    with story(small_dag(), cel, by_reference=True) as subject:
        script(subject)
        subject.operator()
        stale = subject.operator(queued=True)

        def look() -> bool:
            for watch in stale.watches:
                watch.deliver(max(len(watch.pending) - lag, 0))
            stale.mark(KEY)
            return subject.ended

        subject.run(until=look)
        assert_as_if_nothing_had_happened(subject)


def test_a_job_that_ended_by_itself_stays_though_a_watch_is_behind(cel: Evaluator) -> None:
    """A failure is known from the run before it is known from the Job: the pod's log must not go."""
    with story(spec(task("t")), cel) as subject:
        subject.cluster.script("t", Outcome(exit_code=1))
        subject.operator()
        stale = subject.operator(queued=True)
        (runs,) = [watch for watch in stale.watches if watch.kind == WORKFLOW_RUNS]

        def look() -> bool:
            if not subject.ended:
                for watch in stale.watches:
                    watch.deliver()
            return subject.ended

        subject.run(until=look)
        runs.deliver()
        stale.mark(KEY)
        subject.settle()
        assert len(subject.cluster.objects(JOBS)) == 1


@pytest.mark.parametrize("lag", [0.3, 2.0])
def test_a_lone_operator_whose_watches_lag_ends_the_run_all_the_same(cel: Evaluator, lag: float) -> None:
    """Pods, Jobs and runs are three watches: what comes first by one may come last by another."""
    with story(small_dag(), cel, by_reference=True) as subject:
        script(subject)
        operator = subject.operator(queued=True)
        deliver_later(subject, operator, lag)
        subject.run()
        assert_as_if_nothing_had_happened(subject)


def deliver_later(subject: Story, operator: Operator, lag: float) -> None:
    """Each watch delivers every so often, the slowest three times as late as the fastest."""
    clock = subject.cluster.clock

    def every(position: int) -> None:
        if operator.alive:
            operator.watches[position].deliver()
            clock.after(lag * (position + 1), lambda: every(position))

    for position in range(len(operator.watches)):
        every(position)


def test_a_task_that_ended_without_a_job_is_not_passed_by_those_behind_it(cel: Evaluator) -> None:
    """It fails, the task behind it takes the only slot, and the operator dies before any of it is in the status."""
    impossible = task("a", when="${{ 1 / 0 == 1 }}", allowFailure=True)
    with story(spec(impossible, task("b", "a"), maxParallelTasks=1), cel) as subject:
        subject.operator().api.crash_after(1)
        status = subject.run(until=lambda: subject.phases.get("b") == "Running")

        assert (subject.deaths, subject.witness.order) == (1, [("b", 1)])
        assert [entry.phase for entry in status.tasks or ()] == ["Failed", "Running"]
        assert subject.run().phase == "Succeeded"


# -- what people do ---------------------------------------------------------------------------------------------------


def test_a_run_that_is_deleted_while_it_runs_leaves_nothing_behind(cel: Evaluator) -> None:
    with story(small_dag(), cel, by_reference=True) as subject:
        script(subject)
        subject.operator()
        subject.run(until=lambda: len(subject.witness.made) > 4)
        subject.cluster.remove(WORKFLOW_RUNS, KEY.name)

        subject.quiet(120)

        assert [subject.cluster.objects(kind) for kind in (WORKFLOW_RUNS, JOBS, PODS, CONFIG_MAPS)] == [[], [], [], []]
        assert subject.operators[0].cache.runs == {}


def test_a_run_made_again_under_the_same_name_is_another_run(cel: Evaluator) -> None:
    with story(spec(task("a"), task("b", "a")), cel) as subject:
        subject.operator()
        subject.run(until=lambda: subject.phases.get("b") == "Running")
        body = subject.cluster.objects(WORKFLOW_RUNS)[0]
        subject.cluster.remove(WORKFLOW_RUNS, KEY.name)
        subject.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": KEY.name}, "spec": body["spec"]})

        status = subject.run(until=lambda: subject.phases.get("b") == "Succeeded")

        assert [entry.phase for entry in status.tasks or ()] == ["Succeeded", "Succeeded"]
        assert sorted(subject.witness.order) == [("a", 1), ("a", 1), ("b", 1), ("b", 1)]
