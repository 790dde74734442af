"""Child runs in the cluster: what goes down, what comes up, and who goes with whom."""

from __future__ import annotations

import pytest
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, bash, container, is_finished, phases, python, reasons, task

from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, WORKFLOW_RUNS, WORKFLOWS

pytestmark = pytest.mark.cluster

ENDLESS = ("sh", "-c", "trap 'exit 143' TERM; sleep 300 & wait")
N = [{"name": "n", "type": "integer", "default": 1}]


def call(name: str, workflow: str, *after: str, params: Object | None = None, **fields: object) -> Object:
    """A task that runs a Workflow."""
    body = {"name": workflow} | ({"params": params} if params else {})
    return {"name": name, "workflow": body} | ({"dependsOn": list(after)} if after else {}) | fields


def child_of(run: Object, name: str) -> str:
    """Name of the child run of a task."""
    return str(task(run, name)["childRun"]["name"])


@pytest.fixture(scope="module", autouse=True)
def started(space: Space, operator: OperatorProcess) -> None:
    """All Workflows and runs of this module, at once."""
    assert operator.running
    space.workflow(
        "double",
        python("twice", "output['n'] = params['n'] * 2"),
        params=N,
        outputs={"n": "${{ tasks.twice.output.n }}"},
    )
    space.workflow("wide", python("rows", "output['rows'] = list(range(3000))"))
    space.workflow("middle", call("inner", "double", params={"n": 20}), call("wide", "wide"))
    space.workflow("bad", bash("bad", "exit 3"))
    space.workflow("slow", container("slow", *ENDLESS), **{"finally": [container("clean")]})
    space.workflow("ping", call("a", "pong", retry={"limit": 3, "delaySeconds": 0}))
    space.workflow("pong", call("b", "ping", retry={"limit": 3, "delaySeconds": 0}))
    space.workflow("self", call("again", "self"))
    space.workflow("cycle", container("a", after=("b",)), container("b", after=("a",)))
    space.run(
        "family",
        call("first", "double", params={"n": 2}),
        call("second", "double", "first", params={"n": "${{ tasks.first.output.n + 1 }}"}),
        call("deep", "middle"),
        python("use", "output['n'] = len(input['deep']['wide']['rows']['rows'])", "deep"),
        outputs={"n": "${{ tasks.second.output.n }}", "inner": "${{ tasks.deep.output.inner.n }}"},
    )
    space.run(
        "fails",
        call("bad", "bad", retry={"limit": 1, "delaySeconds": 0}),
        call("params", "double", params={"n": "two"}, retry={"limit": 3}),
        call("cycle", "cycle", retry={"limit": 3}),
        call("missing", "duoble", retry={"limit": 3}),
        call("circle", "ping"),
    )
    space.run(
        "fan",
        call("fan", "double", params={"n": "${{ item }}"}, forEach={"items": [1, "two", 3], "maxFailedItems": 1}),
        python("use", "output['n'] = [item and item['n'] for item in input['fan']['items']]", "fan"),
    )
    for name in ("gracefully", "at-once", "gone", "whole", "overdue"):
        limit = {"timeoutSeconds": 3} if name == "overdue" else {}
        space.run(name, call("slow", "slow", **limit))


def running_child(space: Space, name: str) -> str:
    """The child of one of the endless runs, once its container runs."""
    run = space.until(name, lambda run: "childRun" in task(run, "slow"))
    space.running(child_of(run, "slow"), "slow")
    return child_of(run, "slow")


def test_outputs_come_back_with_their_types_from_any_depth_and_of_any_size(space: Space) -> None:
    run = space.finished("family")
    assert set(phases(run).values()) == {"Succeeded"}, run["status"]
    assert (space.output(run, "first"), space.output(run, "second")) == ({"n": 4}, {"n": 10})
    assert run["status"]["outputs"] == {"n": 10, "inner": 40}
    assert space.output(run, "use") == {"n": 3000}
    reference = task(run, "deep")["outputRef"]["configMap"]
    stored = space.get(CONFIG_MAPS, reference)
    assert stored is not None
    assert stored["metadata"]["ownerReferences"][0]["uid"] == run["metadata"]["uid"]


