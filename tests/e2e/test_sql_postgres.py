"""sql tasks on a real PostgreSQL: the bootstrap as a process of this machine, and in pods through the operator."""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import yaml
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.postgres import LOOPBACK, PASSWORD, Postgres, running_postgres
from tests.e2e.space import Object, Space, phases, reasons, task
from tests.unit.bootstrap_harness import REFUSED, Bench, Ended

from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    EVENTS,
    JOBS,
    PODS,
    SECRETS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    Kind,
)

pytestmark = pytest.mark.cluster

NODES = Kind("", "v1", "nodes", "Node")
WRONG = "wr0ng:hunter2"
HOSTILE = "'; drop table stock; -- \" %s %(x)s %% $1 :name \\ \\n $(TOKEN) $$ ${{ params.x }}\n\té 漢 \U0001f600 \u2028"
DOCUMENT: Object = {"k'\"": [HOSTILE, None, 1.5, True, {"deep": []}], "%s": {}}
RAW = bytes(range(256))

CREATE = """
create table {table} (
  id int primary key, name text not null, gone text, doc jsonb, price numeric(12, 2), exact numeric, big bigint,
  at timestamptz, day date, raw bytea, key uuid, regions text[], counts int[], flag boolean, rate float8, host inet
)"""
INSERT = """
insert into {table} values (
  :id, :name, :gone, :doc, :price, :exact, :big, :at, :day::date, decode(:raw, 'base64'), :key,
  (select array_agg(x order by n) from jsonb_array_elements_text(cast(:regions as jsonb)) with ordinality as e(x, n)),
  :counts, :flag, :rate, :host
)"""
VALUES: Object = {
    "id": 7,
    "name": HOSTILE,
    "gone": None,
    "doc": DOCUMENT,
    "price": 12.3,
    "exact": "0.12345678901234567890",
    "big": 2**53 + 1,
    "at": "2026-11-23T02:30:00.25+02:00",
    "day": "2026-11-23",
    "raw": base64.b64encode(RAW).decode(),
    "key": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "regions": ["eu", HOSTILE],
    "counts": "{1,2}",
    "flag": True,
    "rate": 0.1,
    "host": "10.231.0.1",
}
# What the server itself is asked to make of it, so that the same mistake on both ways would show.
ROW = VALUES | {"at": "2026-11-23T00:30:00.250000+00:00", "counts": [1, 2]}
EQUAL = """
select name = %s and doc = %s::jsonb and price = 12.30 and exact = 0.12345678901234567890 and big = 9007199254740993
  and at = '2026-11-23T00:30:00.25Z' and raw = %s and gone is null and regions = array['eu', %s] from {table}"""


def stored(postgres: Postgres, table: str) -> list[tuple[Any, ...]]:
    """Whether each row of the table is what VALUES say, in the server's judgement."""
    return postgres.rows(EQUAL.format(table=table), HOSTILE, json.dumps(DOCUMENT), RAW, HOSTILE)


@pytest.fixture(scope="module")
def postgres(space: Space) -> Iterator[Postgres]:
    """A server that listens where pods find this machine: on the address that leads from here to a node."""
    node = space.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}")
    with socket.socket(type=socket.SOCK_DGRAM) as route:
        route.connect((node, 9))
        address = route.getsockname()[0]
    with running_postgres(address) as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def query(bench: Bench, url: str | Postgres, statement: str, /, **parameters: Any) -> Ended:
    spec = {"connection": {"env": "NEXUS_SQL_URL"}, "query": statement, "parameters": parameters}
    address = url if isinstance(url, str) else url.url()
    return bench.run("sql", spec, extra={"NEXUS_SQL_URL": address})


def spellings(*passwords: str) -> list[str]:
    """The forms in which a password might turn up."""
    found = set()
    for text in passwords:
        found |= {text, quote(text), quote(text, ""), quote_plus(text), repr(text)[1:-1], json.dumps(text)[1:-1]}
        found |= {json.dumps(text, ensure_ascii=False)[1:-1], base64.b64encode(text.encode()).decode()}
    return sorted({*found, "s3cr3t", "hunter2"})


# On this machine: the bootstrap alone


