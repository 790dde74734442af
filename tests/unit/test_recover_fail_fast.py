"""A failure that is allowed ends nothing under FailFast: what was made for other tasks is taken over all the same."""

from __future__ import annotations

import pytest
from tests.operators import Story

from nexus.api.reasons import RunPhase
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator


@pytest.mark.parametrize("policy", ["Continue", "FailFast"])
def test_an_allowed_failure_in_the_same_decision_does_not_give_a_slot_twice(cel: Evaluator, policy: str) -> None:
    work = {"dependsOn": ["a"], "container": {"image": "work:1"}}
    tasks = [
        {"name": "a", "when": "${{ 1 / 0 == 1 }}", "wait": {"seconds": 3}, "allowFailure": True},
        {"name": "one", **work},
        {"name": "two", "forEach": {"items": [1]}, **work},
    ]
    given = {"maxParallelTasks": 1, "failurePolicy": policy, "tasks": tasks}
    story = Story(WorkflowSpec.model_validate(given), cel)
    try:
        story.operator()
        story.run()  # asserts at each change that no more pods are live than may be
        assert story.status.phase is RunPhase.SUCCEEDED
    finally:
        story.close()
