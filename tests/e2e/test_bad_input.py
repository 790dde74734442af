"""What is wrong with a definition or a run is said with task and field, and nothing is started; bombs burn nobody."""

from __future__ import annotations

import time

import pytest
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, bash, chain, container, phases, reasons, task

from nexus.adapters.kube.client.api import CONFIG_MAPS, CONTROLLER_REVISIONS, JOBS, WORKFLOWS

pytestmark = pytest.mark.cluster

PARAMS = [{"name": "count", "type": "integer", "default": 1}, {"name": "day", "pattern": r"^\d{4}-\d\d-\d\d$"}]


def envy(text: str) -> Object:
    """A task with an expression in its env."""
    return {**bash("b", "true", "a"), "env": [{"name": "X", "value": text}]}


# A definition, and what its Ready condition has to say.
INVALID: dict[str, tuple[list[Object], tuple[str, ...]]] = {
    "cycle": (
        [container("a", after=("c",)), container("b", after=("a",)), container("c", after=("b",))],
        ("a", "dependsOn", "->"),
    ),
    "type-error": ([container("a"), envy("${{ params.count + 'x' }}")], ("task b", "env[0].value")),
    "unknown-param": ([container("a"), envy("${{ params.cout }}")], ("task b", "params.cout", "params.count")),
    "no-ancestor": (
        [container("a"), container("c"), envy("${{ tasks.c.output.x }}")],
        ("task b", 'add "c" to its dependsOn'),
    ),
    "syntax": ([container("a"), envy("${{ 1 + }}")], ("task b", "env[0].value")),
    "misspelt": (
        [container("a"), {**container("b", after=("a",)), "when": "${{ tasks.a.phase == 'Suceeded' }}"}],
        ("task b", 'did you mean "Succeeded"?'),
    ),
    "foreign": (
        [container("a"), envy("{{ params.day }}")],
        ("task b", "is not an expression here; write ${{ params.day }}"),
    ),
    "not-boolean": (
        [container("a"), {**container("b", after=("a",)), "when": "${{ params.count }}"}],
        ("task b", "when"),
    ),
}
# A bomb each: steps, memory (a text that doubles), a regex, a big range.
BOMBS = {
    "steps": "${{ range(300).all(a, range(300).all(b, range(300).all(c, a + b + c >= 0))) }}",
    "memory": "${{ ['x'].map(a, a+a+a+a+a+a+a+a+a+a)" + ".map(a, a+a+a+a+a+a+a+a+a+a)" * 12 + "[0] == '' }}",
    "lists": "${{ " + "flatten(" * 9 + "range(1000)" + ".map(a, [a,a,a,a,a,a]))" * 9 + ".size() == 0 }}",
    "regex": "${{ params.text.matches('(a|aa|aaa|a*)*b') }}",
    "range": "${{ range(1000000000).size() > 0 }}",
}


@pytest.fixture(scope="module", autouse=True)
def started(space: Space, operator: OperatorProcess) -> None:
    """All objects of this module, at once."""
    assert operator.running
    space.run_of("not-there-in-time", "orphan")
    space.run_of("comes-late", "patient")
    for name, (tasks, _) in INVALID.items():
        space.workflow(name, *tasks, params=PARAMS)
        space.run_of(name, f"of-{name}", {"day": "2026-01-01"})
    space.workflow("valid", container("a"), params=PARAMS, history={"failed": 10})
    space.workflow("comes-later", container("a"))
    for name, params in {
        "wrong-type": {"day": "2026-01-01", "count": "many"},
        "no-value": {},
        "unknown": {"day": "2026-01-01", "cuont": 2},
        "pattern": {"day": "tomorrow"},
    }.items():
        space.run_of("valid", name, params)
    space.run("inline", container("a", after=("b",)), container("b", after=("a",)))
    space.run("calm", *chain(5))
    space.workflow("comes-late", container("a"))


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_definition_is_not_ready_and_its_runs_start_nothing(space: Space, name: str) -> None:
    run = space.finished(f"of-{name}")
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "WorkflowInvalid")
    workflow: Object = {}
    for _, workflow in space.watch(WORKFLOWS, 20, fields=f"metadata.name={name}"):
        if workflow.get("status"):
            break
    status = workflow["status"]
    (ready,) = status["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "WorkflowInvalid")
    assert ready["observedGeneration"] == status["observedGeneration"] == workflow["metadata"]["generation"]
    for words in INVALID[name][1]:
        assert words in ready["message"], ready["message"]
        assert words in run["status"]["message"], run["status"]["message"]
    assert space.jobs(f"of-{name}") == []
    assert "tasks" not in run["status"]
    assert space.list(CONTROLLER_REVISIONS, f"nexus.dev/workflow={name}") == []


def test_a_workflow_becomes_ready_when_it_is_mended(space: Space) -> None:
    space.workflow("mended", *INVALID["cycle"][0])
    states = []
    for _, workflow in space.watch(WORKFLOWS, 20, fields="metadata.name=mended"):
        conditions = workflow.get("status", {}).get("conditions") or ()
        states += [
            entry["status"] for entry in conditions if entry["observedGeneration"] == workflow["metadata"]["generation"]
        ]
        if states == ["False"]:
            space.patch(WORKFLOWS, "mended", {"spec": {"tasks": [container("a")]}})
        elif states:
            break
    assert (states[0], states[-1]) == ("False", "True")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong-type", ("count", "integer")),
        ("no-value", ("day",)),
        ("unknown", ("cuont", "count")),
        ("pattern", ("day", "tomorrow")),
    ],
)
def test_params_that_do_not_fit_are_named(space: Space, name: str, words: tuple[str, ...]) -> None:
    run = space.finished(name)
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "ParamsInvalid")
    for word in words:
        assert word in run["status"]["message"], run["status"]["message"]
    assert space.jobs(name) == []


