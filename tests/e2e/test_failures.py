"""How tasks fail, are retried, are timed out and are left out; and what a waiting task says."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime

import pytest
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import IMAGE, Object, Space, bash, container, phases, python, reasons, task

from nexus.adapters.kube.client.api import PODS
from nexus.core.names import LABEL_RUN

pytestmark = pytest.mark.cluster

ONE_RETRY = {"limit": 1, "delaySeconds": 1}
# As process 1, it would not hear SIGTERM without the trap.
SLEEP = ("sh", "-c", "trap 'exit 143' TERM; sleep 300 & wait")


COUNTED_IN_BASH = (
    """[[ $NEXUS_ATTEMPT == 2 && $(<"$NEXUS_CONTEXT") == '{"attempt":2,'* ]]; echo n:=2 >> "$NEXUS_OUTPUT\""""
)


def retries(server: str) -> list[Object]:
    """The same failures under the Job controller's delays and under delays of their own."""
    return [
        bash("native", "exit 3", retry={"limit": 1}),
        bash("custom", "exit 3", retry={"limit": 1, "delaySeconds": 10, "factor": 1}),
        {"name": "flaky", "http": {"url": f"{server}/flaky/1/native"}, "retry": {"limit": 2}},
        {"name": "swift", "http": {"url": f"{server}/flaky/2/custom"}, "retry": {"limit": 2, "delaySeconds": 0}},
        bash("final", "exit 42", retry={"limit": 5, "delaySeconds": 1, "failOnExitCodes": [41, 42]}),
        bash("final-native", "exit 42", retry={"limit": 5, "failOnExitCodes": [42]}),
        python("error", "n = 1\nraise KeyError('what is wrong')"),
        bash("count", COUNTED_IN_BASH, retry={"limit": 2}),
        bash("count-custom", COUNTED_IN_BASH, retry={"limit": 2, "delaySeconds": 0}),
        python("count-items", "assert attempt == 2\noutput['n'] = attempt", forEach={"items": [1]}, retry={"limit": 2}),
        bash("told", "echo looking; echo nothing; exit 3", retry={"limit": 1}, recordLogLines=1),
        bash("spread", "exit 3", retry={"limit": 1, "delaySeconds": 4, "jitter": 0.5}, recordLogLines=1),
    ]


def asked(server: str) -> list[Object]:
    """Requests of which retryOn says what is worth a retry."""
    return [
        {
            "name": "busy",
            "http": {"url": f"{server}/busy/1/8/one"},
            "retry": {"limit": 2, "delaySeconds": 0, "retryOn": [429]},
        },
        {"name": "denied", "http": {"url": f"{server}/status/401"}, "retry": {"limit": 5, "retryOn": [429, "5xx"]}},
        {
            "name": "each-busy",
            "forEach": {"items": ["a", "b"]},
            "http": {"url": f"{server}/busy/1/8/${{{{ item }}}}"},
            "retry": {"limit": 2, "retryOn": ["4xx", "network"], "delaySeconds": 0},
        },
    ]


def limits() -> list[Object]:
    """Tasks that take too long, each by another measure."""
    return [
        container("attempt", *SLEEP, timeoutSeconds=2, retry={"limit": 1, "delaySeconds": 0}),
        container("task", *SLEEP, deadlineSeconds=4, retry={"limit": 3, "delaySeconds": 0}),
        bash("between", "exit 1", deadlineSeconds=6, retry={"limit": 3, "delaySeconds": 300}),
        bash("in-time", "true", deadlineSeconds=120, timeoutSeconds=60),
        bash("after", "true", "attempt", "task"),
    ]


