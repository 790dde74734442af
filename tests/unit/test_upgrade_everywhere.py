"""An upgrade in the middle of everything: each kind of task and run that an earlier version left is ended by this one.

The recordings in `upgrade/` are made by `upgrade_story.py`; what each version left half done is told there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import states
from tests.operators import KEY
from tests.unit.upgrade_story import EVERY, Continued

from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS
from nexus.api.workflow import WorkflowStatus
from nexus.core.expressions.templates import Evaluator

RECORDINGS = sorted((Path(__file__).parent / "upgrade").glob("*-everywhere.jsonl"))
TEN = "2026-11-23T10:00:00.000Z"
# What had no Job yet, of the runs that had begun and of those that had not. A tick of 09:02 to 09:08 has one each.
MADE_SINCE = [
    "sales-x7k2p-delayed-2",
    "sales-x7k2p-last-1",
    "sales-x7k2p-pool-b-1",
    "tidy-held-first-1",
    "tidy-held-sweep-1",
    "turns-2-attempt-1",
]


@pytest.fixture(params=RECORDINGS, ids=lambda path: path.stem)
def told(request: pytest.FixtureRequest, cel: Evaluator) -> Iterator[Continued]:
    continued = Continued(request.param, cel)
    yield continued
    continued.close()


def go_on(told: Continued, seconds: float = 420) -> None:
    """A person approves and resumes, and time passes."""
    told.operator()
    told.steer(approvals=[{"task": "release", "decision": "Approved", "by": "ann", "time": TEN}])
    told.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, "tidy-held", {"spec": {"suspend": False}})
    told.quiet(seconds)


def test_everything_ends_well_and_no_job_is_made_twice(told: Continued) -> None:
    go_on(told)

    assert states(told.status) == dict.fromkeys(["first", *EVERY, "last"], "Succeeded")
    ends = {name: told.status_of(name).phase for name in ("tidy-1", "tidy-held", "turns-1", "turns-2")}
    assert set(ends.values()) == {"Succeeded"}
    assert [name for name in told.made() if not name.startswith("nightly-")] == MADE_SINCE
    assert [len(told.status_of(name).tasks or ()) for name in ends] == [2, 2, 1, 1]


def test_what_was_under_way_is_the_same_object_in_the_end(told: Continued) -> None:
    before = {task.name: (task.job, task.child_run, task.start_time) for task in told.status.tasks or ()}
    go_on(told)

    after = {task.name: (task.job, task.child_run, task.start_time) for task in told.status.tasks or ()}
    held = ("first", "attempt", "backoff", "each", "call", "pool-a", "release", "pause")
    assert {name: after[name] for name in held} == {name: before[name] for name in held}
    attempts = {task.name: task.attempts for task in told.status.tasks or () if task.attempts and task.attempts > 1}
    assert attempts == {"backoff": 2, "delayed": 2}


def test_no_tick_is_lost_and_no_schedule_begins_anew(told: Continued) -> None:
    def schedules() -> dict[str, Any]:
        body = next(body for body in told.cluster.objects(WORKFLOWS) if body["metadata"]["name"] == "nightly")
        return {entry.name: entry for entry in WorkflowStatus.model_validate(body["status"]).schedules or ()}

    before = schedules()
    assert set(before) == {"often", "hourly", "off"}
    told.cluster.advance(150)  # no operator is there: what ticked meanwhile is caught up with
    go_on(told)

    after = schedules()
    assert {name: entry.since for name, entry in after.items()} == {name: entry.since for name, entry in before.items()}
    specs = [body["spec"] for body in told.cluster.objects(WORKFLOW_RUNS)]
    ticks = sorted(spec["scheduledTime"][11:16] for spec in specs if spec.get("schedule") == "often")
    # catchUp is Latest: of 09:02 and 09:03 the later one.
    assert ticks == ["09:01", *(f"09:{minute:02}" for minute in range(3, 11))]


def test_a_backfill_goes_on(told: Continued) -> None:
    go_on(told)

    runs = [body for body in told.cluster.objects(WORKFLOW_RUNS) if body["spec"].get("triggeredBy") == "backfill"]
    assert [told.status_of(body["metadata"]["name"]).phase for body in runs] == ["Succeeded", "Succeeded"]
    assert {told.status_of(body["metadata"]["name"]).tasks_done for body in runs} == {"1/1"}
