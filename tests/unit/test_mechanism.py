"""The mechanism of an attempt: recorded when it is started, and read from there when the run is continued."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import RUN, START, at, definition, facts, job, pod, succeeded, task

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api.reasons import Mechanism, TaskPhase
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.core.engine.decide import decide
from nexus.core.model.definition import Definition
from nexus.core.model.facts import JobFact
from nexus.core.names import item_job_name
from nexus.core.tasks.identity import expected, sort

ITEMS = {"forEach": {"items": [1, 2]}}
OWN_DELAY = {"retry": {"limit": 1, "delaySeconds": 1}}


@pytest.mark.parametrize(
    ("fields", "mechanism"),
    [
        ({"python": {"code": "pass"}}, Mechanism.JOB),
        ({"container": {"image": "x"}, **OWN_DELAY}, Mechanism.JOB),
        ({"python": {"code": "pass"}, **ITEMS}, Mechanism.INDEXED_JOB),
        ({"python": {"code": "pass"}, **ITEMS, **OWN_DELAY}, Mechanism.JOB),
        ({"workflow": {"name": "report"}}, Mechanism.CHILD_RUN),
        ({"workflow": {"name": "report"}, **ITEMS}, Mechanism.CHILD_RUN),
        ({"approval": {}}, Mechanism.NONE),
        ({"wait": {"seconds": 60}}, Mechanism.NONE),
    ],
)
def test_what_carries_an_attempt_out_is_recorded_when_it_starts(
    fields: dict[str, Any], mechanism: Mechanism, cel: CelEvaluator
) -> None:
    plan = decide(definition(task("t", **fields)), facts(), START, cel)
    (status,) = plan.status.tasks or ()
    assert status.phase is TaskPhase.RUNNING
    assert status.mechanism is mechanism
    assert status.to_json()["mechanism"] == mechanism.value


def test_where_the_jobs_do_not_retry_by_themselves_each_item_has_a_job(cel: CelEvaluator) -> None:
    subject = definition(task("t", bash={"command": "true"}, **ITEMS))
    (status,) = decide(subject, facts(native_backoff=False), START, cel).status.tasks or ()
    assert status.mechanism is Mechanism.JOB


def test_a_task_that_was_not_started_has_none(cel: CelEvaluator) -> None:
    plan = decide(definition(task("a"), task("b", "a")), facts(), START, cel)
    assert [status.mechanism for status in plan.status.tasks or ()] == [Mechanism.JOB, None]


@pytest.mark.parametrize("recorded", [Mechanism.JOB, None])
def test_a_run_is_continued_with_and_without_a_record(recorded: Mechanism | None, cel: CelEvaluator) -> None:
    """Version 0.1 wrote none."""
    subject = definition(task("a"), task("b", "a"))
    before = decide(subject, facts(), START, cel).status
    status = with_mechanism(before, recorded)
    plan = decide(subject, facts(succeeded("a"), status=status), at(6), cel)
    assert [entry.phase for entry in plan.status.tasks or ()] == [TaskPhase.SUCCEEDED, TaskPhase.RUNNING]


def test_a_job_that_is_taken_over_is_recorded_too(cel: CelEvaluator) -> None:
    (status,) = decide(definition(task("t")), facts(job("t", pod())), at(1), cel).status.tasks or ()
    assert status.mechanism is Mechanism.JOB


def with_mechanism(status: WorkflowRunStatus, mechanism: Mechanism | None) -> WorkflowRunStatus:
    tasks = [entry.model_copy(update={"mechanism": mechanism}) for entry in status.tasks or ()]
    return status.model_copy(update={"tasks": tasks})


@pytest.mark.parametrize(
    ("recorded", "counts", "forged"),
    [
        (None, ["whole", "item"], []),
        (Mechanism.INDEXED_JOB, ["whole", "item"], []),
        (Mechanism.JOB, ["item"], ["whole"]),
        (Mechanism.CHILD_RUN, [], ["whole", "item"]),
    ],
)
def test_which_jobs_count_is_as_the_record_says_whatever_this_version_would_start(
    recorded: Mechanism | None, counts: list[str], forged: list[str]
) -> None:
    subject = definition(task("t", python={"code": "pass"}, **ITEMS))
    whole, item = job("t", namespace=RUN.namespace), item_job(subject)
    named = {whole.uid: "whole", item.uid: "item"}
    tasks = [TaskStatus(name="t", phase=TaskPhase.RUNNING, mechanism=recorded, items={"total": 2})]  # type: ignore[arg-type]
    found = sort(RUN, WorkflowRunStatus(tasks=tasks), expected(subject), [whole, item], [])

    assert [named[one.uid] for one in found.jobs.get("t", ())] == counts
    assert [named[one.uid] for one in found.forged] == forged


def item_job(subject: Definition) -> JobFact:
    name = item_job_name(RUN.name, RUN.uid, next(iter(subject.nodes)), 0, 1)
    return JobFact(name, "uid-of-item", "t", 1, START, index=0, namespace=RUN.namespace, owner=RUN.name)
