"""What the pods of a fan-out are handed, and what the bootstraps make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import START, definition, facts, run_with, task
from tests.unit.bootstrap_harness import Bench

from nexus.core.data.scope import Item
from nexus.core.expressions.templates import Evaluator, as_text
from nexus.core.model.plan import Payload
from nexus.core.task_types.limits import PayloadError
from nexus.core.tasks.draft import PlanDraft
from nexus.core.tasks.fanout.payload import ItemUnrendered, for_all, for_item

ITEMS = ["plain", "two\nlines\ttab", 'back\\slash \\n "q" $(id) $$ é 漢', "", None, 7, [1, {"a": None}], {"b": "\t"}]


def draft(cel: Evaluator, **fields: Any) -> PlanDraft:
    return PlanDraft(definition(task("t", forEach={"items": []}, **fields)), facts(run=run_with({})), START, cel)


def payload(cel: Evaluator, items: list[Any], **fields: Any) -> Payload:
    made = draft(cel, **fields)
    return for_all(made, made.definition.nodes["t"], items)


def handed(bench: Bench, given: Payload, index: int) -> dict[str, str]:
    """The files and variables of the pod of one item."""
    (bench.nexus / "items").write_text(given.items or "", encoding="utf-8")
    env = {"JOB_COMPLETION_INDEX": str(index)}
    return env | ({"NEXUS_ITEM_FIELDS": given.item_fields} if given.item_fields else {})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("index", range(len(ITEMS)))
def test_bash_gets_its_item_as_text_and_in_the_context(cel: Evaluator, bench: Bench, index: int) -> None:
    given = payload(cel, ITEMS, bash={"command": "true"})
    ended = bench.bash('cat "$NEXUS_CONTEXT"; printf %s "$INDEX:$ITEM" >&2', extra=handed(bench, given, index))
    context = json.loads(ended.stdout)
    assert (context["item"], context["index"]) == (ITEMS[index], index)
    assert ended.stderr == f"{index}:{as_text(ITEMS[index])}"


@pytest.mark.parametrize("index", range(len(ITEMS)))
def test_python_gets_its_item_as_a_value(cel: Evaluator, bench: Bench, index: int) -> None:
    given = payload(cel, ITEMS, python={"code": "1"})
    ended = bench.code("output['got'] = [item, index]", extra=handed(bench, given, index))
    assert ended.output == {"got": [ITEMS[index], index]}


def test_fields_that_name_the_item_are_holes(cel: Evaluator) -> None:
    given = payload(
        cel,
        ["a", {"b": 1}],
        http={
            "url": "http://x/${{ index }}",
            "headers": [{"name": "H", "value": "${{ run.name }}"}, {"name": "I", "value": "${{ item }}"}],
            "json": {"deep": ["${{ item }}", "$ ${{ run.name }}"]},
        },
    )
    assert json.loads(given.item_fields or "") == [["url"], ["headers", 1, "value"], ["json", "deep", 0]]
    shared = json.loads(given.task_json or "")
    assert shared["headers"] == [{"name": "H", "value": "sales-x7k2p"}, {"name": "I", "value": ""}]
    assert shared["json"] == {"deep": ["", "$ sales-x7k2p"]}
    lines = (given.items or "").splitlines()
    assert [json.loads(line.split("\t")[1]) for line in lines] == [
        ["http://x/0", "a", "a"],
        ["http://x/1", '{"b":1}', {"b": 1}],
    ]


def test_a_dollar_of_an_item_is_doubled_where_a_bootstrap_expands(cel: Evaluator) -> None:
    given = payload(cel, ["$(TOKEN)"], http={"url": "http://x/", "body": "${{ item }}"})
    assert json.loads((given.items or "").split("\t")[1]) == ["$$(TOKEN)"]


def test_an_item_in_a_url_is_percent_encoded(cel: Evaluator) -> None:
    given = payload(cel, ["$(TOKEN)/a?b"], http={"url": "http://x/${{ item }}"})
    assert json.loads((given.items or "").split("\t")[1]) == ["http://x/%24%28TOKEN%29/a%3Fb"]


def test_an_item_that_would_walk_up_in_a_url_fails(cel: Evaluator) -> None:
    with pytest.raises(ItemUnrendered):
        payload(cel, ["a", "../b"], http={"url": "http://x/${{ item }}"})


def test_the_bootstrap_fills_the_holes(cel: Evaluator, bench: Bench) -> None:
    given = payload(
        cel, ["a", "b"], sql={"connection": "sqlite://", "query": "select :x x", "parameters": {"x": "${{ item }}"}}
    )
    env = handed(bench, given, 1)
    ended = bench.run("sql", json.loads(given.task_json or ""), extra=env)
    assert ended.output["rows"] == [{"x": "b"}]


def test_the_payload_of_one_item_has_it_in_its_context(cel: Evaluator) -> None:
    made = draft(cel, bash={"command": "true"}, env=[{"name": "WHICH", "value": "${{ index }}-${{ item }}"}])
    given = for_item(made, made.definition.nodes["t"], Item(3, "a$b"), 2)
    context = json.loads(given.context_json)
    assert (context["item"], context["index"]) == ("a$b", 3)
    assert list(context)[-1] == "input"
    assert (given.variables["ITEM"], given.variables["INDEX"]) == ("a$b", "3")
    assert given.variables["NEXUS_ATTEMPT"] == "2"
    assert given.env[0].value == "3-a$$b"


@pytest.mark.parametrize("items", [["a", "b\0"], ["x" * 140_000]])
def test_an_item_that_no_variable_can_hold_is_refused(cel: Evaluator, items: list[str]) -> None:
    with pytest.raises(PayloadError):
        payload(cel, items, bash={"command": "true"})
