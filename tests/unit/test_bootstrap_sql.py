"""sql tasks: the bootstrap as a real process against real SQLite databases."""

from __future__ import annotations

import base64
import sqlite3
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.bootstrap_harness import REFUSED, Bench, Ended

from nexus.bootstrap import text

ENV = {"env": "NEXUS_SQL_URL"}
NASTY = "'; drop table orders; -- \" \n$(TOKEN) $$ ${{ x }} :n é 漢 🙂"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "orders.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("create table orders(id integer primary key, name text not null, price real)")
    return path


def query(bench: Bench, statement: str, database: Path | None = None, **parameters: Any) -> Ended:
    spec: dict[str, Any] = {"connection": "sqlite://", "query": statement, "parameters": parameters}
    if database is None:
        return bench.run("sql", spec)
    return bench.run("sql", {**spec, "connection": ENV}, extra={"NEXUS_SQL_URL": f"sqlite:///{database}"})


def stored(database: Path) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("select * from orders order by id").fetchall()


# Statements


def test_rows_are_objects_and_an_unknown_count_is_null(bench: Bench) -> None:
    output = query(bench, "select 1 as n, 'é' as s, null as gone union all select 2, 'b', 1.5").output
    assert output == {
        "rows": [{"n": 1, "s": "é", "gone": None}, {"n": 2, "s": "b", "gone": 1.5}],
        "rowcount": None,
    }


def test_a_query_without_a_result_has_no_rows(bench: Bench) -> None:
    assert query(bench, "create table t(a)").output["rows"] == []


def test_an_insert_is_committed_and_counted(bench: Bench, database: Path) -> None:
    ended = query(bench, "insert into orders(name, price) values (:name, :price)", database, name=NASTY, price=2.5)
    assert ended.output == {"rows": [], "rowcount": 1}
    assert stored(database) == [(1, NASTY, 2.5)]


def test_lists_and_objects_are_bound_as_json(bench: Bench) -> None:
    statement = "select value ->> 'n' as n, json_extract(:one, '$.k') as k from json_each(:rows)"
    output = query(bench, statement, rows=[{"n": 1}, {"n": "é"}], one={"k": NASTY}).output
    assert output["rows"] == [{"n": 1, "k": NASTY}, {"n": "é", "k": NASTY}]


def test_values_are_bound_with_their_types(bench: Bench) -> None:
    output = query(
        bench, "select typeof(:a) as a, typeof(:b) as b, typeof(:c) as c, :d as d", a=1, b=1.5, c=None, d=True
    )
    assert output.output["rows"] == [{"a": "integer", "b": "real", "c": "null", "d": 1}]


def test_a_literal_connection_is_a_database_in_memory(bench: Bench) -> None:
    assert query(bench, "select count(*) as n from sqlite_master").output["rows"] == [{"n": 0}]


def test_more_than_one_statement_is_refused_and_nothing_stored(bench: Bench, database: Path) -> None:
    ended = query(bench, "insert into orders(name) values ('a'); insert into orders(name) values ('b')", database)
    assert ended.exit_code == 1
    assert "one statement" in ended.error["message"]
    assert stored(database) == []


def test_bytes_are_base64(bench: Bench) -> None:
    raw = bytes(range(256))
    assert query(bench, f"select x'{raw.hex()}' as b").output["rows"] == [{"b": base64.b64encode(raw).decode()}]


# Failures: nothing is committed


def test_a_database_error_is_told_in_the_drivers_words(bench: Bench, database: Path) -> None:
    ended = query(bench, "insert into orders(name) values (:name)", database, name=None)
    assert (ended.exit_code, ended.error["type"]) == (1, "IntegrityError")
    assert ended.error["message"] == "NOT NULL constraint failed: orders.name"


def test_a_syntax_error_does_not_repeat_the_parameters(bench: Bench) -> None:
    ended = query(bench, "selec :secret", secret="s3cr3t")
    assert (ended.error["type"], "selec" in ended.error["message"]) == ("OperationalError", True)
    assert "s3cr3t" not in ended.message.decode() + ended.stderr


