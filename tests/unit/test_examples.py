"""The examples are valid, and do what they say."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import re
import runpy
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.builders import approval

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.local.bindings import Bindings
from nexus.adapters.local.questions import Ask
from nexus.adapters.local.run import Finished, run
from nexus.api.manifest import read
from nexus.api.run import Approval, TaskStatus, WorkflowRunStatus
from nexus.api.workflow import Workflow
from nexus.core.data.params import resolve
from nexus.core.model.definition import Definition, prepare
from nexus.core.model.facts import RunFact
from nexus.core.schedule.as_of import of_time
from nexus.core.schedule.timetable import Timetable
from nexus.core.validate import problems

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDERS = EXAMPLES / "orders" / "2026-11-23.json"


class Log:
    """What the tasks wrote."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def status(self, status: WorkflowRunStatus) -> None:
        """Not of interest here."""

    def child(self, path: str, status: WorkflowRunStatus) -> None:
        """Nor this."""

    def line(self, task: str, line: str) -> None:
        self.lines.append(f"{task}: {line}")


@pytest.fixture(scope="module")
def evaluator() -> Iterator[CelEvaluator]:
    with CelEvaluator() as made:
        yield made


@pytest.fixture
def served() -> Iterator[str]:
    """The address of the orders, as `make demo` serves them."""
    handler = runpy.run_path(str(EXAMPLES / "orders" / "serve.py"))["Quiet"]
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=ORDERS.parent)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def workflow(name: str) -> Workflow:
    path = EXAMPLES / f"{name}.yaml"
    return Workflow.model_validate(read(path.read_text("utf-8"), str(path))[0].body)


def others(name: str) -> dict[str, Definition]:
    """The Workflows behind the first one, for child runs."""
    path = EXAMPLES / f"{name}.yaml"
    found = [Workflow.model_validate(document.body) for document in read(path.read_text("utf-8"), str(path))[1:]]
    return {str(other.metadata["name"]): prepare(other.spec) for other in found}


def execute(
    name: str, evaluator: CelEvaluator, log: Log | None = None, /, person: Ask | None = None, **given: Any
) -> Finished:
    spec = workflow(name).spec
    fact = RunFact("default", f"{name}-test1", "uid", datetime.now(UTC), name)
    fact = dataclasses.replace(fact, params=resolve(spec.params or [], given, fact, evaluator))
    return asyncio.run(run(fact, prepare(spec), Bindings(), EXAMPLES, log or Log(), evaluator, others(name), person))


def phases(finished: Finished) -> dict[str, str]:
    return {task.name: task.phase.value for task in finished.status.tasks or ()}


def test_the_orders_are_what_their_script_writes(tmp_path: Path) -> None:
    script = tmp_path / "generate.py"
    script.write_text((ORDERS.parent / "generate.py").read_text("utf-8"), "utf-8")
    runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / ORDERS.name).read_bytes() == ORDERS.read_bytes()
    assert (tmp_path / "rates.json").read_bytes() == (ORDERS.parent / "rates.json").read_bytes()


def test_the_orders_fit_into_an_output() -> None:
    orders = json.loads(ORDERS.read_text("utf-8"))
    assert len(orders) == 4_000
    assert len(json.dumps(orders)) < 500 * 1024  # of 512 KiB; status and headers of the answer need some


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_valid_and_named_after_its_file(path: Path, evaluator: CelEvaluator) -> None:
    example = workflow(path.stem)
    assert problems(example.spec, evaluator) == []
    assert example.metadata["name"] == path.stem


def test_each_example_stands_once_in_the_table() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| \[([\w-]+\.yaml)\]\(\1\) \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.yaml"))


def test_sales_come_to_what_the_orders_say(served: str, evaluator: CelEvaluator) -> None:
    rates = json.loads((ORDERS.parent / "rates.json").read_text("utf-8"), parse_float=Decimal)
    total, rejected = Decimal(0), []
    for order in json.loads(ORDERS.read_text("utf-8"), parse_float=Decimal):
        if order["currency"] not in rates or not order["quantity"]:
            rejected.append(order["id"])
            continue
        cents = order["quantity"] * order["price"] * rates[order["currency"]] * (100 - order["discount"])
        total += Decimal(round(cents)) / 100
    log = Log()
    finished = execute("sales", evaluator, log, orders=served)
    assert finished.status.phase == "Succeeded"
    assert phases(finished)["behind-target"] == "Skipped"
    assert {name for name, phase in phases(finished).items() if phase != "Succeeded"} == {"behind-target"}
    assert finished.outputs["rejects"]["ids"] == rejected
    assert finished.outputs["report"] == {"day": "2026-11-23", "total": float(total), "best": "kettle"}
    assert f"report: total {total:>28.2f}" in log.lines


