"""A run's first status, held while many other runs wait: what is saved, what is told late, and what never waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import spec, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, WORKFLOW_RUNS
from nexus.api.reasons import RunPhase
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.runtime.holding import HOLD


@contextmanager
def busy(definition: WorkflowSpec, cel: Evaluator, seconds: float = 2, **given: Any) -> Iterator[Story]:
    """A run whose operators, one after the other, have more to do than they can."""
    with story(definition, cel, **given) as told:
        told.on_birth = overwork
        for node in definition.tasks:
            told.cluster.script(node.name, Outcome(seconds=seconds))
        told.operator()
        yield told


def overwork(told: Story) -> None:
    told.operators[-1].reconciler.busy = lambda: True


def calls(told: Story) -> Counter[tuple[str, str]]:
    """Writes of its operators, by verb and kind."""
    return Counter((write.verb, write.kind.plural) for operator in told.operators for write in operator.api.writes)


@pytest.mark.parametrize(("overworked", "statuses"), [(False, 2), (True, 1)])
def test_the_writes_of_a_run_with_one_task(cel: Evaluator, overworked: bool, statuses: int) -> None:
    """One POST of its Job, one Event for its task and one for itself, and its status: once as it begins, once at the
    end; while many wait, once."""
    with story(spec(task("only")), cel) as told:
        told.cluster.script("only", Outcome(seconds=2))
        told.operator().reconciler.busy = lambda: overworked
        told.run()
        assert told.status.phase is RunPhase.SUCCEEDED
        assert calls(told) == {
            ("create", "jobs"): 1,
            ("create", "events"): 2,
            ("replace_status", "workflowruns"): statuses,
        }


def test_what_is_held_is_written_when_its_time_is_up(cel: Evaluator) -> None:
    with busy(spec(task("only")), cel, seconds=60) as told:
        began = told.cluster.clock.now()
        told.quiet(4)
        assert told.cluster.find(JOBS, KEY.namespace, told.cluster.objects(JOBS)[0]["metadata"]["name"]) is not None
        assert "status" not in stored(told)
        told.run(until=lambda: "status" in stored(told))
        assert timedelta() < told.cluster.clock.now() - began <= HOLD
        assert (stored(told)["status"]["phase"], told.status.start_time) == ("Running", began)


def stored(told: Story) -> dict[str, Any]:
    found = told.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name)
    assert found is not None
    return {name: value for name, value in found.items() if value}


def test_what_is_held_is_written_before_anything_further_is_made(cel: Evaluator) -> None:
    with busy(spec(task("first"), task("second", "first")), cel) as told:
        told.run()
        verbs = [
            (write.verb, write.kind.plural) for write in told.operators[0].api.writes if write.kind.plural != "events"
        ]
        status = ("replace_status", "workflowruns")
        assert verbs == [("create", "jobs"), status, ("create", "jobs"), status, status]
        assert told.status.phase is RunPhase.SUCCEEDED


@pytest.mark.parametrize("died", [False, True])
def test_a_run_that_is_cancelled_while_its_status_is_held_is_stopped(cel: Evaluator, died: bool) -> None:
    with busy(spec(task("only")), cel, seconds=60) as told:
        told.quiet(1)
        if died:
            told.operators[0].die()
            told.operator()
        told.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, KEY.name, {"spec": {"cancel": "Graceful"}})
        told.run()
        assert told.status.phase is RunPhase.CANCELLED
        told.quiet(60)
        assert not told.cluster.objects(JOBS)


def test_a_job_that_is_deleted_while_its_status_is_held_is_not_made_again_unseen(cel: Evaluator) -> None:
    with busy(spec(task("only")), cel, seconds=60) as told:
        told.quiet(1)
        (job,) = told.cluster.objects(JOBS)
        told.cluster.store.delete(JOBS, KEY.namespace, job["metadata"]["name"])
        told.run()
        assert told.status.phase is RunPhase.FAILED
        assert [entry.reason for entry in told.status.tasks or ()] == ["JobDeleted"]
        assert len(told.witness.order) == 1


@pytest.mark.parametrize("concurrency", [{"policy": "Forbid"}, {"policy": "Queue"}, {"policy": "Replace"}])
def test_a_status_that_the_turn_of_others_depends_on_is_written_at_once(
    cel: Evaluator, concurrency: dict[str, str]
) -> None:
    with busy(spec(task("only"), concurrency=concurrency), cel, by_reference=True) as told:
        told.run()
        assert calls(told)["replace_status", "workflowruns"] == 2


def test_the_status_of_a_run_with_a_slot_of_a_pool_is_written_at_once(cel: Evaluator) -> None:
    with story(spec(task("only", pool="db")), cel) as told:
        told.on_birth = overwork
        told.cluster.add(CONFIG_MAPS, {"metadata": {"name": "nexus-pools"}, "data": {"db": "1"}})
        told.cluster.script("only", Outcome(seconds=2))
        told.operator()
        told.run()
        assert calls(told)["replace_status", "workflowruns"] == 2


def ends(told: Story) -> list[tuple[str, str, int | None]]:
    return [(entry.name, entry.phase.value, entry.attempts) for entry in told.status.tasks or ()]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_write_while_busy_the_run_ends_as_if_nothing_had_happened(cel: Evaluator, when: str) -> None:
    """With a first attempt that fails while the status is held, and a task that follows two others."""
    definition = spec(
        task("flaky", retry={"limit": 2, "delaySeconds": 0}), task("steady"), task("last", "flaky", "steady")
    )

    def lived(dies_at: int | None) -> tuple[list[tuple[str, str, int | None]], list[tuple[str, int]], int]:
        with story(definition, cel, by_reference=True) as told:
            told.on_birth = overwork
            told.cluster.script("flaky", Outcome(exit_code=1, seconds=1), Outcome(seconds=1))
            told.cluster.script("steady", Outcome(seconds=3))
            api = told.operator().api
            if dies_at is not None:
                (api.crash_after if when == "after" else api.crash_before)(dies_at)
            told.run()
            told.quiet(5)
            assert told.deaths == (dies_at is not None)
            return ends(told), sorted(told.witness.order), told.writes()

    told, made, count = lived(None)
    assert told == [("flaky", "Succeeded", 2), ("steady", "Succeeded", 1), ("last", "Succeeded", 1)]
    for number in range(1, count + 1):
        assert lived(number)[:2] == (told, made)