def starts() -> list[Object]:
    """Tasks whose container cannot start."""
    missing = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "nowhere", "key": "token"}}}]
    present = [{"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "kube-root-ca.crt", "key": "nokey"}}}]
    volume = {"volumes": [{"name": "d", "configMap": {"name": "nope"}}]}
    mounted = {**volume, "volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    return [
        {**bash("volume", "true", startTimeoutSeconds=40), "pod": mounted},
        {"name": "image", "container": {"image": "nexus/not-there:1"}, "startTimeoutSeconds": 40},
        {"name": "bad-image", "container": {"image": "NOT AN IMAGE"}, "startTimeoutSeconds": 300},
        {**bash("secret", "true", startTimeoutSeconds=40, retry=ONE_RETRY), "env": missing},
        {**bash("key", "true", startTimeoutSeconds=40), "env": present},
        {**bash("from", "true", startTimeoutSeconds=40), "envFrom": [{"secretRef": {"name": "nowhere"}}]},
        bash("not-found", "no-such-command --now"),
        container("no-program", "no-such-program"),
        {"name": "directory", "container": {"image": IMAGE, "command": ["/tmp"]}},
    ]


def rules() -> list[Object]:
    """Every triggerRule on one success, one failure, one skip."""

    def rule(name: str, *after: str, then: str = "AllSucceeded") -> Object:
        return container(name, after=after, triggerRule=then)

    return [
        container("good"),
        container("bad", "false"),
        {**container("skip", after=("good",)), "when": "${{ tasks.good.phase == 'Failed' }}"},
        {**container("taken", after=("good",)), "when": "${{ tasks.good.phase == 'Succeeded' }}"},
        rule("all-succeeded", "good", "bad"),
        rule("skip-travels", "good", "skip"),
        rule("all-done", "good", "bad", "skip", then="AllDone"),
        rule("any-succeeded", "good", "bad", then="AnySucceeded"),
        rule("any-failed", "good", "bad", then="AnyFailed"),
        rule("any-failed-none", "good", "taken", then="AnyFailed"),
        rule("all-failed", "bad", "all-succeeded", then="AllFailed"),
        rule("none-failed", "good", "skip", then="NoneFailed"),
        rule("none-failed-but", "good", "bad", then="NoneFailed"),
        rule("after-omitted", "all-succeeded", then="AnyFailed"),
    ]


@pytest.fixture(scope="module", autouse=True)
def started(space: Space, operator: OperatorProcess, server: str) -> None:
    """All runs of this module, at once."""
    assert operator.running
    space.run("slots", *(container(f"t{i}", "sleep", "1.5") for i in range(6)), maxParallelTasks=2)
    space.run("retries", *retries(server), maxParallelTasks=12)
    space.run("asked", *asked(server))
    space.run("limits", *limits())
    space.run(
        "deadline", container("long", *SLEEP), bash("never", "true", "long"), container("quick"), deadlineSeconds=40
    )
    space.run("starts", *starts())
    space.run("rules", *rules(), maxParallelTasks=20)
    stopped = [container("long", *SLEEP), bash("later", "true", "long"), bash("breaks", "sleep 3; exit 1")]
    space.run("fail-fast", *stopped, failurePolicy="FailFast")
    space.run("continue", container("works", "sleep", "4"), bash("next", "true", "works"), bash("breaks", "exit 1"))


def seconds_between(run: Object, name: str) -> float:
    entry = task(run, name)
    start, end = (datetime.fromisoformat(entry[field]) for field in ("startTime", "completionTime"))
    return (end - start).total_seconds()


def test_no_more_tasks_have_pods_than_max_parallel_tasks(space: Space) -> None:
    live: dict[str, bool] = {}
    most = 0
    for kind, pod in space.watch(PODS, 90, labels=f"{LABEL_RUN}=slots"):
        states = pod["status"].get("containerStatuses") or ()
        ended = kind == "DELETED" or any("terminated" in entry["state"] for entry in states)
        live[pod["metadata"]["name"]] = not ended
        most = max(most, sum(live.values()))
        if len(live) == 6 and not any(live.values()):
            break
    assert most == 2
    assert set(phases(space.finished("slots")).values()) == {"Succeeded"}


def test_both_ways_of_retrying_look_the_same(space: Space) -> None:
    run = space.finished("retries", 120)
    wanted = {"native": "Failed", "custom": "Failed", "flaky": "Succeeded", "swift": "Succeeded"}
    assert {name: phases(run)[name] for name in wanted} == wanted, json.dumps(run["status"], indent=1)
    native, custom = task(run, "native"), task(run, "custom")
    for field in ("attempts", "reason", "message", "exitCode"):
        assert native[field] == custom[field], field
    assert (native["attempts"], native["reason"], native["exitCode"]) == (2, "TaskError", 3)
    assert [task(run, name)["attempts"] for name in ("flaky", "swift")] == [2, 3]
    assert (space.output(run, "flaky")["json"], space.output(run, "swift")["json"]) == (
        {"requests": 2},
        {"requests": 3},
    )
    # Jobs: one with a backoffLimit, or one for each attempt.
    assert [len(space.jobs("retries", name)) for name in ("native", "custom", "swift")] == [1, 2, 3]
    told = [
        sorted(
            (event["reason"], event["message"].replace(name, "X"))
            for event in space.events(run)
            if re.match(f"task {name}\\b(?!-)", event["message"])
        )
        for name in ("native", "custom")
    ]
    assert told[0] == told[1]
    assert [reason for reason, _ in told[0]] == ["TaskFailed", "TaskRetried"]


def test_task_code_is_told_its_attempt(space: Space) -> None:
    """The first attempt fails since it is told 1, and the second succeeds since it is told 2."""
    run = space.finished("retries", 120)
    for name in ("count", "count-custom"):
        assert (phases(run)[name], task(run, name)["attempts"]) == ("Succeeded", 2)
        assert space.output(run, name) == {"n": 2}
    assert [item["n"] for item in space.output(run, "count-items")["items"]] == [2]
    (job,) = space.jobs("retries", "count")
    assert (job["spec"]["completionMode"], job["spec"]["backoffLimitPerIndex"]) == ("Indexed", 2)


def test_an_exit_code_can_rule_retries_out(space: Space) -> None:
    run = space.finished("retries", 120)
    for name in ("final", "final-native"):
        assert (task(run, name)["attempts"], task(run, name)["exitCode"]) == (1, 42)


def test_a_server_that_asks_to_wait_is_asked_again_no_sooner(space: Space) -> None:
    run = space.finished("asked", 120)
    first, second = task(run, "busy")["attemptRecords"]
    waited = datetime.fromisoformat(second["startTime"]) - datetime.fromisoformat(first["completionTime"])
    assert waited.total_seconds() >= 7, "eight seconds; the times are whole ones"
    assert "answered 429 and asks to wait 8 s (Retry-After)" in first["message"]
    assert (phases(run)["busy"], space.output(run, "busy")["json"]) == ("Succeeded", {"requests": 2})
    told = [item["json"] for item in space.output(run, "each-busy")["items"]]
    assert (phases(run)["each-busy"], told) == ("Succeeded", [{"requests": 2}, {"requests": 2}])
    assert [len(space.jobs("asked", name)) for name in ("busy", "each-busy")] == [2, 4]
    assert seconds_between(run, "each-busy") >= 8


def test_a_failure_that_retry_on_does_not_list_is_final(space: Space) -> None:
    run = space.finished("asked", 120)
    denied = task(run, "denied")
    assert (denied["phase"], denied["attempts"], denied["exitCode"]) == ("Failed", 1, 241)
    (job,) = space.jobs("asked", "denied")
    assert any(
        condition["type"] == "Failed" and condition["reason"] == "PodFailurePolicy"
        for condition in job["status"]["conditions"]
    )


def test_an_exception_is_told_with_its_line(space: Space) -> None:
    run = space.finished("retries", 120)
    assert task(run, "error")["message"] == "KeyError: 'what is wrong' (line 2)"


def test_each_attempt_leaves_a_record(space: Space) -> None:
    run = space.finished("retries", 120)
    for name in ("native", "custom"):
        first, second = task(run, name)["attemptRecords"]
        assert [(entry["attempt"], entry["exitCode"], entry["reason"]) for entry in (first, second)] == [
            (1, 3, "TaskError"),
            (2, 3, "TaskError"),
        ]
        assert first["startTime"] <= first["completionTime"] < second["startTime"] <= second["completionTime"]
        assert {entry["pod"] for entry in (first, second)} == {
            pod["metadata"]["name"] for pod in space.pods("retries", name)
        }
        assert "logTail" not in first
    assert [entry["exitCode"] for entry in task(run, "swift")["attemptRecords"]] == [1, 1, 0]
    (error,) = task(run, "error")["attemptRecords"]
    assert error["exception"] == {"type": "KeyError", "message": "'what is wrong'", "line": 2}
    assert [entry["logTail"] for entry in task(run, "told")["attemptRecords"]] == ["nothing", "nothing"]
    first, second = task(run, "spread")["attemptRecords"]
    waited = datetime.fromisoformat(second["startTime"]) - datetime.fromisoformat(first["completionTime"])
    # Two to six seconds; the times are whole ones, and how soon its pod starts then is the machine's business.
    assert waited.total_seconds() >= 1


def test_time_limits_end_attempts_tasks_and_runs(space: Space) -> None:
    run = space.finished("limits", 120)
    assert reasons(run) == {
        "attempt": "Timeout",
        "task": "DeadlineExceeded",
        "between": "DeadlineExceeded",
        "in-time": None,
        "after": "DependencyFailed",
    }
    assert task(run, "attempt")["attempts"] == 2
    assert task(run, "task")["attempts"] == 1
    assert 3.9 < seconds_between(run, "task") < 9
    assert 5.9 < seconds_between(run, "between") < 11
    run = space.finished("deadline")
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert phases(run) == {"long": "Failed", "never": "Omitted", "quick": "Succeeded"}
    assert reasons(run) == {"long": "DeadlineExceeded", "never": "DeadlineExceeded", "quick": None}


def test_what_cannot_start_fails_in_time_with_its_own_reason(space: Space) -> None:
    run = space.finished("starts", 120)
    assert reasons(run) == {
        "image": "ImagePull",
        "bad-image": "ImagePull",
        "secret": "MissingConfig",
        "key": "MissingConfig",
        "from": "MissingConfig",
        "volume": "MissingConfig",
        "not-found": "CommandNotFound",
        "no-program": "CommandNotFound",
        "directory": "CommandNotFound",
    }
    assert set(phases(run).values()) == {"Failed"}
    for name, words in {
        "image": "nexus/not-there:1",
        "secret": 'secret "nowhere" not found',
        "key": "nokey",
        "from": 'secret "nowhere" not found',
        "volume": 'configmap "nope" not found',
        "no-program": "no-such-program",
    }.items():
        assert words in task(run, name)["message"], task(run, name)
    assert task(run, "not-found")["exitCode"] == 127
    for name in ("image", "secret", "key", "from"):
        assert seconds_between(run, name) < 80
    # Their pods would wait for ever: the Jobs are gone.
    assert space.without_jobs("starts", "image")


def test_every_trigger_rule(space: Space) -> None:
    run = space.finished("rules")
    assert phases(run) == {
        "good": "Succeeded",
        "bad": "Failed",
        "skip": "Skipped",
        "taken": "Succeeded",
        "all-succeeded": "Omitted",
        "skip-travels": "Skipped",
        "all-done": "Succeeded",
        "any-succeeded": "Succeeded",
        "any-failed": "Succeeded",
        "any-failed-none": "Skipped",
        "all-failed": "Succeeded",
        "none-failed": "Succeeded",
        "none-failed-but": "Omitted",
        "after-omitted": "Succeeded",
    }
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "TaskFailed")


def test_fail_fast_stops_what_runs_and_continue_does_not(space: Space) -> None:
    run = space.finished("fail-fast")
    assert phases(run) == {"long": "Cancelled", "later": "Omitted", "breaks": "Failed"}
    assert (reasons(run)["long"], reasons(run)["later"]) == ("FailFast", "FailFast")
    assert run["status"]["phase"] == "Failed"
    deadline = time.monotonic() + 45
    while space.jobs("fail-fast", "long") or space.pods("fail-fast", "long"):
        assert time.monotonic() < deadline, "the Job or the pod of the stopped task is still there"
        time.sleep(0.5)
    assert phases(space.finished("continue")) == {"works": "Succeeded", "next": "Succeeded", "breaks": "Failed"}


def test_a_waiting_task_says_why(space: Space) -> None:
    space.run(
        "waits", container("long", "sleep", "4"), container("slot"), bash("after", "true", "long"), maxParallelTasks=1
    )
    run = space.running("waits", "long")
    assert (task(run, "slot")["phase"], task(run, "slot")["reason"]) == ("Pending", "Parallelism")
    assert (task(run, "after")["reason"], task(run, "after")["message"]) == ("Dependencies", "waiting for long")
    assert re.fullmatch(r"\d/3", run["status"]["tasksDone"])
    assert set(phases(space.finished("waits")).values()) == {"Succeeded"}
