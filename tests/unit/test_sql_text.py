"""Which colons of a query start placeholders: by the rules of each database, and lint as the run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import spec, task

from nexus.adapters.cel.pool import CelEvaluator
from nexus.core.task_types.sql_text import DIALECTS, PLACEHOLDER, code_of, pieces, placeholders
from nexus.core.validate import problems


def names(query: str, *dialects: str) -> list[str]:
    return [name for name, _ in placeholders(query, dialects)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("select :a, ':b', \":c\" -- :d\n/* :e */, :f", ["a", "f"]),
        ("select 'it''s :b' || :a", ["a"]),
        (":a::date, b::text, c := :d", ["a", "d"]),
        (":a:b 12:30 x:y \\:z ::q :::r", []),
        (":a||:b,:c", ["a", "b", "c"]),
        (":größe :_1 :1", ["größe", "_1", "1"]),
        ("'open :b", []),
        ('"open :b', []),
        ("/* open :b", []),
        ("-- open :b", []),
        ("select '\\' , :a", ["a"]),
        ("5--:b\n, :a", ["a"]),
    ],
)
def test_what_is_the_same_in_most_databases(query: str, found: list[str]) -> None:
    for dialect in ("postgresql", "sqlite", "mssql", "oracle", "other"):
        assert names(query, dialect) == found


@pytest.mark.parametrize(
    ("dialect", "query", "found"),
    [
        ("postgresql", "E'\\':b' e'a''\\':c' U&'\\' :a", ["a"]),
        ("postgresql", "$$ :b $$ $t$ $$ :c $$ $t$ :a", ["a"]),
        ("postgresql", "$1 :a $2", ["a"]),
        ("postgresql", "x$t$ :a x$t$", ["a"]),
        ("postgresql", "$t$ open :b", []),
        ("postgresql", "/* /* :b */ :c */ :a", ["a"]),
        ("cockroachdb", "$$ :b $$ :a", ["a"]),
        ("mysql", "'\\':b' \"\\\":c\" `:d` :a # :e\n -- :f", ["a"]),
        ("mysql", "5--:a, /* /* :b */ :c", ["a", "c"]),
        ("mysql", "/*!40101 :a */ /*M! :b */ /* :c */", ["a", "b"]),
        ("mysql", "'a''\\':b' :a", ["a"]),
        ("mariadb", "# :b", []),
        ("sqlite", "[it's :b] `:c` :a", ["a"]),
        ("mssql", "[it's :b] /* /* */ :c */ :a", ["a"]),
        ("oracle", "q'[it's :b]' Q'!:c!' nq'{}:d}' :a", ["a"]),
        ("snowflake", "`:b` :a", ["a"]),
    ],
)
def test_what_is_of_one_database(dialect: str, query: str, found: list[str]) -> None:
    assert names(query, dialect) == found


@given(st.text("aeEqM1$[]'\"`:\\/*!-#\n ", max_size=60), st.sampled_from(DIALECTS))
def test_the_pieces_are_the_query(query: str, dialect: str) -> None:
    found = list(pieces(query, dialect))
    assert "".join(text for _, text, _ in found) == query
    assert all(query.startswith(text, at) for _, text, at in found)
    assert all(text[1:].isidentifier() or text[1:].isalnum() for kind, text, _ in found if kind == PLACEHOLDER)


def test_code_is_what_is_executed() -> None:
    assert code_of("select 'a', \"b\" /* c */ from t -- d", "sqlite").split() == ["select", ",", "from", "t"]


def wrong(cel: CelEvaluator, query: str, connection: object) -> list[str]:
    found = problems(spec(task("t", sql={"connection": connection, "query": query})), cel)
    return [f"{problem.offset}: {problem.message}" for problem in found]


def test_lint_tells_what_is_a_placeholder_whatever_the_database(cel: CelEvaluator) -> None:
    secret = {"secretKeyRef": {"name": "db", "key": "url"}}
    why = (
        'missing value for the placeholder :a; add "a" to sql.parameters, or write \\: for a colon that '
        "starts no placeholder"
    )
    assert wrong(cel, "select ':b', :a", secret) == [f"13: {why}"]
    # Code in one database and text in another: only the run knows.
    assert wrong(cel, "# :a\n$$ :a $$ [:a]", secret) == []
    assert wrong(cel, "[:b] # :a", "sqlite://") == [f"7: {why}"]
