"""Evidence: what a Job and its pods prove, and the words for it."""

from __future__ import annotations

import pytest
from tests.builders import START, at, ended, failed, job, pod, waiting

from nexus.api.reasons import Reason
from nexus.core.model.facts import JobFact, PodFact
from nexus.core.tasks.evidence import Active, Backoff, Failed, Succeeded, Waiting, judge


def failure_of(fact: JobFact) -> Failed:
    evidence = judge(fact)
    assert isinstance(evidence, Failed)
    return evidence


def wait_of(fact: JobFact) -> Waiting:
    evidence = judge(fact)
    assert isinstance(evidence, Waiting)
    return evidence


# -- success ----------------------------------------------------------------------------------------------------------


def test_a_container_that_ended_with_0_has_succeeded_before_pod_and_job_say_so() -> None:
    done = pod(ended(0), phase="Running")

    assert judge(job("t", done)) == Succeeded(done)


def test_a_success_beats_a_job_that_failed_afterwards() -> None:
    done = pod(ended(0))

    assert judge(job("t", done, failure="DeadlineExceeded", failed=1)) == Succeeded(done)


def test_a_success_after_failed_pods_of_the_same_job_counts() -> None:
    done = pod(ended(0), uid="second")

    assert judge(job("t", pod(ended(1), uid="first"), done, failed=1)) == Succeeded(done)


@pytest.mark.parametrize("asked", ["deleted", "disrupted"])
@pytest.mark.parametrize(("second", "proven"), [(4, False), (5, False), (6, True)])
def test_exit_0_proves_nothing_once_the_pod_was_asked_to_stop(asked: str, second: float, proven: bool) -> None:
    """Times have whole seconds: within the same one nobody knows which came first."""
    done = pod(ended(0, after=5), **{asked: second})

    assert judge(job("t", done)) == (Succeeded(done) if proven else Active())


def test_exit_0_without_a_time_proves_nothing_for_a_pod_that_was_asked_to_stop() -> None:
    assert judge(job("t", pod(ended(0, after=None), deleted=6))) == Active()


def test_exit_0_in_a_pod_that_failed_is_no_success() -> None:
    timed_out = pod(ended(0), phase="Failed", reason="DeadlineExceeded")

    assert failure_of(job("t", timed_out, failed=1, failure="BackoffLimitExceeded")).reason is Reason.TIMEOUT


@pytest.mark.parametrize(("phase", "proven"), [("Running", False), ("Succeeded", True)])
def test_past_the_timeout_only_the_phase_tells_a_success_from_a_process_that_was_stopped(
    phase: str, proven: bool
) -> None:
    done = pod(ended(0, after=30), phase=phase, scheduled_at=START)

    assert judge(job("t", done), timeout_seconds=30) == (Succeeded(done) if proven else Active())
    assert judge(job("t", done), timeout_seconds=31) == Succeeded(done)


def test_past_the_timeout_the_jobs_word_is_as_good_as_the_phase() -> None:
    done = pod(ended(0, after=30), scheduled_at=START)

    assert judge(job("t", done, complete=True), timeout_seconds=30) == Succeeded(done)


def test_a_complete_job_whose_process_exited_0_under_a_drain_is_tried_again_free() -> None:
    drained = pod(ended(0, after=5), phase="Succeeded", deleted=4, disrupted=4)

    evidence = failure_of(job("t", drained, complete=True))

    assert (evidence.reason, evidence.free, evidence.exit_code) == (Reason.EVICTED, True, 0)


def test_a_complete_job_whose_pod_somebody_deleted_while_it_ran_counts_as_failed() -> None:
    evidence = failure_of(job("t", pod(ended(0, after=5), phase="Succeeded", deleted=4), complete=True))

    assert (evidence.reason, evidence.free) == (Reason.POD_DELETED, False)


def test_a_complete_job_whose_pod_is_gone_has_lost_its_output() -> None:
    evidence = failure_of(job("t", complete=True, finished_at=at(9)))

    assert (evidence.reason, evidence.free, evidence.at) == (Reason.OUTPUT_LOST, True, at(9))


# -- under way --------------------------------------------------------------------------------------------------------


def test_a_running_container_is_active() -> None:
    assert judge(job("t", pod())) == Active()


