"""What the terminal says of a status."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from rich.console import Console
from tests.builders import START

from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import ApprovalRequest, TaskStatus, WorkflowRunStatus
from nexus.cli import summary, words
from nexus.cli.detail import table_of_runs
from nexus.cli.view import LiveView, PlainView
from nexus.core.model import graph
from nexus.core.model.graph import levels


def ran(name: str, start: float, end: float) -> TaskStatus:
    return TaskStatus(
        name=name,
        phase=TaskPhase.SUCCEEDED,
        start_time=START + timedelta(seconds=start),
        completion_time=START + timedelta(seconds=end),
    )


def test_the_critical_path_is_the_chain_that_was_waited_for() -> None:
    tasks = [ran("a", 0, 2), ran("b", 0, 5), ran("c", 5, 6), ran("d", 2, 3), ran("e", 6, 7)]
    depends_on = {"a": (), "b": (), "c": ("a", "b"), "d": ("a",), "e": ("c", "d")}
    assert [task.name for task in graph.critical_path(tasks, depends_on)] == ["b", "c", "e"]


def test_the_critical_path_passes_by_what_never_ran() -> None:
    tasks = [ran("a", 0, 2), TaskStatus(name="b", phase=TaskPhase.SKIPPED), ran("c", 2, 3)]
    assert [task.name for task in graph.critical_path(tasks, {"c": ("a", "b"), "b": ("a",)})] == ["a", "c"]
    assert graph.critical_path([TaskStatus(name="b", phase=TaskPhase.OMITTED)], {}) == []


def test_the_critical_path_goes_on_behind_what_never_ran() -> None:
    omitted = [TaskStatus(name=name, phase=TaskPhase.OMITTED) for name in ("c", "d")]
    tasks = [ran("a", 0, 2), ran("b", 2, 3), *omitted, ran("tell", 4, 5)]
    depends_on = {"b": ("a",), "c": ("b",), "d": ("c", "b"), "tell": ("d", "c")}
    assert [task.name for task in graph.critical_path(tasks, depends_on)] == ["a", "b", "tell"]


@pytest.mark.parametrize(
    ("here", "words"),
    [(False, "AwaitingApproval: waiting for approval: nexus approve x ask [--reject]: Ship?"), (True, "Ship?")],
)
def test_where_a_terminal_asks_no_command_is_named(here: bool, words: str) -> None:
    stream = io.StringIO()
    shown = PlainView("sales", stream, width=4)
    shown.asks_here = here
    task = TaskStatus(
        name="ask",
        phase=TaskPhase.RUNNING,
        reason=Reason.AWAITING_APPROVAL,
        message="waiting for approval: nexus approve x ask [--reject]: Ship?",
        approval=ApprovalRequest(run="x", task="ask", message="Ship?"),
    )
    shown.status(WorkflowRunStatus(tasks=[task]))
    assert stream.getvalue().endswith(f"{words}\n")
    assert here != ("nexus approve" in stream.getvalue())


def test_a_line_that_is_quicker_than_the_status_comes_after_it() -> None:
    stream = io.StringIO()
    with PlainView("sales", stream, width=3) as shown:
        shown.status(WorkflowRunStatus(tasks=[TaskStatus(name="fan"), TaskStatus(name="a")]))
        shown.line("fan[1]", "early")
        shown.line("a", "never told")
        shown.status(WorkflowRunStatus(tasks=[TaskStatus(name="fan", phase=TaskPhase.RUNNING), TaskStatus(name="a")]))
        shown.line("fan[1]", "late")
    told = [" ".join(line[9:].split()) for line in stream.getvalue().splitlines()]
    assert told == ["fan Running", "fan[1] | early", "fan[1] | late", "a | never told"]


def test_columns_make_room_for_the_tasks_of_child_runs() -> None:
    stream = io.StringIO()
    shown = PlainView("sales", stream, width=4)
    shown.status(WorkflowRunStatus(tasks=[ran("call", 0, 2)]))
    shown.child("call", WorkflowRunStatus(tasks=[ran("count", 0, 2), ran("sum", 0, 1)]))
    shown.line("call", "text")
    assert [line[9:] for line in stream.getvalue().splitlines()] == [
        "call  Succeeded    2.0s",
        "call/count  Succeeded    2.0s",
        "call/sum    Succeeded    1.0s",
        "call       | text",
    ]


def test_a_long_critical_path_and_a_large_output_are_shortened() -> None:
    tasks = [ran(f"t{n}", n, n + 1) for n in range(40)]
    status = WorkflowRunStatus(
        phase=RunPhase.SUCCEEDED, tasks=tasks, start_time=START, completion_time=START + timedelta(seconds=40)
    )
    depends_on = {f"t{n}": (f"t{n - 1}",) if n else () for n in range(40)}
    lines = list(summary.lines("sales-x7k2p", status, {"t0": {"text": "x" * 9000}}, depends_on))
    assert max(map(len, lines)) < 250
    assert any("(9,012 bytes)" in line for line in lines)
    (path,) = [line for line in lines if line.startswith("Critical path")]
    assert "t0 1.0s → t1" in path
    assert "t38 1.0s → t39 1.0s" in path
    assert "(29 more)" in path
    assert lines[-1] == "sales-x7k2p Succeeded in 40.0s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.004, "0.0s"), (12.34, "12.3s"), (59.99, "1m00s"), (125, "2m05s"), (3720, "1h02m")],
)  # fmt: skip
def test_seconds_are_as_short_as_they_can_be_read(seconds: float | None, text: str) -> None:
    assert words.seconds_text(seconds) == text


def test_what_is_told_is_what_a_user_would_want_to_know() -> None:
    waits = TaskStatus(name="a", reason=Reason.DEPENDENCIES, message="waits for b")
    running = TaskStatus(name="a", phase=TaskPhase.RUNNING, attempts=1)
    unschedulable = TaskStatus(name="a", reason=Reason.UNSCHEDULABLE, message="no node has 9 CPUs")
    assert not words.is_news(None, waits)
    assert words.is_news(waits, running)
    assert not words.is_news(running, running)
    assert words.is_news(running, running.model_copy(update={"attempts": 2}))
    assert words.is_news(waits, unschedulable)
    assert words.why(unschedulable) == "Unschedulable: no node has 9 CPUs"
    assert words.why(running.model_copy(update={"attempts": 2})) == "(attempt 2)"


def test_levels_count_what_stands_before() -> None:
    assert levels({"a": (), "b": ("a",), "c": ("a", "b")}) == {"a": 0, "b": 1, "c": 2}


def test_runs_are_listed_in_kubectls_columns() -> None:
    def run(name: str, **status: object) -> dict[str, object]:
        metadata = {"name": name, "creationTimestamp": "2026-11-23T09:00:00Z"}
        return {"metadata": metadata, "spec": {"workflowRef": {"name": "sales"}}, "status": status}

    runs = [
        run("sales-x7k2p", phase="Running", tasksDone="3/7", startTime="2026-11-23T09:00:00.000Z", duration="2s"),
        {**run("new"), "status": None},
    ]
    now = START + timedelta(seconds=125)
    assert table_of_runs(runs, now) == [
        "NAME          WORKFLOW   PHASE     TASKS   REASON   DURATION   AGE",
        "sales-x7k2p   sales      Running   3/7              2m5s       2m",
        "new           sales                                            2m",
    ]


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


def picture(status: WorkflowRunStatus, monkeypatch: pytest.MonkeyPatch, title: str = "sales-x7k2p") -> list[str]:
    """The last lines that a live view leaves on a terminal of 80 columns."""
    for name, value in {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    view, terminal = LiveView(title, Terminal(), {}), Terminal()
    view.status(status)
    drawn = Console(file=terminal, width=80, height=24, no_color=True, force_terminal=False)
    drawn.print(view._picture())
    return terminal.getvalue().splitlines()


def test_at_80_columns_only_the_why_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "the-name-of-a-task-that-takes-a-good"
    failed = ran(long, 0, 12.3).model_copy(
        update={"phase": TaskPhase.FAILED, "reason": Reason.TASK_ERROR, "message": "no such table: orders " * 10}
    )
    status = WorkflowRunStatus(phase=RunPhase.RUNNING, tasks=[failed, ran("b", 0, 1)], tasks_done="2/3")
    title = "a-run-with-a-name-that-is-longer-than-most-x7k2p"
    head, *tasks = picture(status, monkeypatch, title)
    assert head.rstrip() == f"{title} Running 2/3"
    assert len(tasks) == 2
    assert re.fullmatch(rf".{{1,2}}{long} 12.3s TaskError.*…", tasks[0].rstrip())
    assert all(len(line) <= 80 for line in tasks)
    assert re.match(r". b +1.0s", tasks[1])
