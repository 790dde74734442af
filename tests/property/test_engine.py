"""The engine under everything at once: any DAG, any outcome, any deaths of the operator, and what must hold even so.

The whole of it runs: decide, the reconcile loop, the place that speaks to the API server, its cache, and behind the
port the fake cluster with its Job controller and kubelet. `Witness` looks at every change as it happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import spec, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.api import JOBS, PODS
from nexus.api.reasons import TaskPhase
from nexus.api.run import TaskStatus
from nexus.api.tasks import Task, TriggerRule
from nexus.api.workflow import WorkflowSpec
from nexus.core import trigger_rule
from nexus.core.allow_failure import counted
from nexus.core.definition import with_defaults
from nexus.core.expressions import Evaluator

NAMES = ("a", "b-b", "1st", "in", "e", "f", "g", "h")

retries = st.fixed_dictionaries(
    {"limit": st.integers(0, 2)},
    optional={
        "delaySeconds": st.sampled_from([0, 3, 10]),
        "jitter": st.sampled_from([0, 0.5]),
        "failOnExitCodes": st.just([7]),
        "disruptions": st.sampled_from(["Ignore", "Count"]),
    },
)
whens = st.sampled_from(["${{ true }}", "${{ false }}", "${{ run.name != '' }}", "${{ 1 / 0 == 1 }}"])
exits = st.builds(
    Outcome,
    exit_code=st.sampled_from([0, 0, 0, 1, 7]),
    seconds=st.sampled_from([0.3, 1, 5]),
    message=st.sampled_from(["", '{"n":1}', '{"n":"%s"}' % ("x" * 2_000)]),
)
troubles = st.sampled_from(
    [
        Outcome.drained(1.0),
        Outcome.drained(1.0, sigterm_exit_code=0),
        Outcome.evicted(1.0),
        Outcome.oom(),
        Outcome.cannot_start(),
        Outcome.image_pull_backoff(),
        Outcome.config_error(),
        Outcome(seconds=90, sigterm_exit_code=0),
    ]
)


@dataclass(frozen=True)
class Case:
    """A workflow, and how the pods of each of its tasks go."""

    spec: WorkflowSpec
    outcomes: dict[str, list[Outcome]]

    def told_on(self, subject: Story) -> None:
        for name, outcomes in self.outcomes.items():
            subject.cluster.script(name, *outcomes)


@st.composite
def dags(draw: st.DrawFn, *, timed: bool, names: Sequence[str] = NAMES, least: int = 1) -> list[Task]:
    """Up to eight tasks, each depending on some before it; `timed` ones may run into limits of time."""
    tasks = []
    names = names[: draw(st.integers(least, len(names)))]
    for position, name in enumerate(names):
        depends_on = draw(st.lists(st.sampled_from(names[:position]), unique=True, max_size=3)) if position else []
        fields = {}
        if depends_on and draw(st.booleans()):
            fields["triggerRule"] = draw(st.sampled_from(list(TriggerRule))).value
        if draw(st.integers(0, 4)) == 0:
            fields["when"] = draw(whens)
        elif depends_on and draw(st.integers(0, 3)) == 0:
            fields["when"] = f'${{{{ get(tasks["{depends_on[0]}"].output, "n", 1) == 1 }}}}'
        if draw(st.integers(0, 5)) == 0:
            fields["allowFailure"] = True
        if draw(st.booleans()):
            fields["retry"] = draw(retries)
        if draw(st.integers(0, 4)) == 0:
            fields["recordLogLines"] = 2
        if timed:
            fields |= draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "timeoutSeconds": st.sampled_from([2, 60]),
                        "deadlineSeconds": st.sampled_from([5, 40]),
                        "startTimeoutSeconds": st.just(4),
                    },
                )
            )
        tasks.append(task(name, *depends_on, **fields))
    return tasks


@st.composite
def cases(draw: st.DrawFn, *, timed: bool) -> Case:
    """Of cases that are not `timed` the script alone decides how they end; the others may also run out of time."""
    fields = {"maxParallelTasks": draw(st.sampled_from([1, 2, 10]))}
    if timed:
        fields |= draw(
            st.fixed_dictionaries(
                {}, optional={"failurePolicy": st.just("FailFast"), "deadlineSeconds": st.sampled_from([10, 60])}
            )
        )
    fields["finally"] = draw(dags(timed=timed, names=("y", "z"), least=0))
    built = spec(*draw(dags(timed=timed)), **fields)
    outcomes = st.one_of(exits, troubles)
    # The last outcome is that of every later pod too: a pod that is always drained would be replaced for ever.
    scripts = {entry.name: [*draw(st.lists(outcomes, max_size=2)), draw(exits)] for _, entry in built.every_task()}
    return Case(built, scripts)


def holds(subject: Story, case: Case) -> None:
    """What is true of every run that has ended, whatever happened to it."""
    status = subject.status
    assert status.phase.ended
    phases = {entry.name: entry.phase for entry in status.tasks or ()}
    tasks = {entry.name: with_defaults(entry, case.spec.defaults) for _, entry in case.spec.every_task()}
    assert set(phases) == set(tasks)
    made = [name for name, _ in subject.witness.order]
    final = {entry.name for entry in case.spec.finally_ or ()}
    assert made == sorted(made, key=final.__contains__), "a task of finally ran before all others had ended"
    for entry in tasks.values():
        dependencies = entry.depends_on or ()
        if entry.name not in made:
            assert phases[entry.name] not in (TaskPhase.SUCCEEDED, TaskPhase.CANCELLED)
            continue
        rule = entry.trigger_rule or TriggerRule.ALL_SUCCEEDED
        endings = [(name, counted(tasks[name], phases[name])) for name in dependencies]
        assert trigger_rule.judge(rule, endings) is None
        for dependency in dependencies:
            assert dependency not in made[made.index(entry.name) :], f"{entry.name} ran before {dependency} had ended"
    for name in made:
        ordinals = [ordinal for task_name, ordinal in subject.witness.order if task_name == name]
        assert ordinals == sorted(set(ordinals))
    # Nothing is left that runs, and nothing is written about a run that has ended.
    subject.quiet()
    live = [pod for pod in subject.cluster.objects(PODS) if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    assert live == []
    assert_idle(subject)


def assert_idle(subject: Story) -> None:
    """Looking once more, with nothing changed, writes nothing."""
    before = subject.writes()
    for operator in subject.operators:
        operator.mark(KEY)
    subject.settle()
    assert subject.writes() == before


ENGINE = settings(
    max_examples=(settings.default or settings()).max_examples // 2,  # each is a whole run, or two
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@ENGINE
@given(case=cases(timed=True))
def test_every_run_ends_whatever_its_tasks_do(cel: Evaluator, case: Case) -> None:
    with story(case.spec, cel) as subject:
        case.told_on(subject)
        subject.operator()
        subject.run()
        holds(subject, case)


@ENGINE
@given(case=cases(timed=True), seed=st.integers(0, 2**32), every=st.integers(1, 6))
def test_every_run_ends_though_the_operator_dies_again_and_again(
    cel: Evaluator, case: Case, seed: int, every: int
) -> None:
    with story(case.spec, cel) as subject:
        case.told_on(subject)
        subject.on_birth = mortal(random.Random(seed), every)
        subject.operator()
        subject.run()
        subject.on_birth = None
        holds(subject, case)


@ENGINE
@given(case=cases(timed=False), seed=st.integers(0, 2**32), every=st.integers(1, 6))
def test_a_run_ends_the_same_with_deaths_as_without(cel: Evaluator, case: Case, seed: int, every: int) -> None:
    with story(case.spec, cel) as calm:
        case.told_on(calm)
        calm.operator()
        calm.run()
    with story(case.spec, cel) as troubled:
        case.told_on(troubled)
        troubled.on_birth = mortal(random.Random(seed), every)
        troubled.operator()
        troubled.run()

    def summary(subject: Story) -> object:
        status = subject.status
        tasks = [
            (entry.name, entry.phase, entry.reason, entry.attempts, entry.exit_code, entry.output, records(entry))
            for entry in status.tasks or ()
        ]
        return status.phase, status.reason, tasks, sorted(subject.witness.order)

    def records(entry: TaskStatus) -> object:
        return [(record.attempt, record.reason, record.exit_code) for record in entry.attempt_records or ()]

    assert summary(troubled) == summary(calm)


@ENGINE
@given(case=cases(timed=True), seed=st.integers(0, 2**32))
def test_every_run_ends_though_somebody_deletes_and_evicts_what_it_runs(cel: Evaluator, case: Case, seed: int) -> None:
    with story(case.spec, cel) as subject:
        case.told_on(subject)
        subject.operator()
        vandal(subject, random.Random(seed))
        subject.run()
        holds(subject, case)


@ENGINE
@given(case=cases(timed=True))
def test_nothing_is_written_between_two_changes(cel: Evaluator, case: Case) -> None:
    with story(case.spec, cel) as subject:
        case.told_on(subject)
        subject.operator()
        clock = subject.cluster.clock
        while not subject.ended:
            subject.settle()
            # What is due at this very instant, as the start of a retry, is a change that the test has not made yet.
            if clock.next_due() != clock.now():
                assert_idle(subject)
            clock.step()


@ENGINE
@given(case=cases(timed=True), seed=st.integers(0, 2**32), every=st.integers(1, 12))
def test_every_run_ends_whatever_people_make_of_it(cel: Evaluator, case: Case, seed: int, every: int) -> None:
    with story(case.spec, cel) as subject:
        case.told_on(subject)
        chance = random.Random(seed)
        subject.on_birth = mortal(chance, every)
        subject.operator()
        steered(subject, chance)
        subject.run()
        subject.on_birth = None
        holds(subject, case)


def steered(subject: Story, chance: random.Random) -> None:
    """Somebody suspends and resumes the run, and may cancel it; nobody leaves it suspended."""
    cancels = chance.choice([[], [], ["Graceful"], ["Immediate"], ["Graceful", "Immediate"]])
    moments = sorted(chance.uniform(0, 20) for _ in range(4))
    changes: list[dict[str, object]] = [{"suspend": True}, {"suspend": None}, {"suspend": True}, {"suspend": False}]
    for moment, change in zip(moments, changes, strict=True):
        subject.cluster.clock.after(moment, partial(subject.steer, **change))
    for moment, cancel in zip(sorted(chance.uniform(0, 25) for _ in cancels), cancels, strict=True):
        subject.cluster.clock.after(moment, partial(subject.steer, cancel=cancel))


def mortal(chance: random.Random, every: int) -> Callable[[Story], None]:
    """Each new operator is to die before or after one of its next writes; thirty of them, so that the run can end."""

    def on_birth(subject: Story) -> None:
        if subject.deaths < 30:
            api = subject.operators[-1].api
            die = chance.choice([api.crash_after, api.crash_before])
            die(chance.randint(1, every))

    return on_birth


def vandal(subject: Story, chance: random.Random) -> None:
    """Now and then somebody deletes a Job or a pod, or drains a node."""
    cluster = subject.cluster

    def strike() -> None:
        jobs, pods = cluster.objects(JOBS), cluster.objects(PODS)
        what = chance.choice(["job", "pod", "evict"])
        if what == "job" and jobs:
            cluster.remove(JOBS, chance.choice(jobs)["metadata"]["name"])
        elif what == "pod" and pods:
            cluster.remove(PODS, chance.choice(pods)["metadata"]["name"])
        elif what == "evict" and pods:
            running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
            if running:
                cluster.evict(chance.choice(running)["metadata"]["name"])

    for _ in range(6):
        cluster.clock.after(chance.uniform(0, 30), strike)