def test_a_pod_that_is_being_stopped_is_active_until_the_job_has_spoken() -> None:
    assert judge(job("t", pod(deleted=3))) == Active()


def test_a_failed_pod_that_the_job_has_not_counted_yet_is_active() -> None:
    assert judge(job("t", pod(ended(1)))) == Active()
    assert judge(job("t", pod(ended(1), uid="first"), pod(ended(1), uid="second"), failed=1)) == Active()


def test_between_two_pods_of_a_job_it_is_in_backoff_and_knows_the_last_failure() -> None:
    evidence = judge(job("t", pod(ended(1, after=5), uid="a"), pod(ended(2, after=25), uid="b"), failed=2))

    assert isinstance(evidence, Backoff)
    assert evidence.last is not None
    assert (evidence.last.exit_code, evidence.last.at) == (2, at(25))


def test_a_job_that_gives_up_is_active_until_it_says_how_it_failed() -> None:
    assert judge(job("t", pod(ended(1)), failed=1, failing=True)) == Active()


def test_backoff_is_known_even_where_the_failed_pod_is_gone() -> None:
    assert judge(job("t", failed=1)) == Backoff(None)


def test_the_pod_that_follows_a_disrupted_one_is_the_one_that_counts() -> None:
    assert judge(job("t", pod(ended(137), disrupted=4, uid="a"), pod(uid="b"))) == Active()


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_a_pod_that_no_node_takes_waits_without_a_limit() -> None:
    evidence = wait_of(job("t", pod(phase="Pending", unschedulable="0/3 nodes are available")))

    assert (evidence.reason, evidence.message, evidence.since) == (
        Reason.UNSCHEDULABLE,
        "0/3 nodes are available",
        None,
    )


@pytest.mark.parametrize(
    ("reason", "hopeless"),
    [("ErrImagePull", False), ("ImagePullBackOff", False), ("InvalidImageName", True), ("ErrImageNeverPull", True)],
)
def test_an_image_that_cannot_be_pulled(reason: str, hopeless: bool) -> None:
    evidence = wait_of(job("t", waiting(reason, "no such image")))

    assert (evidence.reason, evidence.message, evidence.since, evidence.hopeless) == (
        Reason.IMAGE_PULL,
        "no such image",
        START,
        hopeless,
    )


def test_a_missing_secret_is_named_and_has_a_limit() -> None:
    evidence = wait_of(job("t", waiting("CreateContainerConfigError", 'secret "orders" not found')))

    assert (evidence.reason, evidence.message) == (Reason.MISSING_CONFIG, 'secret "orders" not found')
    assert evidence.since == START
    assert not evidence.hopeless


def test_an_image_that_runs_as_root_is_hopeless_and_says_what_to_do() -> None:
    evidence = wait_of(job("t", waiting("CreateContainerConfigError", "container has runAsNonRoot and image ... root")))

    assert evidence.reason is Reason.RUNS_AS_ROOT
    assert evidence.hopeless
    assert "numeric non-root USER" in evidence.message


def test_a_container_that_is_being_made_is_starting() -> None:
    assert wait_of(job("t", waiting("ContainerCreating"))).reason is Reason.STARTING


def test_a_job_without_a_pod_is_starting_and_its_limit_begins_with_the_pod() -> None:
    evidence = wait_of(job("t"))

    assert (evidence.reason, evidence.since) == (Reason.STARTING, None)


def test_a_quota_on_pods_is_waited_for_without_a_limit() -> None:
    evidence = wait_of(job("t", pods_refused='pods "t-x" is forbidden: exceeded quota: small, requested: pods=1'))

    assert (evidence.reason, evidence.since) == (Reason.QUOTA_EXCEEDED, None)


def test_pod_security_is_quoted_and_has_a_limit() -> None:
    evidence = wait_of(job("t", pods_refused='pods "t-x" is forbidden: violates PodSecurity "restricted:latest"'))

    assert (evidence.reason, evidence.since) == (Reason.POD_REFUSED, START)
    assert "PodSecurity" in evidence.message


# -- failure ----------------------------------------------------------------------------------------------------------


def one_pod(fact: PodFact, failure: str = "BackoffLimitExceeded") -> Failed:
    return failure_of(job("t", fact, failed=1, failure=failure, finished_at=at(7)))


