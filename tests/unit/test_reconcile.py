"""Reconcile: what the API server refuses, what is missing, and what a run does about it."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from tests.builders import entry_of, spec, states, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import (
    CONTROLLER_REVISIONS,
    JOBS,
    PODS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    ApiError,
    Object,
    error_from,
)
from nexus.adapters.kube.manifests.job import Images
from nexus.adapters.kube.runs.backend import KubeBackend
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import job_name
from nexus.runtime.ports import Stale
from nexus.runtime.reconcile import MAX_ROUNDS, Reconciler


def refused(text: str = "spec.template: too strange", status: int = 422) -> ApiError:
    return error_from(status, "Invalid" if status == 422 else "Forbidden", text, kind="Job", name="x")


def uid(subject: Story) -> str:
    return str(subject.cluster.objects(WORKFLOW_RUNS)[0]["metadata"]["uid"])


def take_name(subject: Story, task_name: str) -> Object:
    """Another one's Job under the name of a task's first."""
    pod = {"containers": [{"name": "other", "image": "i"}], "restartPolicy": "Never"}
    labels = {"nexus.dev/task": "x", "nexus.dev/attempt": "1"}
    metadata = {"name": job_name(KEY.name, uid(subject), task_name, 1), "labels": labels}
    return subject.cluster.add(JOBS, {"metadata": metadata, "spec": {"template": {"spec": pod}}})


def test_a_job_that_the_api_server_refuses_fails_its_task_with_the_servers_words(cel: Evaluator) -> None:
    with story(spec(task("a"), task("b", "a"), task("handler", "b", triggerRule="AnyFailed")), cel) as subject:
        subject.operator().api.refuse("create", JOBS, refused(), 600, only=lambda name: "-a-" in name)
        subject.settle()
        assert states(subject.status)["a"] == "Pending JobRefused"
        assert (entry_of(subject.status, "a").message or "").endswith(
            "until 2026-11-23T09:05:00.000Z (startTimeoutSeconds)"
        )

        status = subject.run()

        assert states(status) == {
            "a": "Failed JobRefused",
            "b": "Omitted DependencyFailed",
            "handler": "Succeeded",
        }
        assert "spec.template: too strange" in (entry_of(status, "a").message or "")


def test_what_starts_because_something_ended_starts_after_it(cel: Evaluator) -> None:
    with story(spec(task("a"), task("b", "a"), **{"finally": [task("tell")]}), cel) as subject:
        subject.cluster.script("a", Outcome.hangs())
        operator, clock, looks = subject.operator(), subject.cluster.clock, count()
        # A clock that never shows the same time twice.
        backend = KubeBackend(
            operator.api, operator.cache, cel, Images(), lambda: clock.now() + timedelta(milliseconds=next(looks))
        )
        operator.reconciler = Reconciler(backend, cel, in_thread=False)
        subject.run(until=lambda: subject.phases.get("a") == "Running")
        subject.steer(cancel="Graceful")

        status = subject.run()

        cancelled, tell = entry_of(status, "a"), entry_of(status, "tell")
        assert cancelled.completion_time is not None
        assert tell.start_time is not None
        assert cancelled.completion_time <= tell.start_time


def test_a_quota_on_jobs_is_waited_for(cel: Evaluator) -> None:
    with story(spec(task("a")), cel) as subject:
        api = subject.operator().api
        for _ in range(3):
            api.fail_next("create", JOBS, refused("exceeded quota: jobs, used: 10, limited: 10", 403))
        subject.settle()
        assert states(subject.status) == {"a": "Pending QuotaExceeded"}

        status = subject.run()

        assert states(status) == {"a": "Succeeded"}
        assert status.completion_time is not None
        assert status.start_time is not None
        # Tried again after 1, 2 and 4 seconds.
        assert 7 < (status.completion_time - status.start_time).total_seconds() < 10


def test_a_chain_of_refusals_longer_than_one_reconcile_comes_to_its_end(cel: Evaluator) -> None:
    length = 2 * MAX_ROUNDS + 5
    tasks = [
        task(f"t{n}", *([f"t{n - 1}"] if n else []), **({"triggerRule": "AnyFailed"} if n else {}))
        for n in range(length)
    ]
    with story(spec(*tasks), cel) as subject:
        for n in range(length):
            take_name(subject, f"t{n}")
        subject.operator()

        subject.run()

        assert set(states(subject.status).values()) == {"Failed NameTaken"}
        assert len(subject.cluster.objects(JOBS)) == length


def test_a_name_that_somebody_else_has_taken_is_said_and_their_job_left_alone(cel: Evaluator) -> None:
    with story(spec(task("a")), cel) as subject:
        theirs = take_name(subject, "a")
        name = theirs["metadata"]["name"]
        subject.operator()

        status = subject.run()
        subject.quiet(30)

        assert states(status) == {"a": "Failed NameTaken"}
        kept = subject.cluster.find(JOBS, KEY.namespace, name)
        assert kept is not None
        assert kept["metadata"]["uid"] == theirs["metadata"]["uid"]


def test_a_run_of_a_workflow_that_is_not_there_says_so_after_a_grace(cel: Evaluator) -> None:
    with story(spec(task("a")), cel) as subject:
        subject.cluster.remove(WORKFLOW_RUNS, KEY.name)
        subject.cluster.add(WORKFLOWS, {"metadata": {"name": "sales"}, "spec": spec(task("a")).to_json()})
        run: dict[str, Any] = {"metadata": {"name": KEY.name}, "spec": {"workflowRef": {"name": "sale"}}}
        subject.cluster.add(WORKFLOW_RUNS, run)
        subject.operator()

        status = subject.run()

        assert (status.phase, status.reason) == ("Failed", "WorkflowNotFound")
        assert 'did you mean "sales"?' in (status.message or "")


def test_a_workflow_that_comes_a_moment_after_its_run_is_found(cel: Evaluator) -> None:
    with story(spec(task("a")), cel, by_reference=True) as subject:
        body = subject.cluster.objects(WORKFLOWS)[0]
        subject.cluster.remove(WORKFLOWS, "sales")
        subject.operator()
        subject.settle()
        subject.cluster.clock.after(
            3, lambda: subject.cluster.add(WORKFLOWS, {"metadata": {"name": "sales"}, "spec": body["spec"]})
        )

        assert subject.run().phase == "Succeeded"


def test_a_definition_with_errors_starts_nothing_and_names_them(cel: Evaluator) -> None:
    with story(spec(task("a", env=[{"name": "X", "value": "${{ params.nope }}"}])), cel) as subject:
        subject.operator()

        status = subject.run()

        assert (status.phase, status.reason) == ("Failed", "WorkflowInvalid")
        assert (status.message or "").startswith('task a, env[0].value: unknown reference "params.nope"')
        assert subject.witness.made == []


def test_a_run_under_way_keeps_the_definition_it_began_with(cel: Evaluator) -> None:
    with story(spec(task("a"), task("b", "a")), cel, by_reference=True) as subject:
        subject.operator()
        subject.run(until=lambda: subject.phases.get("a") == "Running")
        subject.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": {"tasks": [{"name": "other"}]}})
        subject.operators[0].die()
        subject.operators.clear()
        subject.operator()

        status = subject.run()

        assert states(status) == {"a": "Succeeded", "b": "Succeeded"}


def test_a_run_whose_revision_was_deleted_ends_and_stops_what_it_runs(cel: Evaluator) -> None:
    with story(spec(task("a"), task("b", "a")), cel, by_reference=True) as subject:
        subject.cluster.script("a", Outcome.hangs())
        subject.operator()
        subject.run(until=lambda: bool(subject.cluster.objects(PODS)))
        for body in subject.cluster.objects(CONTROLLER_REVISIONS):
            subject.cluster.remove(CONTROLLER_REVISIONS, body["metadata"]["name"])
        subject.operators[0].die()
        subject.operators.clear()
        subject.operator()

        status = subject.run()
        subject.quiet(60)

        assert states(status) == {"a": "Failed WorkflowNotFound", "b": "Omitted WorkflowNotFound"}
        assert subject.cluster.objects(PODS) == []


def test_a_status_that_was_decided_on_an_older_one_is_not_written_though_the_cache_has_moved_on(cel: Evaluator) -> None:
    with story(spec(task("a"), task("b", "a")), cel) as subject:
        operator = subject.operator()
        subject.run(until=lambda: subject.phases.get("a") == "Running")
        backend = operator.reconciler.backend
        view = subject.loop.run_until_complete(backend.view(KEY))
        assert view is not None
        assert view.recorded is not None
        subject.run(until=lambda: subject.phases.get("a") == "Succeeded")
        assert operator.cache.runs[KEY].status == subject.status

        with pytest.raises(Stale):
            subject.loop.run_until_complete(backend.write_status(view, view.recorded))

        assert subject.phases["a"] == "Succeeded"


@pytest.mark.parametrize("sigterm_exit_code", [0, 143])
def test_a_node_that_is_drained_under_a_task_costs_no_attempt(cel: Evaluator, sigterm_exit_code: int) -> None:
    """A process that exits 0 when asked to stop has not done its work."""
    with story(spec(task("a"), task("b", "a")), cel) as subject:
        subject.cluster.script("a", Outcome.drained(3, sigterm_exit_code=sigterm_exit_code), Outcome(message='{"n":1}'))
        subject.operator()

        status = subject.run()

        assert (states(status), entry_of(status, "a").attempts) == ({"a": "Succeeded", "b": "Succeeded"}, 1)
        assert entry_of(status, "a").output == {"n": 1}


def test_a_process_that_obeys_at_its_timeout_has_timed_out(cel: Evaluator) -> None:
    with story(spec(task("a", timeoutSeconds=5)), cel) as subject:
        subject.cluster.script("a", Outcome.hangs(sigterm_exit_code=0))
        subject.operator()

        assert states(subject.run()) == {"a": "Failed Timeout"}


def test_both_mechanisms_of_retry_end_alike_on_a_cluster(cel: Evaluator) -> None:
    """With one slot for two tasks the operator starts each attempt itself."""
    ends = []
    for slots in (1, 2):
        subject_spec = spec(task("a", retry={"limit": 2}), task("b"), maxParallelTasks=slots)
        with story(subject_spec, cel) as subject:
            subject.cluster.script("a", Outcome(exit_code=4), Outcome(exit_code=5), Outcome(exit_code=6))
            subject.operator()
            entry = entry_of(subject.run(), "a")
            jobs = len([name for name, _ in subject.witness.order if name == "a"])
            ends.append((jobs, entry.phase, entry.reason, entry.message, entry.attempts, entry.exit_code))

    assert [end[0] for end in ends] == [3, 1]
    assert ends[0][1:] == ends[1][1:] == ("Failed", "TaskError", "exit code 6", 3, 6)