def test_a_missing_parameter_is_named_beside_those_that_are_not_used(bench: Bench) -> None:
    ended = query(bench, "select :day, :total", day=1, totl=2)
    assert ended.error["type"] == "ParameterMissing"
    assert "placeholder :total" in ended.error["message"]
    assert "totl" in ended.error["message"]


def test_a_colon_that_is_no_placeholder_can_be_escaped(bench: Bench) -> None:
    assert query(bench, r"select ' \:day' as s, '12:30' as t").output["rows"] == [{"s": " :day", "t": "12:30"}]


def test_columns_of_the_same_name_are_refused_by_name(bench: Bench, database: Path) -> None:
    ended = query(bench, "select 1 as a, 2 as b, 3 as a", database)
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "InvalidOutput")
    assert "more than one column named a" in ended.error["message"]


def test_a_result_without_end_is_cut_off_at_the_limit(bench: Bench) -> None:
    statement = """with recursive c(n) as (select 1 union all select n + 1 from c)
        select n, 'xxxxxxxxxxxxxxxx' as x from c"""
    ended = query(bench, statement)
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "OutputTooLarge")
    assert "rows are" in ended.error["message"]
    assert "add a limit" in ended.error["message"]


def test_what_a_refused_output_had_stored_is_rolled_back(bench: Bench, database: Path) -> None:
    statement = "insert into orders(name) select printf('%01000d', value) from json_each(:rows) returning name"
    ended = query(bench, statement, database, rows=list(range(600)))
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "OutputTooLarge")
    assert stored(database) == []


@pytest.mark.parametrize(("expression", "words"), [("9e999", 'output["rows"][0]["a"] is inf'), ("-9e999", "is -inf")])
def test_a_value_that_is_not_json_is_refused_and_its_place_named(bench: Bench, expression: str, words: str) -> None:
    ended = query(bench, f"select {expression} as a")
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "InvalidOutput")
    assert words in ended.error["message"]


def test_what_the_driver_cannot_bind_is_an_error_of_the_task(bench: Bench) -> None:
    ended = query(bench, "select :n", n=2**70)
    assert (ended.exit_code, ended.error["type"]) == (1, "OverflowError")
    assert ended.error["message"] == "Python int too large to convert to SQLite INTEGER"


# Connections


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("", "ConnectionMissing", "put a SQLAlchemy URL there"),
        ("s3cr3t", "InvalidURL", "driver://user:password@host:port/database"),
        ("host=db password=s3cr3t", "InvalidURL", "driver://user:password@host:port/database"),
        ("postgresql://u:s3cr3t@db:s3cr3t/x", "InvalidURL", "percent-encoded"),
        ("klingon://u:s3cr3t@db/x", "UnknownDialect", "no such kind of database"),
        ("postgresql+psycopg2://u:s3cr3t@db/x", "DriverMissing", "package psycopg2-binary in sql.image"),
        ("mysql+pymysql://u:s3cr3t@db/x", "DriverMissing", "package PyMySQL in sql.image"),
        ("oracle+oracledb://u:s3cr3t@db/x", "DriverMissing", "package oracledb in sql.image"),
        ("sqlite:////nowhere/s3cr3t.db", "OperationalError", "no connection to the database: unable to open"),
        ("sqlite:///file:x.db?mode=s3cr3t&uri=true", "OperationalError", "no such access mode: ***"),
        ("sqlite:///file:x.db?vfs=s3cr3t&uri=true", "OperationalError", "no such vfs: ***"),
        ("sqlite:///x.db?timeout=s3cr3t", "InvalidURL", "options"),
    ],
)
def test_a_connection_that_fails_says_why_and_shows_no_secret(bench: Bench, url: str, kind: str, words: str) -> None:
    spec = {"connection": ENV, "query": "select 1 as n"}
    ended = bench.run("sql", spec, extra={"NEXUS_SQL_URL": url})
    assert (ended.exit_code, ended.error["type"]) == (1, kind)
    assert words in ended.error["message"]
    assert "s3cr3t" not in ended.message.decode() + ended.stderr + ended.stdout.decode()


