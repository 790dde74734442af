"""Schedules and their operators: whatever dies, doubles, or has a wrong clock, each tick has one run, in its time."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import START, spec, task
from tests.operators import KEY, Operator, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, Object
from nexus.api.run import WorkflowRunStatus
from nexus.core.expressions.templates import Evaluator

TICKS = settings(
    max_examples=max((settings.default or settings()).max_examples // 3, 10),  # each is half an hour of a cluster
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SPAN = timedelta(minutes=30)
SKEWS = [timedelta(seconds=seconds) for seconds in (0, 0, 0, 3, 45, -45, 200, -200)]


@dataclass(frozen=True)
class Case:
    """A schedule, what runs do, and what happens to operators; `seed` decides when."""

    minutes: int
    policy: str
    seconds: int
    kept: int
    deadline: int | None
    operators: int
    skews: tuple[timedelta, ...]
    deaths: int
    absence: int
    seed: int


CASES = st.builds(
    Case,
    minutes=st.sampled_from([1, 2, 7]),
    policy=st.sampled_from(["Allow", "Forbid", "Replace", "Queue"]),
    seconds=st.sampled_from([1, 50, 130]),
    kept=st.sampled_from([0, 1, 50]),
    deadline=st.sampled_from([None, 90]),
    operators=st.integers(1, 2),
    skews=st.tuples(st.sampled_from(SKEWS), st.sampled_from(SKEWS)),
    deaths=st.integers(0, 12),
    absence=st.sampled_from([0, 0, 200, 600]),
    seed=st.integers(0, 2**32),
)


class Watch:
    """Sees each run as it is made, and how many are under way at once."""

    def __init__(self, told: Story, case: Case) -> None:
        self.told, self.case = told, case
        self.made: dict[datetime, datetime] = {}
        told.cluster.subscribe(WORKFLOW_RUNS, self._see)

    def _see(self, type_: str, body: Object) -> None:
        if type_ == "ADDED" and "schedule" in body["spec"]:
            tick = datetime.fromisoformat(body["spec"]["scheduledTime"])
            assert tick not in self.made, f"the tick {tick} has a second run"
            self.made[tick] = self.told.cluster.clock.now()
        if self.case.policy != "Allow":
            live = [run for run in self.told.cluster.objects(WORKFLOW_RUNS) if under_way(run)]
            assert len(live) <= 1


def under_way(run: Object) -> bool:
    status = WorkflowRunStatus.model_validate(run.get("status") or {})
    return status.start_time is not None and not status.phase.ended


def lead(told: Story, case: Case) -> None:
    """Half an hour, with deaths at any write, clocks that jump, and a time when nobody is there."""
    chance = random.Random(case.seed)
    clock = told.cluster.clock

    def born(subject: Story) -> None:
        operator = subject.operators[-1]
        operator.skew = chance.choice(case.skews)
        if subject.deaths < case.deaths:
            die = chance.choice([operator.api.crash_after, operator.api.crash_before])
            die(chance.randint(1, 12))

    def jump() -> None:
        for operator in told.operators:
            operator.skew = chance.choice(case.skews)

    told.on_birth = born
    for _ in range(case.operators):
        told.operator()
    for _ in range(4):
        clock.after(chance.uniform(0, SPAN.total_seconds()), jump)
    if case.absence:
        gone_at = chance.uniform(0, SPAN.total_seconds() - case.absence)
        clock.after(gone_at, lambda: leave(told))
        clock.after(gone_at + case.absence, told.operator)
    go_on(told, START + SPAN)
    told.on_birth = None
    for operator in list(told.operators):
        operator.die()
    told.operators.clear()
    last: Operator = told.operator()
    assert not last.skew


def leave(told: Story) -> None:
    for operator in told.operators:
        operator.die()
    told.operators.clear()


def go_on(told: Story, until: datetime) -> None:
    told.cluster.clock.at(until, lambda: None)
    for _ in range(100_000):
        told.settle()
        if told.cluster.clock.now() >= until:
            return
        told.cluster.clock.step()
    raise AssertionError("time does not pass")


@TICKS
@given(case=CASES)
def test_each_tick_has_one_run_in_its_time_and_none_outside(cel: Evaluator, case: Case) -> None:
    schedule = {"name": "s", "cron": f"*/{case.minutes} * * * *", "catchUp": "All", "catchUpLimit": 100}
    if case.deadline:
        schedule["startingDeadlineSeconds"] = case.deadline
    fields = {"concurrency": {"policy": case.policy}, "history": {"succeeded": case.kept, "failed": case.kept}}
    with story(spec(task("a"), schedules=[schedule], **fields), cel, by_reference=True) as told:
        told.cluster.remove(WORKFLOW_RUNS, KEY.name)
        told.cluster.script("a", Outcome(seconds=case.seconds))
        watch = Watch(told, case)
        lead(told, case)
        go_on(told, START + SPAN + timedelta(seconds=20))

        off = max(abs(skew) for skew in (*case.skews, timedelta()))
        ticks = [START + timedelta(minutes=minute) for minute in range(1, 31) if minute % case.minutes == 0]
        early = [tick for tick in watch.made if tick > ticks[-1]]
        assert all(tick - START - SPAN <= off for tick in early)
        for tick, at in watch.made.items():
            assert tick.minute % case.minutes == 0
            assert at >= tick - off
            if case.deadline:
                assert at <= tick + timedelta(seconds=case.deadline) + off
        if case.policy != "Forbid" and case.deadline is None:
            assert set(ticks) <= watch.made.keys()
        names = Counter(told.witness.children)
        assert set(names.values()) <= {1}
