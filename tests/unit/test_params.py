"""Params: values, defaults, and every way in which a value can be wrong."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import RUN

from nexus.api.workflow import Param
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.expressions.templates import Evaluator


def param(name: str, **fields: Any) -> Param:
    return Param.model_validate({"name": name, **fields})


def problems(evaluator: Evaluator, *params: Param, **given: Any) -> tuple[str, ...]:
    with pytest.raises(ParamsInvalid) as caught:
        resolve(params, given, RUN, evaluator)
    return tuple(map(str, caught.value.problems))


def test_a_given_value_wins_over_the_default(cel: Evaluator) -> None:
    params = [param("day", default="monday"), param("zone", default="UTC")]

    assert resolve(params, {"day": "friday"}, RUN, cel) == {"day": "friday", "zone": "UTC"}


def test_a_default_is_rendered_over_the_run_and_keeps_its_type(cel: Evaluator) -> None:
    params = [
        param("day", default="${{ date(run.scheduledTime) }}"),
        param("text", default="run ${{ run.name }} by ${{ run.trigger }}"),
        param("list", type="array", default=["${{ run.namespace }}", 3]),
        param("null_is_a_default", type="object", default={"deep": {"er": "${{ run.workflow }}"}}),
    ]

    assert resolve(params, {}, RUN, cel) == {
        "day": "2026-11-23",
        "text": "run sales-x7k2p by manual",
        "list": ["default", 3],
        "null_is_a_default": {"deep": {"er": "sales"}},
    }


def test_a_given_value_is_a_value_and_never_rendered(cel: Evaluator) -> None:
    assert resolve([param("day")], {"day": "${{ run.name }}"}, RUN, cel) == {"day": "${{ run.name }}"}


NOUNS = {"array": "a list", "integer": "an integer", "object": "an object"} | {
    kind: f"a {kind}" for kind in ("string", "number", "boolean")
}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", ["", "x", "3"], [3, True, None, ["x"], {}]),
        ("integer", [3, -3, 3.0], [True, 3.5, "3", None]),
        ("number", [3, 3.5, -1e300], [True, "3.5", None]),
        ("boolean", [True, False], [0, 1, "true", None]),
        ("array", [[], [1, "x"]], [{}, "[]", None]),
        ("object", [{}, {"a": 1}], [[], "{}", None]),
    ],
)
def test_types_are_those_of_json_schema(cel: Evaluator, kind: str, good: list[Any], bad: list[Any]) -> None:
    subject = param("p", type=kind)

    for value in good:
        assert resolve([subject], {"p": value}, RUN, cel) == {"p": value}
    for value in bad:
        (problem,) = problems(cel, subject, p=value)
        assert problem.startswith("params.p: ")
        assert f"must be {NOUNS[kind]}, got " in problem


def test_a_value_of_another_type_is_told_how_to_be_written(cel: Evaluator) -> None:
    assert problems(cel, param("p"), p=3) == ("params.p: must be a string, got integer 3; quote it",)
    assert problems(cel, param("p", type="integer"), p="3") == (
        'params.p: must be an integer, got string "3"; remove the quotes',
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (1, None),
        (10, None),
        (2.5, None),
        (0.5, "params.p: must be at least 1, got 0.5"),
        (-3, "params.p: must be at least 1, got -3"),
        (10.01, "params.p: must be at most 10, got 10.01"),
    ],
)
def test_a_number_keeps_to_its_bounds_themselves_allowed(cel: Evaluator, value: float, problem: str | None) -> None:
    subject = param("p", type="number", minimum=1, maximum=10)

    if problem is None:
        assert resolve([subject], {"p": value}, RUN, cel) == {"p": value}
    else:
        assert problems(cel, subject, p=value) == (problem,)


@pytest.mark.parametrize(
    ("fields", "without", "null"),
    [
        (
            {},
            "missing value, and no default; give one with --param p=... or in spec.params",
            "must be a string, got null",
        ),
        (
            {"required": True},
            "missing required value; give one with --param p=... or in spec.params",
            "must be a string, got null",
        ),
        ({"required": False}, None, None),
        ({"required": False, "default": None}, None, None),
        ({"required": False, "type": "object"}, None, None),
        ({"required": False, "default": "x"}, "x", "must be a string, got null"),
        ({"default": "x"}, "x", "must be a string, got null"),
    ],
)
def test_a_param_without_a_value_is_refused_unless_it_says_that_it_may_be_null(
    cel: Evaluator, fields: dict[str, Any], without: str | None, null: str | None
) -> None:
    subject = param("p", **fields)

    if without in (None, "x"):
        assert resolve([subject], {}, RUN, cel) == {"p": without}
    else:
        assert without in problems(cel, subject)[0]
    if null is None:
        assert resolve([subject], {"p": None}, RUN, cel) == {"p": None}
    else:
        assert null in problems(cel, subject, p=None)[0]


def test_a_param_that_may_be_null_is_still_held_to_the_rest(cel: Evaluator) -> None:
    subject = param("p", required=False, type="integer", minimum=1, enum=[1, 2])

    assert problems(cel, subject, p="x") == ('params.p: must be an integer, got string "x"',)
    assert problems(cel, subject, p=3) == ("params.p: must be one of [1,2], got 3",)


def test_an_enum_names_what_it_allows(cel: Evaluator) -> None:
    subject = param("size", enum=["s", "m"])

    assert resolve([subject], {"size": "m"}, RUN, cel) == {"size": "m"}
    assert problems(cel, subject, size="xl") == ('params.size: must be one of ["s","m"], got "xl"',)


@pytest.mark.parametrize(("value", "fits"), [("2026-11-23", True), ("x 2026-11-23 x", True), ("2026-11", False)])
def test_a_pattern_is_searched_for_unless_it_is_anchored(cel: Evaluator, value: str, fits: bool) -> None:
    subject = param("day", pattern=r"\d{4}-\d\d-\d\d")

    if fits:
        assert resolve([subject], {"day": value}, RUN, cel) == {"day": value}
    else:
        assert problems(cel, subject, day=value) == (
            r'params.day: "2026-11" does not match the pattern \d{4}-\d\d-\d\d',
        )


def test_a_pattern_that_backtracking_engines_hang_on_is_answered_at_once(cel: Evaluator) -> None:
    (problem,) = problems(cel, param("p", pattern="^(a+)+$"), p="a" * 5_000 + "!")

    assert "does not match" in problem


def test_every_problem_is_named_at_once(cel: Evaluator) -> None:
    found = problems(cel, param("day"), param("size", type="integer"), param("zone", default="UTC"), size="x", dya="x")

    assert found == (
        'params.dya: unknown param "dya"; did you mean "day"?',
        "params.day: missing value, and no default; give one with --param day=... or in spec.params",
        'params.size: must be an integer, got string "x"',
    )


def test_a_workflow_without_params_says_so(cel: Evaluator) -> None:
    assert problems(cel, day="x") == ('params.day: unknown param "day"; the workflow has no params',)


def test_a_default_that_fails_is_named(cel: Evaluator) -> None:
    (problem,) = problems(cel, param("p", type="integer", default="${{ 1 / 0 }}"))

    assert problem.startswith("params.p: its default fails: ")


def test_a_default_that_renders_to_another_type_is_refused(cel: Evaluator) -> None:
    (problem,) = problems(cel, param("p", type="integer", default="${{ run.name }}"))

    assert problem == 'params.p: must be an integer, got string "sales-x7k2p"'


def test_params_together_have_a_limit(cel: Evaluator) -> None:
    (problem,) = problems(cel, param("a"), param("b"), a="x" * 40_000, b="y" * 40_000)

    assert "65,536 bytes" in problem


@pytest.mark.parametrize("value", ["a\0b", "half \ud800 a pair"])
def test_text_that_no_environment_takes_is_refused(cel: Evaluator, value: str) -> None:
    (problem,) = problems(cel, param("p"), p=value)

    assert "pass bytes as base64" in problem
