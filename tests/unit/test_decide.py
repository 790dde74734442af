"""decide: whole runs, step by step, in a world moved by hand."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.builders import (
    RUN,
    START,
    at,
    chain,
    definition,
    entry_of,
    facts,
    failed,
    job,
    pod,
    run_with,
    states,
    succeeded,
    task,
    waiting,
)

from nexus.api.reasons import Reason
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.core.data.outputs import find_frame
from nexus.core.engine.decide import after, decide
from nexus.core.engine.finish import refuse
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition
from nexus.core.model.facts import Facts, JobFact, PodFact, Terminated
from nexus.core.model.plan import Plan, ReadFrame, RunEvent, StartTask


@dataclass
class World:
    """Jobs as the engine asked for them, each with the pods that the story gives it."""

    definition: Definition
    evaluator: Evaluator
    native_backoff: bool = True
    now: datetime = START
    status: WorkflowRunStatus | None = None
    jobs: dict[str, JobFact] = field(default_factory=dict)
    started: list[StartTask] = field(default_factory=list)
    stored: dict[str, str] = field(default_factory=dict)
    events: list[RunEvent] = field(default_factory=list)
    logs: dict[str, bytes] = field(default_factory=dict)

    def decide(self, **fields: Any) -> Plan:
        by_task: dict[str, tuple[JobFact, ...]] = {}
        for fact in self.jobs.values():
            by_task[fact.task] = (*by_task.get(fact.task, ()), fact)
        known = Facts(RUN, self.status, by_task, native_backoff=self.native_backoff, **fields)
        return decide(self.definition, known, self.now, self.evaluator)

    def step(self, seconds: float = 0, *, record: bool = True) -> Plan:
        """Let time pass, then decide and act as the loop does; without `record` the operator dies before its write."""
        self.now += timedelta(seconds=seconds)
        while True:
            frames: dict[str, str | None] = {}
            plan = self.decide()
            while plan.reads:
                for read in plan.reads:
                    assert isinstance(read, ReadFrame)
                    frames[read.pod_uid] = find_frame(self.logs.get(read.pod_uid, b""), read.size, read.sha256)
                plan = self.decide(frames=frames)
            self.stored |= {store.config_map: store.text for store in plan.stores}
            if not plan.starts:
                break
            for start in plan.starts:
                assert start.job_name not in self.jobs, f"{start.job_name} is made twice"
                self.jobs[start.job_name] = job(
                    start.task, attempt_number=start.attempt_number, name=start.job_name, created_at=self.now
                )
                self.started.append(start)
        if not record:
            return plan
        self.status = plan.status
        self.events += plan.events
        for stop in plan.stops:
            del self.jobs[stop.job_name]
        if not plan.status.phase.ended:
            again = self.decide(frames=frames)
            assert (again.status, again.starts, again.stops, again.events) == (plan.status, (), (), ())
        return plan

    def last(self, name: str) -> JobFact:
        return max((fact for fact in self.jobs.values() if fact.task == name), key=lambda fact: fact.attempt_number)

    def change(self, name: str, *pods: PodFact, **fields: Any) -> None:
        """The last Job of a task now looks like this."""
        fact = self.last(name)
        self.jobs[fact.name] = replace(fact, pods=pods or fact.pods, **fields)

    def runs(self, *names: str) -> None:
        for name in names:
            self.change(name, pod())

    def ends(self, name: str, exit_code: int = 0, message: str = "", **fields: Any) -> None:
        """The last Job's one pod ended now; a failed one fails its Job."""
        done = Terminated(exit_code, "", message, self.now)
        fact = self.last(name)
        if exit_code:
            fields = {"failed": 1, "failure": "BackoffLimitExceeded", "finished_at": self.now, **fields}
        self.jobs[fact.name] = replace(
            fact, pods=(pod(done, uid=f"pod-of-{fact.name}", phase="Failed" if exit_code else "Running"),), **fields
        )

    def entry(self, name: str) -> TaskStatus:
        assert self.status is not None
        return entry_of(self.status, name)

    @property
    def states(self) -> dict[str, str]:
        assert self.status is not None
        return states(self.status)


def told(world: World, reason: str) -> list[str]:
    return [event.message for event in world.events if event.reason == reason]


# -- a run from start to end ------------------------------------------------------------------------------------------


