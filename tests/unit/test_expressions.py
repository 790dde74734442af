"""Templates: where an expression ends, which names it uses, and what rendering makes of values."""

from typing import Any

import pytest

from nexus.core.expressions.templates import (
    MAX_EXPRESSION,
    Expression,
    Reference,
    TemplateError,
    as_text,
    explain_hyphen,
    parse,
    task_identifier,
    unknown_name,
    variables_of,
)


def only(text: str) -> Expression:
    """The one expression of a text."""
    (expression,) = parse(text).expressions
    return expression


def inside(source: str) -> Expression:
    return only("${{ " + source + " }}")


def error(text: str) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("${{ params.day }}", ["params.day"]),
        ("${{params.day}}", ["params.day"]),
        ("${{ 1 }}-${{ 2 }}", ["1", "2"]),
        ("${{ 1 }}${{ 2 }}", ["1", "2"]),
        ('${{ "${{" }}', ['"${{"']),
        ('${{ "}}" }}', ['"}}"']),
        ("${{ '}}' + r'\\' }}", ["'}}' + r'\\'"]),
        ('${{ "\\"}}" }}', ['"\\"}}"']),
        ('${{ """a"}}\n""" }}', ['"""a"}}\n"""']),
        ("${{ b'}}' }}", ["b'}}'"]),
        ('${{ {"a": {"b": 1}} }}', ['{"a": {"b": 1}}']),
        ('${{ {"a": {"b": 1}}}}', ['{"a": {"b": 1}}']),
        ("${{ 1 // don't }}", ["1 // don't"]),
        ("${{ 1 // }} is text", ["1 //"]),
        ("${{ [1,\n 2] }}", ["[1,\n 2]"]),
        ("$${{ 1 }}", ["1"]),
        ("no }} expression {{ here $", []),
        ("", []),
    ],
)
def test_an_expression_ends_at_the_first_braces_outside_strings_and_maps(text: str, sources: list[str]) -> None:
    assert [expression.source for expression in parse(text).expressions] == sources


def test_an_offset_is_where_the_expression_starts_in_the_text() -> None:
    text = "day ${{   params.day }}, ${{ run.name }}"
    first, second = parse(text).expressions
    assert text[first.offset :].startswith("params.day")
    assert text[second.offset :].startswith("run.name")


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("a ${{ 1", 2, 'unclosed ${{; put }} after the expression, for the characters themselves write ${{ "${{" }}'),
        (
            "${{ {1: 2} ",
            0,
            'unclosed ${{; put }} after the expression, for the characters themselves write ${{ "${{" }}',
        ),
        ("a ${{ }}", 2, "empty"),
        ("${{ // nothing }}", 0, "empty"),
        ("${{ 'abc }}", 4, "string is not closed"),
        ("${{ 'a\nb' }}", 4, "string is not closed"),
        ("${{ tasks }}", 4, "name the task"),
        ("${{ tasks[params.x].output }}", 4, "name the task"),
        ("${{ size(tasks) }}", 9, "name the task"),
        (
            "${{ tasks.price }}",
            4,
            'unknown attribute "tasks.price"; tasks have output and phase, did you mean "tasks.price.output"?',
        ),
        (
            "${{ tasks.price.total }}",
            4,
            (
                'unknown attribute "tasks.price.total"; tasks have output and phase, did you mean '
                '"tasks.price.output.total"?'
            ),
        ),
        ("${{ run }}", 4, "run.scheduledTime"),
        ("${{ has(run.name) }}", 8, "always true"),
        ("${{ has(tasks.price.output) }}", 8, "always true"),
    ],
)
def test_a_text_that_is_no_template_is_refused_with_its_place(text: str, offset: int, words: str) -> None:
    refused = error(text)
    assert words in str(refused)
    assert refused.offset == offset


def test_an_expression_of_1024_characters_is_the_longest() -> None:
    longest = "'" + "x" * (MAX_EXPRESSION - 2) + "'"
    assert inside(longest).source == longest
    assert "an expression must have at most 1,024 characters, got 1,025; compute the value in a python task" in str(
        error("${{ " + longest + "+ }}")
    )
    assert "an expression must have at most 1,024 characters, got 3,073; compute the value in a python task" in str(
        error("${{ " + "a + " * 768 + "1 }}")
    )
    unclosed = error("a ${{ " + "b } " * 8_000)
    assert (unclosed.offset, "put the missing }} after it" in str(unclosed)) == (2, True)


@pytest.mark.parametrize(
    ("source", "references"),
    [
        ("params.day", [Reference("params", "day", None, 0)]),
        ('params["day"]', [Reference("params", "day", None, 0)]),
        ("1 + params.n", [Reference("params", "n", None, 4)]),
        ("tasks.price.output.total", [Reference("tasks", "price", "output", 0)]),
        ('tasks["per-region"].phase', [Reference("tasks", "per_region", "phase", 0)]),
        ("tasks.per_region.output", [Reference("tasks", "per_region", "output", 0)]),
        ("tasks.`per-region`['output'].n", [Reference("tasks", "per_region", "output", 0)]),
        ("tasks.price.output.items.size()", [Reference("tasks", "price", "output", 0)]),
        ("run.scheduledTime", [Reference("run", "scheduledTime", None, 0)]),
        ("item.params.tasks", [Reference("item", None, None, 0)]),
        ("[item, index]", [Reference("item", None, None, 1), Reference("index", None, None, 7)]),
        ("response.json", [Reference("response", None, None, 0)]),
        ("json(params)", [Reference("params", None, None, 5)]),
        ("params.size()", [Reference("params", None, None, 0)]),
        ("params[params.which]", [Reference("params", None, None, 0), Reference("params", "which", None, 7)]),
        ("'params.day' + \"tasks\" + r'run' // item", []),
        ("{'a': 1}.params", []),
    ],
)
def test_references_are_the_names_outside_strings_and_comments(source: str, references: list[Reference]) -> None:
    assert list(inside(source).references) == references