def test_values_of_every_kind_go_in_and_come_back_as_json(bench: Bench, postgres: Postgres) -> None:
    created = query(bench, postgres, CREATE.format(table="local"))
    assert created.output == {"rows": [], "rowcount": None}
    assert query(bench, postgres, INSERT.format(table="local"), **VALUES).output == {"rows": [], "rowcount": 1}
    assert stored(postgres, "local") == [(True,)]
    [row] = query(bench, postgres, "select * from local where name = :name", name=HOSTILE).output["rows"]
    assert row == ROW
    assert {name: type(value) for name, value in row.items()} == {name: type(value) for name, value in ROW.items()}


def test_richer_columns_become_json_too(bench: Bench, postgres: Postgres) -> None:
    statement = """
        select array[[1, 2], [3, null]] as grid, array[1.10, 2]::numeric[] as prices, time '02:30' as t,
          'x'::"char" as c, array['2026-01-01'::date] as days, 1e30::numeric as huge, 9223372036854775807 as most,
          '10.0.0.0/8'::cidr as net, 9223372036854775808::numeric as over, '[1, 12345678901234567890]'::jsonb as doc,
          interval '1 day 2 sec' as span, row(1, 'a') as pair, B'101' as bits, 10 % 3 as rest,
          'a%' like 'a%' as alike, '["a"]'::jsonb ? 'a' as has"""
    assert query(bench, postgres, statement).output["rows"] == [
        {
            "grid": [[1, 2], [3, None]],
            "prices": [1.1, 2],
            "t": "02:30:00",
            "c": "x",
            "days": ["2026-01-01"],
            "huge": str(10**30),
            "most": 2**63 - 1,
            "net": "10.0.0.0/8",
            "over": str(2**63),
            "doc": [1, "12345678901234567890"],
            "span": "1 day, 0:00:02",
            "pair": ["1", "a"],
            "bits": "101",
            "rest": 1,
            "alike": True,
            "has": True,
        }
    ]


def test_rows_are_counted_where_the_driver_counts(bench: Bench, postgres: Postgres) -> None:
    query(bench, postgres, "create table counted(id int)")
    inserted = query(bench, postgres, "insert into counted select generate_series(1, :n) returning id", n=3)
    assert inserted.output == {"rows": [{"id": 1}, {"id": 2}, {"id": 3}], "rowcount": 3}
    assert query(bench, postgres, "update counted set id = id + 10 where id > 1").output == {"rows": [], "rowcount": 2}
    assert query(bench, postgres, "select id into fewer from counted where id > 1").output["rowcount"] == 2
    assert query(bench, postgres, "select count(*) as n from fewer").output == {"rows": [{"n": 2}], "rowcount": None}


def test_a_list_finds_rows_by_their_keys(bench: Bench, postgres: Postgres) -> None:
    statement = """select n from generate_series(1, 10) as n
        where n in (select value::int from jsonb_array_elements_text(:ids::jsonb)) order by n"""
    assert query(bench, postgres, statement, ids=[3, 7, 70]).output["rows"] == [{"n": 3}, {"n": 7}]


def test_the_documentation_s_insert_works(bench: Bench, postgres: Postgres) -> None:
    page = (Path(__file__).parents[2] / "docs" / "task-code.md").read_text()
    manifest = yaml.safe_load(re.findall(r"```yaml\n(- name: load\n.*?)```", page, re.DOTALL)[0])
    postgres.rows("create table orders(id int, price numeric)")
    orders = [{"id": 1, "price": 12.3, "more": "x"}, {"id": 2, "price": 0.5}]
    ended = query(bench, postgres, manifest[0]["sql"]["query"], orders=orders)
    assert ended.output == {"rows": [], "rowcount": 2}
    assert postgres.rows("select id, price::text from orders order by id") == [(1, "12.3"), (2, "0.5")]


def test_colons_in_every_kind_of_quote_are_text(bench: Bench, postgres: Postgres) -> None:
    statement = r"""select 'it''s :b' as a, $$ :b ' $$ as b, $t$ :b $$ $t$ as c, E'\':b' as d, :x::text as e,
      /* /* :c */ :d */ (array[1, 2, 3])[1\:2] as f, '{"n":1}'::jsonb ->> 'n' as g, '%' as h, 'a\:b' as i, "x:y"
      from (select :x || ':x' as "x:y") t -- :z"""
    (row,) = query(bench, postgres, statement, x="v").output["rows"]
    assert list(row.values()) == ["it's :b", " :b ' ", " :b $$ ", "':b", "v", [1, 2], "1", "%", "a:b", "v:x"]