def test_a_chain_runs_one_after_the_other_to_its_end(cel: Evaluator) -> None:
    world = World(chain(3), cel)

    for number in range(3):
        world.step(1)
        assert [start.task for start in world.started] == [f"t{n}" for n in range(number + 1)]
        world.runs(f"t{number}")
        world.step(1)
        world.ends(f"t{number}", message=f'{{"n":{number}}}')
    world.step()

    assert world.states == {"t0": "Succeeded", "t1": "Succeeded", "t2": "Succeeded"}
    assert world.status is not None
    assert (world.status.phase, world.status.tasks_done) == ("Succeeded", "3/3")
    assert (world.status.start_time, world.status.completion_time) == (at(1), at(6))
    assert {entry.type: entry.status for entry in world.status.conditions or ()} == {
        "Complete": "True",
        "Failed": "False",
        "Finished": "True",
    }
    assert world.entry("t1").output == {"n": 1}
    assert (world.entry("t1").start_time, world.entry("t1").completion_time) == (at(3), at(5))
    assert [event.reason for event in world.events] == ["TaskSucceeded"] * 3 + ["RunSucceeded"]


def test_a_run_in_which_a_task_failed_has_failed_and_names_it(cel: Evaluator) -> None:
    world = World(definition(task("a"), task("b"), task("handler", "a", triggerRule="AnyFailed")), cel)
    world.step()
    world.ends("a", 3)
    world.ends("b")
    world.step(1)
    world.ends("handler")
    world.step(1)

    assert world.status is not None
    assert (world.status.phase, world.status.reason) == ("Failed", Reason.TASK_FAILED)
    assert world.status.message == "task a: exit code 3"
    assert world.entry("a").exit_code == 3
    assert [(event.reason, event.warning) for event in world.events][-1] == ("RunFailed", True)


def test_a_run_of_skipped_tasks_has_succeeded(cel: Evaluator) -> None:
    world = World(definition(task("a", when="${{ false }}"), task("b", "a")), cel)

    world.step()

    assert world.status is not None
    assert world.status.phase == "Succeeded"
    assert world.started == []


def test_a_run_whose_params_do_not_fit_ends_before_anything_starts(cel: Evaluator) -> None:
    subject = definition(task("a"), params=[{"name": "day"}])

    plan = decide(subject, facts(run=run_with({"dya": "x"})), START, cel)

    assert (plan.status.phase, plan.status.reason, plan.starts) == ("Failed", Reason.PARAMS_INVALID, ())
    assert (
        'unknown param "dya"; did you mean "day"?; params.day: missing value, and no default; give one with '
        "--param day=... or in spec.params" in (plan.status.message or "")
    )
    assert plan.status.tasks is None
    assert [event.reason for event in plan.events] == ["RunFailed"]


def test_an_ended_run_never_changes_and_only_stops_what_still_runs(cel: Evaluator) -> None:
    world = World(chain(1), cel)
    world.step()
    world.ends("t0")
    world.step()
    ended = world.status
    assert ended is not None

    again = pod(uid="made again when its node was lost")
    fact = world.last("t0")
    plan = after(ended, facts(replace(fact, pods=(*fact.pods, again))))

    assert plan.status is ended
    assert [stop.job_name for stop in plan.stops] == [fact.name]
    assert after(ended, facts(fact)) == Plan(status=ended)
    assert decide(chain(1), facts(fact, status=ended), at(99), cel) == Plan(status=ended)


def test_a_run_that_loses_its_definition_ends_and_stops_what_runs(cel: Evaluator) -> None:
    world = World(chain(2), cel)
    world.step()
    world.runs("t0")
    running = world.last("t0")

    plan = refuse(facts(running, status=world.status), at(9), Reason.WORKFLOW_NOT_FOUND, "the revision was deleted")

    assert states(plan.status) == {"t0": "Failed WorkflowNotFound", "t1": "Omitted WorkflowNotFound"}
    assert [stop.uid for stop in plan.stops] == [running.uid]


# -- retries ----------------------------------------------------------------------------------------------------------


