"""Runs on this machine from start to end: retries, times, failures, Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.builders import definition, states, task
from tests.unit.local_harness import Watcher, run_here

from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import WorkflowRunStatus


def bash(name: str, command: str, *depends_on: str, **fields: Any) -> Any:
    return task(name, *depends_on, bash={"command": command}, **fields)


class Busy(BaseHTTPRequestHandler):
    """429 with a Retry-After of a second to the first request, 200 to the next; 401 to /denied."""

    asked: ClassVar[list[float]] = []

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass

    def do_GET(self) -> None:
        self.asked.append(time.monotonic())
        self.send_response(401 if self.path == "/denied" else 429 if len(self.asked) == 1 else 200)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_server_is_asked_again_when_it_says_and_not_where_retry_on_does_not_list_its_answer() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        retry = {"limit": 2, "delaySeconds": 0, "retryOn": [429]}
        ran = run_here(
            definition(
                task("busy", http={"url": f"{address}/"}, retry=retry),
                task("denied", "busy", http={"url": f"{address}/denied"}, retry=retry),
            )
        )
        server.shutdown()
        thread.join()
    entries = {entry.name: entry for entry in ran.status.tasks or ()}
    assert (entries["busy"].phase, entries["busy"].attempts) == ("Succeeded", 2)
    denied = entries["denied"]
    assert (denied.phase, denied.attempts, denied.exit_code) == ("Failed", 1, 241)
    assert Busy.asked[1] - Busy.asked[0] >= 0.9


def test_a_retry_comes_after_its_delay_and_its_output_alone_is_seen(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    flaky = f'echo "first=1" >> "$NEXUS_OUTPUT"; [[ -e {tried} ]] || {{ touch {tried}; exit 3; }}'
    ran = run_here(definition(bash("flaky", flaky, retry={"limit": 2, "delaySeconds": 1})))
    assert ran.phase is RunPhase.SUCCEEDED
    assert ran.task("flaky").attempts == 2
    assert ran.seconds("flaky") >= 1
    assert ran.outputs["flaky"] == {"first": "1"}
    waiting = [entry.tasks[0] for entry in ran.watcher.statuses if entry.tasks]
    assert any(entry.reason is Reason.RETRY_DELAY and entry.exit_code == 3 for entry in waiting)


def test_each_attempt_leaves_a_record_with_its_exception_and_what_it_wrote(tmp_path: Path) -> None:
    code = f"""
import pathlib
tried = pathlib.Path({str(tmp_path / "tried")!r})
print("looking")
if not tried.exists():
    tried.touch()
    raise ValueError("not yet")