def test_a_day_behind_its_target_is_told_of(served: str, evaluator: CelEvaluator) -> None:
    finished = execute("sales", evaluator, orders=served, target=1_000_000)
    assert finished.outputs["behind-target"]["message"].endswith(" of 1000000 euros")
    assert finished.status.phase == "Succeeded"


def test_sales_of_a_day_that_nobody_serves_fail_and_nothing_is_reported(served: str, evaluator: CelEvaluator) -> None:
    finished = execute("sales", evaluator, orders=served, day="2026-11-24")
    assert finished.status.phase == "Failed"
    assert (phases(finished)["orders"], phases(finished)["report"]) == ("Failed", "Omitted")


def test_hello_shouts(evaluator: CelEvaluator) -> None:
    log = Log()
    assert execute("hello", evaluator, log, name="you").status.phase == "Succeeded"
    assert "shout: HELLO, YOU!" in log.lines


@pytest.mark.parametrize(("rows", "check"), [(42, "Succeeded"), (0, "Failed")])
def test_a_heartbeat_counts_and_fails_where_nothing_is_there(rows: int, check: str, evaluator: CelEvaluator) -> None:
    finished = execute("heartbeat", evaluator, rows=rows)
    assert phases(finished) == {"count": "Succeeded", "check": check}
    assert finished.outputs["count"] == {"rows": rows}
    timetable = Timetable((workflow("heartbeat").spec.schedules or ())[0])
    assert len(timetable.upcoming(datetime(2026, 11, 23, 12, tzinfo=UTC), 60)) == 60


@pytest.mark.parametrize(
    ("size", "ran", "skipped"), [(100, {"by-hand"}, {"in-bulk", "check"}), (2_000, {"in-bulk", "check"}, {"by-hand"})]
)
def test_conditions_choose_a_branch(size: int, ran: set[str], skipped: set[str], evaluator: CelEvaluator) -> None:
    finished = execute("conditions", evaluator, size=size)
    assert finished.status.phase == "Succeeded"
    succeeded = ran | {"measure", "merge", "notify"}
    assert phases(finished) == {**dict.fromkeys(succeeded, "Succeeded"), **dict.fromkeys(skipped, "Skipped")}


@pytest.mark.parametrize(("rows", "phase", "alarm"), [(3, "Succeeded", "Skipped"), (0, "Failed", "Succeeded")])
def test_finally_tidies_up_and_tells_of_failures(rows: int, phase: str, alarm: str, evaluator: CelEvaluator) -> None:
    finished = execute("finally", evaluator, rows=rows)
    assert finished.status.phase == phase
    assert finished.outputs["drop-scratch"] == {"dropped": "scratch_1"}
    ends = phases(finished)
    assert (ends["load"], ends["alarm"]) == ("Succeeded" if rows else "Failed", alarm)
    assert (ends["statistics"], ends["publish"]) == (("Failed", "Succeeded") if rows else ("Omitted", "Omitted"))
    if not rows:
        assert finished.outputs["alarm"] == {"phase": "Failed"}


@pytest.mark.parametrize(("decision", "phase"), [("Approved", "Succeeded"), ("Rejected", "Failed")])
def test_a_release_waits_for_a_person_and_then_for_its_time(decision: str, phase: str, evaluator: CelEvaluator) -> None:
    asked = []

    async def ask(task: TaskStatus) -> Approval:
        asked.append(task.approval.message if task.approval else None)
        return approval("go-ahead", decision)

    finished = execute("release", evaluator, person=ask)
    assert finished.status.phase == phase
    assert asked == ["Release 1.4.2?"]
    assert finished.outputs.get("everywhere", {}) == ({"by": "ann"} if phase == "Succeeded" else {})


def test_a_release_that_nobody_is_asked_about_goes_out(evaluator: CelEvaluator) -> None:
    finished = execute("release", evaluator, ask=False)
    assert phases(finished)["go-ahead"] == "Skipped"
    assert finished.outputs["everywhere"] == {"by": "no one"}


def test_params_have_defaults_and_may_be_left_out(evaluator: CelEvaluator) -> None:
    finished = execute("params", evaluator, customer="acme")
    assert finished.outputs["title"]["title"].startswith("acme in eu and us, 7.5% off, all of ")
    assert finished.outputs["rows"] == {"regions": ["eu", "us"]}
    assert phases(finished)["limited"] == "Skipped"
    finished = execute("params", evaluator, customer="acme", limit=1)
    assert finished.outputs["rows"] == {"regions": ["eu"]}
    assert phases(finished)["limited"] == "Succeeded"


def test_what_is_asked_of_a_pod_is_checked_and_ignored_here(evaluator: CelEvaluator) -> None:
    finished = execute("pod", evaluator, numbers=1_000)
    assert finished.status.phase == "Succeeded"
    assert finished.outputs["check"] == {"right": True}