def test_a_retry_of_the_operator_waits_its_delay_and_starts_a_job_of_its_own(cel: Evaluator) -> None:
    world = World(definition(task("t", retry={"limit": 2, "delaySeconds": 60})), cel)
    world.step()
    world.now = at(5)
    world.ends("t", 1)

    plan = world.step()
    assert (world.states, plan.wake_at) == ({"t": "Running RetryDelay"}, at(65))
    assert "waiting for the next attempt at 2026-11-23T09:01:05.000Z; the last one failed: TaskError: exit code 1" in (
        world.entry("t").message or ""
    )
    assert world.step(59).starts == ()
    world.step(1)
    assert [start.attempt_number for start in world.started] == [1, 2]
    world.ends("t", 2)
    assert world.step().wake_at == at(65 + 120)
    world.step(120)
    world.ends("t", 3)
    world.step()

    assert world.states == {"t": "Failed TaskError"}
    assert (world.entry("t").attempts, world.entry("t").exit_code) == (3, 3)
    assert len(told(world, "TaskRetried")) == 2


REQUEST = {"url": "http://orders.example"}
BUSY = '{"error":{"type":"UnexpectedStatus","message":"answered 429","retryAfter":120}}'


def test_a_server_that_asks_to_wait_lengthens_the_delay_and_the_status_says_so(cel: Evaluator) -> None:
    world = World(definition(task("t", http=REQUEST, retry={"limit": 2, "retryOn": [429]})), cel)
    world.step()
    assert world.started[-1].backoff_limit == 0, "each attempt is a Job: the Job controller knows its own delays alone"
    world.now = at(5)
    world.ends("t", 1, BUSY)

    assert world.step().wake_at == at(125)
    assert "waiting for the next attempt at 2026-11-23T09:02:05.000Z (Retry-After: 120 s); the last one failed: " in (
        world.entry("t").message or ""
    )
    assert world.step(119).starts == ()
    world.step(1)
    assert [start.attempt_number for start in world.started] == [1, 2]


def test_without_retry_on_nobody_listens_to_the_server(cel: Evaluator) -> None:
    world = World(definition(task("t", http=REQUEST, retry={"limit": 2, "delaySeconds": 60})), cel)
    world.step()
    world.now = at(5)
    world.ends("t", 1, BUSY)

    assert world.step().wake_at == at(65)
    assert "Retry-After" not in (world.entry("t").message or "")


def test_a_failure_that_retry_on_does_not_list_ends_the_task(cel: Evaluator) -> None:
    world = World(definition(task("t", http=REQUEST, retry={"limit": 2, "retryOn": [429]})), cel)
    world.step()
    assert 241 in world.started[-1].retry.fail_on_exit_codes
    world.ends("t", 241, BUSY)
    world.step()

    assert world.states == {"t": "Failed TaskError"}
    assert (world.entry("t").attempts, world.entry("t").exit_code) == (1, 241)


def attempt_by_the_operator(world: World, exit_code: int) -> None:
    world.ends("t", exit_code)
    world.step()
    if world.entry("t").next_attempt_time is not None:
        world.step(700)


def attempt_by_the_job(world: World, exit_code: int) -> None:
    """What the Job controller does with the n-th pod of a Job: counts it, and either waits or gives up."""
    fact = world.last("t")
    limit = world.started[-1].backoff_limit
    earlier = tuple(pod for pod in fact.pods if pod.terminated)
    ended = Terminated(exit_code, "", "" if exit_code else '{"lines":0}\n', world.now)
    done = pod(ended, uid=f"pod-{len(earlier)}", phase="Failed" if exit_code else "Running")
    world.change("t", *earlier, done)
    world.step()
    if exit_code:
        last = fact.failed == limit
        fatal = exit_code in world.started[-1].retry.fail_on_exit_codes
        world.change(
            "t",
            failed=fact.failed + 1,
            failure="PodFailurePolicy" if fatal else "BackoffLimitExceeded" if last else "",
            finished_at=world.now if fatal or last else None,
        )
        world.step()
        if not last and not fatal:
            world.change("t", *world.last("t").pods, pod(uid=f"pod-{len(earlier) + 1}"))
            world.step(700)


