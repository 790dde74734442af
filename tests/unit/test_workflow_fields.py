"""Fields by which workflows and tasks are known: displayName, category, tags and key."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.builders import definition, spec, task
from tests.unit.local_harness import run_here

from nexus.api.crd import COLUMNS, crd
from nexus.api.run import WorkflowRun
from nexus.api.workflow import Workflow
from nexus.core.expressions.templates import Evaluator
from nexus.core.validate import problems

GOOD = ("a", "reporting", "Data Pipeline", "Vertrieb Süd", "x/y.z-1_2", "漢", "a" * 63)
BAD = ("", " a", "a ", "a,b", "a=b", "!a", "a\nb", "\x1b[31m", "a" * 64)


@pytest.mark.parametrize("word", GOOD)
def test_a_word_may_be_in_any_script(cel: Evaluator, word: str) -> None:
    assert problems(spec(task("a"), category=word, tags=[word], displayName=word), cel) == []


@pytest.mark.parametrize("word", BAD)
@pytest.mark.parametrize("field", ["category", "tags"])
def test_a_word_is_nothing_that_a_selector_or_a_terminal_takes_for_more(field: str, word: str) -> None:
    with pytest.raises(ValidationError, match=r"pattern|at most 63"):
        spec(task("a"), **{field: [word] if field == "tags" else word})


def test_there_are_at_most_twenty_tags() -> None:
    assert len(spec(task("a"), tags=[str(n) for n in range(20)]).tags or ()) == 20
    with pytest.raises(ValidationError, match="at most 20"):
        spec(task("a"), tags=[str(n) for n in range(21)])


def test_a_tag_comes_once(cel: Evaluator) -> None:
    (found,) = problems(spec(task("a"), tags=["x", "y", "x"]), cel)
    assert (found.path, found.message) == (("tags", 2), 'duplicate tag "x"')


@pytest.mark.parametrize(
    ("tasks", "path"),
    [
        ([task("a", key="b"), task("b")], ("tasks", 0, "key")),
        ([task("a"), task("b", key="a")], ("tasks", 1, "key")),
        ([task("a", key="x_y"), task("b", key="x_y")], ("tasks", 1, "key")),
    ],
)
def test_a_key_is_no_other_tasks_name_or_key(cel: Evaluator, tasks: list[Any], path: tuple[Any, ...]) -> None:
    (found,) = problems(spec(*tasks), cel)
    assert found.path == path
    assert found.message.startswith("duplicate key ")


def test_a_key_may_be_the_tasks_own_name(cel: Evaluator) -> None:
    assert problems(spec(task("a", key="a"), task("b", key="B.c_d")), cel) == []


def test_task_code_knows_a_dependency_by_its_key_and_itself() -> None:
    ran = run_here(
        definition(
            task("previous-task", key="previous_task", python={"code": "output['n'] = 3; output['me'] = task"}),
            task(
                "after",
                "previous-task",
                displayName="After it",
                python={"code": "output.update(by_key=input['previous_task'], names=sorted(input), me=task)"},
            ),
            task(
                "shell",
                "previous-task",
                bash={"command": 'grep -q \'"keys":{"previous_task":"previous-task"}\' "$NEXUS_CONTEXT"'},
            ),
        )
    )
    assert ran.outputs["previous-task"]["me"] == {"name": "previous-task", "key": "previous_task"}
    assert ran.outputs["after"] == {
        "by_key": {"n": 3, "me": {"name": "previous-task", "key": "previous_task"}},
        "names": ["previous-task", "previous_task"],
        "me": {"name": "after", "displayName": "After it"},
    }
    assert ran.ending("shell") == ("Succeeded", None)


def test_the_api_server_selects_by_what_users_ask_for() -> None:
    def selectable(model: type[Any]) -> list[str]:
        (version,) = crd(model)["spec"]["versions"]
        return [field["jsonPath"] for field in version["selectableFields"]]

    assert selectable(Workflow) == [".spec.category"]
    assert selectable(WorkflowRun) == [".spec.workflowRef.name", ".status.phase"]
    assert COLUMNS["Workflow"][0] == {"name": "Category", "type": "string", "jsonPath": ".spec.category"}
