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

# URLs with an @ in the password, as SQLAlchemy splits them: the s3cr3t becomes host, port, database, option or user.
SPLIT = (
    "postgresql+psycopg://user:Tr0ub@s3cr3t@127.0.0.1:5432/db",
    "postgresql+psycopg://user:Tr0ub@x:s3cr3t@127.0.0.1:5432/db",
    "postgresql+psycopg://user:Tr0ub@x/s3cr3t@127.0.0.1:5432/db",
    "postgresql+psycopg://user:Tr0ub@x?s3cr3t@127.0.0.1:5432/db",
    "postgresql+psycopg://user:Tr0ub@x?a=s3cr3t@127.0.0.1:5432/db",
    "postgresql+psycopg://user:@s3cr3t@127.0.0.1/db",
    "postgresql+psycopg://:Tr0ub@s3cr3t@127.0.0.1/db",
    "postgresql+psycopg://127.0.0.1?user=u&password=Tr0ub@s3cr3t",
    "postgresql+psycopg://127.0.0.1:5432/db?user=u&password=Tr0ub@s3cr3t",
    "postgresql+psycopg://127.0.0.1:5432?user=u&password=Tr0ub@s3cr3t",
)


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("", "ConnectionMissing", "set it to a SQLAlchemy URL"),
        ("s3cr3t", "InvalidURL", "driver://user:password@host:port/database"),
        ("host=db password=s3cr3t", "InvalidURL", "driver://user:password@host:port/database"),
        ("postgresql://u:s3cr3t@db:s3cr3t/x", "InvalidURL", "percent-encoded"),
        ("klingon://u:s3cr3t@db/x", "UnknownDialect", "unknown kind of database"),
        ("postgresql+psycopg2://u:s3cr3t@db/x", "DriverMissing", "package psycopg2-binary in sql.image"),
        ("mysql+pymysql://u:s3cr3t@db/x", "DriverMissing", "package PyMySQL in sql.image"),
        ("oracle+oracledb://u:s3cr3t@db/x", "DriverMissing", "package oracledb in sql.image"),
        (
            "postgresql+psycopg2://u:s3cr3t@db/x",
            "DriverMissing",
            "begin the URL with postgresql+psycopg:// for the driver that",
        ),
        (
            "mysql://u:s3cr3t@db/x",
            "DriverMissing",
            "begin the URL with mysql+pymysql:// for the driver that the default",
        ),
        *((url, "InvalidURL", "write an @ in the password as %40") for url in SPLIT),
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
        ("/* a */ /* /* b */ */ select 'insert' as \"update\" -- delete", True),
    ],
)
def test_only_what_reads_alone_goes_through_a_cursor_of_the_server(bench: Bench, query: str, streamed: bool) -> None:
    code = f"output['streamed'] = sql.streamed(sql.code_of({query!r}, 'postgresql'))"
    assert asked(bench, code) == {"streamed": streamed}


# Colons


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("""select json_extract('{"n":1,"s":":x"}', '$.n') as a""", {"a": 1}),
        ("-- the rows of :day\nselect :day as a /* of :day, '", {"a": "x"}),
        ("select ':day' || :day as a", {"a": ":dayx"}),
        ("select '\\:day' || :day as \"a:b\"", {"a:b": ":dayx"}),
        ("select :day || ':day' as [:day]", {":day": "x:day"}),
        ("select 'it''s :day' as `:day`, 'a\\' || :day as b", {":day": "it's :day", "b": "a\\x"}),
        ("select '\U00100000:day' || :day as a", {"a": "\U00100000:dayx"}),
        ("select :day||:day as a, '%s %(x)s :é' as b, :é as c", {"a": "xx", "b": "%s %(x)s :é", "c": "y"}),
    ],
)
def test_colons_in_quotes_and_comments_are_text(bench: Bench, statement: str, row: dict[str, Any]) -> None:
    assert query(bench, statement, day="x", é="y").output["rows"] == [row]