def test_a_colon_within_quotes_is_escaped(bench: Bench, postgres: Postgres) -> None:
    assert query(bench, postgres, """select '{"n"\\:1}'::jsonb as doc""").output["rows"] == [{"doc": {"n": 1}}]


@pytest.mark.parametrize(
    ("statement", "kind", "words"),
    [
        ("insert into kept values (1), (1)", "UniqueViolation", "Key (id)=(1) already exists"),
        ("insert into kept values (1); insert into kept values (2)", "SeveralStatements", "more than one statement"),
        ("insert into kept values (:n); insert into kept values (2)", "SyntaxError", "multiple commands"),
        ("with x as (insert into kept values (:n) returning id) select id / 0 from x", "DivisionByZero", "by zero"),
        ("insert into later values (1, 7)", "ForeignKeyViolation", "Key (parent)=(7) is not present"),  # at the commit
        ("insert into kept values (cast(:text as int))", "InvalidTextRepresentation", "for type integer"),
        ("insert into kept select 1 from nowhere", "UndefinedTable", 'relation "nowhere" does not exist'),
    ],
)
def test_what_fails_leaves_nothing_stored(
    bench: Bench, postgres: Postgres, statement: str, kind: str, words: str
) -> None:
    postgres.rows("create table if not exists kept(id int primary key)")
    deferred = "references later deferrable initially deferred"
    postgres.rows(f"create table if not exists later(id int primary key, parent int {deferred})")
    given = {name: value for name, value in {"n": 1, "text": HOSTILE}.items() if f":{name}" in statement}
    ended = query(bench, postgres, statement, **given)
    assert (ended.exit_code, ended.error["type"]) == (1, kind), ended.error
    assert words in ended.error["message"]
    assert postgres.rows("select count(*) from kept union all select count(*) from later") == [(0,), (0,)]


def test_a_refused_output_leaves_nothing_stored(bench: Bench, postgres: Postgres) -> None:
    postgres.rows("create table refused(id int)")
    ended = query(bench, postgres, "insert into refused select generate_series(1, 100000) returning id")
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "OutputTooLarge")
    assert postgres.rows("select count(*) from refused") == [(0,)]


def test_an_error_shows_the_line_of_the_query_and_no_cursor(bench: Bench, postgres: Postgres) -> None:
    ended = query(bench, postgres, "select 1 as a\nfrom nowhere")
    assert ended.error["message"].splitlines()[:2] == ['relation "nowhere" does not exist', "LINE 2: from nowhere"]


def test_columns_of_the_same_name_are_refused(bench: Bench, postgres: Postgres) -> None:
    ended = query(bench, postgres, "select 1 as a, 2 as b, 3 as a")
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "InvalidOutput")
    assert "more than one column named a" in ended.error["message"]


@pytest.mark.parametrize(
    "statement", ["select {} as n", "with x as (select {} as n) select n from x"], ids=["select", "with"]
)
def test_a_huge_result_is_refused_before_it_is_read(bench: Bench, postgres: Postgres, statement: str) -> None:
    # Read to its end, a thousand million rows take the server many minutes and the task more memory than there is.
    began = time.monotonic()
    ended = query(bench, postgres, statement.format("generate_series(1, 1000000000)"))
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "OutputTooLarge")
    assert "add a limit" in ended.error["message"]
    assert time.monotonic() - began < 30


def test_a_connection_that_fails_says_why_and_shows_no_password(bench: Bench, postgres: Postgres) -> None:
    closed = postgres.url().replace(f":{postgres.port}/", ":1/")
    cases = {
        postgres.url(password=WRONG): 'password authentication failed for user "nexus"',
        postgres.url(database="nowhere"): 'database "nowhere" does not exist',
        postgres.url() + "?sslmode=require": "server does not support SSL, but SSL was required",
        closed + "?connect_timeout=10": f'server at "{LOOPBACK}", port 1 failed: Connection refused',
    }
    for url, words in cases.items():
        ended = query(bench, url, "select 1 as n")
        assert (ended.exit_code, ended.error["type"]) == (1, "OperationalError")
        assert "no connection to the database" in ended.error["message"]
        assert words in ended.error["message"]
        told = ended.message.decode() + ended.stderr + ended.stdout.decode()
        assert [form for form in spellings(PASSWORD, WRONG) if form in told] == []


# In pods, through the operator


BREAK = "with x as (insert into pods(id, name) values (99, '') returning id) select id / 0 from x"


