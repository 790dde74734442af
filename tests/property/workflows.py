"""Workflows that hypothesis makes up, how their pods go, and what is true of every run of them that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st
from tests.builders import spec, task
from tests.operators import KEY, Story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import PODS
from nexus.api.reasons import TaskPhase
from nexus.api.tasks import Task, TriggerRule
from nexus.api.workflow import WorkflowSpec
from nexus.core.engine import trigger_rule
from nexus.core.model.allow_failure import counted
from nexus.core.model.definition import with_defaults

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
# Nobody may be there to decide, and a run has to end.
podless = st.sampled_from(
    [{"wait": {"seconds": 3}}, {"wait": {"until": "2026-01-01T00:00:00Z"}}, {"approval": {}, "timeoutSeconds": 20}]
)
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

CHILD = spec(task("kid"), task("late", "kid", retry={"limit": 1, "delaySeconds": 3}), maxParallelTasks=1)
"""What `workflow` tasks call."""
calls = st.fixed_dictionaries(
    {"workflow": st.sampled_from([{"name": "child"}, {"name": "child"}, {"name": "missing"}])},
    optional={"timeoutSeconds": st.just(3), "retry": st.just({"limit": 1, "delaySeconds": 3})},
)
kinds = st.sampled_from([{}, {}, {"python": {"code": "..."}}])
"""A container, or code whose pods are told their attempt."""
limits = st.fixed_dictionaries(
    {},
    optional={
        "timeoutSeconds": st.sampled_from([2, 60]),
        "deadlineSeconds": st.sampled_from([5, 40]),
        "startTimeoutSeconds": st.just(4),
    },
)
fan_outs = st.fixed_dictionaries(
    {
        "forEach": st.fixed_dictionaries(
            {"items": st.lists(st.sampled_from([1, "eu", None]), max_size=4)},
            optional={"parallelism": st.integers(1, 3), "maxFailedItems": st.integers(0, 2)},
        )
    },
    # Only numbers have a value for it; lint, which sees where no item is one, is not to know.
    optional={"env": st.just([{"name": "NEXT", "value": "${{ dyn(item) + 1 }}"}])},
)


@dataclass(frozen=True)
class Case:
    """A workflow, and how the pods of each of its tasks go."""

    spec: WorkflowSpec
    outcomes: dict[str, list[Outcome]]

    def told_on(self, subject: Story) -> None:
        """Let its pods go so; a bootstrap wraps the output of its task."""
        wrapped = {entry.name for _, entry in self.spec.every_task() if entry.python is not None}
        for name, outcomes in self.outcomes.items():
            messages = ['{"output":%s}' % (outcome.message or "{}") for outcome in outcomes]
            told = [replace(outcome, message=text) for outcome, text in zip(outcomes, messages, strict=True)]
            subject.cluster.script(name, *(told if name in wrapped else outcomes))


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
        if draw(st.integers(0, 7)) == 0:
            tasks.append(task(name, *depends_on, **fields, **draw(podless)))
            continue
        if timed and draw(st.integers(0, 7)) == 0:
            tasks.append(task(name, *depends_on, **fields, **draw(calls)))
            continue
        if draw(st.integers(0, 4)) == 0:
            fields |= draw(fan_outs)
        fields |= draw(kinds)
        if draw(st.booleans()):
            fields["retry"] = draw(retries)
        if "forEach" not in fields and draw(st.integers(0, 4)) == 0:
            fields["recordLogLines"] = 2
        if timed:
            fields |= draw(limits)
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
    names = [*(entry.name for _, entry in built.every_task()), *(entry.name for entry in CHILD.tasks)]
    scripts = {name: [*draw(st.lists(outcomes, max_size=2)), draw(exits)] for name in names}
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
        if entry.approval is not None or entry.wait is not None or entry.workflow is not None:
            continue
        if entry.name not in made:
            # Items that have no value for `env` fail unstarted, and all of them may.
            items = entry.for_each.items if entry.for_each is not None else [1]
            idle = not [item for item in items if entry.env is None or isinstance(item, int)]
            assert phases[entry.name] is not TaskPhase.SUCCEEDED or idle
            assert phases[entry.name] is not TaskPhase.CANCELLED
            continue
        rule = entry.trigger_rule or TriggerRule.ALL_SUCCEEDED
        endings = [(name, counted(tasks[name], phases[name])) for name in dependencies]
        assert trigger_rule.judge(rule, endings) is None
        for dependency in dependencies:
            assert dependency not in made[made.index(entry.name) :], f"{entry.name} ran before {dependency} had ended"
    for name in made:
        if tasks[name].for_each is not None:
            continue  # of an item too no attempt is made twice: its Jobs' names hold item and ordinal
        numbers = [attempt_number for task_name, attempt_number in subject.witness.order if task_name == name]
        assert numbers == sorted(set(numbers))
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
