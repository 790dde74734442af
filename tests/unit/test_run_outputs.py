"""The outputs of a run: what its definition says they are, once it has succeeded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import START, at, definition, entry_of, facts, failed, job, pod, spec, succeeded, task

from nexus.api.reasons import Reason, RunPhase
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import JobFact
from nexus.core.model.plan import LoadOutput, Plan
from nexus.core.validate import problems

BIG = {"rows": ["x" * 40] * 100}


def ends(cel: Evaluator, outputs: dict[str, str], *jobs: JobFact, read: dict[str, Any] | None = None) -> Plan:
    """The end of a run of two tasks, `load` and then `a-b`, whose reads are answered from `read`."""
    subject = definition(task("load"), task("a-b", "load"), outputs=outputs)
    first = decide(subject, facts(succeeded("load", '{"n":3}')), START, cel)
    found = facts(*jobs, status=first.status) if jobs else facts(succeeded("a-b", '{"ok":true}'), status=first.status)
    plan = decide(subject, found, at(9), cel)
    if plan.reads:
        plan = decide(subject, facts(*jobs, status=first.status, outputs=read or {}), at(9), cel)
    return plan


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ tasks.load.output.n + 1 }}", 4),
        ("${{ tasks.load.output }}", {"n": 3}),
        ("n is ${{ tasks.load.output.n }}", "n is 3"),
        ("${{ tasks.a_b.phase }}", "Succeeded"),
        ('${{ tasks["a-b"].output.ok }}', True),
        ("${{ run.phase }}", "Succeeded"),
        ("as it stands", "as it stands"),
    ],
)
def test_an_output_is_rendered_over_all_tasks_and_keeps_its_type(cel: Evaluator, text: str, value: Any) -> None:
    plan = ends(cel, {"value": text})

    assert plan.status.phase == "Succeeded"
    assert plan.status.outputs == {"value": value}


def test_a_run_without_outputs_has_none(cel: Evaluator) -> None:
    plan = ends(cel, {})

    assert (plan.status.phase, plan.status.outputs, plan.status.outputs_ref) == ("Succeeded", None, None)


def test_a_run_that_has_not_ended_has_none_yet(cel: Evaluator) -> None:
    plan = ends(cel, {"value": "x"}, job("a-b", pod()))

    assert (plan.status.phase, plan.status.outputs) == ("Running", None)


def test_a_run_that_failed_has_none(cel: Evaluator) -> None:
    plan = ends(cel, {"value": "${{ tasks.a_b.output.ok }}"}, failed("a-b"))

    assert (plan.status.reason, plan.status.outputs) == (Reason.TASK_FAILED, None)


def test_large_outputs_lie_in_a_config_map_that_is_made_before_the_status(cel: Evaluator) -> None:
    plan = ends(cel, {"value": "${{ range(600) }}"})

    reference = plan.status.outputs_ref
    assert reference is not None
    (store,) = plan.stores
    assert (store.task, store.config_map, len(store.text.encode())) == ("", reference.config_map, reference.size)
    assert json.loads(store.text) == {"value": list(range(600))}
    assert plan.status.outputs is None


def test_what_a_task_had_stored_is_read_first(cel: Evaluator) -> None:
    subject = definition(task("load"), outputs={"first": "${{ tasks.load.output.rows[0] }}"})
    job_fact = succeeded("load", json.dumps(BIG))
    stored = decide(subject, facts(job_fact), START, cel)
    reference = entry_of(stored.status, "load").output_ref
    assert reference is not None
    running = stored.status.model_copy(
        update={"phase": RunPhase.RUNNING, "completion_time": None, "conditions": None, "outputs": None}
    )

    asked = decide(subject, facts(job_fact, status=running), at(1), cel)
    told = decide(subject, facts(job_fact, status=running, outputs={"load": BIG}), at(1), cel)

    assert asked.reads == (LoadOutput("load", reference.config_map, reference.sha256),)
    assert (asked.status, asked.events) == (running, ())
    assert told.status.outputs == {"first": "x" * 40}


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("${{ tasks.load.output.nothing }}", Reason.EXPRESSION_ERROR, "outputs.value"),
        ("${{ 1 / 0 }}", Reason.EXPRESSION_ERROR, "outputs.value"),
        ("${{ range(1000).map(n, '" + "x" * 600 + "') }}", Reason.OUTPUT_TOO_LARGE, "524,288"),
    ],
)
def test_an_output_that_cannot_be_had_fails_the_run(cel: Evaluator, text: str, reason: Reason, words: str) -> None:
    plan = ends(cel, {"value": text})

    assert (plan.status.phase, plan.status.reason) == ("Failed", reason)
    assert words in (plan.status.message or "")
    assert [event.reason for event in plan.events][-1] == "RunFailed"


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"n": "${{ tasks.laod.output.n }}"}, 'outputs.n: unknown task "laod"; did you mean "load"?'),
        (
            {"n": "${{ params.day }}"},
            'outputs.n: unknown reference "params.day": the workflow has no params; add it to spec.params',
        ),
        ({"n": "${{ 1 + }}"}, "outputs.n: "),
        ({"a-b": "x"}, "outputs.a-b: invalid output name; use at most 63 letters, digits and _, no digit first"),
    ],
)
def test_lint_names_the_output(cel: Evaluator, outputs: dict[str, str], message: str) -> None:
    (problem,) = problems(spec(task("load"), outputs=outputs), cel)

    assert str(problem).startswith(message)