def attempt_by_a_numbered_job(world: World, exit_code: int) -> None:
    """The same where each pod is told its attempt: a failure is counted only once the next pod is there, or none is."""
    start, fact = world.started[-1], world.last("t")
    assert start.numbered is (start.backoff_limit > 0)
    earlier = tuple(pod for pod in fact.pods if pod.terminated)
    ended = Terminated(exit_code, "", "" if exit_code else '{"lines":0}\n', world.now)
    phase = "Failed" if exit_code else "Running"
    done = pod(ended, uid=f"pod-{len(earlier)}", phase=phase, failures=len(earlier))
    world.change("t", *earlier, done, failed=len(earlier))
    world.step()
    if exit_code:
        last, fatal = len(earlier) == start.backoff_limit, exit_code in start.retry.fail_on_exit_codes
        assert (world.entry("t").reason == "RetryDelay") is not (last or fatal)
        if last or fatal:
            why = "PodFailurePolicy" if fatal else "FailedIndexes"
            world.change("t", *earlier, done, failed=len(earlier) + 1, failure=why, finished_at=world.now)
            world.step()
        else:
            following = pod(uid=f"pod-{len(earlier) + 1}", failures=len(earlier) + 1)
            world.change("t", *earlier, done, following, failed=len(earlier) + 1)
            world.step(700)


@pytest.mark.parametrize(
    ("codes", "state", "attempts"),
    [
        ([0], "Succeeded", 1),
        ([1, 0], "Succeeded", 2),
        ([1, 1, 0], "Succeeded", 3),
        ([1, 1, 1], "Failed TaskError", 3),
        ([1, 7], "Failed TaskError", 2),
        ([7], "Failed TaskError", 1),
    ],
)
def test_all_mechanisms_of_retry_look_the_same_from_outside(
    cel: Evaluator, codes: list[int], state: str, attempts: int
) -> None:
    subject = definition(task("t", retry={"limit": 2, "failOnExitCodes": [7]}))
    by_the_job, by_the_operator = World(subject, cel), World(subject, cel, native_backoff=False)
    numbered = World(definition(task("t", bash={"command": "true"}, retry={"limit": 2, "failOnExitCodes": [7]})), cel)
    # A version before numbered Jobs made it, and this one continues it.
    older = World(numbered.definition, cel)
    for world, attempt in (
        (by_the_job, attempt_by_the_job),
        (older, attempt_by_the_job),
        (numbered, attempt_by_a_numbered_job),
        (by_the_operator, attempt_by_the_operator),
    ):
        world.step()
        world.runs("t")
        for code in codes:
            attempt(world, code)

    assert [len(world.started) for world in (by_the_job, older, numbered, by_the_operator)] == [1, 1, 1, attempts]
    for world in (by_the_job, older, numbered, by_the_operator):
        entry = world.entry("t")
        assert (world.states["t"], entry.attempts, entry.exit_code) == (state, attempts, codes[-1])
        assert len(told(world, "TaskRetried")) == attempts - 1


def test_the_words_between_two_attempts_are_the_same_too(cel: Evaluator) -> None:
    subject = definition(task("t", retry={"limit": 2}))
    by_the_job, by_the_operator = World(subject, cel), World(subject, cel, native_backoff=False)
    for world in (by_the_job, by_the_operator):
        world.step()
        world.now = at(5)
    by_the_job.change("t", pod(Terminated(1, "", "", at(5)), uid="a"), failed=1)
    by_the_operator.ends("t", 1)
    for world in (by_the_job, by_the_operator):
        world.step(1)

    left, right = by_the_job.entry("t"), by_the_operator.entry("t")
    assert left.message == right.message
    assert (left.phase, left.reason, left.attempts, left.exit_code) == (
        right.phase,
        right.reason,
        right.attempts,
        right.exit_code,
    )


def test_a_retry_that_nobody_saw_is_told_afterwards(cel: Evaluator) -> None:
    world = World(definition(task("t", retry={"limit": 2})), cel)
    world.step()
    world.change("t", pod(Terminated(1, "", "", at(5)), uid="a"), pod(uid="b"), failed=1)

    world.step(30)

    assert (world.states, world.entry("t").attempts) == ({"t": "Running"}, 2)
    assert told(world, "TaskRetried") == ["task t: attempt failed: TaskError: exit code 1"]


def test_a_retry_whose_pod_somebody_deleted_is_told_by_its_number(cel: Evaluator) -> None:
    world = World(definition(task("t", retry={"limit": 2})), cel)
    world.step()
    world.change("t", pod(uid="b"), failed=1)

    world.step(30)

    assert told(world, "TaskRetried") == ["task t: attempt 1 failed"]


