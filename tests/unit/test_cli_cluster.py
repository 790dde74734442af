"""The commands for a cluster, against the one in memory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.cli_harness import bash, workflow

from nexus.adapters.fake import FakeCluster, Outcome
from nexus.adapters.kube.client.api import JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Object, Unreachable
from nexus.api.base import parse_time
from nexus.api.workflow import WorkflowSpec
from nexus.cli import cluster as commands
from nexus.cli import follow, new_run
from nexus.cli.ending import Exit, UsageError
from nexus.cli.logs import print_logs
from nexus.core.names import child_name, item_child_name

SALES = workflow(
    bash("extract"), bash("price", "true", "extract"), params=[{"name": "count", "type": "integer", "default": 1}]
)
NOW, LATER = "2026-11-23T09:00:05.000Z", "2026-11-23T09:00:06.500Z"


@pytest.fixture
def fake() -> FakeCluster:
    cluster = FakeCluster()
    cluster.add(WORKFLOWS, SALES)
    return cluster


def run(work: Coroutine[Any, Any, Exit]) -> Exit:
    return asyncio.run(work)


def start(fake: FakeCluster, *params: str, output: str | None = None, watch: bool = False) -> Exit:
    return run(new_run.run_workflow(fake, "default", "sales", params, output=output, watch=watch))


def task(name: str, phase: str, **fields: Any) -> Object:
    return {"name": name, "phase": phase, **fields}


def report(fake: FakeCluster, name: str, phase: str, *tasks: Object, **fields: Any) -> None:
    """What the operator would write."""

    def edit(body: Object) -> None:
        body["status"] = {"phase": phase, "startTime": NOW, "tasks": list(tasks), **fields}

    fake.store.change(WORKFLOW_RUNS, "default", name, edit)


def test_all_that_is_wrong_with_params_is_told_at_once(fake: FakeCluster) -> None:
    for given, problems in (
        (["count=x", "cuont=1"], 2),
        (["count=1", "count=2"], 1),
    ):
        with pytest.raises(UsageError) as caught:
            start(fake, *given)
        assert len(caught.value.problems) == problems
    assert fake.objects(WORKFLOW_RUNS) == []


def made(fake: FakeCluster) -> Object:
    (body,) = fake.objects(WORKFLOW_RUNS)
    return body


# run


def test_a_run_is_made_owned_by_its_workflow_and_its_name_printed(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(fake, "count=3") is Exit.SUCCEEDED
    body = made(fake)
    assert capsys.readouterr().out == body["metadata"]["name"] + "\n"
    assert body["metadata"]["name"].startswith("sales-")
    assert body["metadata"]["labels"] == {"nexus.dev/workflow": "sales"}
    (owner,) = body["metadata"]["ownerReferences"]
    (definition,) = fake.objects(WORKFLOWS)
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Workflow", definition["metadata"]["uid"], True)
    assert body["spec"] == {"workflowRef": {"name": "sales"}, "params": {"count": 3}, "triggeredBy": "manual"}


@pytest.mark.parametrize("output", ["json", "name"])
def test_a_run_is_printed_as_asked(fake: FakeCluster, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    start(fake, output=output)
    printed, name = capsys.readouterr().out, made(fake)["metadata"]["name"]
    assert (json.loads(printed)["metadata"]["name"] if output == "json" else printed) == (
        name if output == "json" else f"workflowrun.nexus.dev/{name}\n"
    )


@pytest.mark.parametrize(
    ("param", "words"),
    [
        ("count=x", 'count: must be an integer in JSON, got "x"'),
        ("count=true", "count: must be an integer, got boolean true"),
        ("cuont=1", 'did you mean "count"?'),
    ],
)
def test_params_that_do_not_fit_make_no_run(fake: FakeCluster, param: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        start(fake, param)
    assert fake.objects(WORKFLOW_RUNS) == []


def test_a_workflow_that_is_not_there_is_guessed_at(fake: FakeCluster) -> None:
    with pytest.raises(UsageError, match=r'Workflow "sails" not found in namespace default; did you mean "sales"\?'):
        run(new_run.run_workflow(fake, "default", "sails", [], output=None, watch=False))


def test_a_workflow_that_is_not_ready_makes_no_run(fake: FakeCluster) -> None:
    def edit(body: Object) -> None:
        condition = {"type": "Ready", "status": "False", "message": "task a: it is broken"}
        body["status"] = {"conditions": [{**condition, "observedGeneration": body["metadata"]["generation"]}]}

    fake.store.change(WORKFLOWS, "default", "sales", edit)
    with pytest.raises(UsageError, match="cannot run: task a: it is broken"):
        start(fake)


def not_ready(body: Object) -> None:
    condition = {"type": "Ready", "status": "False", "message": "task a, dependsOn[0]: unknown task"}
    body["status"] = {
        "conditions": [{**condition, "observedGeneration": body["metadata"]["generation"],
                        "reason": "WorkflowInvalid", "lastTransitionTime": "2026-11-23T09:00:00Z"}],
        "problems": [
            {"code": "unknown-task", "task": "a", "field": "dependsOn[0]", "message": "unknown task"},
            {"code": "from-the-future", "message": "of a newer version", "novel": 1},
        ],
        "problemsOmitted": 3,
    }  # fmt: skip


PROBLEMS = (
    "Workflow sales cannot run; fix these problems:",
    "task a, dependsOn[0]: unknown task (unknown-task)",
    "of a newer version (from-the-future)",
    "and 3 more",
)


def test_each_problem_of_a_workflow_is_a_line_with_its_code(fake: FakeCluster) -> None:
    fake.store.change(WORKFLOWS, "default", "sales", not_ready)
    with pytest.raises(UsageError) as caught:
        start(fake)
    assert tuple(caught.value.problems) == PROBLEMS
    assert fake.objects(WORKFLOW_RUNS) == []
    # What was changed since is for the operator to judge.
    fake.store.change(WORKFLOWS, "default", "sales", lambda body: body["metadata"].update(generation=9))
    assert start(fake) is Exit.SUCCEEDED


@pytest.mark.parametrize("reason", ["WorkflowInvalid", "TaskFailed"])
def test_a_run_that_was_refused_shows_the_problems_of_its_workflow(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    start(fake)
    name = made(fake)["metadata"]["name"]
    fake.store.change(WORKFLOWS, "default", "sales", not_ready)
    fake.store.change(
        WORKFLOW_RUNS, "default", name, lambda body: body.update(status={"phase": "Failed", "reason": reason})
    )
    run(commands.show_run(fake, "default", name, as_json=False))
    shown = PROBLEMS[0] + "".join(f"\n  {line}" for line in PROBLEMS[1:]) + "\n"
    assert capsys.readouterr().out.endswith("\n\n" + shown) is (reason == "WorkflowInvalid")


def test_a_run_of_a_suspended_workflow_is_made_and_said_to_wait(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store.patch(WORKFLOWS, "default", "sales", {"spec": {"suspend": True}})
    assert start(fake) is Exit.SUCCEEDED
    assert made(fake)["spec"]["workflowRef"] == {"name": "sales"}
    assert "Workflow sales is suspended; the run waits" in capsys.readouterr().err


# run --watch


async def _turns() -> None:
    """As many turns of the event loop as it takes until everybody waits for something to happen."""
    for _ in range(30):
        await asyncio.sleep(0)


async def _with_operator(fake: FakeCluster, command: Coroutine[Any, Any, Exit], *steps: Any) -> Exit:
    """The command, while each of the steps is done to the run a moment after the one before."""
    command_task = asyncio.create_task(command)
    await _turns()
    for step in steps:
        step(made(fake)["metadata"]["name"])
        await _turns()
    async with asyncio.timeout(10):
        return await command_task


def watching(fake: FakeCluster, output: str | None = None) -> Coroutine[Any, Any, Exit]:
    return new_run.run_workflow(fake, "default", "sales", [], output=output, watch=True)


def test_watching_tells_each_step_and_ends_with_the_runs_status(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    done = task("extract", "Succeeded", startTime=NOW, completionTime=NOW, attempts=1, output={"n": 1})
    code = asyncio.run(
        _with_operator(
            fake,
            watching(fake),
            lambda name: report(fake, name, "Running", task("extract", "Running", startTime=NOW)),
            lambda name: report(fake, name, "Running", done, task("price", "Running", startTime=NOW)),
            lambda name: report(
                fake,
                name,
                "Failed",
                done,
                task("price", "Failed", startTime=NOW, completionTime=NOW, reason="TaskError", message="exit code 3"),
                completionTime=NOW,
                message="task price: exit code 3",
            ),
        )
    )
    assert code is Exit.FAILED
    lines = capsys.readouterr().out.splitlines()
    name = made(fake)["metadata"]["name"]
    assert lines[0] == name
    told = [" ".join(line.split()[1:3]) for line in lines[1:5]]
    assert told == ["extract Running", "extract Succeeded", "price Running", "price Failed"]
    assert '  extract  {"n": 1}' in lines
    assert lines[-1] == f"{name} Failed in 0.0s: task price: exit code 3"


def test_watching_survives_a_server_that_is_away_for_a_moment(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fail_next("watch", WORKFLOW_RUNS, Unreachable("gone"))
    code = asyncio.run(
        _with_operator(fake, watching(fake, "json"), lambda name: report(fake, name, "Succeeded", completionTime=NOW))
    )
    assert code is Exit.SUCCEEDED
    assert json.loads(capsys.readouterr().out)["status"]["phase"] == "Succeeded"


def test_watching_a_run_that_is_deleted_says_so(fake: FakeCluster) -> None:
    with pytest.raises(UsageError, match="was deleted"):
        asyncio.run(_with_operator(fake, watching(fake), lambda name: fake.remove(WORKFLOW_RUNS, name)))


def test_ctrl_c_ends_the_watching_and_not_the_run(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    async def interrupted() -> None:
        command = asyncio.create_task(watching(fake))
        await _turns()
        command.cancel()  # what asyncio.run does on Ctrl-C
        with pytest.raises(asyncio.CancelledError):
            await command

    asyncio.run(interrupted())
    name = made(fake)["metadata"]["name"]
    assert f"the run continues: nexus get {name}" in capsys.readouterr().err
    assert "cancel" not in made(fake)["spec"]


def followed(fake: FakeCluster, patience: float) -> Coroutine[Any, Any, Exit]:
    """Following the run that is there, with so many seconds for an operator to take it up."""
    spec = WorkflowSpec.model_validate(SALES["spec"])
    return follow.to_the_end(fake, made(fake), spec, sys.stdout, as_json=False, patience=patience)


def test_a_run_that_no_operator_takes_up_is_told_of_once_and_watched_on(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    start(fake)
    name = made(fake)["metadata"]["name"]

    async def late_operator() -> Exit:
        following = asyncio.create_task(followed(fake, 0.01))
        await asyncio.sleep(0.2)
        report(fake, name, "Succeeded", completionTime=NOW, observedGeneration=1)
        return await following

    assert asyncio.run(late_operator()) is Exit.SUCCEEDED
    assert capsys.readouterr().err == (
        f"nothing has taken run {name} up yet: is an operator running for namespace default? "
        "(nexus operator -n default)\n"
    )


def test_a_run_that_is_taken_up_in_time_makes_no_words(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    start(fake)
    name = made(fake)["metadata"]["name"]
    report(fake, name, "Running", observedGeneration=1)

    async def slow_run() -> Exit:
        following = asyncio.create_task(followed(fake, 0.01))
        await asyncio.sleep(0.1)
        report(fake, name, "Succeeded", completionTime=NOW, observedGeneration=1)
        return await following

    assert asyncio.run(slow_run()) is Exit.SUCCEEDED
    assert capsys.readouterr().err == ""


# get


@pytest.mark.parametrize(("age", "times"), [(6, 1), (4, 0)])
def test_getting_a_run_that_has_no_status_for_long_asks_for_the_operator(
    fake: FakeCluster, age: int, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    start(fake)
    metadata = made(fake)["metadata"]
    now = parse_time(metadata["creationTimestamp"]) + timedelta(seconds=age)
    run(commands.show_run(fake, "default", metadata["name"], as_json=False, now=now))
    assert capsys.readouterr().err.count("is an operator running for namespace default?") == times


def test_runs_are_listed_and_one_is_shown_in_detail(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    start(fake, "count=2")
    name = capsys.readouterr().out.strip()
    report(
        fake,
        name,
        "Failed",
        task(
            "extract",
            "Succeeded",
            attempts=2,
            startTime=NOW,
            completionTime="2026-11-23T09:00:06.500Z",
            output={"n": 1},
        ),
        task("big", "Succeeded", outputRef={"configMap": "big-output", "size": 70000}),
        task("price", "Failed", reason="Timeout", message="the attempt exceeded timeoutSeconds"),
        tasksDone="3/3",
        reason="TaskFailed",
        message="task price: the attempt exceeded timeoutSeconds",
        completionTime="2026-11-23T09:01:05.000Z",
    )
    run(commands.list_runs(fake, "default", as_json=False))
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "WORKFLOW", "PHASE", "TASKS", "REASON", "DURATION", "AGE"]
    assert row.split()[:6] == [name, "sales", "Failed", "3/3", "TaskFailed", "1m0s"]
    run(commands.show_run(fake, "default", name, as_json=False))
    shown = capsys.readouterr().out
    assert "Phase:        Failed (3/3 tasks)" in shown
    assert "  count = 2" in shown
    assert [line.split() for line in shown.splitlines() if line.startswith(("extract", "price"))] == [
        ["extract", "Succeeded", "2", "1.5s"],
        ["price", "Failed", "Timeout:", "the", "attempt", "exceeded", "timeoutSeconds"],
    ]
    assert '  extract  {"n": 1}' in shown
    assert "  big      70,000 bytes in ConfigMap big-output" in shown


def test_json_is_the_object_itself(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    start(fake)
    name = capsys.readouterr().out.strip()
    run(commands.show_run(fake, "default", name, as_json=True))
    assert json.loads(capsys.readouterr().out) == made(fake)
    run(commands.list_runs(fake, "default", as_json=True))
    assert json.loads(capsys.readouterr().out)["items"] == [made(fake)]


def test_no_runs_are_said_to_be_none_on_stderr(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(commands.list_runs(fake, "default", as_json=False)) is Exit.SUCCEEDED
    out, err = capsys.readouterr()
    assert (out, err) == ("", "No runs found in namespace default.\n")


def test_a_run_that_is_not_there_is_guessed_at(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    start(fake)
    name = capsys.readouterr().out.strip()
    with pytest.raises(
        UsageError,
        match=rf'WorkflowRun "{name}x" not found in namespace default; did you mean '
        rf'"{name}"\?',
    ):
        run(commands.show_run(fake, "default", f"{name}x", as_json=False))


# logs

FRAMED = b"priced\n\nNEXUS-OUTPUT eJyrVkrLz1eyUkpKLFKqBQAd9QQr\n"


def pods_of(fake: FakeCluster, run_name: str, *tasks: str, uid: str = "") -> None:
    """A Job for each task, as the operator would make it."""
    uid = uid or made(fake)["metadata"]["uid"]
    for name in tasks:
        labels = {"nexus.dev/run": run_name, "nexus.dev/task": name, "nexus.dev/attempt": "1"}
        owner = {"apiVersion": "nexus.dev/v1alpha1", "kind": "WorkflowRun", "name": run_name, "uid": uid}
        template = {
            "metadata": {"labels": labels},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "task", "image": "x"}]},
        }
        metadata = {"name": f"{run_name}-{name}", "labels": labels, "ownerReferences": [{**owner, "controller": True}]}
        fake.add(JOBS, {"metadata": metadata, "spec": {"backoffLimit": 0, "template": template}})


def test_logs_of_all_tasks_come_in_their_order_with_their_names_and_without_frames(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    start(fake)
    name = capsys.readouterr().out.strip()
    fake.script("price", Outcome(log=FRAMED))
    fake.script("extract", Outcome(log=b"one\ntwo"))
    report(fake, name, "Running", task("extract", "Succeeded"), task("price", "Succeeded"), task("wait", "Running"))
    fake.script("wait", Outcome.never_schedules("no node has 9 CPUs"))
    pods_of(fake, name, "price", "extract", "wait")
    fake.advance(30)
    run(print_logs(fake, "default", name, None, following=False, tail=None))
    out, err = capsys.readouterr()
    assert out.splitlines() == ["extract | one", "extract | two", "price | priced"]
    assert err == "wait: its container has not started: no node has 9 CPUs\n"
    run(print_logs(fake, "default", name, "extract", following=False, tail=1))
    assert capsys.readouterr().out == "two\n"


def test_logs_of_a_task_that_is_not_there_are_guessed_at(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    start(fake)
    name = capsys.readouterr().out.strip()
    report(fake, name, "Running", task("extract", "Running"))
    with pytest.raises(UsageError, match=r'unknown task "extarct" of run .*; did you mean "extract"\?'):
        run(print_logs(fake, "default", name, "extarct", following=False, tail=None))


@pytest.mark.parametrize("item", [None, 1])
def test_logs_of_a_task_with_a_child_run_are_those_of_the_child(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str], item: int | None
) -> None:
    start(fake)
    name = capsys.readouterr().out.strip()
    parent = {"name": name, "uid": made(fake)["metadata"]["uid"], "apiVersion": "nexus.dev/v1alpha1"}
    given = [child_of(name, parent["uid"], "call", item, attempt_number) for attempt_number in (1, 2)]
    for attempt_number, child in enumerate(given, 1):
        labels = {"parent-run": name, "task": "call", "attempt": str(attempt_number)}
        metadata = {
            "name": child,
            "labels": {f"nexus.dev/{key}": value for key, value in labels.items()},
            "ownerReferences": [{**parent, "kind": "WorkflowRun", "controller": True}],
        }
        fake.add(WORKFLOW_RUNS, {"metadata": metadata, "spec": {"workflowRef": {"name": "price"}}})
    called = {"childRun": {"name": given[1]}} if item is None else {"items": {"total": 2}}
    report(fake, name, "Running", task("call", "Running", **called))
    report(fake, given[1], "Running", task("extract", "Running"))
    fake.script("extract", Outcome(log=b"below"))
    uid = fake.store.get(WORKFLOW_RUNS, "default", given[1])["metadata"]["uid"]
    pods_of(fake, given[1], "extract", uid=uid)
    fake.advance(30)

    run(print_logs(fake, "default", name, "call", following=False, tail=None, item=item))

    out, err = capsys.readouterr()
    what = "task call" if item is None else "item 1 of task call"
    assert (out, err) == ("below\n", f"{what} is the child run {given[1]}\n")

    run(print_logs(fake, "default", name, None, following=False, tail=None))

    place = "call" if item is None else "call[1]"
    assert capsys.readouterr().out == f"{place}/extract | below\n"


def child_of(run_name: str, uid: str, task_name: str, item: int | None, attempt_number: int) -> str:
    """Name of a child run, by which it is known."""
    if item is None:
        return child_name(run_name, uid, task_name, attempt_number)
    return item_child_name(run_name, uid, task_name, item, attempt_number)


PARENT = {"apiVersion": "nexus.dev/v1alpha1", "kind": "WorkflowRun", "name": "sales-x7k2p"}


def test_json_is_without_managed_fields_and_a_child_names_its_parent(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = {
        "name": "child",
        "labels": {"nexus.dev/task": "call", "nexus.dev/index": "3"},
        "managedFields": [{"manager": "nexus"}],
        "ownerReferences": [{**PARENT, "uid": "u", "controller": True}],
    }
    fake.add(WORKFLOW_RUNS, {"metadata": metadata, "spec": {"workflowRef": {"name": "price"}}})
    run(commands.show_run(fake, "default", "child", as_json=True))
    run(commands.list_runs(fake, "default", as_json=True))
    assert "managedFields" not in capsys.readouterr().out
    run(commands.show_run(fake, "default", "child", as_json=False))
    assert "Parent:       sales-x7k2p (task call, item 3)" in capsys.readouterr().out


def test_following_a_run_names_its_child_runs(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    start(fake)
    name = capsys.readouterr().out.strip()
    parent = {"name": name, "uid": made(fake)["metadata"]["uid"], "apiVersion": "nexus.dev/v1alpha1"}
    labels = {"nexus.dev/parent-run": name, "nexus.dev/task": "call", "nexus.dev/attempt": "1"}
    owner = {**parent, "kind": "WorkflowRun", "controller": True}
    child = child_of(name, parent["uid"], "call", None, 1)
    metadata = {"name": child, "labels": labels, "ownerReferences": [owner]}
    fake.add(WORKFLOW_RUNS, {"metadata": metadata, "spec": {"workflowRef": {"name": "price"}}})
    report(fake, name, "Succeeded", task("call", "Succeeded"), completionTime=NOW)
    run(print_logs(fake, "default", name, None, following=True, tail=None))
    assert capsys.readouterr().err == f"call is the child run {child}: nexus logs {child} -f\n"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"phase": "Omitted", "reason": "RuleNotMet", "message": "none failed"}, "Omitted, RuleNotMet: none failed"),
        ({"phase": "Running", "reason": "AwaitingApproval"}, "Running, AwaitingApproval"),
        ({"phase": "Succeeded", "attempts": 1}, "it has no pod: not started yet, or removed since"),
    ],
)
def test_of_a_task_without_a_pod_the_status_knows_better(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str], entry: dict[str, Any], words: str
) -> None:
    start(fake)
    name = capsys.readouterr().out.strip()
    report(fake, name, "Running", {"name": "ask", **entry})
    run(print_logs(fake, "default", name, "ask", following=False, tail=None))
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


def test_following_takes_in_tasks_that_start_later_and_ends_with_the_run(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.script("extract", Outcome(log=b"one\n"))
    fake.script("price", Outcome(log=FRAMED))
    start(fake)
    name = capsys.readouterr().out.strip()
    report(fake, name, "Running", task("extract", "Running"), task("price", "Pending"))

    def first(run_name: str) -> None:
        pods_of(fake, run_name, "extract")
        fake.advance(30)

    def second(run_name: str) -> None:
        pods_of(fake, run_name, "price")
        fake.advance(30)

    command = print_logs(fake, "default", name, None, following=True, tail=None)

    def end(run_name: str) -> None:
        report(fake, run_name, "Succeeded", completionTime=NOW)

    assert asyncio.run(_with_operator(fake, command, first, second, end)) is Exit.SUCCEEDED
    assert capsys.readouterr().out.splitlines() == ["extract | one", "price | priced"]
    assert len(fake.objects(PODS)) == 2


def test_following_one_task_ends_with_the_task(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.script("extract", Outcome(log=b"one\n"))
    start(fake)
    name = capsys.readouterr().out.strip()
    report(fake, name, "Running", task("extract", "Running"), task("price", "Pending"))

    def first(run_name: str) -> None:
        pods_of(fake, run_name, "extract")
        fake.advance(30)

    def done(run_name: str) -> None:
        report(fake, run_name, "Running", task("extract", "Succeeded"), task("price", "Running"))

    command = print_logs(fake, "default", name, "extract", following=True, tail=None)
    assert asyncio.run(_with_operator(fake, command, first, done)) is Exit.SUCCEEDED
    assert capsys.readouterr().out == "one\n"