def sql(name: str, statement: str, /, *after: str, url: str = "url", **parameters: Any) -> Object:
    """A task with its database's URL in a Secret."""
    spec = {"connection": {"secretKeyRef": {"name": "warehouse", "key": url}}, "query": statement}
    fields = {"dependsOn": list(after)} if after else {}
    return {"name": name, "sql": spec | ({"parameters": parameters} if parameters else {}), **fields}


@pytest.fixture(scope="module")
def in_pods(space: Space, operator: OperatorProcess, postgres: Postgres) -> Object:
    """The run that all tests below look at, finished: one after the other would cost a pod's start each."""
    assert operator.running
    urls = {
        "url": postgres.url(postgres.address),
        "wrong": postgres.url(postgres.address, password=WRONG),
        "unreachable": postgres.url("192.0.2.1") + "?connect_timeout=10",
    }
    space.post(SECRETS, {"metadata": {"name": "warehouse"}, "stringData": urls})
    parameters = {name: f"${{{{ params.values.{name} }}}}" for name in VALUES}
    select = "select * from pods where name = :name"
    tasks = [
        sql("create", CREATE.format(table="pods")),
        sql("insert", INSERT.format(table="pods"), "create", **parameters),
        sql("select", select, "insert", name="${{ params.values.name }}"),
        sql("again", "select cast(:row as jsonb) -> 'doc' as doc", "select", row="${{ tasks.select.output.rows[0] }}"),
        sql("long", "select repeat('é', 1000) as text, n from generate_series(1, 50) as n"),
        sql("broken", BREAK, "insert"),
        sql("wrong", "select 1 as n", url="wrong"),
        sql("unreachable", "select 1 as n", url="unreachable"),
        sql("twice", "select 1 as a, 2 as a"),
        sql("huge", "select generate_series(1, 1000000000) as n"),
    ]
    space.workflow("sql", *tasks, params=[{"name": "values", "type": "object"}])
    space.run_of("sql", "sql", {"values": VALUES})
    return space.finished("sql", 120)


FAILED = {
    "broken": ("TaskError", "DivisionByZero: division by zero"),
    "wrong": ("TaskError", 'password authentication failed for user "nexus"'),
    "unreachable": ("TaskError", "no connection to the database"),
    "twice": ("InvalidOutput", "more than one column named a"),
    "huge": ("OutputTooLarge", "add a limit"),
}


def test_rows_travel_through_pods_as_they_are(space: Space, in_pods: Object, postgres: Postgres) -> None:
    found = {name: phase for name, phase in phases(in_pods).items() if name not in FAILED}
    assert set(found.values()) == {"Succeeded"}, json.dumps(in_pods["status"], indent=1)
    assert space.output(in_pods, "insert") == {"rows": [], "rowcount": 1}
    assert stored(postgres, "pods") == [(True,)]
    assert space.output(in_pods, "select") == {"rows": [ROW], "rowcount": None}
    # A dependency's output is a parameter like any other.
    assert space.output(in_pods, "again")["rows"] == [{"doc": DOCUMENT}]
    # Above 4 KiB an output comes through the log.
    assert space.output(in_pods, "long")["rows"] == [{"text": "é" * 1_000, "n": n} for n in range(1, 51)]


def test_a_failure_in_a_pod_has_its_reason_and_what_to_do(in_pods: Object, postgres: Postgres) -> None:
    for name, (reason, words) in FAILED.items():
        assert (phases(in_pods)[name], reasons(in_pods)[name]) == ("Failed", reason), task(in_pods, name)
        assert words in task(in_pods, name)["message"]
    assert "192.0.2.1" in task(in_pods, "unreachable")["message"]
    assert postgres.rows("select count(*) from pods where id = 99") == [(0,)]


def test_no_password_is_in_any_object_event_or_log(space: Space, in_pods: Object, operator: OperatorProcess) -> None:
    kinds = (WORKFLOWS, WORKFLOW_RUNS, JOBS, PODS, CONFIG_MAPS, CONTROLLER_REVISIONS, EVENTS)
    told = space.everything(*kinds) + operator.log()
    pods = [pod["metadata"]["name"] for pod in space.pods(in_pods["metadata"]["name"])]
    assert len(pods) == len(phases(in_pods))
    logs = {name: space.kubectl("logs", name) for name in pods}
    assert any('authentication failed for user "nexus"' in log for log in logs.values())
    told += json.dumps(logs, ensure_ascii=False)
    assert [form for form in spellings(PASSWORD, WRONG) if form in told] == []