def test_the_exit_code_and_the_time_of_the_container_are_kept() -> None:
    evidence = one_pod(pod(ended(3, after=5)))

    assert (evidence.reason, evidence.message, evidence.exit_code, evidence.at, evidence.final) == (
        Reason.TASK_ERROR,
        "exit code 3",
        3,
        at(5),
        False,
    )


def test_the_error_that_the_bootstrap_tells_is_the_message() -> None:
    told = '{"error":{"type":"ValueError","message":"no orders","line":3}}'

    assert one_pod(pod(ended(1, told))).message == "ValueError: no orders (line 3)"


@pytest.mark.parametrize(
    ("asked", "seconds"), [("120", 120), ("0", None), ("-1", None), ("true", None), ('"9"', None), ("1.5", None)]
)
def test_what_the_server_asked_to_wait_is_kept_with_the_failure(asked: str, seconds: int | None) -> None:
    told = f'{{"error":{{"type":"UnexpectedStatus","message":"answered 429","retryAfter":{asked}}}}}'

    assert one_pod(pod(ended(1, told))).retry_after == seconds


def test_a_refused_output_has_its_own_reason_and_is_final() -> None:
    told = '{"error":{"reason":"OutputTooLarge","message":"600,000 bytes"}}'

    evidence = one_pod(pod(ended(240, told)))

    assert (evidence.reason, evidence.message, evidence.final) == (Reason.OUTPUT_TOO_LARGE, "600,000 bytes", True)


def test_exit_240_of_code_that_means_something_else_by_it_is_an_ordinary_failure() -> None:
    evidence = one_pod(pod(ended(240, "")))

    assert (evidence.reason, evidence.final) == (Reason.TASK_ERROR, False)


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (pod(ended(137, reason="OOMKilled")), Reason.OUT_OF_MEMORY),
        (pod(ended(137), reason="Evicted", disrupted=4), Reason.EVICTED),
        (pod(ended(143), deleted=4, disrupted=4), Reason.EVICTED),
        (pod(ended(143), deleted=4), Reason.POD_DELETED),
        (pod(ended(1, after=3), deleted=4), Reason.TASK_ERROR),
        (pod(phase="Failed", deleted=4), Reason.POD_DELETED),
        (pod(phase="Failed", reason="NodeAffinity"), Reason.EVICTED),
        (pod(ended(143), phase="Failed", reason="DeadlineExceeded"), Reason.TIMEOUT),
        (pod(ended(126)), Reason.COMMAND_NOT_FOUND),
        (pod(ended(127)), Reason.COMMAND_NOT_FOUND),
        (
            pod(ended(128, 'exec: "nope": executable file not found in $PATH: unknown', reason="StartError")),
            Reason.COMMAND_NOT_FOUND,
        ),
        (pod(ended(128, "argument list too long", reason="StartError")), Reason.TASK_ERROR),
    ],
)
def test_how_a_pod_failed(fact: PodFact, reason: Reason) -> None:
    assert one_pod(fact).reason is reason


def test_a_start_error_ends_with_what_the_kubelet_said_last() -> None:
    evidence = one_pod(pod(ended(128, "x" * 1_000 + ": executable file not found in $PATH", reason="StartError")))

    assert evidence.message.endswith("executable file not found in $PATH")
    assert len(evidence.message) < 400


def test_the_jobs_own_deadline_is_the_tasks_and_is_final() -> None:
    evidence = one_pod(pod(ended(143), deleted=4), failure="DeadlineExceeded")

    assert (evidence.reason, evidence.final) == (Reason.DEADLINE_EXCEEDED, True)


def test_a_pod_failure_policy_is_final() -> None:
    evidence = one_pod(pod(ended(3)), failure="PodFailurePolicy")

    assert (evidence.reason, evidence.exit_code, evidence.final) == (Reason.TASK_ERROR, 3, True)


def test_a_failed_job_without_pods_was_robbed_of_them() -> None:
    evidence = failure_of(failed("t"))
    assert evidence.reason is Reason.TASK_ERROR

    assert failure_of(job("t", failed=1, failure="BackoffLimitExceeded")).reason is Reason.POD_DELETED


def test_of_several_failed_pods_the_last_speaks() -> None:
    pods = (pod(ended(2, after=40), uid="b"), pod(ended(1, after=5), uid="a"))

    assert failure_of(job("t", *pods, failed=2, failure="BackoffLimitExceeded")).exit_code == 2
