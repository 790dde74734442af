"""What an expression may cost: counted before it is evaluated, from its tree and the sizes of its values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest

from nexus.adapters.cel import regex
from nexus.adapters.cel.cost import LIMIT, TooCostly, check, is_plain
from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.cel.programs import Programs
from nexus.adapters.cel.tree import Call, Comprehension, Constant, Literal, Select, Variable, read
from nexus.core.expressions.templates import ExpressionError

TEXT = "ab" * 30_000
ROWS = [
    {"id": n, "name": f"file-{n}.csv", "day": "2026-11-23", "tags": ["a", f"b{n}"], "size": n * 1.5}
    for n in range(2_000)
]
SKEWED = [{"id": n, "text": "x" * (300_000 if n == 7 else 20)} for n in range(2_000)]
KINDS = {"rows": "list", "skewed": "list", "text": "string", "needle": "string", "pattern": "string", "table": "map"}
VALUES: dict[str, Any] = {
    "rows": ROWS,
    "skewed": SKEWED,
    "text": TEXT,
    "needle": "ab" * 1_500 + "b",
    "pattern": "^file-[0-9]+",
    "table": {f"key-{n}": n for n in range(20_000)},
}


@pytest.fixture(scope="module")
def programs() -> Programs:
    return Programs()


@pytest.fixture(scope="module")
def evaluator() -> Iterator[CelEvaluator]:
    with CelEvaluator() as made:
        yield made


def cost(programs: Programs, source: str, values: dict[str, Any] = VALUES) -> float:
    return check(read(programs.serialized(source, KINDS)), values)


def test_a_tree_is_what_cel_cpp_made_of_the_source(programs: Programs) -> None:
    kinds = {"tasks.a.output": "dyn", "item": "dyn"}
    output = Variable("tasks.a.output")

    def tree(source: str) -> object:
        return read(programs.serialized(source, kinds))

    assert tree("tasks.a.output.n[-2] + b'x'.size()") == Call(
        "_+_",
        (
            Call("_[_]", (Select(output, "n", test=False), Constant(-2))),
            Call("size", (Constant(b"x"),)),
        ),
    )
    assert tree("has(item.u)") == Select(Variable("item"), "u", test=True)
    assert tree("{'ü': [item, null, 1.5]}") == Literal(
        (Constant("ü"),), (Literal((), (Variable("item"), Constant(None), Constant(None))),)
    )
    found = tree("tasks.a.output.map(x, x > 1, [x])")
    assert isinstance(found, Comprehension)
    assert (found.variable, found.over, found.start, found.result) == (
        "x",
        output,
        Literal((), ()),
        Variable(found.accumulator),
    )


@pytest.mark.parametrize(
    "source",
    [
        "rows",
        "json(rows)",
        "rows.map(r, r.name + ' ' + string(r.id))",
        "rows.map(r, json(r))",
        "rows.map(r, get(r, 'name', 'x'))",
        "rows.map(r, {'id': r.id, 'name': r.name})",
        "rows.map(r, r.name.replace('file', 'datei').split('-')[1])",
        "rows.map(r, r.tags.join('-'))",
        "flatten(rows.map(r, r.tags)).size()",
        "rows.filter(r, r.name.matches('^file-[0-9]{3}[.]csv$')).map(r, r.id)",
        "rows.filter(r, r.name.matches(pattern)).size()",
        "rows.filter(r, r.name.matches('^' + 'file' + '.*')).size()",
        "rows.filter(r, r.day.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}$')).size()",
        "rows.filter(r, r.id < 100).map(r, r.name).join(', ')",
        "rows.filter(r, r.tags.exists(t, t == 'b7'))",
        "rows.filter(r, r.id in [1, 2, 3]).size()",
        "range(1000).map(i, rows[i].name)",
        "rows.exists(r, r.id == 1999)",
        "skewed.map(r, r.text.size())",
        "skewed.filter(r, r.text.matches('^x+$')).size()",
        "skewed.map(r, r.text).size()",
        "text.matches('^(ab)*$')",
        "text.contains(needle)",
        "text.replace('a', 'bb').size()",
        "text.split('a').size()",
        "table['key-5'] + get(table, 'key-6', 0)",
        "range(9999).all(i, i >= 0)",
    ],
)
def test_what_is_usual_is_allowed_with_large_values_too(
    programs: Programs, evaluator: CelEvaluator, source: str
) -> None:
    assert 0 < cost(programs, source) <= LIMIT
    used = {name: value for name, value in VALUES.items() if name in source}
    evaluator.evaluate(source, {name: KINDS[name] for name in used}, used)


@pytest.mark.parametrize(
    "source",
    [
        "range(10000).all(i, json(table) != '')",
        "range(10000).all(i, get(table, 'x', 0) == 0)",
        "range(10000).all(i, table == table)",
        "range(10000).all(i, !(-1 in rows))",
        "range(10000).all(i, flatten(rows) != [])",
        "range(10000).all(i, rows + rows != [])",
        "range(10000).all(i, size(range(10000)) > 0)",
        "range(10000).all(i, !text.contains(needle))",
        "range(10000).all(i, text.indexOf(needle) < 0)",
        "range(10000).all(i, !text.matches('(a|b)*c'))",
        "range(1000).all(i, !''.matches('x{1000}x{1000}'))",
        "range(1000).all(i, !''.matches('((x{10}){10}){10}'))",
        "range(1000).all(i, !''.matches('\\\\pL+\\\\pN+'))",
        "range(1000).all(i, !''.matches(string(i) + pattern))",
        "text.matches('(a[ab]{0,80}){1,20}c')",
        "range(10000).all(i, text.split('').size() > 0)",
        "range(10000).all(i, text.replace('a', 'b') != '')",
        "range(10000).all(i, strftime(timestamp('2026-11-23T00:00:00Z'), text) != '')",
        "range(10000).map(i, text)",
        "range(2400).map(i, i)",
        "skewed.all(r, range(4).all(i, r.text.size() > 0))",
        "skewed.all(r, skewed[7].text.size() > 0)",
        "range(10000).all(i, skewed[i % 8].text.upperAscii() != '')",
        "skewed.filter(r, r.id == 7).all(r, range(9000).all(i, r.text.reverse() != ''))",
        "rows.map(r, rows).size() > 0 && json(rows.map(r, rows)) != ''",
        "'a'" + ".replace('', 'aaaaaaaaaa')" * 9,
        "['a']" + ".map(x, x + x + x + x + x + x + x + x)" * 12,
    ],
)
def test_what_reads_large_values_in_each_of_many_rounds_is_refused(programs: Programs, source: str) -> None:
    with pytest.raises(TooCostly):
        cost(programs, source)


WIDE = list(range(100_000))


@pytest.mark.parametrize(
    "source",
    [
        "[[1]]" + ".map(x, flatten([x, x, x, x, x, x, x, x]))" * 16,
        "[[1]]" + ".map(x, [x, x, x, x, x, x, x, x])" * 12,
        "[rows]" + ".map(x, [x, x, x, x, x, x][0])" * 20,
        "[rows]" + ".map(x, x == x ? x : x)" * 20,
        " + ".join(["rows[0]"] * 31),
        " + ".join(["rows.map(r, r)[0]"] * 20),
        "[" + ", ".join(["rows"] * 150) + "] == []",
        "[]" + ".all(x, rows == rows)",
        "[" + ", ".join(["rows[0] == rows[1]"] * 40) + "]",
        "[" + ", ".join(["json(rows.filter(r, r > 5)[0])"] * 25) + "]",
        "[" + ", ".join(["flatten([rows])[0]"] * 40) + "]",
        "[" + ", ".join(["get(rows[0], 'a', rows)"] * 40) + "]",
    ],
)
def test_to_tell_the_cost_costs_little_itself(programs: Programs, source: str) -> None:
    assert len(source) <= 1_024
    tree = read(programs.serialized(source, KINDS))
    began = time.process_time()
    with suppress(TooCostly):
        check(tree, {"rows": WIDE})
    assert time.process_time() - began < 1.0


GROWING = {
    "json": "range({n}).all(i, json(table) != '')",
    "get": "range({n}).all(i, get(table, 'x', 0) == 0)",
    "comparison": "range({n}).all(i, table == table)",
    "addition": "range({n}).all(i, rows + rows != [])",
    "range": "range({n}).all(i, size(range(10000)) > 0)",
    "search": "range({n}).all(i, !text.contains(needle))",
    "match": "range({n}).all(i, !text.matches('(a|b)*a(a|b){{20}}c'))",
    "compiling": "range({n}).all(i, !''.matches('.{{1000}}'))",
    "unicode": "range({n}).all(i, !''.matches('\\\\pL{{10}}'))",
    "split": "range({n}).all(i, text.split('').size() > 0)",
    "replace": "range({n}).all(i, text.replace('a', 'bbb') != '')",
    "reverse": "range({n}).all(i, text.reverse() != '')",
    "map": "range({n}).map(i, i).size()",
    "filter": "range({n}).filter(i, i >= 0).size()",
    "objects": "rows.map(r, {{'a': r, 'b': [r, r]}}).size() + {n}",
    "rounds": "range({n}).all(i, " + " && ".join(["i * 2 + 1 > i"] * 16) + ")",
}


@pytest.mark.parametrize("name", GROWING)
def test_the_costliest_that_is_allowed_ends_soon(programs: Programs, name: str) -> None:
    """A child that needs four times the CPU time that the cost says is ended here."""

    def allowed(count: int) -> bool:
        try:
            cost(programs, GROWING[name].format(n=count))
        except TooCostly:
            return False
        return True

    low, high = 1, 10_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if allowed(middle) else (low, middle)
    source = GROWING[name].format(n=low)
    used = {name: value for name, value in VALUES.items() if name in source}
    memory = pytest.raises(ExpressionError, match="160 MiB of memory") if name == "filter" else nullcontext()
    with CelEvaluator(seconds=4 * LIMIT / 1e9) as evaluator, memory:
        evaluator.evaluate(source, {name: KINDS[name] for name in used}, used)


@pytest.mark.parametrize(
    ("pattern", "copies"),
    [
        ("abc", 3),
        ("(abc)", 5),
        ("a{4}", 4),
        ("(ab){10}", 40),
        ("((a{2}){3}){5}", 70),
        ("a{2,30}b", 31),
        ("a{0}b", 2),
        ("a{99999}", 1_000),
        (")a{2}", 3),
        ("(", 0),
        ("[0-9]{3}", 8),
        ("\\{{3}", 3),
        ("{", 1),
        ("", 0),
    ],
)
def test_repetitions_in_a_pattern_are_written_out(pattern: str, copies: float) -> None:
    assert round(regex._copies(pattern)) == copies


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("rows[0].id + 1 > 2 && table['a'] in [1, 2] ? 'x' : text", True),
        ("size(rows) - 1", True),
        ("rows.all(r, r.id > 0)", False),
        ("text.matches('x')", False),
        ("{'a': [json(rows)]}", False),
        ("!(text.replace('a', 'b') == 'b')", False),
    ],
)
def test_what_only_reads_its_values_once_is_plain(programs: Programs, source: str, plain: bool) -> None:
    assert is_plain(read(programs.serialized(source, KINDS))) is plain
