"""Ahead: what is asked at once gets the answers that it would get alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.bench.commands import manifest
from tests.builders import spec, task

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api.manifest import read
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator, ExpressionError
from nexus.core.validate import problems
from nexus.core.validate.ahead import Answered, Noting

ASKED = [
    ("params.n + 1", {"params.n": "int"}),
    ("params.n + 'x'", {"params.n": "int"}),
    ("has(params.n)", {"params": "map"}),
    ("params.n", {"params": "map"}),
    ("item + 1", {"item": "int"}),
    ("item + 1", {"item": "string"}),
    ("item.n + 1", {"item": "map", "item.n": "int"}),
    ("item.n + 'x'", {"item": "map"}),
    ("run.name + string(tasks.a.output.n)", {"run.name": "string", "tasks.a.output": "dyn"}),
    ("response.json.total", {"response": "map"}),
    ("1 +", {}),
    ("nothing", {}),
]


class Counting:
    """Counts the requests to another evaluator."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.requests = 0

    def check(self, source: str, variables: Mapping[str, str]) -> str:
        self.requests += 1
        return self.evaluator.check(source, variables)

    def check_all(self, sources: Sequence[str], variables: Mapping[str, str]) -> list[str | ExpressionError]:
        self.requests += 1
        return self.evaluator.check_all(sources, variables)

    def evaluate(self, source: str, variables: Mapping[str, str], values: Mapping[str, Any], *, zone: str = "") -> Any:
        self.requests += 1
        return self.evaluator.evaluate(source, variables, values, zone=zone)


def alone(evaluator: Evaluator, source: str, variables: Mapping[str, str]) -> str:
    try:
        return evaluator.check(source, variables)
    except ExpressionError as error:
        return f"{error.offset}: {error.message}"


def test_answers_are_those_that_each_would_get_alone(cel: CelEvaluator) -> None:
    noting = Noting()
    for source, variables in ASKED:
        assert noting.check(source, variables) == "dyn"
    counting = Counting(cel)
    ahead = Answered(counting, noting.asked)
    asked = counting.requests
    for source, variables in ASKED:
        expected = alone(cel, source, variables)
        # Which other names are suggested depends on those that are asked about with it.
        assert alone(ahead, source, variables).split(":")[0] == expected.split(":")[0], source
    assert counting.requests == asked, "all of it was known"
    assert ahead.check("1 + 1", {}) == "int", "what was not asked ahead is asked now"


def test_the_largest_definition_takes_a_few_requests(cel: CelEvaluator) -> None:
    (document,) = read(manifest(500), "large.yaml")
    counting = Counting(cel)
    assert problems(WorkflowSpec.model_validate(document.body["spec"]), counting) == []
    assert counting.requests < 10


def test_many_sources_at_once_are_answered_in_order(cel: CelEvaluator) -> None:
    sources = [f"{number} + 1" if number % 7 else f"{number} + 'x'" for number in range(450)]
    answers = cel.check_all(sources, {})
    assert [isinstance(answer, ExpressionError) for answer in answers] == [number % 7 == 0 for number in range(450)]
    assert answers[1] == "int"


def test_one_that_ends_the_evaluator_takes_no_other_with_it() -> None:
    with CelEvaluator() as evaluator:
        first, *_, last = evaluator.check_all(["1 + 1", "[" * 900 + "]" * 900, "'a'"], {})
    assert (first, last) == ("int", "string")


@pytest.mark.parametrize("field", ["${{ has(params.day) ? params.day : 'x' }}", "${{ params.day }}"])
def test_has_of_a_param_does_not_disturb_others(cel: CelEvaluator, field: str) -> None:
    both = [
        task("a", env=[{"name": "A", "value": field}]),
        task("b", env=[{"name": "A", "value": "${{ params.day }}"}]),
    ]
    assert problems(spec(*both, params=[{"name": "day", "default": "x"}]), cel) == []
