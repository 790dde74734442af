"""Objects that nest too deep or are too large to be kept: a reason where nothing has begun, hands off where it has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.builders import spec, task
from tests.operators import KEY, story

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.cache.runs import Cache
from nexus.adapters.kube.client.api import JOBS, WORKFLOW_RUNS, WORKFLOWS
from nexus.adapters.kube.runs.definitions import checked
from nexus.api.reasons import Reason, RunPhase
from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.schema_errors import read
from nexus.runtime.ports import StartRejected


@pytest.fixture(scope="module")
def cel() -> Iterator[CelEvaluator]:
    """An evaluator for all of them."""
    with CelEvaluator() as evaluator:
        yield evaluator


def nested(levels: int) -> Any:
    """A list with so many levels."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"p": nested(300)}, "spec is nested deeper than 100 levels"),
        ({"p": [[0]] * 30_000}, "spec.params is over 65,536 bytes of JSON"),
    ],
)
def test_a_run_that_has_not_begun_fails_with_the_reason(cel: CelEvaluator, params: Any, why: str) -> None:
    with story(spec(task("a")), cel, by_reference=True) as s:
        s.operator()
        s.run()
        s.cluster.add(
            WORKFLOW_RUNS,
            {"metadata": {"name": "hostile"}, "spec": {"workflowRef": {"name": "sales"}, "params": params}},
        )
        s.quiet(60)
        status = s.status_of("hostile")
        assert (status.phase, status.reason) == (RunPhase.FAILED, Reason.UNREADABLE)
        assert why in (status.message or "")
        assert [job["metadata"]["labels"]["nexus.dev/run"] for job in s.cluster.objects(JOBS)] == [KEY.name]


def test_a_run_that_has_begun_is_never_ended_nor_its_status_replaced(cel: CelEvaluator) -> None:
    with story(spec(task("a"), task("b", depends_on=["a"])), cel, by_reference=True) as s:
        s.operator()
        s.run(until=lambda: bool(s.cluster.objects(JOBS)))
        body = s.cluster.objects(WORKFLOW_RUNS)[0]
        recorded = body["status"]
        deep = {**recorded, "tasks": [{**recorded["tasks"][0], "output": {"o": nested(120)}}, *recorded["tasks"][1:]]}
        s.cluster.store.replace_status(
            WORKFLOW_RUNS, KEY.namespace, KEY.name, {"metadata": body["metadata"], "status": deep}
        )
        s.quiet(700)
        found = s.cluster.objects(WORKFLOW_RUNS)[0]["status"]
        assert found["phase"] == "Running"
        assert found["reason"] == "Unreadable"
        assert found["message"] == (
            "status is nested deeper than 110 levels; flatten it; the run is not processed, delete it to stop its tasks"
        )
        assert found["tasks"] == deep["tasks"]


@pytest.mark.parametrize(
    "field",
    [
        {"forEach": {"items": nested(300)}, "container": {"image": "x"}},
        {"http": {"url": "http://x.example", "json": nested(300)}},
        {"python": {"call": "a:b", "with": {"x": nested(300)}}},
    ],
)
def test_a_workflow_that_nests_too_deep_is_not_ready_and_its_runs_fail(cel: CelEvaluator, field: Any) -> None:
    with story(spec(task("a")), cel, by_reference=True) as s:
        s.operator()
        s.run()
        s.cluster.add(WORKFLOWS, {"metadata": {"name": "deep"}, "spec": {"tasks": [{"name": "t", **field}]}})
        s.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "of-deep"}, "spec": {"workflowRef": {"name": "deep"}}})
        s.quiet(60)
        assert s.status_of("of-deep").reason is Reason.WORKFLOW_INVALID
        assert "nested deeper than 100 levels" in (s.status_of("of-deep").message or "")
        deep = next(body for body in s.cluster.objects(WORKFLOWS) if body["metadata"]["name"] == "deep")
        ready = next(entry for entry in deep["status"]["conditions"] if entry["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "WorkflowInvalid")
        assert "nested deeper than 100 levels" in ready["message"]


def test_a_definition_of_its_own_that_nests_too_deep_ends_the_run_with_the_reason(cel: CelEvaluator) -> None:
    inline = {"tasks": [{"name": "t", "http": {"url": "http://x.example", "json": nested(300)}}]}
    for pad in ("", "x" * 20_000):
        with story(spec(task("a")), cel, by_reference=True) as s:
            s.operator()
            s.run()
            s.cluster.add(
                WORKFLOW_RUNS,
                {"metadata": {"name": "own"}, "spec": {"workflowSpec": {**inline, "labels": {}, "description": pad}}},
            )
            s.quiet(60)
            assert s.status_of("own").reason is Reason.UNREADABLE


def test_long_params_and_a_large_definition_of_its_own_reach_the_tasks_though_the_cache_has_neither(
    cel: CelEvaluator,
) -> None:
    text = "x" * 9_000
    inline = {
        "params": [{"name": "p"}],
        "tasks": [{"name": "t", "container": {"image": "x"}, "env": [{"name": "P", "value": "${{ params.p }}"}]}],
        "description": "d" * 4_000,
        "labels": {f"k{number}": "v" * 60 for number in range(50)},
    }
    inline["tasks"] += [{**inline["tasks"][0], "name": f"t{number}"} for number in range(60)]
    with story(spec(task("a")), cel, by_reference=True) as s:
        operator = s.operator()
        s.run()
        s.cluster.add(
            WORKFLOW_RUNS, {"metadata": {"name": "own"}, "spec": {"workflowSpec": inline, "params": {"p": text}}}
        )
        s.quiet(60)
        record = next(record for key, record in operator.cache.runs.items() if key.name == "own")
        assert s.status_of("own").phase is RunPhase.SUCCEEDED
        assert record.spec is None
        jobs = [job for job in s.cluster.objects(JOBS) if job["metadata"]["labels"]["nexus.dev/run"] == "own"]
        values = [entry["value"] for entry in jobs[0]["spec"]["template"]["spec"]["containers"][0]["env"]]
        assert text in values


def test_a_cache_keeps_text_of_long_params_and_no_large_definition() -> None:
    cache = Cache()
    metadata = {
        "name": "r",
        "namespace": "d",
        "uid": "u",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-11-23T09:00:00Z",
    }
    params = {"p": [[0]] * 10_000}
    inline = {"tasks": [{"name": f"t{number}", "container": {"image": "x"}} for number in range(400)]}
    cache.see_run({"metadata": metadata, "spec": {"workflowSpec": inline, "params": params}})
    (record,) = cache.runs.values()
    assert record.spec is not None
    assert (record.spec.params, record.spec.workflow_spec) == (None, None)
    assert len(record.params_text) < 41_000
    assert record.definition_left
    assert record.fact().params == params


@pytest.mark.parametrize("levels", [120, 300, 900])
def test_a_definition_that_did_not_come_through_the_decoder_is_held_to_the_same_depth(
    cel: CelEvaluator, levels: int
) -> None:
    body = {"tasks": [{"name": "t", "http": {"url": "http://x.example", "json": nested(levels)}}]}
    found = checked(lambda: read(body, WorkflowSpec), cel, datetime.now(UTC), "w")
    assert isinstance(found, StartRejected)
    assert found.message == "spec is nested deeper than 100 levels; flatten it"
