"""`status.problems` of a Workflow: the codes of `nexus lint`, within bounds, written together with Ready."""

from __future__ import annotations

from typing import Any

from tests.builders import spec, task
from tests.operators import Story, story

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.cache.workflows import known_status
from nexus.adapters.kube.client.api import WORKFLOWS
from nexus.api.workflow import WorkflowSpec, WorkflowStatus
from nexus.core.validate import MOST_TASKS, problems

CONTAINER = {"image": "x"}


def status_of(s: Story, name: str) -> dict[str, Any]:
    (body,) = [body for body in s.cluster.objects(WORKFLOWS) if body["metadata"]["name"] == name]
    return dict(body["status"])


def judged(s: Story, definition: dict[str, Any], name: str = "w") -> dict[str, Any]:
    s.cluster.add(WORKFLOWS, {"metadata": {"name": name}, "spec": definition})
    s.quiet(60)
    return status_of(s, name)


def test_problems_have_code_task_field_and_message(cel: CelEvaluator) -> None:
    definition = {
        "params": [{"name": "n", "type": "integer", "default": "x"}],
        "tasks": [{"name": "a", "dependsOn": ["b"], "when": "${{ params.m }}", "container": CONTAINER}],
    }
    with story(spec(task("a")), cel, by_reference=True) as s:
        s.operator()
        s.run()
        status = judged(s, definition)
        expected = problems(WorkflowSpec.model_validate(definition), cel, "w")
        assert [(one["code"], one["message"]) for one in status["problems"]] == [
            (one.code.value, one.message) for one in expected
        ]
        assert [(one["code"], one.get("task"), one.get("field")) for one in status["problems"]] == [
            ("invalid-param", None, "params[0].default"),
            ("unknown-reference", "a", "when"),
            ("unknown-task", "a", "dependsOn[0]"),
        ]
        assert "problemsOmitted" not in status
        assert status["conditions"][0]["status"] == "False"

        writes = s.writes()
        s.quiet(600)
        assert s.writes() == writes  # nothing changed, nothing is written


def test_problems_go_when_the_definition_is_valid(cel: CelEvaluator) -> None:
    with story(spec(task("a")), cel, by_reference=True) as s:
        s.operator()
        s.run()
        assert judged(s, {"tasks": [{"name": "a", "dependsOn": ["b"], "container": CONTAINER}]})["problems"]
        good = [{"name": "a", "container": CONTAINER, "dependsOn": None}]
        s.cluster.store.patch(WORKFLOWS, "default", "w", {"spec": {"tasks": good}})
        s.quiet(60)
        status = status_of(s, "w")
        assert status["conditions"][0]["status"] == "True"
        assert "problems" not in status


def test_what_does_not_fit_the_schema_or_nests_too_deep_has_a_code(cel: CelEvaluator) -> None:
    nested: Any = 1
    for _ in range(300):
        nested = [nested]
    with story(spec(task("a")), cel, by_reference=True) as s:
        s.operator()
        s.run()
        env = [{"name": "a", "pod": {"nodeSelectr": {}}, "container": CONTAINER}]
        (unknown,) = judged(s, {"tasks": env}, "unknown")["problems"]
        assert (unknown["code"], unknown["task"], unknown["field"]) == ("unknown-field", "a", "pod.nodeSelectr")
        deep = [{"name": "a", "http": {"url": "http://x.example", "json": nested}}]
        (too_deep,) = judged(s, {"tasks": deep}, "deep")["problems"]
        assert (too_deep["code"], "field" in too_deep) == ("too-large", False)


def test_a_list_of_problems_is_bounded(cel: CelEvaluator) -> None:
    """The largest definition, with two long names in every task."""
    when = "${{ params." + "m" * 700 + " }}"
    tasks = [
        {"name": f"t{n}", "dependsOn": ["x" * 40], "when": when, "container": CONTAINER} for n in range(MOST_TASKS)
    ]
    count = len(problems(WorkflowSpec.model_validate({"tasks": tasks}), cel, "w"))
    with story(spec(task("a")), cel, by_reference=True) as s:
        s.operator()
        s.run()
        status = judged(s, {"tasks": tasks})
    found = status["problems"]
    assert len(found) == 20
    assert len(found) + status["problemsOmitted"] == count
    assert any(one["message"].endswith("…") for one in found)
    assert all(len(one["message"]) <= 512 and len(one.get("field", "")) <= 256 for one in found)
    assert len(WorkflowStatus.model_validate(status).model_dump_json()) < 32 * 1024


def test_codes_and_fields_of_a_newer_version_are_read() -> None:
    problem = {"code": "from-the-future", "message": "m", "line": 7}
    known = known_status({"observedGeneration": 1, "problems": [problem]})
    assert known is not None
    assert known.observed_generation == 1
    assert [one.code for one in known.problems or ()] == ["from-the-future"]