def test_what_is_not_worth_a_retry_fails_at_once_and_is_cleaned_up(evaluator: CelEvaluator) -> None:
    finished = execute("retries", evaluator, chance=1, exit_code=42)
    assert finished.status.phase == "Failed"
    assert phases(finished) == {"flaky": "Failed", "next": "Omitted", "cleanup": "Succeeded"}
    assert [task.attempts for task in finished.status.tasks or () if task.name == "flaky"] == [1]


def test_child_runs_come_to_what_their_workflow_says(evaluator: CelEvaluator) -> None:
    log = Log()
    finished = execute("child-runs", evaluator, log, days=2)
    assert finished.status.phase == "Succeeded"
    assert finished.outputs["us"] == {"euros": 30.0, "title": "us, 2 days"}
    assert finished.status.outputs == {"best": "eu", "euros": 67.5}
    assert "eu/total: eu: 37.50 euros in 2 days" in log.lines


def test_a_fan_out_squares_all_numbers_but_one(evaluator: CelEvaluator) -> None:
    finished = execute("fan-out", evaluator, count=6)
    assert finished.outputs["sum"] == {"sum": 1 + 4 + 16 + 25 + 36, "of": 5}
    assert [entry and entry["square"] for entry in finished.outputs["square"]["items"]] == [1, 4, None, 16, 25, 36]
    words = [entry["words"] for entry in finished.outputs["greet"]["items"]]
    assert words == ["Hello, Ada!", "Hello, Grace!", "Good day, Ada!", "Good day, Grace!"]


def test_where_there_are_no_others_nobody_waits(evaluator: CelEvaluator) -> None:
    finished = execute("one-at-a-time", evaluator)
    assert phases(finished) == {"migrate": "Succeeded", "verify": "Succeeded"}


def test_a_pool_of_two_takes_two_at_a_time(evaluator: CelEvaluator) -> None:
    log = Log()
    bindings = Bindings(config_maps={"nexus-pools": {"warehouse": "2"}})
    spec = workflow("pools").spec
    fact = RunFact("default", "pools-test1", "uid", datetime.now(UTC), "pools")
    finished = asyncio.run(run(fact, prepare(spec), bindings, EXAMPLES, log, evaluator))
    assert phases(finished) == {"count": "Succeeded", "load": "Succeeded", "vacuum": "Succeeded"}
    assert finished.outputs["load"] == {"items": [{"loaded": 40}] * 4}


def test_what_failed_runs_again_in_a_rerun(evaluator: CelEvaluator) -> None:
    assert phases(execute("rerun", evaluator)) == {"fetch": "Succeeded", "load": "Failed", "sum": "Omitted"}
    assert execute("rerun", evaluator, broken="none").outputs["sum"] == {"loaded": 120}


def test_nightly_leaves_out_what_it_says_and_moves_one_tick_a_year(evaluator: CelEvaluator) -> None:
    days, month = (Timetable(schedule) for schedule in workflow("nightly").spec.schedules or ())
    entries = days.upcoming(datetime(2026, 12, 23, 12, tzinfo=UTC), 3)
    assert [f"{entry.local:%d} {entry.note}".strip() for entry in entries] == [
        "24 skipped: an excluded date",
        "25 skipped: Christmas Day (DE-BY)",
        "26 skipped: Second Day of Christmas (DE-BY)",
        "27 skipped: a Sunday",
        "28",
        "29",
        "30",
    ]
    monday = days.is_tick(datetime(2026, 11, 30, 1, 30, tzinfo=UTC))
    assert monday is not None
    assert (
        as_of_tick(days, evaluator, monday.time) == "The day before 2026-11-30: 3 days, from 2026-11-27 to 2026-11-30"
    )
    assert as_of_tick(month, evaluator, datetime(2026, 12, 1, 5, tzinfo=UTC)).startswith("November 2026: 30 days")


def as_of_tick(timetable: Timetable, evaluator: CelEvaluator, at: datetime) -> str:
    """What nightly prints as of a tick."""
    spec = workflow("nightly").spec
    told = of_time([timetable.schedule], at)
    fact = told.fact(RunFact("default", "nightly-test1", "uid", datetime.now(UTC), "nightly"))
    fact = dataclasses.replace(fact, params=told.rendered(fact, evaluator))
    log = Log()
    assert asyncio.run(run(fact, prepare(spec), Bindings(), EXAMPLES, log, evaluator)).status.phase == "Succeeded"
    (line,) = log.lines
    return line.removeprefix("count: ")


def test_artifacts_travel_whole(evaluator: CelEvaluator) -> None:
    finished = execute("artifacts", evaluator, readings=40_000)

    assert set(phases(finished).values()) == {"Succeeded"}
    assert finished.outputs["report"] == {"sensors": 4, "readings": 40_000}