def test_a_child_is_an_ordinary_run_that_belongs_to_its_parent_alone(space: Space) -> None:
    run = space.finished("family")
    child = space.get(WORKFLOW_RUNS, child_of(run, "first"))
    assert child is not None
    assert child["metadata"]["uid"] == task(run, "first")["childRun"]["uid"]
    (owner,) = child["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("WorkflowRun", run["metadata"]["uid"], True)
    assert child["spec"] == {"workflowRef": {"name": "double"}, "params": {"n": 2}, "triggeredBy": "workflow"}
    assert "revision" in child["status"]
    found = space.list(WORKFLOW_RUNS, "nexus.dev/parent-run=family")
    assert {body["metadata"]["labels"]["nexus.dev/task"] for body in found} == {"first", "second", "deep"}
    assert space.jobs("family") == space.jobs("family", "use")


def test_the_parent_goes_on_within_moments_of_its_childs_end(space: Space, operator: OperatorProcess) -> None:
    run = space.finished("family")
    first = space.get(WORKFLOW_RUNS, child_of(run, "first"))
    assert first is not None
    assert first["status"]["completionTime"] <= task(run, "first")["completionTime"]
    # Milliseconds on an idle machine; this one is busy with all other runs of the module.
    assert operator.reactions("family")["second"] < 1


def test_a_child_run_for_each_item(space: Space) -> None:
    run = space.finished("fan")
    assert phases(run) == {"fan": "Succeeded", "use": "Succeeded"}, run["status"]
    assert space.output(run, "use") == {"n": [2, None, 6]}
    items = task(run, "fan")["items"]
    assert (items["total"], items["succeeded"], items["failedIndexes"]) == (3, 2, "1")
    assert [failure["reason"] for failure in items["failures"]] == ["ParamsInvalid"]
    found = space.list(WORKFLOW_RUNS, "nexus.dev/parent-run=fan")
    assert sorted(body["metadata"]["labels"]["nexus.dev/index"] for body in found) == ["0", "1", "2"]


def test_failures_come_up_with_the_childs_words(space: Space) -> None:
    run = space.finished("fails", 120)
    assert reasons(run) == {
        "bad": "ChildFailed",
        "params": "ParamsInvalid",
        "cycle": "WorkflowInvalid",
        "missing": "WorkflowNotFound",
        "circle": "TooDeep",
    }
    messages = {name: task(run, name)["message"] for name in phases(run)}
    assert messages["bad"].startswith(f"child run {child_of(run, 'bad')} failed: task bad: exit status 3")
    assert 'params.n: must be an integer, got string "two"' in messages["params"]
    assert "dependency cycle: " in messages["cycle"]
    assert 'did you mean "double"?' in messages["missing"]
    assert "check for a cycle of workflow calls" in messages["circle"]
    assert {name: task(run, name)["attempts"] for name in phases(run)} == {
        "bad": 2, "params": 1, "cycle": 1, "missing": 1, "circle": 1,
    }  # fmt: skip
    made = space.list(WORKFLOW_RUNS, "nexus.dev/depth")
    assert sum(body["spec"]["workflowRef"]["name"] in ("ping", "pong") for body in made) == 5


def test_a_workflow_that_calls_itself_is_not_ready(space: Space) -> None:
    for _, workflow in space.watch(WORKFLOWS, 20, fields="metadata.name=self"):
        conditions = workflow.get("status", {}).get("conditions")
        if conditions:
            assert (conditions[0]["status"], conditions[0]["reason"]) == ("False", "WorkflowInvalid")
            assert "task again, workflow.name: workflow call cycle: self -> self" in conditions[0]["message"]
            break
    else:
        pytest.fail("Ready was never written")


@pytest.mark.parametrize(
    ("name", "mode", "clean"), [("gracefully", "Graceful", "Succeeded"), ("at-once", "Immediate", "Omitted")]
)
def test_a_cancel_goes_down_to_the_children(space: Space, name: str, mode: str, clean: str) -> None:
    child = running_child(space, name)
    space.patch(WORKFLOW_RUNS, name, {"spec": {"cancel": mode}})
    assert phases(space.finished(name)) == {"slow": "Cancelled"}
    below = space.finished(child)
    assert (below["spec"]["cancel"], below["status"]["phase"]) == (mode, "Cancelled")
    assert phases(below) == {"slow": "Cancelled", "clean": clean}
    assert space.without_jobs(child, "slow")


def test_a_child_over_its_timeout_is_cancelled_and_its_finally_runs(space: Space) -> None:
    run = space.finished("overdue")
    assert reasons(run) == {"slow": "Timeout"}
    assert phases(space.finished(child_of(run, "slow"))) == {"slow": "Cancelled", "clean": "Succeeded"}


def test_a_child_that_somebody_deletes_is_a_failed_attempt(space: Space) -> None:
    child = running_child(space, "gone")
    space.remove(WORKFLOW_RUNS, child)
    run = space.finished("gone")
    assert (reasons(run), task(run, "slow")["message"]) == (
        {"slow": "ChildDeleted"},
        f"the child run {child} was deleted",
    )
    assert space.without_jobs(child, "slow")


def test_a_run_that_is_deleted_takes_its_children_with_it(space: Space) -> None:
    child = running_child(space, "whole")
    space.remove(WORKFLOW_RUNS, "whole")
    for event, body in space.watch(WORKFLOW_RUNS, 30, fields=f"metadata.name={child}"):
        if event == "DELETED":
            assert not is_finished(body)
            break
    assert space.get(WORKFLOW_RUNS, child) is None
    assert space.without_jobs(child, "slow")
    assert space.list(JOBS, f"nexus.dev/run={child}") == []


def test_the_schema_refuses_what_it_can_see(space: Space) -> None:
    head = {"apiVersion": "nexus.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "x"}}
    expression = {"name": "a", "workflow": {"name": "${{ params.w }}"}}
    pod = call("a", "double") | {"env": [{"name": "A", "value": "x"}]}
    for spec, words in (
        ({"tasks": [pod]}, "not supported for workflow tasks, which have no pod"),
        ({"tasks": [call("a", "double") | {"bash": {"command": "true"}}]}, "exactly one"),
        ({"tasks": [expression]}, "workflow.name"),
        ({"tasks": [call("a", "double")], "outputs": {"a-b": "x"}}, "invalid output name"),
    ):
        answer = space.http.post(WORKFLOWS.path(space.namespace), json=head | {"spec": spec})
        assert (answer.status_code, words in answer.text) == (422, True), answer.text