output["big"] = "x" * 10_000
print("done")
"""
    retry = {"limit": 1, "delaySeconds": 0}
    ran = run_here(definition(task("t", python={"code": code}, retry=retry, recordLogLines=1)))
    first, second = ran.task("t").attempt_records or ()

    assert (first.attempt, first.exit_code, first.reason) == (1, 1, Reason.TASK_ERROR)
    assert first.exception is not None
    assert (first.exception.type, first.exception.message, first.exception.line) == ("ValueError", "not yet", 7)
    assert first.log_tail == "ValueError: not yet"
    assert (second.attempt, second.exit_code, second.reason, second.log_tail) == (2, 0, None, "done")
    assert first.completion_time is not None
    assert second.start_time is not None
    assert first.completion_time <= second.start_time


def test_a_listed_exit_code_ends_a_task_at_once() -> None:
    ran = run_here(definition(bash("no", "exit 4", retry={"limit": 5, "delaySeconds": 0, "failOnExitCodes": [4]})))
    assert ran.task("no").attempts == 1
    assert ran.ending("no") == (TaskPhase.FAILED, Reason.TASK_ERROR)


RETRIED = {"limit": 2, "delaySeconds": 0}


@pytest.mark.parametrize("code", [239, 240, 241])
def test_the_exit_code_of_a_refused_output_is_never_retried_whoever_exits_with_it(code: int) -> None:
    ran = run_here(
        definition(
            bash("shell", f"exit {code}", retry=RETRIED),
            bash("item", f"exit {code}", retry=RETRIED, for_each={"items": [1]}),
            task("code", python={"code": f"raise SystemExit({code})"}, retry={**RETRIED, "failOnExitCodes": [7]}),
            bash("last", "exit 7", retry={**RETRIED, "failOnExitCodes": [7]}),
        )
    )
    attempts = 1 if code == 240 else 3
    assert {name: ran.task(name).attempts for name in ("shell", "code")} == {"shell": attempts, "code": attempts}
    assert (len(ran.lines("item[0]")), ran.task("last").attempts) == (0, 1)
    assert ("never retried" in (ran.task("shell").message or "")) is (code == 240)
    assert ("never retried" in (ran.task("code").message or "")) is (code == 240)


def test_an_attempt_over_its_timeout_is_stopped_and_the_next_one_may_succeed(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    slow_once = f"[[ -e {tried} ]] || {{ touch {tried}; sleep 30; }}"
    ran = run_here(definition(bash("slow", slow_once, timeoutSeconds=1, retry={"limit": 1, "delaySeconds": 0})))
    assert ran.phase is RunPhase.SUCCEEDED
    assert ran.task("slow").attempts == 2
    assert 1 <= ran.seconds("slow") < 10


def test_the_last_attempt_over_its_timeout_says_so() -> None:
    ran = run_here(definition(bash("slow", "sleep 30", timeoutSeconds=1)))
    assert ran.ending("slow") == (TaskPhase.FAILED, Reason.TIMEOUT)


def test_the_deadline_of_a_task_holds_for_all_its_attempts() -> None:
    ran = run_here(
        definition(bash("slow", "sleep 0.2; exit 1", deadlineSeconds=1, retry={"limit": 9, "delaySeconds": 1}))
    )
    assert ran.ending("slow") == (TaskPhase.FAILED, Reason.DEADLINE_EXCEEDED)


def test_the_deadline_of_a_run_stops_what_runs_and_omits_what_waits() -> None:
    ran = run_here(definition(bash("slow", "sleep 30"), bash("after", "true", "slow"), deadlineSeconds=1))
    assert (ran.phase, ran.status.reason) == (RunPhase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert states(ran.status) == {"slow": "Failed DeadlineExceeded", "after": "Omitted DeadlineExceeded"}


def test_fail_fast_stops_a_sleeping_task(tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    ran = run_here(
        definition(
            bash("bad", "sleep 0.4; exit 1"),
            bash("sleepy", f"trap 'touch {stopped}; exit 0' TERM; sleep 30 & wait"),
            bash("after", "true", "sleepy"),
            failurePolicy="FailFast",
        )
    )
    assert states(ran.status) == {
        "bad": "Failed TaskError",
        "sleepy": "Cancelled FailFast",
        "after": "Omitted FailFast",
    }
    assert stopped.exists()


def test_a_failure_omits_what_depends_on_it_and_a_skip_travels_on() -> None:
    ran = run_here(
        definition(
            bash("bad", "exit 1"),
            bash("after-bad", "true", "bad"),
            bash("cleanup", "true", "bad", triggerRule="AnyFailed"),
            bash("no", "true", when="${{ 1 > 2 }}"),
            bash("after-no", "true", "no"),
            bash("merge", "true", "no", "cleanup", triggerRule="NoneFailed"),
        )
    )
    assert ran.phase is RunPhase.FAILED
    assert states(ran.status) == {
        "bad": "Failed TaskError",
        "after-bad": "Omitted DependencyFailed",
        "cleanup": "Succeeded",
        "no": "Skipped WhenFalse",
        "after-no": "Skipped DependencySkipped",
        "merge": "Succeeded",
    }


def test_an_expression_that_fails_at_run_time_fails_its_task() -> None:
    ran = run_here(
        definition(
            bash("one", "true"),
            bash("two", "true", "one", when="${{ tasks.one.output.nothing > 1 }}"),
        )
    )
    assert ran.ending("two") == (TaskPhase.FAILED, Reason.EXPRESSION_ERROR)


def test_no_more_tasks_run_at_once_than_may(tmp_path: Path) -> None:
    command = f'touch {tmp_path}/$$; sleep 0.2; echo "n:=$(ls {tmp_path} | wc -l)" >> "$NEXUS_OUTPUT"; rm {tmp_path}/$$'
    ran = run_here(definition(*(bash(f"t{n}", command) for n in range(5)), maxParallelTasks=2))
    assert ran.phase is RunPhase.SUCCEEDED
    assert max(value["n"] for value in ran.outputs.values()) == 2


def _interrupt_once_it_runs() -> Watcher:
    sent: list[float] = []

    def act(status: WorkflowRunStatus) -> None:
        running = [task for task in status.tasks or () if task.phase is TaskPhase.RUNNING and task.name == "slow"]
        if running and not sent:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    return Watcher(act)


def test_ctrl_c_stops_what_runs_and_the_run_ends_cancelled() -> None:
    watcher = _interrupt_once_it_runs()
    ran = run_here(definition(bash("slow", "sleep 30"), bash("after", "true", "slow")), watcher=watcher)
    assert ran.interrupted
    assert ran.phase is RunPhase.CANCELLED
    assert states(ran.status) == {"slow": "Cancelled Cancelled", "after": "Omitted Cancelled"}
    assert any("Ctrl-C again" in note for note in watcher.notes)


def test_what_ignores_the_request_to_stop_is_killed_by_a_second_ctrl_c() -> None:
    def act(status: WorkflowRunStatus) -> None:
        if status.phase is RunPhase.RUNNING and not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)
        elif status.phase is RunPhase.CANCELLED:
            os.kill(os.getpid(), signal.SIGINT)

    sent: list[int] = []
    started = time.monotonic()
    ran = run_here(definition(bash("slow", "trap '' TERM; sleep 30 & wait; wait; sleep 30")), watcher=Watcher(act))
    assert ran.phase is RunPhase.CANCELLED
    assert time.monotonic() - started < 4, "the grace period of 5 s was waited for"


def test_tasks_of_a_chain_start_after_the_one_before_has_ended() -> None:
    ran = run_here(definition(*(bash(f"t{n}", "true", *([f"t{n - 1}"] if n else [])) for n in range(6))))
    assert ran.status.tasks_done == "6/6"
    tasks = ran.status.tasks or []
    ends = [task.completion_time for task in tasks]
    starts = [task.start_time for task in tasks]
    assert ran.status.start_time is not None
    assert sorted([ran.status.start_time, *starts, *ends]) == [
        ran.status.start_time,
        *(time for pair in zip(starts, ends, strict=True) for time in pair),
    ]