def test_an_inline_definition_is_checked_as_well(space: Space) -> None:
    run = space.finished("inline")
    assert (run["status"]["reason"], space.jobs("inline")) == ("WorkflowInvalid", [])
    assert "dependency cycle: a -> b -> a" in run["status"]["message"]


def test_a_workflow_may_come_ten_seconds_late_and_no_later(space: Space) -> None:
    assert phases(space.finished("patient")) == {"a": "Succeeded"}
    run = space.finished("orphan")
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "WorkflowNotFound")
    assert "not-there-in-time" in run["status"]["message"]
    assert space.jobs("orphan") == []


def test_the_schema_refuses_what_it_can_see(space: Space) -> None:
    unknown = {"metadata": {"name": "x"}, "spec": {"tasks": [container("a", after=("zz",))]}}
    two = {"metadata": {"name": "x"}, "spec": {"tasks": [{**container("a"), "bash": {"command": "true"}}]}}
    head = {"apiVersion": "nexus.dev/v1alpha1", "kind": "Workflow"}
    for body, words in ((unknown, "dependsOn"), (two, "exactly one")):
        answer = space.http.post(WORKFLOWS.path(space.namespace), json=head | body)
        assert (answer.status_code, words in answer.text) == (422, True), answer.text


def test_expression_bombs_fail_alone_and_hold_nobody_up(space: Space, operator: OperatorProcess) -> None:
    calm = space.finished("calm")
    assert set(phases(calm).values()) == {"Succeeded"}
    bombs = [{**container(name), "when": text} for name, text in BOMBS.items()]
    params = [{"name": "text", "default": "a" * 5_000}]
    began = time.monotonic()
    space.workflow("bombs", *bombs, params=params)
    for number in range(3):
        space.run_of("bombs", f"bombs{number}")
    space.run("disturbed", *chain(5))
    disturbed = space.finished("disturbed")
    assert set(phases(disturbed).values()) == {"Succeeded"}
    for number in range(3):
        run = space.finished(f"bombs{number}")
        # RE2 takes time in proportion to the text, so this is no bomb to it: it is false.
        assert phases(run) == {name: "Skipped" if name == "regex" else "Failed" for name in BOMBS}, run["status"]
        assert {reasons(run)[name] for name in BOMBS if name != "regex"} == {"ExpressionError"}
        assert all("when" in task(run, name)["message"] for name in BOMBS)
        assert space.jobs(f"bombs{number}") == []
    assert time.monotonic() - began < 45
    # From the second task on: the first one waits for the check of the definition, too.
    late = [operator.reactions(name)[f"t{i}"] for name in ("calm", "disturbed") for i in range(1, 5)]
    assert max(late[4:]) < max(0.3, 3 * max(late[:4])), late


def test_nothing_is_left_of_what_never_started(space: Space) -> None:
    ran = ("calm", "disturbed", "patient")
    assert {job["metadata"]["labels"]["nexus.dev/run"] for job in space.list(JOBS)} == set(ran)
    assert [body["metadata"]["name"] for body in space.list(CONFIG_MAPS)] == ["kube-root-ca.crt"]
