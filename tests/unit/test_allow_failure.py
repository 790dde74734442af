"""allowFailure: what a failure that is allowed does to dependents, to FailFast and to the run."""

from __future__ import annotations

import pytest
from tests.builders import START, definition, facts, failed, job, pod, states, task

from nexus.api.reasons import TaskPhase
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.allow_failure import counted


@pytest.mark.parametrize("phase", list(TaskPhase))
@pytest.mark.parametrize("allowed", [True, False, None])
def test_only_a_failure_that_is_allowed_counts_as_a_success(phase: TaskPhase, allowed: bool | None) -> None:
    turned = allowed and phase is TaskPhase.FAILED

    assert counted(task("t", allowFailure=allowed), phase) is (TaskPhase.SUCCEEDED if turned else phase)


@pytest.mark.parametrize(
    ("rule", "then"),
    [
        ("AllSucceeded", "Running"),
        ("AllDone", "Running"),
        ("AnySucceeded", "Running"),
        ("NoneFailed", "Running"),
        ("AnyFailed", "Skipped RuleNotMet"),
        ("AllFailed", "Skipped RuleNotMet"),
    ],
)
def test_dependents_take_it_for_a_success(cel: Evaluator, rule: str, then: str) -> None:
    subject = definition(task("lints", allowFailure=True), task("next", "lints", triggerRule=rule))

    plan = decide(subject, facts(failed("lints")), START, cel)

    assert states(plan.status) == {"lints": "Failed TaskError", "next": then}


def test_fail_fast_lets_it_pass_and_the_run_succeeds(cel: Evaluator) -> None:
    subject = definition(task("lints", allowFailure=True), task("runs"), failurePolicy="FailFast")
    plan = decide(subject, facts(failed("lints"), job("runs", pod())), START, cel)
    assert states(plan.status) == {"lints": "Failed TaskError", "runs": "Running"}

    alone = decide(definition(task("lints", allowFailure=True)), facts(failed("lints")), START, cel)
    assert (alone.status.phase, alone.status.reason) == ("Succeeded", None)


def test_its_output_is_an_empty_object_for_expressions_and_for_input(cel: Evaluator) -> None:
    subject = definition(
        task("lints", allowFailure=True),
        task("next", "lints", python={"code": "..."}, when='${{ get(tasks.lints.output, "n", 7) == 7 }}'),
        task("tells", "lints", when='${{ tasks.lints.phase == "Failed" && tasks.lints.output == {} }}'),
    )

    plan = decide(subject, facts(failed("lints")), START, cel)

    assert [start.task for start in plan.starts] == ["next", "tells"]
    assert '"input":{"lints":{}}' in plan.starts[0].payload.context_json
