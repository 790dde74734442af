"""Child runs on the fake cluster: what comes back, what goes down, and operators that die in between."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import spec, task
from tests.effort import sample
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Object
from nexus.api.run import ApprovalRequest, TaskStatus
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator

CALL = {"name": "price", "params": {"n": "${{ 1 + 1 }}"}}


def price(**fields: Any) -> WorkflowSpec:
    return spec(
        task("load", bash={"command": "x"}),
        task("sum", "load"),
        **{
            "params": [{"name": "n", "type": "integer", "default": 1}],
            "outputs": {"total": "${{ tasks.load.output.total }}", "n": "${{ params.n }}"},
            **fields,
        },
    )


def parent(**fields: Any) -> WorkflowSpec:
    return spec(
        task("call", workflow=CALL, **fields),
        task("use", "call", env=[{"name": "N", "value": "${{ tasks.call.output.n }}"}]),
    )


def entry(subject: Story, name: str) -> TaskStatus:
    return next(entry for entry in subject.status.tasks or () if entry.name == name)


def child_name(subject: Story, attempt_number: int = 1) -> str:
    return subject.witness.children[attempt_number - 1]


def body(subject: Story, name: str) -> Object:
    found = subject.cluster.find(WORKFLOW_RUNS, KEY.namespace, name)
    assert found is not None
    return found


def script(subject: Story) -> None:
    subject.cluster.script("load", Outcome(message='{"output":{"total":12.5}}'))


def test_a_task_ends_as_its_child_does_and_gets_its_outputs(cel: Evaluator) -> None:
    with story(parent(), cel, workflows={"price": price()}, by_reference=True) as subject:
        script(subject)
        subject.operator()
        status = subject.run()

        assert status.phase == "Succeeded"
        called = entry(subject, "call")
        assert (called.output, called.attempts) == ({"total": 12.5, "n": 2}, 1)
        child = body(subject, child_name(subject))
        assert called.child_run is not None
        assert (called.child_run.name, called.child_run.uid) == (child["metadata"]["name"], child["metadata"]["uid"])
        assert child["spec"] == {"workflowRef": {"name": "price"}, "params": {"n": 2}, "triggeredBy": "workflow"}
        assert [owner["kind"] for owner in child["metadata"]["ownerReferences"]] == ["WorkflowRun"]
        assert child["metadata"]["labels"] == {
            "nexus.dev/workflow": "price",
            "nexus.dev/parent-run": KEY.name,
            "nexus.dev/task": "call",
            "nexus.dev/attempt": "1",
            "nexus.dev/depth": "1",
        }
        assert {pod["metadata"]["labels"]["nexus.dev/run"] for pod in subject.cluster.objects(PODS)} == {
            child["metadata"]["name"],
            KEY.name,
        }


def test_a_child_without_outputs_gives_those_of_its_tasks(cel: Evaluator) -> None:
    quiet = spec(task("load", bash={"command": "x"}), task("no", "load", when="${{ false }}"))
    with story(spec(task("call", workflow={"name": "price"})), cel, workflows={"price": quiet}) as subject:
        script(subject)
        subject.operator()
        subject.run()

        assert entry(subject, "call").output == {"load": {"total": 12.5}, "no": None}


def test_large_outputs_are_copied_into_a_config_map_of_the_parent(cel: Evaluator) -> None:
    large = price(outputs={"numbers": "${{ range(600) }}"})
    caller = spec(
        task("call", workflow={"name": "price"}),
        task("use", "call", env=[{"name": "N", "value": "${{ tasks.call.output.numbers.size() }}"}]),
    )
    with story(caller, cel, workflows={"price": large}) as subject:
        script(subject)
        subject.operator()
        subject.run()

        reference = entry(subject, "call").output_ref
        assert reference is not None
        stored = subject.cluster.find(CONFIG_MAPS, KEY.namespace, reference.config_map)
        assert stored is not None
        assert stored["metadata"]["ownerReferences"][0]["name"] == KEY.name
        assert json.loads(stored["data"]["output.json"]) == {"numbers": list(range(600))}
        theirs = subject.status_of(child_name(subject)).outputs_ref
        assert theirs is not None
        assert theirs.config_map != reference.config_map


def test_a_failure_travels_up_with_its_words_and_a_retry_is_a_new_child(cel: Evaluator) -> None:
    with story(parent(retry={"limit": 1, "delaySeconds": 5}), cel, workflows={"price": price()}) as subject:
        subject.cluster.script("load", Outcome(exit_code=3))
        subject.operator()
        status = subject.run()

        called = entry(subject, "call")
        assert (called.phase, called.reason, called.attempts) == ("Failed", "ChildFailed", 2)
        assert called.message == f"child run {child_name(subject, 2)} failed: task load: exit code 3"
        assert entry(subject, "use").phase == "Omitted"
        assert status.reason == "TaskFailed"
        assert len(subject.witness.children) == 2


@pytest.mark.parametrize(
    ("workflows", "reason", "words"),
    [
        (
            {"pricy": price()},
            "WorkflowNotFound",
            'Workflow "price" not found in namespace default; did you mean "pricy"?',
        ),
        (
            {"price": spec(task("a", "b"), task("b", "a"))},
            "WorkflowInvalid",
            ("task a, dependsOn: dependency cycle: a -> b -> a; remove one of these dependsOn entries"),
        ),
        (
            {"price": spec(task("a"))},
            "ParamsInvalid",
            'params.n: unknown param "n"; the workflow has no params',
        ),
        (
            {"price": price(params=[{"name": "n"}])},
            "ParamsInvalid",
            "params.n: must be a string, got integer 2; quote it",
        ),
    ],
)
def test_a_child_that_cannot_start_is_not_tried_again(
    cel: Evaluator, workflows: dict[str, WorkflowSpec], reason: str, words: str
) -> None:
    with story(parent(retry={"limit": 5}), cel, workflows=workflows) as subject:
        subject.operator()
        subject.run()

        called = entry(subject, "call")
        assert (called.phase, called.reason, called.attempts) == ("Failed", reason, 1)
        assert words in (called.message or "")
        assert (called.message or "").startswith(f"child run {child_name(subject)}: ")


def test_workflows_that_call_each_other_end_five_deep_whatever_their_retries(cel: Evaluator) -> None:
    circle = {
        "ping": spec(task("a", workflow={"name": "pong"}, retry={"limit": 3})),
        "pong": spec(task("b", workflow={"name": "ping"}, retry={"limit": 3})),
    }
    with story(spec(task("call", workflow={"name": "ping"}, retry={"limit": 3})), cel, workflows=circle) as subject:
        subject.operator()
        subject.run()

        assert len(subject.witness.children) == 5
        called = entry(subject, "call")
        assert (called.reason, called.attempts) == ("TooDeep", 1)
        assert (called.message or "").count("check for a cycle of workflow calls") == 1
        assert " is at child run depth 5, " in (called.message or "").partition(";")[0], "nothing is put before it"


def test_a_child_run_takes_no_slot(cel: Evaluator) -> None:
    caller = spec(*(task(f"t{n}", workflow={"name": "price"}) for n in range(4)), task("own"), maxParallelTasks=1)
    with story(caller, cel, workflows={"price": price()}) as subject:
        subject.witness.cap = 5
        script(subject)
        subject.operator()
        subject.run(until=lambda: len(subject.cluster.objects(PODS)) == 5)

        assert set(subject.phases.values()) == {"Running"}
        assert subject.run().phase == "Succeeded"


# -- what ends before its child ---------------------------------------------------------------------------------------


def hanging(subject: Story) -> None:
    subject.cluster.script("load", Outcome.hangs())


def cancel(subject: Story, mode: str, name: str = KEY.name) -> None:
    subject.loop.run_until_complete(
        subject.cluster.patch(WORKFLOW_RUNS, KEY.namespace, name, {"spec": {"cancel": mode}})
    )


def live_pods(subject: Story) -> list[Object]:
    return [pod for pod in subject.cluster.objects(PODS) if pod["status"].get("phase") not in ("Succeeded", "Failed")]


@pytest.mark.parametrize("mode", ["Graceful", "Immediate"])
def test_a_cancel_travels_down_and_is_not_waited_for(cel: Evaluator, mode: str) -> None:
    deep = {"middle": spec(task("call", workflow={"name": "price"})), "price": price()}
    with story(spec(task("call", workflow={"name": "middle"})), cel, workflows=deep) as subject:
        hanging(subject)
        subject.operator()
        subject.run(until=lambda: len(live_pods(subject)) == 1)

        cancel(subject, mode)
        status = subject.run()
        subject.quiet(60)

        assert (status.phase, entry(subject, "call").phase) == ("Cancelled", "Cancelled")
        assert len(subject.witness.children) == 2
        for name in subject.witness.children:
            assert body(subject, name)["spec"]["cancel"] == mode
            assert subject.status_of(name).phase == "Cancelled"
        assert live_pods(subject) == []


@pytest.mark.parametrize(
    ("fields", "of_run", "reason"),
    [
        ({"deadlineSeconds": 5}, {}, "DeadlineExceeded"),
        ({"timeoutSeconds": 5}, {}, "Timeout"),
        ({}, {"deadlineSeconds": 5}, "DeadlineExceeded"),
    ],
)
def test_a_task_whose_time_is_over_has_its_child_cancelled(
    cel: Evaluator, fields: dict[str, Any], of_run: dict[str, Any], reason: str
) -> None:
    with story(spec(task("call", workflow=CALL, **fields), **of_run), cel, workflows={"price": price()}) as subject:
        hanging(subject)
        subject.operator()
        subject.run()
        subject.quiet(60)

        called = entry(subject, "call")
        assert (called.phase, called.reason) == ("Failed", reason)
        assert body(subject, child_name(subject))["spec"]["cancel"] == "Graceful"
        assert subject.status_of(child_name(subject)).phase == "Cancelled"
        assert live_pods(subject) == []


def test_an_attempt_over_its_timeout_is_followed_by_another(cel: Evaluator) -> None:
    slow = parent(timeoutSeconds=5, retry={"limit": 1, "delaySeconds": 0})
    with story(slow, cel, workflows={"price": price()}) as subject:

        def first_hangs(pod: Object) -> Outcome:
            first = pod["metadata"]["labels"]["nexus.dev/run"] == child_name(subject)
            return Outcome.hangs() if first else Outcome(message='{"output":{"total":1}}')

        subject.cluster.script("load", first_hangs)
        subject.operator()
        subject.run()
        subject.quiet(60)

        assert (entry(subject, "call").phase, entry(subject, "call").attempts) == ("Succeeded", 2)
        assert [subject.status_of(name).phase for name in subject.witness.children] == ["Cancelled", "Succeeded"]


def test_fail_fast_cancels_the_child(cel: Evaluator) -> None:
    caller = spec(task("call", workflow=CALL), task("bad"), failurePolicy="FailFast")
    with story(caller, cel, workflows={"price": price()}) as subject:
        hanging(subject)
        subject.cluster.script("bad", Outcome(exit_code=1, seconds=3))
        subject.operator()
        subject.run()
        subject.quiet(60)

        assert (entry(subject, "call").phase, entry(subject, "call").reason) == ("Cancelled", "FailFast")
        assert subject.status_of(child_name(subject)).phase == "Cancelled"


# -- what people do ---------------------------------------------------------------------------------------------------


def test_a_child_that_is_deleted_by_hand_is_a_failed_attempt(cel: Evaluator) -> None:
    with story(parent(retry={"limit": 1, "delaySeconds": 0}), cel, workflows={"price": price()}) as subject:
        script(subject)
        subject.operator()
        subject.run(until=lambda: len(live_pods(subject)) == 1)
        subject.cluster.remove(WORKFLOW_RUNS, child_name(subject))
        subject.run()

        assert (entry(subject, "call").phase, entry(subject, "call").attempts) == ("Succeeded", 2)
        subject.cluster.remove(WORKFLOW_RUNS, child_name(subject, 2))
        subject.quiet(60)
        assert entry(subject, "call").output == {"total": 12.5, "n": 2}


def test_a_child_that_is_deleted_for_good_says_so(cel: Evaluator) -> None:
    with story(parent(), cel, workflows={"price": price()}) as subject:
        subject.operator()
        subject.run(until=lambda: len(live_pods(subject)) == 1)
        subject.cluster.remove(WORKFLOW_RUNS, child_name(subject))
        subject.run()

        called = entry(subject, "call")
        assert (called.reason, called.message) == (
            "ChildDeleted",
            f"the child run {child_name(subject)} was deleted",
        )


def test_a_child_that_is_cancelled_by_hand_is_a_failed_attempt(cel: Evaluator) -> None:
    with story(parent(), cel, workflows={"price": price()}) as subject:
        hanging(subject)
        subject.operator()
        subject.run(until=lambda: len(live_pods(subject)) == 1)
        cancel(subject, "Graceful", child_name(subject))
        subject.run()

        called = entry(subject, "call")
        assert (called.phase, called.reason) == ("Failed", "ChildFailed")
        assert called.message == f"child run {child_name(subject)} was cancelled: the run was cancelled"


def test_a_run_that_is_deleted_takes_its_children_with_it(cel: Evaluator) -> None:
    deep = {"middle": spec(task("call", workflow={"name": "price"})), "price": price()}
    with story(spec(task("call", workflow={"name": "middle"})), cel, workflows=deep) as subject:
        hanging(subject)
        subject.operator()
        subject.run(until=lambda: len(live_pods(subject)) == 1)
        subject.cluster.remove(WORKFLOW_RUNS, KEY.name)
        subject.quiet(120)

        assert [subject.cluster.objects(kind) for kind in (WORKFLOW_RUNS, JOBS, PODS)] == [[], [], []]
        cache = subject.operators[0].cache
        assert (cache.runs, cache.known()) == ({}, frozenset())


def test_a_name_that_is_taken_is_told(cel: Evaluator) -> None:
    with story(parent(), cel, workflows={"price": price()}) as subject:
        subject.operator()
        subject.run(until=lambda: bool(subject.witness.children))
        name = child_name(subject)
    with story(parent(), cel, workflows={"price": price()}) as subject:
        subject.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": {"workflowRef": {"name": "none"}}})
        subject.operator()
        subject.run()

        called = entry(subject, "call")
        assert (called.phase, called.reason) == ("Failed", "NameTaken")
        assert "exists and belongs to another owner" in (called.message or "")


def test_a_child_keeps_the_definition_it_began_with(cel: Evaluator) -> None:
    with story(parent(), cel, workflows={"price": price()}) as subject:
        script(subject)
        subject.operator()
        subject.run(until=lambda: len(live_pods(subject)) == 1)
        subject.cluster.remove(WORKFLOWS, "price")
        subject.run()

        # The Workflow's ControllerRevision went with it, but the operator still has it.
        assert entry(subject, "call").phase == "Succeeded"


# -- deaths -----------------------------------------------------------------------------------------------------------

FAMILY = {
    "price": price(),
    "middle": spec(
        task("inner", workflow={"name": "price", "params": {"n": 7}}),
        outputs={"numbers": "${{ range(600) }}", "n": "${{ tasks.inner.output.n }}"},
    ),
    "bad": spec(task("fails")),
    "slow": spec(task("sleeps")),
}


def family() -> WorkflowSpec:
    """Children in children, large outputs, a retry, a failure, and a child that is left behind."""
    return spec(
        task("call", workflow=CALL),
        task("deep", workflow={"name": "middle"}),
        task("fails", workflow={"name": "bad"}, retry={"limit": 1, "delaySeconds": 1}),
        task("late", "call", workflow={"name": "slow"}, deadlineSeconds=9),
        task("use", "call", "deep", env=[{"name": "N", "value": "${{ tasks.deep.output.n }}"}]),
        maxParallelTasks=20,
    )


def family_script(subject: Story) -> None:
    subject.cluster.script("load", Outcome(message='{"output":{"total":12.5}}'))
    subject.cluster.script("fails", Outcome(exit_code=3))
    subject.cluster.script("sleeps", Outcome.hangs())


def assert_family_is_well(subject: Story) -> None:
    told = {name: (entry(subject, name).phase.value, entry(subject, name).attempts) for name in subject.phases}
    assert told == {
        "call": ("Succeeded", 1),
        "deep": ("Succeeded", 1),
        "fails": ("Failed", 2),
        "late": ("Failed", 1),
        "use": ("Succeeded", 1),
    }
    assert entry(subject, "late").reason == "DeadlineExceeded"
    assert entry(subject, "fails").reason == "ChildFailed"
    assert len(subject.witness.children) == 6
    reference = entry(subject, "deep").output_ref
    assert reference is not None
    stored = subject.cluster.find(CONFIG_MAPS, KEY.namespace, reference.config_map)
    assert stored is not None
    assert json.loads(stored["data"]["output.json"]) == {"numbers": list(range(600)), "n": 7}
    subject.quiet(60)
    assert live_pods(subject) == []
    assert sorted(subject.status_of(name).phase.value for name in subject.witness.children) == [
        "Cancelled", "Failed", "Failed", "Succeeded", "Succeeded", "Succeeded",
    ]  # fmt: skip


def writes_of_a_calm_family(cel: Evaluator) -> int:
    with story(family(), cel, workflows=FAMILY) as subject:
        family_script(subject)
        subject.operator()
        subject.run()
        assert_family_is_well(subject)
        return subject.writes()


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_write_a_family_ends_as_if_nothing_had_happened(cel: Evaluator, when: str) -> None:
    count = writes_of_a_calm_family(cel)
    assert count > 40
    for number in sample(range(1, count + 1)):
        with story(family(), cel, workflows=FAMILY) as subject:
            family_script(subject)
            api = subject.operator().api
            (api.crash_after if when == "after" else api.crash_before)(number)
            subject.run()
            subject.quiet(5)
            assert subject.deaths == 1, f"write {number} of {count} never came"
            assert_family_is_well(subject)


@pytest.mark.parametrize("first", [1, 2, 5])
def test_killed_again_and_again_a_family_still_ends(cel: Evaluator, first: int) -> None:
    def doomed(subject: Story) -> None:
        subject.operators[-1].api.crash_after(first + subject.deaths % 2)

    with story(family(), cel, workflows=FAMILY) as subject:
        family_script(subject)
        subject.on_birth = doomed
        subject.operator()
        subject.run()
        assert subject.deaths > 5
        subject.on_birth = None
        assert_family_is_well(subject)


def test_two_operators_at_once_raise_one_family(cel: Evaluator) -> None:
    with story(family(), cel, workflows=FAMILY) as subject:
        family_script(subject)
        subject.operator()
        subject.operator()
        subject.run()
        assert_family_is_well(subject)


@pytest.mark.parametrize("lag", [1, 3, 10])
def test_an_operator_with_a_stale_cache_does_a_family_no_harm(cel: Evaluator, lag: int) -> None:
    with story(family(), cel, workflows=FAMILY) as subject:
        family_script(subject)
        subject.operator()
        stale = subject.operator(queued=True)

        def look() -> bool:
            for watch in stale.watches:
                watch.deliver(max(len(watch.pending) - lag, 0))
            stale.mark(KEY)
            for name in subject.witness.children:
                stale.mark(type(KEY)(KEY.namespace, name))
            return subject.ended

        subject.run(until=look)
        assert_family_is_well(subject)


def test_between_two_changes_nothing_is_written(cel: Evaluator) -> None:
    with story(family(), cel, workflows=FAMILY) as subject:
        family_script(subject)
        operator = subject.operator()
        clock = subject.cluster.clock
        subject.settle()
        while not subject.ended:
            if clock.next_due() != clock.now():
                before = subject.writes()
                operator.mark(KEY)
                subject.settle()
                assert subject.writes() == before
            assert clock.step()
            subject.settle()


# -- fan-outs of child runs -------------------------------------------------------------------------------------------


def fan(items: Any, workflow: str = "price", **fields: Any) -> WorkflowSpec:
    for_each = {"items": items, **fields.pop("forEach", {})}
    call = {"name": workflow, "params": {"n": "${{ item }}"}}
    spec_fields = {key: fields.pop(key) for key in ("failurePolicy", "maxParallelTasks") if key in fields}
    return spec(
        task("fan", workflow=call, forEach=for_each, **fields),
        task("use", "fan", triggerRule="AllDone", env=[{"name": "N", "value": "${{ tasks.fan.output.items.size() }}"}]),
        **spec_fields,
    )


def test_a_child_run_for_each_item_and_outputs_in_their_order(cel: Evaluator) -> None:
    with story(fan([3, 1, 2]), cel, workflows={"price": price()}) as subject:
        script(subject)
        subject.operator()
        status = subject.run()

        assert status.phase == "Succeeded"
        fanned = entry(subject, "fan")
        assert fanned.output == {"items": [{"total": 12.5, "n": n} for n in (3, 1, 2)]}
        assert fanned.items is not None
        assert (fanned.items.total, fanned.items.succeeded, fanned.items.failed) == (3, 3, 0)
        labels = [body(subject, name)["metadata"]["labels"] for name in subject.witness.children]
        assert [(entry["nexus.dev/index"], entry["nexus.dev/items"]) for entry in labels] == [
            ("0", "3"), ("1", "3"), ("2", "3"),
        ]  # fmt: skip


def test_an_operator_that_starts_deletes_no_item_whose_parent_it_has_not_looked_at(cel: Evaluator) -> None:
    items = fan([1, 2, 3, 4, 5], forEach={"parallelism": 1})
    with story(items, cel, workflows={"price": price()}) as subject:
        # Longer than history leaves a run that has ended, and more of them than it keeps.
        subject.cluster.script("load", *[Outcome(seconds=150, message='{"output":{"total":12.5}}')] * 5)
        operator = subject.operator()
        for ended in range(1, 6):
            subject.run(until=lambda count=ended: len(over(subject)) == count)
            operator.die()
            operator = subject.operator()
        made = list(subject.witness.children)
        assert subject.run().phase == "Succeeded"

        assert subject.witness.children == made
        assert len(over(subject)) == 5


def over(subject: Story) -> list[str]:
    return [name for name in subject.witness.children if subject.status_of(name).phase.ended]


def test_no_items_succeed_at_once_and_items_that_are_no_list_fail(cel: Evaluator) -> None:
    with story(fan([]), cel, workflows={"price": price()}) as subject:
        subject.operator()
        assert subject.run().phase == "Succeeded"
        assert (entry(subject, "fan").output, subject.witness.children) == ({"items": []}, [])
    with story(fan("${{ dyn({'a': 1}) }}"), cel, workflows={"price": price()}) as subject:
        subject.operator()
        subject.run()
        assert (entry(subject, "fan").reason, subject.witness.children) == ("InvalidItems", [])


def most_at_once(subject: Story) -> int:
    """Lets the run go on to its end; how many children were under way at once."""
    most = 0

    def look() -> bool:
        nonlocal most
        under_way = [name for name in subject.witness.children if not subject.status_of(name).phase.ended]
        most = max(most, len(under_way))
        return subject.ended

    subject.run(until=look)
    return most


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"forEach": {"parallelism": 2}}, 2),
        ({"maxParallelTasks": 3}, 3),
        ({"maxParallelTasks": 1, "forEach": {"parallelism": 4}}, 4),
        ({}, 7),
    ],
)
def test_no_more_children_run_at_once_than_may(cel: Evaluator, fields: dict[str, Any], most: int) -> None:
    with story(fan(list(range(7)), **fields), cel, workflows={"price": price()}) as subject:
        subject.witness.cap = 10
        script(subject)
        subject.operator()

        assert most_at_once(subject) == most
        assert entry(subject, "fan").phase == "Succeeded"
        assert len(subject.witness.children) == 7


def fails_for(subject: Story, *numbers: int) -> None:
    """The task `load` fails in the children of these items."""
    unlucky = {str(number) for number in numbers}

    def behave(pod: Object) -> Outcome:
        child = body(subject, pod["metadata"]["labels"]["nexus.dev/run"])
        if child["metadata"]["labels"].get("nexus.dev/index") in unlucky:
            return Outcome(exit_code=3)
        return Outcome(message='{"output":{"total":1}}')

    subject.cluster.script("load", behave)


def test_failed_items_are_tried_again_by_themselves_and_told_of(cel: Evaluator) -> None:
    flaky = fan([10, 11, 12], retry={"limit": 1, "delaySeconds": 2}, forEach={"maxFailedItems": 1})
    with story(flaky, cel, workflows={"price": price()}) as subject:
        fails_for(subject, 1)
        subject.operator()
        subject.run()

        fanned = entry(subject, "fan")
        assert (fanned.phase, len(subject.witness.children)) == ("Succeeded", 4)
        assert fanned.output == {"items": [{"total": 1, "n": 10}, None, {"total": 1, "n": 12}]}
        assert fanned.items is not None
        assert fanned.items.failed_indexes == "1"
        (failure,) = fanned.items.failures or ()
        assert (failure.index, failure.reason) == (1, "ChildFailed")
        assert (failure.message or "").endswith("failed: task load: exit code 3")


def test_outputs_stay_readable_where_too_many_items_failed(cel: Evaluator) -> None:
    with story(fan([10, 11, 12]), cel, workflows={"price": price()}) as subject:
        fails_for(subject, 0)
        subject.operator()
        subject.run()

        fanned = entry(subject, "fan")
        assert (fanned.phase, fanned.reason) == ("Failed", "ItemsFailed")
        assert fanned.output == {"items": [None, {"total": 1, "n": 11}, {"total": 1, "n": 12}]}
        assert entry(subject, "use").phase == "Succeeded"


def test_fail_fast_cancels_the_other_children(cel: Evaluator) -> None:
    with story(fan([10, 11], failurePolicy="FailFast"), cel, workflows={"price": price()}) as subject:

        def behave(pod: Object) -> Outcome:
            child = body(subject, pod["metadata"]["labels"]["nexus.dev/run"])
            first = child["metadata"]["labels"]["nexus.dev/index"] == "0"
            return Outcome(exit_code=3) if first else Outcome.hangs()

        subject.cluster.script("load", behave)
        subject.operator()
        subject.run()
        subject.quiet(60)

        assert entry(subject, "fan").reason == "ItemsFailed"
        assert [subject.status_of(name).phase for name in subject.witness.children] == ["Failed", "Cancelled"]
        assert live_pods(subject) == []


@pytest.mark.parametrize("mode", ["Graceful", "Immediate"])
def test_a_cancel_goes_to_the_children_of_all_items(cel: Evaluator, mode: str) -> None:
    with story(fan([1, 2, 3]), cel, workflows={"price": price()}) as subject:
        hanging(subject)
        subject.operator()
        subject.run(until=lambda: len(live_pods(subject)) == 3)
        cancel(subject, mode)
        subject.run()
        subject.quiet(60)

        assert (entry(subject, "fan").phase, entry(subject, "fan").reason) == ("Cancelled", "Cancelled")
        assert {body(subject, name)["spec"]["cancel"] for name in subject.witness.children} == {mode}
        assert live_pods(subject) == []


def test_an_item_over_its_timeout_is_cancelled_and_the_others_go_on(cel: Evaluator) -> None:
    slow = fan([1, 2], timeoutSeconds=5, retry={"limit": 1, "delaySeconds": 1}, forEach={"maxFailedItems": 1})
    with story(slow, cel, workflows={"price": price()}) as subject:

        def behave(pod: Object) -> Outcome:
            child = body(subject, pod["metadata"]["labels"]["nexus.dev/run"])
            first = child["metadata"]["labels"]["nexus.dev/index"] == "0"
            return Outcome.hangs() if first else Outcome(message='{"output":{"total":1}}')

        subject.cluster.script("load", behave)
        subject.operator()
        subject.run()
        subject.quiet(60)

        fanned = entry(subject, "fan")
        assert (fanned.phase, len(subject.witness.children)) == ("Succeeded", 3)
        assert fanned.items is not None
        assert [(failure.index, failure.reason) for failure in fanned.items.failures or ()] == [(0, "Timeout")]
        assert live_pods(subject) == []
        assert [subject.status_of(name).phase for name in subject.witness.children] == [
            "Cancelled", "Succeeded", "Cancelled",
        ]  # fmt: skip


def test_large_outputs_of_many_children_lie_in_one_config_map(cel: Evaluator) -> None:
    large = price(outputs={"numbers": "${{ range(600) }}", "n": "${{ params.n }}"})
    with story(fan(list(range(12))), cel, workflows={"price": large}) as subject:
        subject.witness.cap = 20
        script(subject)
        subject.operator()
        subject.run()

        reference = entry(subject, "fan").output_ref
        assert reference is not None
        stored = subject.cluster.find(CONFIG_MAPS, KEY.namespace, reference.config_map)
        assert stored is not None
        items = json.loads(stored["data"]["output.json"])["items"]
        assert [item["n"] for item in items] == list(range(12))


def test_a_child_that_cannot_start_fails_its_item_without_retry(cel: Evaluator) -> None:
    with story(fan([1, "two"], retry={"limit": 3}), cel, workflows={"price": price()}) as subject:
        script(subject)
        subject.operator()
        subject.run()

        fanned = entry(subject, "fan")
        assert len(subject.witness.children) == 2
        assert fanned.items is not None
        assert [(failure.index, failure.reason) for failure in fanned.items.failures or ()] == [(1, "ParamsInvalid")]


def many() -> WorkflowSpec:
    return spec(
        task(
            "fan",
            workflow={"name": "price", "params": {"n": "${{ item }}"}},
            forEach={"items": [0, 1, 2], "parallelism": 2, "maxFailedItems": 1},
            retry={"limit": 1, "delaySeconds": 1},
        ),
        task("use", "fan"),
    )


def assert_many_are_well(subject: Story) -> None:
    fanned = entry(subject, "fan")
    assert fanned.output == {"items": [{"total": 1, "n": 0}, None, {"total": 1, "n": 2}]}
    assert fanned.items is not None
    assert (fanned.phase, fanned.items.succeeded, fanned.items.failed) == ("Succeeded", 2, 1)
    assert len(subject.witness.children) == 4
    assert entry(subject, "use").phase == "Succeeded"
    subject.quiet(60)
    assert live_pods(subject) == []


def test_killed_after_any_write_a_fan_out_of_children_ends_the_same(cel: Evaluator) -> None:
    with story(many(), cel, workflows={"price": price()}) as subject:
        fails_for(subject, 1)
        subject.operator()
        subject.run()
        assert_many_are_well(subject)
        count = subject.writes()
    for number in sample(range(1, count + 1)):
        with story(many(), cel, workflows={"price": price()}) as subject:
            fails_for(subject, 1)
            subject.operator().api.crash_after(number)
            subject.run()
            subject.quiet(5)
            assert subject.deaths == 1, f"write {number} of {count} never came"
            assert_many_are_well(subject)


def test_two_operators_at_once_make_one_child_an_item(cel: Evaluator) -> None:
    with story(many(), cel, workflows={"price": price()}) as subject:
        fails_for(subject, 1)
        subject.operator()
        subject.operator()
        subject.run()
        assert_many_are_well(subject)


def test_an_item_whose_params_cannot_be_rendered_fails_alone(cel: Evaluator) -> None:
    call = {"name": "price", "params": {"n": "${{ item.n }}"}}
    items = [{"n": 1}, {}, {"n": 3}]
    definition = spec(task("fan", workflow=call, forEach={"items": items, "maxFailedItems": 1}))
    with story(definition, cel, workflows={"price": price()}) as subject:
        script(subject)
        subject.operator()
        subject.run()
    found = entry(subject, "fan")
    assert (found.phase, len(subject.witness.children)) == ("Succeeded", 2)
    assert found.items is not None
    assert [(one.index, one.reason.value) for one in found.items.failures or ()] == [(1, "ExpressionError")]


@pytest.mark.parametrize("for_each", [{}, {"forEach": {"items": [1]}}])
def test_a_child_run_that_waits_for_a_person_shows_in_its_parent(cel: Evaluator, for_each: dict[str, Any]) -> None:
    definition = spec(task("call", workflow={"name": "release"}, **for_each))
    release = spec(task("ask", approval={"message": "Go?"}))
    with story(definition, cel, workflows={"release": release}) as subject:
        subject.operator()
        subject.quiet(5)
        name = child_name(subject)
        words = f"child run {name}: task ask: waiting for approval: nexus approve {name} ask [--reject]: Go?"
        words = f"item 0: {words}" if for_each else words
        found = entry(subject, "call")
        assert (found.phase, found.reason, found.message) == ("Running", "AwaitingApproval", words)
        assert (subject.status.reason, subject.status.message) == ("AwaitingApproval", f"task call: {words}")
        request = ApprovalRequest(run=name, task="ask", message="Go?")
        assert (found.approval, subject.status.approval) == (request, request)
        change = {"spec": {"approvals": [{"task": "ask", "decision": "Approved", "by": "ann"}]}}
        subject.cluster.store.change(WORKFLOW_RUNS, KEY.namespace, name, lambda run: run["spec"].update(change["spec"]))
        status = subject.run()
    assert (status.phase, status.reason, entry(subject, "call").phase) == ("Succeeded", None, "Succeeded")
    assert (status.approval, entry(subject, "call").approval) == (None, None)


@pytest.mark.parametrize(
    ("levels", "letters", "reason", "words"),
    [
        (
            96,
            0,
            "ParamsInvalid",
            "params.n: must be a string, got a list",
        ),
        (97, 0, "ExpressionError", "workflow.params: nested deeper than 98 levels"),
        (0, 2_200, "ExpressionError", "workflow.params: exceeds 65,536 bytes of JSON"),
    ],
)
def test_a_child_run_that_could_not_be_read_is_not_made(
    cel: Evaluator, levels: int, letters: int, reason: str, words: str
) -> None:
    """After a crash right behind its creation its params could not be compared, and it would be nobody's for ever."""
    params = {"n": ["${{ tasks.make.output.value }}"] * 30}
    subject = spec(task("make"), task("call", "make", workflow={"name": "price", "params": params}))
    value: Any = "x" * letters
    for _ in range(levels):
        value = [value]
    workflows = {"price": spec(task("load"), params=[{"name": "n"}])}
    with story(subject, cel, workflows=workflows) as told:
        told.cluster.script("make", Outcome(message=json.dumps({"value": value})))
        told.operator()
        told.run()
        call, made = entry(told, "call"), told.witness.children
    assert call.reason == reason
    assert words in (call.message or "")
    assert bool(made) is (reason == "ParamsInvalid")
