"""Items whose own values cannot be rendered: they fail, and none of the others with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import entry_of, spec, task
from tests.operators import story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import JOBS, Object
from nexus.core.expressions.templates import Evaluator

# A value of each item's own: in its pod; in its line of what one Job runs.
OWN_VALUES = {
    "own-pods": {"bash": {"command": "x"}, "env": [{"name": "WHO", "value": "${{ item.name }}"}]},
    "one-job": {"python": {"call": "m:f", "with": {"who": "${{ item.name }}"}}},
}


def says_its_index(pod: Object) -> Outcome:
    labels = pod["metadata"]["labels"]
    return Outcome(message=json.dumps({"output": {"n": int(labels["nexus.dev/index"])}}))


def fan(items: list[Any] | str, **fields: Any) -> Any:
    return task("fan", forEach={"items": items, **fields.pop("forEach", {})}, **fields)


@pytest.fixture(params=OWN_VALUES)
def own_value(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(OWN_VALUES[request.param])


def people(*names: str | None, **fields: Any) -> Any:
    return fan([{"name": name} if name else {} for name in names], **fields)


def test_an_item_without_its_own_values_fails_alone(cel: Evaluator, own_value: dict[str, Any]) -> None:
    fan_out = people("ann", None, "cy", forEach={"maxFailedItems": 1}, **own_value)
    with story(spec(fan_out), cel) as subject:
        subject.cluster.script("fan", says_its_index)
        subject.operator()
        entry = entry_of(subject.run(), "fan")
        assert len(subject.cluster.objects(JOBS)) == 2
    assert (entry.phase, entry.output) == ("Succeeded", {"items": [{"n": 0}, None, {"n": 2}]})
    assert entry.items is not None
    failures = [(one.index, one.reason.value, one.message) for one in entry.items.failures or ()]
    field = "env WHO" if "env" in own_value else "python.with.who"
    assert failures == [
        (1, "ExpressionError", f'{field}: missing key "name"; get(map, "name", default) gives a default instead')
    ]
    assert (entry.items.succeeded, entry.items.failed, entry.items.failed_indexes) == (2, 1, "1")


@pytest.mark.parametrize("slots", [1, 5])
def test_too_many_items_without_their_values_fail_the_task(
    cel: Evaluator, own_value: dict[str, Any], slots: int
) -> None:
    with story(spec(people("ann", None, "cy", None, **own_value), maxParallelTasks=slots), cel) as subject:
        subject.cluster.script("fan", says_its_index)
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert (entry.phase, entry.reason) == ("Failed", "ItemsFailed")
    assert "2 of 4 items failed (1,3)" in (entry.message or "")
    assert "item 1: ExpressionError: " in (entry.message or "")
    assert entry.output == {"items": [{"n": 0}, None, {"n": 2}, None]}


def test_fail_fast_does_not_start_items_after_one_without_its_values(cel: Evaluator, own_value: dict[str, Any]) -> None:
    definition = spec(people("ann", None, "cy", **own_value), failurePolicy="FailFast")
    with story(definition, cel) as subject:
        subject.operator()
        entry = entry_of(subject.run(), "fan")
        assert subject.cluster.objects(JOBS) == []
    assert (entry.phase, entry.reason) == ("Failed", "ItemsFailed")


@pytest.mark.parametrize(("may_fail", "phase"), [(2, "Succeeded"), (1, "Failed")])
def test_where_no_item_has_its_values_nothing_starts(
    cel: Evaluator, own_value: dict[str, Any], may_fail: int, phase: str
) -> None:
    # Written out, lint would see that no item has a name.
    fan_out = fan("${{ [{}, {}] }}", forEach={"maxFailedItems": may_fail}, **own_value)
    with story(spec(fan_out, task("next", "fan", triggerRule="AllDone")), cel) as subject:
        subject.operator()
        entry = entry_of(subject.run(), "fan")
        assert [name for name, _ in subject.witness.order] == ["next"]
    assert (entry.phase, entry.output) == (phase, {"items": [None, None]})


def test_more_failed_items_than_the_record_can_name_still_end_the_task(cel: Evaluator) -> None:
    items = [{} if index % 4 else {"name": "x"} for index in range(640)]
    fan_out = fan(items, **OWN_VALUES["own-pods"])
    with story(spec(fan_out, maxParallelTasks=160), cel) as subject:
        subject.cluster.script("fan", says_its_index)
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert entry.items is not None
    assert (entry.items.failed_indexes or "").endswith("…")
    assert (entry.reason, entry.items.succeeded, entry.items.failed) == ("ItemsFailed", 160, 480)


def test_an_expression_that_is_the_same_for_all_items_ends_the_task(cel: Evaluator) -> None:
    env = [{"name": "A", "value": "${{ item.name }}"}, {"name": "B", "value": "${{ 1 / (size(params.xs) - 1) }}"}]
    definition = spec(
        people(None, "ann", bash={"command": "x"}, env=env, forEach={"maxFailedItems": 2}),
        params=[{"name": "xs", "type": "array", "default": [1]}],
    )
    with story(definition, cel) as subject:
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert (entry.phase, entry.reason) == ("Failed", "ExpressionError")
    assert (entry.message or "").startswith("env B: ")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 9))
def test_an_operator_may_die_while_items_fail_unstarted(
    cel: Evaluator, own_value: dict[str, Any], when: str, nth: int
) -> None:
    fan_out = people("ann", None, "cy", None, forEach={"maxFailedItems": 2}, **own_value)
    with story(spec(fan_out, task("next", "fan"), maxParallelTasks=1), cel) as subject:
        subject.cluster.script("fan", says_its_index)
        first = subject.operator()
        (first.api.crash_after if when == "after" else first.api.crash_before)(nth)
        entry = entry_of(subject.run(), "fan")
    assert (entry.phase, entry.output) == ("Succeeded", {"items": [{"n": 0}, None, {"n": 2}, None]})
    assert sorted(name for name, _ in subject.witness.order) == ["fan", "fan", "next"]
