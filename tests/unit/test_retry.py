"""retry: limits, delays, and who does the retrying."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import RUN, at, definition, task

from nexus.adapters.kube.manifests.job import Images, task_objects
from nexus.api.reasons import Reason
from nexus.api.tasks import Disruptions, Retry
from nexus.core.model.plan import Payload, StartTask
from nexus.core.model.retry import RetryPolicy
from nexus.core.tasks.evidence import Failed
from nexus.core.tasks.retries import NextAttempt, next_attempt_after

TYPES: dict[str, Any] = {
    "python": {"python": {"code": "pass"}},
    "bash": {"bash": {"command": "true"}},
    "http": {"http": {"url": "https://orders.example/"}},
    "sql": {"sql": {"connection": "sqlite://", "query": "select 1"}},
    "container": {"container": {"image": "x"}},
}


def policy(**fields: Any) -> RetryPolicy:
    return RetryPolicy.of(Retry.model_validate(fields))


def retried(policy: RetryPolicy, attempts: int, exit_code: int | None = 1) -> bool:
    failure = Failed(Reason.TASK_ERROR, "exit code 1", exit_code, at=at(0))
    return next_attempt_after(failure, policy, attempts, whose="") is not None


def test_nothing_said_means_one_attempt_and_disruptions_are_free() -> None:
    assert RetryPolicy.of(None) == policy() == RetryPolicy(limit=0, disruptions=Disruptions.IGNORE)
    assert not retried(policy(), attempts=1)


@pytest.mark.parametrize(
    ("kind", "listed", "final"),
    [
        ("python", None, (240,)),
        ("bash", [3], (3, 240)),
        ("http", [240, 250], (240, 241, 250)),
        ("sql", [], (240,)),
        ("container", [3], (3,)),
        ("container", None, ()),
    ],
)
def test_one_policy_says_which_exit_codes_are_final_here_and_to_the_job(
    kind: str, listed: list[int] | None, final: tuple[int, ...]
) -> None:
    retry = {"limit": 5} if listed is None else {"limit": 5, "failOnExitCodes": listed}
    node = definition(task("t", retry=retry, **TYPES[kind])).nodes["t"]
    assert [code for code in range(256) if not retried(node.retry, 1, code)] == list(final)
    job = task_objects(StartTask("t", "t-1", 1, Payload(kind, None, "{}"), node.retry), RUN, Images()).job
    rules = [rule["onExitCodes"]["values"] for rule in rules_of(job) if "onExitCodes" in rule]
    assert rules == ([list(final)] if final else [])


def rules_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    return list(job["spec"].get("podFailurePolicy", {}).get("rules", []))


@pytest.mark.parametrize(
    ("limit", "attempts", "allowed"), [(0, 1, False), (1, 1, True), (1, 2, False), (3, 3, True), (3, 4, False)]
)
def test_the_limit_counts_retries_after_the_first_attempt(limit: int, attempts: int, allowed: bool) -> None:
    assert retried(policy(limit=limit), attempts) is allowed


def test_an_exit_code_of_failOnExitCodes_ends_the_task_at_once() -> None:  # noqa: N802  a field's name
    strict = policy(limit=5, failOnExitCodes=[3, 64])

    assert [code for code in (None, 0, 1, 3, 64, 65) if not retried(strict, 1, code)] == [3, 64]


@pytest.mark.parametrize(
    ("fields", "delays"),
    [
        ({}, [10, 20, 40, 80, 160, 320, 600, 600]),
        ({"delaySeconds": 60, "factor": 2, "maxDelaySeconds": 600}, [60, 120, 240, 480, 600, 600]),
        ({"delaySeconds": 0}, [0, 0, 0]),
        ({"delaySeconds": 5, "factor": 1}, [5, 5, 5, 5]),
        ({"delaySeconds": 30, "factor": 10, "maxDelaySeconds": 20}, [20, 20]),
        ({"delaySeconds": 1, "factor": 1.5}, [1, 1.5, 2.25]),
    ],
)
def test_the_delay_grows_by_the_factor_up_to_the_longest(fields: dict[str, Any], delays: list[float]) -> None:
    retry = policy(limit=100, **fields)

    assert [retry.delay(attempts).total_seconds() for attempts in range(1, len(delays) + 1)] == delays


def test_a_delay_after_a_hundred_attempts_does_not_overflow() -> None:
    assert policy(delaySeconds=86_400, factor=10, maxDelaySeconds=86_400).delay(101).total_seconds() == 86_400


def test_jitter_spreads_the_delay_either_way_as_far_as_it_says() -> None:
    retry = policy(delaySeconds=100, factor=1, jitter=0.2)
    delays = [retry.delay(1, f"run-{n}/t").total_seconds() for n in range(2_000)]

    assert 80 <= min(delays) < 81
    assert 119 < max(delays) <= 120
    assert sum(delays) / len(delays) == pytest.approx(100, abs=1)


def test_jitter_spreads_the_longest_delay_too() -> None:
    retry = policy(delaySeconds=500, maxDelaySeconds=100, jitter=1)

    assert 0 <= retry.delay(9, "a").total_seconds() <= 200
    assert retry.delay(9, "a") != retry.delay(9, "b")


def test_jitter_is_the_same_for_everybody_who_asks_and_another_for_each_attempt() -> None:
    retry = policy(delaySeconds=60, jitter=0.5)

    assert retry.due(1, at(0), "run/t") == policy(delaySeconds=60, jitter=0.5).due(1, at(0), "run/t")
    assert len({retry.delay(attempts, "run/t").total_seconds() / 60 for attempts in (1, 2, 3)}) == 3


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 10), (2, 10), (10, 10), (120, 120), (86_400, 86_400), (10**9, 86_400)]
)
def test_a_server_may_ask_for_a_longer_delay_up_to_a_day(asked: int | None, seconds: int) -> None:
    listed = policy(limit=1, maxDelaySeconds=60, retryOn=[429])

    assert listed.due(1, at(0), "t", asked) == at(seconds)
    assert policy(limit=1).due(1, at(0), "t", asked) == at(10), "without retryOn the delays are as ever"


def test_a_task_with_retry_on_leaves_no_delay_to_the_job_controller() -> None:
    assert policy(limit=3).native
    assert not policy(limit=3, retryOn=["5xx", 429, "network"]).native


def test_an_attempt_is_due_a_delay_after_the_failure() -> None:
    assert policy(limit=2).due(2, at(100)) == at(120)


@pytest.mark.parametrize(
    ("fields", "native"),
    [
        ({}, True),
        ({"limit": 5, "failOnExitCodes": [3], "disruptions": "Count"}, True),
        ({"delaySeconds": 10, "factor": 2, "maxDelaySeconds": 600}, True),
        ({"delaySeconds": 9}, False),
        ({"factor": 1.5}, False),
        ({"maxDelaySeconds": 300}, False),
        ({"jitter": 0}, True),
        ({"jitter": 0.1}, False),
    ],
)
def test_the_job_controller_retries_only_with_the_delays_that_it_has(fields: dict[str, Any], native: bool) -> None:
    assert policy(**fields).native is native


@pytest.mark.parametrize("reason", [Reason.CHILD_FAILED, Reason.TASK_ERROR, Reason.JOB_DELETED])
def test_a_final_failure_is_never_retried(reason: Reason) -> None:
    assert next_attempt_after(Failed(reason, "", at=at(0), final=True), policy(limit=5), 1, whose="") is None


def test_a_failure_without_a_time_counts_from_now_and_without_a_clock_is_retried_at_once() -> None:
    gone, wanted = Failed(Reason.JOB_DELETED, "the Job was deleted"), policy(limit=1, delaySeconds=60)

    assert next_attempt_after(gone, wanted, 1, whose="", now=at(0)) == NextAttempt(at(0) + timedelta(seconds=60))
    assert next_attempt_after(gone, wanted, 1, whose="") == NextAttempt(None)


@pytest.mark.parametrize(
    ("reason", "disruptions", "replacements", "replaced"),
    [
        (Reason.EVICTED, "Ignore", 0, True),
        (Reason.EVICTED, "Ignore", 99, True),
        (Reason.EVICTED, "Count", 0, False),
        (Reason.OUTPUT_LOST, "Ignore", 2, True),
        (Reason.OUTPUT_LOST, "Count", 2, True),
        (Reason.OUTPUT_LOST, "Ignore", 3, False),
    ],
)
def test_an_attempt_that_ended_by_no_fault_of_its_own_is_replaced_without_counting(
    reason: Reason, disruptions: str, replacements: int, replaced: bool
) -> None:
    failure, wanted = Failed(reason, "", at=at(0), free=True), policy(disruptions=disruptions)
    following = next_attempt_after(failure, wanted, 1, whose="", replacements=replacements, now=at(0))
    assert following == (NextAttempt(at(0), replaces=True) if replaced else None)
