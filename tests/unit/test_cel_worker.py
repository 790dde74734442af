"""The CEL child: what expressions give, what their authors are told, and what no expression can do to the parent."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from nexus.adapters.cel.pool import CelEvaluator
from nexus.core.expressions.templates import ExpressionError, parse, variables_of

NIGHT = "2026-11-23T23:30:00Z"


@pytest.fixture(scope="module")
def evaluator() -> Iterator[CelEvaluator]:
    with CelEvaluator() as made:
        yield made


def refusal(evaluator: CelEvaluator, source: str, kind: str = "dyn", value: Any = None) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        evaluator.evaluate(source, {"item": kind}, {"item": value})
    return caught.value


# Values


@pytest.mark.parametrize(
    ("source", "value", "result"),
    [
        ("item.n + 1", {"n": 3.0}, 4),
        ("item.n > 1000", {"n": 1000.5}, True),
        ("item.map(item, item * 2)", [1, 2], [2, 4]),
        (
            "item",
            {"deep": [{"er": [None, True, 1.5, "ü", "$(X) ${{ }}"]}]},
            {"deep": [{"er": [None, True, 1.5, "ü", "$(X) ${{ }}"]}]},
        ),
        ("item + 1.0", 2**63, float(2**63) + 1.0),
        ("item", -(2**63), -(2**63)),
        ("{1: 'a', false: 'b'}", None, {"1": "a", "false": "b"}),
        ("b'abc'", None, "YWJj"),
        ("duration('90s')", None, "90s"),
        ("duration('-3500ms')", None, "-3.5s"),
        ("[timestamp('2026-11-23T02:30:00.5+01:00')]", None, ["2026-11-23T01:30:00.500000Z"]),
        ("item.matches('^[a-z]+$')", "abc", True),
        ("[1, 2].exists(x, x == item)", 2, True),
        ("' a,b '.trim().split(',')", None, ["a", "b"]),
        ("math.greatest(1, 2)", None, 2),
        ("has(item.a) && !has(item.b)", {"a": None}, True),
    ],
)
def test_an_expression_gives_a_json_value(evaluator: CelEvaluator, source: str, value: Any, result: Any) -> None:
    out = evaluator.evaluate(source, {"item": "dyn"}, {"item": value})
    assert (out, type(out)) == (result, type(result))


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("date(item)", "2026-11-24"),
        ("date(item, 'UTC')", "2026-11-23"),
        ("strftime(item, '%A %d %B %Y, %H:%M')", "Tuesday 24 November 2026, 00:30"),
        ("strftime(item, '%H:%M %Z', 'America/New_York')", "18:30 EST"),
        (
            "strftime(item, '%a %w %d %b %m %y %I %p %M %S %f %z %j %U %W %G %u %V %%')",
            "Tue 2 24 Nov 11 26 12 AM 30 00 000000 +0100 328 47 47 2026 2 48 %",
        ),
        ("strftime(item, '%c|%x|%X')", "Tue Nov 24 00:30:00 2026|11/24/26|00:30:00"),
        ("strftime(item, 'é %Y')", "é 2026"),
        ("strftime(timestamp('0033-01-02T00:00:00Z'), '%Y %G', 'UTC')", "0033 0032"),
        ("item", NIGHT),
        ("item - duration('36h')", "2026-11-22T11:30:00Z"),
        ("json({'at': item})", '{"at":"2026-11-23T23:30:00Z"}'),
        ("item < timestamp('2026-11-24T00:00:00Z')", True),
    ],
)
@pytest.mark.parametrize(
    "at",
    [
        NIGHT,
        datetime(2026, 11, 23, 23, 30, tzinfo=UTC),
        datetime(2026, 11, 24, 0, 30, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_times_are_timestamps_and_come_out_as_text(
    evaluator: CelEvaluator, source: str, result: Any, at: object
) -> None:
    assert evaluator.evaluate(source, {"item": "timestamp"}, {"item": at}, zone="Europe/Berlin") == result


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("range(4)", [0, 1, 2, 3]),
        ("range(0)", []),
        ("range(10000).size()", 10_000),
        ("flatten([[1], [2, [3]], 4])", [1, 2, [3], 4]),
        ("flatten(item.l.map(x, [x, x]))", [1, 1, 2, 2]),
        ("get(item, 'l', [])", [1, 2]),
        ("get(item, 'zz', {'a': 1})", {"a": 1}),
        ("get(item.none, 'zz', 2.5)", 2.5),
        ("get(get(item, 'zz', {}), 'y', 'd')", "d"),
        ("get(item, 'none', 1)", None),
        ("get({'a': 1}, 'a', null)", 1),
        ("json(item)", '{"l":[1,2],"none":null,"ü":"\\n"}'),
        ("json('ü')", '"ü"'),
        ("json([1.5, true, null])", "[1.5,true,null]"),
    ],
)
def test_the_functions_beyond_cel_do_what_their_table_says(evaluator: CelEvaluator, source: str, result: Any) -> None:
    value = {"ü": "\n", "l": [1, 2], "none": None}
    assert evaluator.evaluate(source, {"item": "dyn"}, {"item": value}) == result


def documented() -> list[tuple[str, str]]:
    """The examples in the table of functions of docs/expressions.md: an expression, and its value as JSON."""
    text = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text("utf-8")
    return re.findall(r"\| `([^`]+)` → `([^`]+)` \|$", text, re.MULTILINE)


@pytest.mark.parametrize(("source", "result"), documented())
def test_the_examples_in_the_documentation_are_true(evaluator: CelEvaluator, source: str, result: str) -> None:
    kinds = {"run.scheduledTime": "timestamp", "tasks.load.output": "dyn"}
    values = {"run.scheduledTime": NIGHT, "tasks.load.output": None}
    assert evaluator.evaluate(source, kinds, values) == json.loads(result)


def test_every_function_beyond_cel_has_an_example_in_the_documentation() -> None:
    shown = " ".join(source for source, _ in documented())
    assert [name for name in ("date(", "strftime(", "range(", "flatten(", "get(", "json(") if name not in shown] == []


@pytest.mark.parametrize("default", ["true", "1", "1u", "1.5", "'x'", "b'x'", "null", "[1]", "{'a': 1}"])
def test_get_takes_a_default_of_every_kind_but_times(evaluator: CelEvaluator, default: str) -> None:
    same = f"json(get(item, 'x', {default})) == json({default})"
    assert evaluator.evaluate(same, {"item": "dyn"}, {"item": None}) is True


@pytest.mark.parametrize(
    ("source", "kind", "value", "result"),
    [
        ("item + 1.0", "double", 3, 4),
        ("item + 1", "int", 3.0, 4),
        ("item == null", "null", None, True),
        ("item.size()", "list", [1], 1),
        ("item.a", "map", {"a": 1}, 1),
        ("item && true", "bool", True, True),
    ],
)
def test_declared_types_take_their_values(
    evaluator: CelEvaluator, source: str, kind: str, value: Any, result: Any
) -> None:
    assert evaluator.evaluate(source, {"item": kind}, {"item": value}) == result


def test_what_a_template_names_is_what_cel_is_given(evaluator: CelEvaluator) -> None:
    """From the text of a field to its value, names with dots, quotes and hyphens in it."""
    text = (
        'rows: ${{ tasks["per-region"].output.n + params["in"] }}, ${{ date(run.scheduledTime) }} ${{ has(params.x) }}'
    )
    kinds = {"tasks.per_region.output": "dyn", "params": "map", "run.scheduledTime": "timestamp"}
    values = {"tasks.per_region.output": {"n": 2}, "params": {"in": 3}, "run.scheduledTime": NIGHT}
    template = parse(text)
    rendered = []
    for expression in template.expressions:
        names = variables_of(expression)
        rendered.append(
            evaluator.evaluate(expression.source, {n: kinds[n] for n in names}, {n: values[n] for n in names})
        )
    assert template.render(rendered) == "rows: 5, 2026-11-23 false"


def test_half_a_megabyte_goes_in_and_out(evaluator: CelEvaluator) -> None:
    text = "ü$" * (128 * 1024)
    assert evaluator.evaluate("item", {"item": "dyn"}, {"item": {"text": text}}) == {"text": text}


# Types


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("item > 1", "bool"),
        ("item", "dyn"),
        ("item.size()", "int"),
        ("1.5", "double"),
        ("1u", "uint"),
        ("'a'", "string"),
        ("b'a'", "bytes"),
        ("[item]", "list"),
        ("range(2)", "list"),
        ("{'a': item}", "map"),
        ("null", "null"),
        ("timestamp('x')", "timestamp"),
        ("duration('x')", "duration"),
        ("get(item, 'a', 1)", "dyn"),
        ("type(item)", "type"),
        ("optional_none()", "refused"),
    ],
)
def test_check_names_the_type_and_evaluates_nothing(evaluator: CelEvaluator, source: str, kind: str) -> None:
    try:
        found = evaluator.check(source, {"item": "dyn"})
    except ExpressionError:
        found = "refused"
    assert found == kind


# What the author is told


@pytest.mark.parametrize(
    ("source", "at", "words"),
    [
        ("1 + itm", "itm", 'unknown reference "itm"; did you mean "item"?'),
        (
            "tasks.prise.output.n",
            "tasks",
            'unknown reference "tasks.prise.output.n"; did you mean "tasks.price.output"?',
        ),
        ("'ü💡' +\n foo", "foo", 'unknown reference "foo"; known names: item, now, tasks.price.output'),
        ("1 + daet(item)", "daet", 'unknown function "daet"; did you mean "date"?'),
        ("len(item)", "len", 'unknown function "len"; did you mean "size"?'),
        ("json()", "json", 'wrong number of arguments for "json"; docs/expressions.md has an example'),
        ("item == 1 and true", "and", 'unsupported syntax "and"; write &&'),
        ("not item", "item", 'unsupported syntax "not"; write !'),
        ("item if true else 1", "if", 'unsupported syntax "if"; write condition ? a : b'),
        ("item == True", "True", 'unsupported syntax "True"; write true'),
        ("item = 1", "= 1", 'unsupported syntax "="; write =='),
        ("item == 1 # why", "#", 'unsupported syntax "#"; write // for a comment'),
        ("for", "for", 'reserved word "for"; it is allowed after a dot only'),
        ("item +", None, "the expression ends too early"),
        ("item.all(x, x > 0", None, 'missing ")" before the end'),
        ("'a\\q'", "'a", "unclosed string, or an unknown escape, at 'a\\q; write \\\\ for a backslash"),
        (
            "1 + 1.5",
            "+",
            (
                "+ does not support int and double; write the number with a point (1.0), or convert with "
                "double(...) or int(...)"
            ),
        ),
        ("'a' + 1", "+", "+ does not support string and int; convert with string(...), int(...) or double(...)"),
        ("now > 'x'", ">", "> does not support timestamp and string; convert the string with timestamp(...)"),
        ("now.day", ".", "a timestamp has no fields"),
        ("true ? 1 : 'a'", "?", "both results of ? : must have one type, got int and string; wrap both in dyn(...)"),
        (
            "true ? {1: 2} : 3",
            "?",
            "both results of ? : must have one type, got map(int, int) and int; wrap both in dyn(...)",
        ),
        ("1 ? 2 : 3", "?", "the condition before ? must be a boolean, got int"),
        ("1 && true", "&&", "&& requires booleans, got int, bool; compare the value with something"),
        ("+".join(["1"] * 60), None, "chains more than 32 operators"),
        ("[" * 60 + "]" * 60, None, "nested too deeply"),
    ],
)
def test_a_source_that_does_not_compile_is_refused_in_words(
    evaluator: CelEvaluator, source: str, at: str | None, words: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluator.check(source, {"item": "dyn", "tasks.price.output": "dyn", "now": "timestamp"})
    assert words in caught.value.message
    assert not caught.value.budget
    if at is not None:
        assert caught.value.offset is not None
        assert source[caught.value.offset :].startswith(at)


@pytest.mark.parametrize(
    ("source", "value", "words"),
    [
        ("item.total", {}, 'missing key "total"; get(map, "total", default) gives a default instead'),
        ("item['total']", {}, 'missing key "total"; get(map, "total", default) gives a default instead'),
        ("item.total", None, "a value that has none (the item is null, or not an object); get(value"),
        ("string(item)", {}, "string does not support map; convert a list or an object with json(...)"),
        ("item[7]", [1], "missing element [7]; the list has 1, counted from 0"),
        (
            "item + 1",
            1.5,
            (
                "+ does not support double and int; write the number with a point (1.0), or convert with "
                "double(...) or int(...)"
            ),
        ),
        (
            "item + 1",
            None,
            "+ does not support null and int; one of them is null, as the output of a task that did not succeed",
        ),
        ("item ? 1 : 2", 3, "the condition before ? must be a boolean"),
        ("item && true", 3, "&& requires booleans; compare the value with something"),
        ("item.matches('a')", 3, "matches does not support int and string"),
        ("'a'.matches(item)", "(?=a)", "invalid perl operator: (?="),
        ("1 / item", 0, "divide by zero"),
        ("date(item)", "2026-11-23", "date does not support string; convert the string with timestamp(...)"),
        ("date(timestamp(item))", "2026-11-23", "RFC 3339 string, such as 2026-11-23T02:30:00Z"),
        (
            "date(timestamp('2026-01-01T00:00:00Z'), item)",
            "Mars/Base",
            'unknown time zone "Mars/Base"; write it as in Europe/Berlin, or UTC',
        ),
        (
            "date(timestamp('2026-01-01T00:00:00Z'), item)",
            "../../etc/passwd",
            'unknown time zone "../../etc/passwd"; write it as in Europe/Berlin, or UTC',
        ),
        (
            "date(timestamp('2026-01-01T00:00:00Z'), item)",
            "a/" * 5_000,
            (
                'unknown time zone "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/"; write it as '
                "in Europe/Berlin, or UTC"
            ),
        ),
        ("date(timestamp('9999-12-31T23:00:00Z'), 'Asia/Tokyo')", None, "years go from 1 to 9999"),
        ("strftime(timestamp('2026-01-01T00:00:00Z'), item)", "%Y" * 150, "at most 200 characters"),
        *(
            ("strftime(timestamp('2026-01-01T00:00:00Z'), item)", text, words)
            for text, words in [
                ("%s", 'strftime has no code "%s"; write int(t)'),
                ("%:z", 'no code "%:z"; write %z'),
                ("%-d", 'no code "%-d"; write %d'),
                ("%P", "write %p"),
                ("%k", "write %H"),
                ("%10Y", 'no code "%10Y"; codes are'),
                ("%EY", 'no code "%EY"'),
                ("a%", 'the format ends in a single "%"; write %%'),
                ("%\n", 'no code "%\n"'),
                ("%é", 'no code "%é"'),
                ("%+", 'no code "%+"'),
                ("%%%Q", 'no code "%Q"'),
                ("%000d", 'no code "%000d"'),
            ]
        ),
        ("range(item)", 10_001, "n from 0 to 10,000, not 10,001"),
        ("range(item)", -1, "n from 0 to 10,000, not -1"),
        ("flatten(item)", 1, "flatten does not support int"),
        ("get(item, 'a', 1)", [], "get does not support list and string and int"),
        ("flatten([timestamp('2026-01-01T00:00:00Z')])", None, "do not support a time; convert it with string(...)"),
        ("get(item, 'a', timestamp('2026-01-01T00:00:00Z'))", {}, "get does not support map and string and timestamp"),
        ("duration(item)", "x", "90s, 1h30m or 1.5h"),
        ("1.0 / double(item)", 0, "infinite or not a number"),
        ("type(item)", 1, "JSON has none: compare it"),
        (
            "{'a': 1}[item]",
            "x" * 100_000,
            'missing key "xxx',
        ),
        ("item", "a\0b", "U+0000"),
        ("item", {"a\0b": 1}, "U+0000"),
    ],
)
def test_an_expression_that_fails_on_its_values_says_what_to_do(
    evaluator: CelEvaluator, source: str, value: Any, words: str
) -> None:
    error = refusal(evaluator, source, value=value)
    assert words in error.message
    assert len(error.message) < 1200
    assert not error.budget


def test_a_value_that_is_not_of_its_declared_type_is_named(evaluator: CelEvaluator) -> None:
    assert refusal(evaluator, "item", "string", 3).message == "item must be of type string, got int"
    assert "no offset" in refusal(evaluator, "item", "timestamp", "2026-11-23T00:00:00").message


@pytest.mark.parametrize("source", ["item", "{'b': 1, 'a': item}['a']", "get({'x': item}, 'x', 0)", "[item][0]"])
def test_the_names_of_an_object_are_in_order_whatever_process_gave_it(evaluator: CelEvaluator, source: str) -> None:
    value = {name: {"z": 1, "y": [{"d": 1, "c": 2}]} for name in ("delta", "alpha", "charlie", "bravo")}
    found = evaluator.evaluate(source, {"item": "dyn"}, {"item": value})
    assert json.dumps(found) == json.dumps(value, sort_keys=True)


def test_a_backslash_before_u0000_is_only_text(evaluator: CelEvaluator) -> None:
    assert evaluator.evaluate("item", {"item": "string"}, {"item": "\\u0000"}) == "\\u0000"
    assert evaluator.evaluate("item + '\\u0041'", {"item": "string"}, {"item": "\\"}) == "\\A"