@pytest.mark.parametrize(
    ("dialect", "statement", "sent"),
    [
        ("postgresql", "select :a::text, x::int, '%', ':b' -- :b", "select %(a)s::text, x::int, '%%', ':b' -- :b"),
        ("postgresql", "call f(x := :a, y => 'a:b'::text)", "call f(x := %(a)s, y => 'a:b'::text)"),
        ("postgresql", "do $$ begin :b; end $$", "do $$ begin :b; end $$"),
        ("postgresql", "select $q$ $$ :b $q$, :a", "select $q$ $$ :b $q$, %(a)s"),
        ("postgresql", "/* /* */ :b */ select :a", "/* /* */ :b */ select %(a)s"),
        ("postgresql", r"select E'\'\:b', '\:b', :a, a\:\:b", r"select E'\'\:b', ':b', %(a)s, a::b"),
        ("mysql", 'select `:b`, "\\":b" # :b\n, 5--:a', 'select `:b`, "\\":b" # :b\n, 5--%s'),
        ("mysql", "set @x := :a /*! , @y := :a */", "set @x := %s /*! , @y := %s */"),
    ],
)
def test_a_driver_gets_the_statement_as_it_is_written(bench: Bench, dialect: str, statement: str, sent: str) -> None:
    code = f"""
        import sqlalchemy
        from sqlalchemy.dialects.{dialect} import {"psycopg" if dialect == "postgresql" else "pymysql"} as driver
        query = sql.Query({statement!r}, {dialect!r})
        text = str(sqlalchemy.text(query.sent).compile(dialect=driver.dialect()))
        output["sent"] = query.restore(None, None, text, None)[0]
    """
    assert asked(bench, code) == {"sent": sent}


def test_what_a_returning_returns_is_counted(bench: Bench, database: Path) -> None:
    assert query(bench, "insert into orders(name) values ('a'), ('b') returning id", database).output == {
        "rows": [{"id": 1}, {"id": 2}],
        "rowcount": 2,
    }
    with_ = "with n(x) as (select 'c') insert into orders(name) select x from n returning id"
    assert query(bench, with_, database).output["rowcount"] == 1
    assert query(bench, "update orders set price = 1 where id > 9 returning id", database).output["rowcount"] == 0
    assert query(bench, "update orders set price = 1", database).output["rowcount"] == 3


# Secrets


def redacted(bench: Bench, url: str, message: str) -> str:
    code = f"output['text'] = sql.redacted({message!r}, sql.secrets_of({url!r}))"
    return str(asked(bench, code)["text"])


@pytest.mark.parametrize(
    "message",
    [
        "no user u with pä s/w%rd'1", "p%C3%A4%20s%2Fw%25rd%271", "p%c3%a4+s%2fw%25rd%271", "p\\u00e4 s/w%rd'1",
        r"p\xc3\xa4 s/w%rd'1", r"p\xe4 s/w%rd'1", "p%25C3%25A4%2520s%252Fw%2525rd%25271", "pä s/w%rd&#x27;1",
        r"b'p\xc3\xa4 s/w%rd\'1'",
    ],
)  # fmt: skip
def test_a_password_is_blotted_out_in_each_form(bench: Bench, message: str) -> None:
    shown = redacted(bench, "postgresql://u:p%C3%A4 s%2Fw%25rd'1@db/x", message)
    assert "***" in shown
    assert "rd" not in shown


@pytest.mark.parametrize(
    ("url", "message", "shown"),
    [
        # What a gap would give away, or nobody could read.
        ("pg://u:e@db/x", "connection failed: refused", "connection failed: refused"),
        ("pg://u:pass@db/x", "password authentication failed", "password authentication failed"),
        ("pg://u:e@db/x", 'bad value "e"', "withheld"),
        ("pg://u:connection@db/x", "connection failed", "withheld"),
        ("pg://u:5432@db/x", "nothing listens at port 5432", "withheld"),
        # Options.
        ("pg://db/x?password=s3cr3t", "bad s3cr3t", "bad ***"),
        ("pg://db/x?passwd=abc&timeout=10", "tried abc 10 times", "withheld"),
        ("pg://db/x?timeout=10", "tried 10 times", "tried 10 times"),
        ("mssql://?odbc_connect=DRIVER%3D%7BX%7D%3BPWD%3Ds3cr3t%3BUID%3Du", "login s3cr3t failed", "login *** failed"),
        ("mssql://?odbc_connect=DRIVER%3D%7BX%7D%3BPWD%3D%7Bs3 cr3t%7D", "login s3 cr3t failed", "login *** failed"),
        ("pg://db/x?options=-c password%3Ds3cr3t", "no s3cr3t", "no ***"),
    ],
)
def test_short_passwords_and_options_of_the_url(bench: Bench, url: str, message: str, shown: str) -> None:
    assert shown in redacted(bench, url, message)
