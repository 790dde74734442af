"""Foresight: what can be known of a run before it is there, and what is said where it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import RUN, START, definition, run_with, task

from nexus.core.engine.preview import Forecast, Foreseen, foresee
from nexus.core.expressions.templates import Evaluator


def foreseen(cel: Evaluator, *tasks: Any, params: dict[str, Any] | None = None, **fields: Any) -> dict[str, Foreseen]:
    run = run_with(params) if params else RUN
    return {entry.task: entry for entry in foresee(definition(*tasks, **fields), run, START, cel)}


def words(found: dict[str, Foreseen]) -> dict[str, str]:
    return {name: f"{entry.verdict}: {entry.why}".removesuffix(": ") for name, entry in found.items()}


LOUD = [{"name": "loud", "type": "boolean", "default": False}]


def test_a_when_over_params_decides_and_a_skip_travels_on(cel: Evaluator) -> None:
    tasks = (task("a", when="${{ params.loud }}"), task("b", "a"), task("c", "b", triggerRule="AllDone"))
    quiet = {entry.task: entry for entry in foresee(definition(*tasks, params=LOUD), RUN, START, cel)}
    assert words(quiet) == {
        "a": "Skipped: when is false: ${{ params.loud }}",
        "b": "Skipped: a was skipped",
        "c": "Runs",
    }
    loud = foresee(definition(*tasks, params=LOUD), run_with({"loud": True}), START, cel)
    assert [entry.verdict for entry in loud] == [Forecast.RUNS] * 3


def test_a_when_over_an_output_is_a_condition_and_what_follows_may_be_skipped(cel: Evaluator) -> None:
    asks = "${{ tasks.a.output.rows > 0 }}"
    found = foreseen(
        cel,
        task("a"),
        task("b", "a", when=asks),
        task("c", "b"),
        task("done", "b", triggerRule="AllDone"),
        task("either", "a", "b", triggerRule="NoneFailed"),
        task("only", "b", triggerRule="AnySucceeded"),
        **{"finally": [task("last", when="${{ run.phase == 'Succeeded' && tasks.b.phase == 'Succeeded' }}")]},
    )
    assert words(found) == {
        "a": "Runs",
        "b": f"Depends: if {asks}",
        "c": "Depends: if b did",
        "done": "Runs",
        "either": "Runs",
        "only": "Depends: if b did",
        "last": "Runs",
    }


def test_what_waits_for_a_failure_is_told_as_such(cel: Evaluator) -> None:
    asks = "${{ run.phase != 'Succeeded' }}"
    last = {"finally": [task("page", when=asks)]}
    found = foreseen(cel, task("a"), task("alarm", "a", triggerRule="AnyFailed"), **last)
    assert words(found) == {
        "a": "Runs",
        "alarm": "UnlessWell: triggerRule AnyFailed",
        "page": f"UnlessWell: when {asks}",
    }


def test_an_expression_that_must_fail_is_known_to(cel: Evaluator) -> None:
    env = [{"name": "A", "value": "${{ 1 / (size(params.xs) - 1) }}"}]
    xs = [{"name": "xs", "type": "array", "default": [1]}]
    found = {entry.task: entry for entry in foresee(definition(task("a", env=env), params=xs), RUN, START, cel)}
    assert found["a"].verdict is Forecast.FAILS
    assert found["a"].why == "ExpressionError: env A: divide by zero"


def test_fields_are_rendered_as_far_as_they_can_be(cel: Evaluator) -> None:
    http = {"url": "https://h/${{ params.day }}/${{ tasks.a.output.id }}", "json": {"n": "${{ params.n }}", "x": 1}}
    params = [{"name": "day", "default": "mon"}, {"name": "n", "type": "integer", "default": 3}]
    tasks = (task("a"), task("b", "a", http=http, env=[{"name": "P", "value": "${{ tasks.a.phase }}"}]))
    found = {entry.task: entry for entry in foresee(definition(*tasks, params=params), RUN, START, cel)}
    assert found["a"].fields == {}
    assert found["b"].fields == {
        "env P": "Succeeded",
        "http.url": "https://h/mon/${{ tasks.a.output.id }}",
        "http.json.n": 3,
    }


@pytest.mark.parametrize(
    ("for_each", "total", "items", "value"),
    [
        ({"items": ["eu", "us"]}, 2, ["eu", "us"], "eu 0"),
        ({"items": "${{ range(params.n) }}"}, 30, list(range(20)), "0 0"),
        ({"matrix": {"a": ["x", "y"]}}, 2, [{"a": "x"}, {"a": "y"}], '{"a":"x"} 0'),
        ({"items": "${{ tasks.a.output.list }}"}, None, ["${{ tasks.a.output.list }}"], "${{ item }} 0"),
        ({"items": []}, 0, [], None),
    ],
)
def test_items_are_told_where_no_output_says_them(
    cel: Evaluator, for_each: dict[str, Any], total: int | None, items: list[Any], value: str | None
) -> None:
    env = [{"name": "A", "value": "${{ item }} ${{ index }}"}]
    subject = definition(
        task("a"),
        task("each", "a", forEach=for_each, env=env),
        task("sum", "each", env=[{"name": "N", "value": "${{ tasks.each.output.items.size() }}"}]),
        params=[{"name": "n", "type": "integer", "default": 30}],
    )
    found = {entry.task: entry for entry in foresee(subject, RUN, START, cel)}
    each = found["each"]
    assert (each.verdict, each.total, each.items) == (Forecast.RUNS, total, items)
    assert each.fields == ({} if value is None else {"env A": value})
    assert found["sum"].verdict is Forecast.RUNS


def test_fields_of_items_that_are_not_known_fail_nothing(cel: Evaluator) -> None:
    each = task(
        "each",
        "a",
        forEach={"matrix": {"x": "${{ tasks.a.output.list }}", "y": [1]}},
        python={"call": "m:f", "with": {"n": "${{ item.x.name }}"}},
    )
    found = foreseen(cel, task("a"), each)
    assert (found["each"].verdict, found["each"].fields) == (Forecast.RUNS, {"python.with.n": "${{ item.x.name }}"})


def test_waits_approvals_quantities_and_child_runs_go_on_without_knowing(cel: Evaluator) -> None:
    cpu = {"resources": {"requests": {"cpu": "${{ tasks.a.output.cpu }}m"}}}
    found = foreseen(
        cel,
        task("a"),
        task("pause", "a", wait={"seconds": "${{ tasks.a.output.s }}"}),
        task("until", "a", wait={"until": "${{ tasks.a.output.t }}"}),
        task("ask", "a", approval={"message": "${{ tasks.a.output.n }} rows?"}),
        task("big", "a", pod=cpu, pool="warehouse"),
        task("child", "ask", workflow={"name": "other", "params": {"n": "${{ tasks.a.output.n }}"}}),
        task("after", "child", when="${{ tasks.ask.output.by == 'ann' }}"),
        outputs={"n": "${{ tasks.a.output.n }}"},
        maxParallelTasks=1,
    )
    assert set(words(found).values()) == {"Runs", "Depends: if ${{ tasks.ask.output.by == 'ann' }}"}
    assert found["ask"].fields == {"approval.message": "${{ tasks.a.output.n }} rows?"}


def test_every_pool_has_room_in_a_plan(cel: Evaluator) -> None:
    fan_out = task("fan", "a", pool="w", forEach={"items": [1, 2]})
    found = foreseen(cel, task("a", pool="w"), fan_out, task("b", "fan"))
    assert [entry.verdict for entry in found.values()] == [Forecast.RUNS] * 3


def test_a_field_that_fails_for_an_item_fails_the_task_and_what_follows(cel: Evaluator) -> None:
    def fan(**more: Any) -> dict[str, Any]:
        env = [{"name": "X", "value": "${{ item * 2.0 }}"}, {"name": "Y", "value": "y${{ params.n }}"}]
        subject = definition(
            task("each", forEach={"items": [0.5, 1.0, 1.5], **more}, env=env),
            task("then", "each"),
            params=[{"name": "n", "type": "integer", "default": 1}],
        )
        return {entry.task: entry for entry in foresee(subject, RUN, START, cel)}

    each = fan()["each"]
    assert (each.verdict, each.total) == (Forecast.FAILS, 3)
    assert [list(fields) for fields in each.each] == [["env X", "env Y"]] * 3
    assert each.why.startswith("1 of 3 items fail; item 1 fails: env X: * does not support int and double")
    assert [each.each[index]["env X"] for index in (0, 2)] == [1, 3]
    assert fan()["then"].verdict is Forecast.SKIPPED
    assert {name: entry.verdict for name, entry in fan(maxFailedItems=1).items()} == {
        "each": Forecast.RUNS,
        "then": Forecast.RUNS,
    }