# -- times ------------------------------------------------------------------------------------------------------------


def test_a_deadline_of_the_task_covers_its_delays(cel: Evaluator) -> None:
    retry = {"limit": 5, "delaySeconds": 600, "maxDelaySeconds": 600}
    world = World(definition(task("t", retry=retry, deadlineSeconds=60)), cel)
    world.step()
    world.ends("t", 1)

    plan = world.step(5)
    assert (world.states, plan.wake_at) == ({"t": "Running RetryDelay"}, at(60))
    world.step(55)

    assert world.states == {"t": "Failed DeadlineExceeded"}
    assert world.entry("t").next_attempt_time is None


def test_a_deadline_that_the_job_noticed_first_is_told_in_the_same_words(cel: Evaluator) -> None:
    subject = definition(task("t", deadlineSeconds=60, retry={"limit": 5}))
    by_itself, by_job = World(subject, cel), World(subject, cel)
    for world in (by_itself, by_job):
        world.step()
        world.runs("t")
        world.step(1)
    by_itself.step(59)
    by_job.change("t", failure="DeadlineExceeded", finished_at=at(60))
    by_job.step(57)

    assert by_itself.states == by_job.states == {"t": "Failed DeadlineExceeded"}
    assert by_itself.entry("t").message == by_job.entry("t").message


def test_a_pod_that_cannot_start_says_why_and_fails_after_the_start_timeout(cel: Evaluator) -> None:
    world = World(definition(task("t", startTimeoutSeconds=30, retry={"limit": 3})), cel)
    world.step()
    world.change("t", waiting("ErrImagePull", "no such image"))

    plan = world.step(5)
    assert (world.states, plan.wake_at) == ({"t": "Pending ImagePull"}, at(30))
    world.change("t", waiting("ImagePullBackOff", "Back-off pulling"))
    assert world.step(5).status == plan.status  # the two take turns, which is no news
    plan = world.step(20)

    assert world.states == {"t": "Failed ImagePull"}
    assert world.entry("t").message == "the container did not start within startTimeoutSeconds (30): no such image"
    assert [stop.task for stop in plan.stops] == ["t"]


def test_a_pod_without_a_node_waits_for_ever_and_its_start_timeout_begins_with_the_node(cel: Evaluator) -> None:
    world = World(definition(task("t", startTimeoutSeconds=30)), cel)
    world.step()
    world.change("t", pod(phase="Pending", unschedulable="0/1 nodes"))

    world.step(10_000)
    assert world.states == {"t": "Pending Unschedulable"}
    world.change("t", replace(waiting("ContainerCreating"), scheduled_at=at(10_000)))
    world.step(10)
    assert world.states == {"t": "Pending Starting"}
    world.runs("t")
    world.step(1)
    assert world.states == {"t": "Running"}


def test_a_start_that_takes_too_long_for_no_given_reason_is_a_start_timeout(cel: Evaluator) -> None:
    world = World(definition(task("t", startTimeoutSeconds=30)), cel)
    world.step()
    world.change("t", waiting("ContainerCreating"))
    first = world.step(29)
    assert (states(first.status), first.wake_at) == ({"t": "Running"}, at(30))

    world.step(1)

    assert world.states == {"t": "Failed StartTimeout"}


