"""How long a task's message may get, by the size of its run."""

from __future__ import annotations

import json

import pytest
from tests.builders import RUN, at, definition, failed, task

from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model import status_limits
from nexus.core.model.facts import Facts


@pytest.mark.parametrize(("tasks", "limit"), [(1, 1_000), (65, 1_000), (66, 992), (100, 655), (500, 131), (1_000, 128)])
def test_the_more_tasks_a_run_has_the_shorter_are_their_messages(tasks: int, limit: int) -> None:
    assert status_limits.message_limit(tasks) == limit


@pytest.mark.parametrize(
    ("tasks", "limit"), [(1, 65_536), (100, 65_536), (101, 65_440), (500, 27_136), (1_000, 17_536)]
)
def test_the_more_tasks_a_run_has_the_fewer_outputs_stand_in_its_status(tasks: int, limit: int) -> None:
    assert status_limits.inline_outputs_limit(tasks) == limit


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [("short", 10, "short"), ("exactly ten", 11, "exactly ten"), ("abcdefghij", 9, "abcdef…"), ("ääääää", 10, "äää…")],
)
def test_a_cut_is_in_bytes_and_shows(text: str, limit: int, kept: str) -> None:
    assert status_limits.cut(text, limit) == kept
    assert len(status_limits.cut(text, limit).encode()) <= limit


def test_five_hundred_failures_with_all_there_is_to_say_fit_a_status(cel: Evaluator) -> None:
    tasks = [task(f"task-{number}") for number in range(500)]
    jobs = {
        entry.name: (failed(entry.name, message=json.dumps({"error": {"message": "é" * 1_500}})),) for entry in tasks
    }
    plan = decide(definition(*tasks), Facts(run=RUN, jobs=jobs), at(10), cel)
    assert plan.status.phase == "Failed"
    assert sum(len((entry.message or "").encode()) for entry in plan.status.tasks or ()) <= status_limits.MESSAGES_LIMIT
