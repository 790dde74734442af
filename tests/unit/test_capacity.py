"""The operator's own limit on live task pods: counted from Jobs and pods, shared by all runs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import definition, ended, entry_of, facts, fan, job, pod, spec, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.cache.live_pods import LivePods
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, Object
from nexus.api.reasons import Reason
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import Capacity, JobFact
from nexus.core.model.plan import Indexed, StartTask
from nexus.core.tasks.capacity import held
from nexus.runtime.ports import RunKey, Stale


@pytest.mark.parametrize(
    ("subject", "count"),
    [
        (job("t"), 1),
        (job("t", pod()), 1),
        (job("t", pod(ended(0))), 0),
        (job("t", pod(ended(1))), 1),  # the Job may make another
        (job("t", pod(ended(1)), failed=1, failure="BackoffLimitExceeded"), 0),
        (job("t", pod(ended(0)), complete=True), 0),
        (job("t", pod(), deleting=True), 1),
        (job("t", deleting=True), 0),
        (job("t", items=10, parallelism=4), 4),
        (job("t", items=10, parallelism=4, completed_indexes="0-7"), 2),
        (job("t", items=10, parallelism=4, completed_indexes="0-7", failed_indexes="8-9"), 0),
        (job("t", pod(), items=10, index=3), 1),
    ],
)
def test_what_a_job_counts_for(subject: JobFact, count: int) -> None:
    assert held(subject) == count


def test_a_decision_starts_no_more_than_there_is_room_for(cel: Evaluator) -> None:
    known = facts(capacity=Capacity(50, 2))
    plan = decide(fan(4), known, known.run.created_at, cel)
    assert [start.task for start in plan.starts] == ["t0", "t1"]
    waiting = entry_of(plan.status, "t2")
    assert waiting.reason is Reason.CAPACITY
    assert waiting.message == "the operator limit of 50 task pods is reached (NEXUS_MAX_TASK_PODS)"
    assert plan.wake_at is not None

    after = facts(job("t0", pod()), job("t1", pod()), status=plan.status, capacity=Capacity(50, 2))
    assert decide(fan(4), after, known.run.created_at, cel).starts == ()
    own = decide(fan(4, maxParallelTasks=2), facts(capacity=Capacity(50, 9)), known.run.created_at, cel)
    assert entry_of(own.status, "t2").reason is Reason.PARALLELISM


def test_a_fan_out_begins_as_wide_as_there_is_room_for(cel: Evaluator) -> None:
    subject = definition(task("t", bash={"command": "true"}, forEach={"items": list(range(10))}))
    known = facts(capacity=Capacity(50, 3))
    (start,) = decide(subject, known, known.run.created_at, cel).starts
    assert isinstance(start, StartTask)
    assert start.indexed == Indexed(3)


def test_room_is_reserved_while_a_job_is_being_made_and_given_to_the_first_that_waits() -> None:
    live, woken, key = LivePods(1), list[RunKey](), RunKey("default", "waits")
    live.wake = woken.append
    with live.reserved():
        assert live.capacity(key, ()) == Capacity(1, 0)
        with pytest.raises(Stale), live.reserved():
            pass
        live.note(job("t"))
    assert woken == []
    live.drop("uid-of-" + job("t").name)
    assert woken == [key]
    assert LivePods().capacity(key, ()) is None


# -- with operators on the fake cluster -------------------------------------------------------------------------------


class Counted:
    """Looks at every change: never are more pods live."""

    def __init__(self, told: Story, most: int) -> None:
        self.told, self.limit, self.most = told, most, 0
        told.most = most
        for kind in (JOBS, PODS):
            told.cluster.subscribe(kind, self._see)

    def _see(self, _: str, __: Object) -> None:
        live = sum(body["status"].get("phase") in ("Pending", "Running") and _runs(body) for body in self._pods())
        self.most = max(self.most, live)
        assert live <= self.limit

    def _pods(self) -> list[Object]:
        return [body for body in self.told.cluster.objects(PODS) if "deletionTimestamp" not in body["metadata"]]


def _runs(body: Object) -> bool:
    return not any("terminated" in entry["state"] for entry in body["status"].get("containerStatuses") or ())


@pytest.mark.parametrize("every", [0, 4, 9])
def test_all_runs_together_have_as_many_pods_as_the_operator_lets(cel: Evaluator, every: int) -> None:
    subject = spec(task("a"), task("b"), task("fan", forEach={"items": list(range(6))}), task("z", "a", "fan"))
    with story(subject, cel, by_reference=True) as told:
        counted = Counted(told, 4)
        told.cluster.script("a", Outcome(seconds=3))
        if every:
            told.on_birth = lambda told: told.operators[-1].api.crash_after(every) if told.deaths < 6 else None
        for name in ("one", "two", "three"):
            run: dict[str, Any] = {"metadata": {"name": name}, "spec": {"workflowRef": {"name": "sales"}}}
            told.cluster.add(WORKFLOW_RUNS, run)
        names = [KEY.name, "one", "two", "three"]
        told.operator()
        told.run(until=lambda: all(told.status_of(name).phase.ended for name in names))

        assert counted.most == 4
        assert {told.status_of(name).phase for name in names} == {"Succeeded"}


def test_a_full_namespace_lets_no_run_begin_until_there_is_room(cel: Evaluator) -> None:
    with story(spec(task("a"), task("b", "a")), cel, by_reference=True) as told:
        told.objects = 6
        told.operator()
        told.run()
        told.quiet(3)
        for name in ("waits", "leaves"):
            told.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": {"workflowRef": {"name": "sales"}}})
        told.quiet(3)

        waiting = told.status_of("waits")
        assert (waiting.phase, waiting.reason, waiting.start_time) == ("Pending", Reason.NAMESPACE_FULL, None)
        assert "limit 6, NEXUS_MAX_NAMESPACE_OBJECTS); delete ended runs, or keep fewer" in (waiting.message or "")
        told.cluster.store.patch(WORKFLOW_RUNS, KEY.namespace, "leaves", {"spec": {"cancel": "Graceful"}})
        told.quiet(1)
        assert told.status_of("leaves").phase == "Cancelled"
        told.cluster.remove(WORKFLOW_RUNS, KEY.name)
        told.run(until=lambda: told.status_of("waits").phase.ended)
        assert told.status_of("waits").phase == "Succeeded"