def test_a_url_with_a_line_break_at_its_end_works(bench: Bench, database: Path) -> None:
    spec = {"connection": ENV, "query": "select count(*) as n from orders"}
    ended = bench.run("sql", spec, extra={"NEXUS_SQL_URL": f"sqlite:///{database}\n"})
    assert ended.output["rows"] == [{"n": 0}]


def test_without_sqlalchemy_it_says_which_package_is_missing(bench: Bench) -> None:
    command = bench.command("sql")
    command[1:1] = ["-I", "-S"]  # a Python without site packages
    ended = bench.ended(bench.start(command, bench.env({"connection": "sqlite://", "query": "select 1"})))
    assert (ended.exit_code, ended.error["type"]) == (1, "ModuleNotFoundError")
    assert "sqlalchemy" in ended.error["message"]


# What no SQLite query shows: the script itself is loaded, as a module, and asked


def asked(bench: Bench, code: str, **given: Any) -> dict[str, Any]:
    load = "import types\nsql = types.ModuleType('sql')\nexec(params['script'], sql.__dict__)\n"
    return bench.code(load + textwrap.dedent(code), context={"params": {"script": text("sql")}}, **given).output


def test_the_url_is_taken_out_of_the_environment(bench: Bench) -> None:
    code = """
        import os
        output["url"] = sql.connection_url({"env": "NEXUS_SQL_URL"})
        output["left"] = os.environ.get("NEXUS_SQL_URL")
    """
    assert asked(bench, code, extra={"NEXUS_SQL_URL": "sqlite://"}) == {"url": "sqlite://", "left": None}


def test_values_of_richer_drivers_become_json(bench: Bench) -> None:
    code = """
        import datetime as dt, decimal, uuid
        D = decimal.Decimal
        zone = dt.timezone(dt.timedelta(hours=2))
        output = sql.json_value({
            "moment": dt.datetime(2026, 11, 23, 2, 30, tzinfo=zone), "day": dt.date(2026, 11, 23),
            "time": dt.time(2, 30), "span": dt.timedelta(days=1, seconds=2), "id": uuid.UUID(int=7),
            "view": memoryview(b"ab"), "whole": D("12.00"), "money": D("12.30"), "long": D("0.12345678901234567890"),
            "big": D("1e30"), "bigint": 2**64, "array": [D("1.5"), {"at": dt.date(2026, 1, 1)}], "flag": True,
        })
    """
    output = asked(bench, code)
    assert output == {
        "moment": "2026-11-23T02:30:00+02:00",
        "day": "2026-11-23",
        "time": "02:30:00",
        "span": "1 day, 0:00:02",
        "id": "00000000-0000-0000-0000-000000000007",
        "view": "YWI=",
        "whole": 12,
        "money": 12.3,
        "long": "0.12345678901234567890",
        "big": "1000000000000000000000000000000",
        "bigint": "18446744073709551616",
        "array": [1.5, {"at": "2026-01-01"}],
        "flag": True,
    }
    assert type(output["whole"]) is int


@pytest.mark.parametrize(
    ("query", "streamed"),
    [
        ("select 1", True),
        ("-- a\n /* b\n */ SELECT\n1", True),
        ("with x as (insert into t values (1) returning a) select * from x", False),
        ("with x as (select 1 as a) select a from x", True),
        ("(select 1) union (select 2)", True),
        ("insert into t select 1", False),
        ("select 1 as a into t", False),
        ("selection", False),
    ],
)
def test_only_what_reads_alone_goes_through_a_cursor_of_the_server(bench: Bench, query: str, streamed: bool) -> None:
    assert asked(bench, f"output['streamed'] = sql.streamed({query!r})") == {"streamed": streamed}