def test_an_image_that_runs_as_root_fails_at_once(cel: Evaluator) -> None:
    world = World(definition(task("t")), cel)
    world.step()
    world.change("t", waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"))

    world.step()

    assert world.states == {"t": "Failed RunsAsRoot"}


# -- what was lost ----------------------------------------------------------------------------------------------------


def test_a_job_that_somebody_deleted_is_a_failed_attempt(cel: Evaluator) -> None:
    world = World(definition(task("t", retry={"limit": 1, "delaySeconds": 0})), cel)
    world.step()
    world.runs("t")
    world.step(1)
    world.jobs.clear()
    world.step(1)

    assert [start.attempt_number for start in world.started] == [1, 2]
    assert world.entry("t").attempts == 2
    world.jobs.clear()
    world.step(1)
    assert world.states == {"t": "Failed JobDeleted"}


def test_a_job_that_was_never_recorded_is_adopted_and_not_made_again(cel: Evaluator) -> None:
    world = World(chain(2), cel)
    world.step(record=False)
    made = world.last("t0")
    world.runs("t0")

    world.step(5)

    assert len(world.started) == 1
    assert world.entry("t0").job is not None
    assert (world.entry("t0").job.name, world.entry("t0").job.uid) == (made.name, made.uid)  # type: ignore[union-attr]
    assert world.entry("t0").start_time == made.created_at


@pytest.mark.parametrize("codes", [[1, 0], [1, 1, 1]])
@pytest.mark.parametrize("deaths", [(0,), (1,), (2,), (0, 1, 2, 3)])
def test_an_operator_that_dies_before_its_writes_counts_attempts_right(
    cel: Evaluator, codes: list[int], deaths: tuple[int, ...]
) -> None:
    world = World(definition(task("t", retry={"limit": 2, "delaySeconds": 0})), cel)
    for number, code in enumerate(codes):
        world.step(1, record=number not in deaths)
        world.step(1)
        world.ends("t", code)
    world.step(1, record=len(codes) not in deaths)
    world.step(1)

    assert world.states == {"t": "Succeeded" if codes[-1] == 0 else "Failed TaskError"}
    assert world.entry("t").attempts == len(codes) == len(world.started)


def test_a_pod_that_a_deadline_stopped_is_not_taken_for_one_attempt_more(cel: Evaluator) -> None:
    """The Job counts it as failed before it is Failed itself; then the task's own deadline comes first."""
    world = World(definition(task("t", deadlineSeconds=4, retry={"limit": 3, "delaySeconds": 0})), cel)
    world.step()
    world.change("t", pod(Terminated(143, "", "", at(4)), deleted=4), failed=1, failing=True)
    world.step(1)
    assert world.entry("t").attempts == 1
    world.step(4)
    assert world.states == {"t": "Failed DeadlineExceeded"}
    assert world.entry("t").attempts == 1


def test_an_attempt_that_is_replaced_free_stays_free_though_the_operator_died(cel: Evaluator) -> None:
    world = World(definition(task("t")), cel)
    world.step()
    drained = pod(Terminated(0, "", "", at(5)), deleted=4, disrupted=4, phase="Succeeded")
    world.change("t", drained, complete=True, finished_at=at(6))

    world.step(7, record=False)
    assert len(world.started) == 2
    world.step(1)

    assert (world.entry("t").attempts, world.entry("t").replacements) == (1, 1)
    assert len(world.started) == 2
    world.ends("t")
    world.step(1)
    assert world.states == {"t": "Succeeded"}


def test_disruptions_that_count_use_up_the_limit(cel: Evaluator) -> None:
    world = World(definition(task("t", retry={"disruptions": "Count"})), cel)
    world.step()
    world.change("t", pod(Terminated(0, "", "", at(5)), deleted=4, disrupted=4, phase="Succeeded"), complete=True)

    world.step(7)

    assert world.states == {"t": "Failed Evicted"}


def test_a_native_job_that_is_deleted_goes_on_counting_where_it_was(cel: Evaluator) -> None:
    world = World(definition(task("t", retry={"limit": 3})), cel)
    world.step()
    world.change("t", pod(Terminated(1, "", "", at(5)), uid="a"), pod(uid="b"), failed=1)
    world.step(20)
    assert world.entry("t").attempts == 2
    world.jobs.clear()

    world.step(1)
    world.step(20, record=False)
    world.step(1)

    assert (world.entry("t").attempts, world.started[-1].attempt_number, world.started[-1].backoff_limit) == (3, 3, 1)
    assert len(world.started) == 2


# -- outputs ----------------------------------------------------------------------------------------------------------


def frame_of(output: dict[str, Any]) -> tuple[str, bytes]:
    text = json.dumps(output).encode()
    told = {"frame": {"size": len(text), "sha256": hashlib.sha256(text).hexdigest(), "format": "json"}}
    return json.dumps(told), b"NEXUS-OUTPUT " + base64.b64encode(zlib.compress(text)) + b"\n"


def test_a_large_output_is_read_stored_and_referred_to_before_its_dependents_start(cel: Evaluator) -> None:
    world = World(definition(task("a", python={"code": "1"}), task("b", "a", python={"code": "2"})), cel)
    world.step()
    message, line = frame_of({"rows": list(range(5_000))})
    world.logs[f"pod-of-{world.last('a').name}"] = b"hello\n" + line
    world.ends("a", message=message)

    world.step(1)

    reference = world.entry("a").output_ref
    assert reference is not None
    assert json.loads(world.stored[reference.config_map]) == {"rows": list(range(5_000))}
    assert world.entry("a").output is None
    assert dict(world.started[-1].payload.inputs) == {"a": reference}


def test_a_lost_output_is_made_again_free_and_not_for_ever(cel: Evaluator) -> None:
    world = World(definition(task("a", python={"code": "1"})), cel)
    message, _ = frame_of({"rows": list(range(5_000))})
    world.step()
    for attempt in range(1, 5):
        assert len(world.started) == attempt
        assert world.entry("a").attempts == 1
        world.ends("a", message=message)
        world.step(1)

    assert world.states == {"a": "Failed OutputLost"}
    assert (len(world.started), world.entry("a").attempts, world.entry("a").replacements) == (4, 1, 3)


def test_a_lost_output_of_a_task_with_retries_uses_these_up_next(cel: Evaluator) -> None:
    world = World(definition(task("a", retry={"limit": 2, "delaySeconds": 0})), cel)
    world.step()
    while not world.entry("a").phase.ended:
        world.change("a", complete=True, finished_at=world.now)
        world.step(1)

    assert (len(world.started), world.entry("a").attempts) == (6, 3)


@pytest.mark.parametrize(
    ("message", "reason"),
    [("", Reason.INVALID_OUTPUT), ('{"error":{"reason":"OutputTooLarge","message":"no"}}', Reason.OUTPUT_TOO_LARGE)],
)
def test_an_output_that_is_refused_fails_the_task_without_a_retry(cel: Evaluator, message: str, reason: Reason) -> None:
    world = World(definition(task("a", python={"code": "1"}, retry={"limit": 5, "delaySeconds": 0})), cel)
    world.step()
    world.ends("a", message=message)

    world.step(1)

    assert world.states == {"a": f"Failed {reason}"}


def test_small_outputs_lie_in_the_status_until_it_is_full(cel: Evaluator) -> None:
    names = [f"t{number}" for number in range(100)]
    subject = definition(*(task(name) for name in names), maxParallelTasks=100)
    plan = decide(subject, facts(*(succeeded(name, '{"x":"%s"}' % ("y" * 992)) for name in names)), START, cel)

    inline = [entry for entry in plan.status.tasks or () if entry.output is not None]

    assert len(inline) == 65  # of 1,000 bytes each in 64 KiB
    assert len(plan.stores) == 35
    assert all(entry.output_ref is not None for entry in plan.status.tasks or () if entry not in inline)


# -- disturbances -----------------------------------------------------------------------------------------------------


def test_what_ended_never_changes_whatever_its_job_says_later(cel: Evaluator) -> None:
    world = World(definition(task("a"), task("b")), cel)
    world.step()
    world.ends("a")
    world.ends("b", 1)
    world.now = at(5)
    kept = decide(world.definition, facts(world.last("a"), job("b", pod())), at(5), cel)
    assert states(kept.status)["a"] == "Succeeded"

    world.status = kept.status
    world.change("a", failure="DeadlineExceeded")
    world.step(1)

    assert world.states == {"a": "Succeeded", "b": "Failed TaskError"}


def test_a_success_whose_job_starts_another_pod_keeps_its_output_and_loses_the_job(cel: Evaluator) -> None:
    world = World(definition(task("a"), task("b")), cel)
    world.step()
    world.runs("b")
    world.ends("a", message='{"n":1}')
    world.step(1)
    world.change("a", *world.last("a").pods, pod(uid="again"))

    plan = world.step(1)

    assert [stop.task for stop in plan.stops] == ["a"]
    assert world.entry("a").output == {"n": 1}


def test_nothing_a_task_writes_into_its_message_stops_the_run(cel: Evaluator) -> None:
    for message in ('{"output":{"x":NaN}}', '{"output":{"x":"\\ud800"}}', "[" * 4_096, '{"output":{"x":1e999}}'):
        for subject in (task("a", python={"code": "1"}), task("a")):
            plan = decide(definition(subject), facts(succeeded("a", message)), START, cel)
            assert plan.status.phase.ended
        plan = decide(definition(task("a")), facts(failed("a", 1, message)), START, cel)
        assert states(plan.status) == {"a": "Failed TaskError"}
