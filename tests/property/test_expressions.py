"""Any text is a template or is refused with a place in it; any value comes through an expression as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.adapters.cel.pool import CelEvaluator
from nexus.core.expressions.templates import ExpressionError, Template, TemplateError, as_text, parse, variables_of
from nexus.core.expressions.tokens import Kind, UnclosedString, next_token

# Texts rich in what could be taken for something else.
PIECES = st.sampled_from(
    [
        "${{", "}}", "{", "}", '"', "'", '"""', "\\", "//", "$", "(", ")", "[", "]", ".", ",", "-", "`", "r", "b",
        "ü", "1", ".5", "\n", " ", "params", "tasks", "run", "item", "day", "output", "phase", "map", "has", "in",
        '["a-b"]', "tasks.a.output", "params.b",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False, width=64)
# All but U+0000, which is refused (tests/unit/test_cel_worker.py).
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | CHARACTERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CHARACTERS, inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def evaluator() -> Iterator[CelEvaluator]:
    with CelEvaluator() as made:
        yield made


@given(TEXTS)
def test_any_text_is_a_template_or_is_refused_inside_it(text: str) -> None:
    try:
        template = parse(text)
    except TemplateError as error:
        refused = error.offset
    else:
        refused = 0
        covers(template, text)
    assert 0 <= refused < max(1, len(text))


def covers(template: Template, text: str) -> None:
    """The parts of a template are the whole text, and every reference is where it says."""
    position = 0
    for part in template.parts:
        if isinstance(part, str):
            assert "${{" not in part
            assert text.startswith(part, position)
            position += len(part)
        else:
            assert len(part.source) == len(text[part.offset : part.offset + len(part.source)])
            position = text.index("}}", part.offset + len(part.source)) + 2
            assert all(part.source.startswith(reference.root, reference.offset) for reference in part.references)
            assert all(name.split(".")[0] in part.source for name in variables_of(part))
    assert position == len(text)


@given(TEXTS)
def test_tokens_cover_a_text_in_order_and_without_overlap(text: str) -> None:
    position, unclosed = 0, '"'
    try:
        while (token := next_token(text, position)) is not None:
            assert position <= token.start < token.end
            assert text[token.start : token.end] == token.text
            assert token.kind is not Kind.STRING or token.text[-1] in "\"'"
            position = token.end
    except UnclosedString as error:
        unclosed = text[error.start]
    assert unclosed in "\"'`"


@given(st.lists(JSON_VALUES, max_size=4), TEXTS.filter(lambda text: "${{" not in text + "$"))
def test_a_rendered_text_holds_its_values_and_nothing_else(values: list[Any], literal: str) -> None:
    literal = literal.rstrip("$")
    template = parse(literal.join(["${{ 1 }}"] * (len(values) + 1)) if values else literal)
    filled = [*values, "$"] if values else []
    if template.whole is None:
        assert template.render(filled) == (literal.join(as_text(value) for value in filled) if values else literal)


def normal(value: Any) -> Any:
    """A JSON value as CEL knows it: 3.0 is 3, and -0.0 is 0."""
    match value:
        case bool() | None | str():
            return value
        case float() if value.is_integer() and abs(value) < 2**63:
            return int(value)
        case list():
            return [normal(item) for item in value]
        case dict():
            return {key: normal(item) for key, item in value.items()}
    return value


@given(JSON_VALUES)
def test_any_json_value_comes_through_an_expression_as_it_is(evaluator: CelEvaluator, value: Any) -> None:
    out = evaluator.evaluate("item", {"item": "dyn"}, {"item": value})
    assert out == normal(value)
    assert as_text(evaluator.evaluate("[item][0]", {"item": "dyn"}, {"item": value})) == as_text(out)


@given(TEXTS)
def test_any_source_has_a_type_or_is_refused_in_words(evaluator: CelEvaluator, source: str) -> None:
    error = ExpressionError("none")
    try:
        assert evaluator.check(source, {"item": "dyn", "params.b": "string", "tasks.a.output": "dyn"})
    except ExpressionError as refusal:
        error = refusal
    assert error.message
    assert "<input>" not in error.message
    assert error.offset is None or 0 <= error.offset <= len(source)
    assert not error.budget