def test_a_variable_of_a_macro_hides_ours_inside_its_parentheses_only() -> None:
    expression = inside("params.l.map(item, item.run + run.name).exists(run, run > item)")
    assert [reference.variable for reference in expression.references] == ["params.l", "run.name", "item"]


def test_a_quoted_task_is_written_with_a_dot_and_every_column_stays() -> None:
    written = 'tasks["per-region"].output.n + params["day"].size() + oops'
    source = inside(written).source
    assert source == "tasks.per_region   .output.n + params.day   .size() + oops"
    assert source.index("oops") == written.index("oops")


def test_a_param_that_no_dot_can_name_is_read_from_the_map_of_all() -> None:
    expression = inside('params["in"] == params.day')
    assert expression.source == 'params["in"] == params.day'
    assert expression.references[0] == Reference("params", "in", None, 0)
    assert variables_of(expression) == ["params"]


def test_variables_are_named_once_and_in_order() -> None:
    expression = inside('tasks.a.output.x + tasks["a"].output.y + params.day + tasks.a.phase')
    assert variables_of(expression) == ["tasks.a.output", "params.day", "tasks.a.phase"]


@pytest.mark.parametrize("source", ["has(params.day) && params.day == 'x'", "params.day == json(params)"])
def test_one_use_of_params_as_a_whole_makes_it_the_one_variable(source: str) -> None:
    assert variables_of(inside(source)) == ["params"]
    assert "day" in [reference.name for reference in inside(source).references]


@pytest.mark.parametrize(
    ("name", "identifier"),
    [("per-region", "per_region"), ("a", "a"), ("1st", "_1st"), ("1-st", "_1_st"), ("in", "in_"), ("true", "true_")],
)
def test_a_task_has_a_name_that_a_dot_can_take(name: str, identifier: str) -> None:
    assert task_identifier(name) == identifier
    assert variables_of(inside(f'tasks["{name}"].phase')) == [f"tasks.{identifier}.phase"]


def test_a_hyphen_in_a_bare_name_is_explained_where_such_a_task_exists() -> None:
    expression = inside("1 + tasks.per-region-2.output.n")
    explained = explain_hyphen(expression, ["per", "per-region-2", "per-region"])
    assert explained == (
        'tasks.per-region-2 is a subtraction in CEL; write tasks.per_region_2, or tasks["per-region-2"]'
    )
    assert explain_hyphen(expression, ["per", "region"]) is None
    assert explain_hyphen(inside("tasks.a.output - index"), ["a", "a-index"]) is None


def test_an_unknown_name_is_answered_with_the_closest_or_its_neighbours() -> None:
    known = ["tasks.price.output", "tasks.price.phase", "params.day"]
    assert unknown_name("tasks.prise.output", known).endswith(
        'unknown reference "tasks.prise.output"; did you mean "tasks.price.output"?'
    )
    assert unknown_name("tasks.load.output", known).endswith("known names: tasks.price.output, tasks.price.phase")
    assert unknown_name("item", []) == 'unknown reference "item"; there are no variables here'
    assert unknown_name("params.x", [f"params.p{n}" for n in range(30)]).endswith("and 20 more")


@pytest.mark.parametrize("value", ["text", 3, 1.5, True, None, [1, {"a": None}], {"a": [1]}])
def test_a_whole_expression_keeps_the_type_of_its_value(value: Any) -> None:
    rendered = parse("${{ params.x }}").render([value])
    assert rendered == value
    assert type(rendered) is type(value)


@pytest.mark.parametrize("text", [" ${{ params.x }}", "${{ params.x }}\n", "${{ params.x }}${{ params.x }}"])
def test_anything_beside_an_expression_makes_the_field_text(text: str) -> None:
    template = parse(text)
    assert template.whole is None
    assert template.render([1] * len(template.expressions)) == text.replace("${{ params.x }}", "1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ü $x", "ü $x"),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ([1, "ü"], '[1,"ü"]'),
        ({"a": {"b": 1.5}}, '{"a":{"b":1.5}}'),
    ],
)
def test_a_value_in_a_text_is_compact_json_or_the_text_itself(value: Any, text: str) -> None:
    assert as_text(value) == text
    assert parse("<${{ params.x }}>").render([value]) == f"<{text}>"


def test_what_comes_out_is_never_read_again() -> None:
    assert parse("a ${{ params.x }}").render(["${{ params.y }}"]) == "a ${{ params.y }}"
    assert parse("${{ params.x }}").render(["${{ params.y }}"]) == "${{ params.y }}"


def test_dollars_of_values_are_doubled_where_asked_and_those_of_the_author_never() -> None:
    template = parse("$(TOKEN) ${{ params.x }} $$")
    assert template.render(["$(TOKEN) $$"], double_dollars=True) == "$(TOKEN) $$(TOKEN) $$$$ $$"
    assert template.render(["$(TOKEN)"]) == "$(TOKEN) $(TOKEN) $$"
    whole = parse("${{ params.x }}")
    assert whole.render([{"$a": ["$", 1]}], double_dollars=True) == {"$$a": ["$$", 1]}
    assert parse("<${{ params.x }}>").render([["$A"]], double_dollars=True) == '<["$$A"]>'


def test_a_missing_value_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="1 values for 2 expressions"):
        parse("${{ 1 }}${{ 2 }}").render([1])
