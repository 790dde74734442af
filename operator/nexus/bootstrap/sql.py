"""The bootstrap of sql tasks: one statement with bound parameters, in one transaction; tells {rows, rowcount}."""

from __future__ import annotations

import json
import os
import re

from nexus.bootstrap.common import INT_LIMIT, MOST, Failure, Refusal, compact, encoded, settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import sqlalchemy

# What to install for a driver whose package is called otherwise than its module.
PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient", "pymysql": "PyMySQL"}

# Only what reads and does nothing else is streamed: a cursor of the server can hold nothing else in PostgreSQL. A word
# of WRITES inside a text costs no more than the streaming.
READS = re.compile(r"(?:[\s(]|--[^\n]*\n|/\*.*?\*/)*(?:select|with)\b", re.IGNORECASE | re.DOTALL)
WRITES = re.compile(r"\b(?:insert|update|delete|merge|into)\b", re.IGNORECASE)

# SQLAlchemy takes `:day::date` for no placeholder at all, and PostgreSQL's users write nothing else.
CAST = re.compile(r"(?<![:\w\\]):(\w+)(?=::)")

# Options of a URL that hold no secret; hiding `10` would leave holes in addresses and numbers of lines.
OPEN_OPTIONS = {"sslmode", "connect_timeout", "application_name", "client_encoding", "charset", "target_session_attrs"}


def connection_url(connection: str | dict[str, str]) -> str:
    """The database's URL; a variable that held it is gone afterwards."""
    if isinstance(connection, str):
        return connection
    url = os.environ.pop(connection["env"], "").strip()
    if not url:
        raise Failure("ConnectionMissing", "sql.connection: the key of the Secret is empty: put a SQLAlchemy URL there")
    return url


def secrets_of(url: str) -> list[str]:
    """The parts of a URL that no message may show, the longest first."""
    from urllib.parse import quote, quote_plus

    import sqlalchemy

    found = {url}
    try:
        parsed = sqlalchemy.make_url(url)
    except Exception:  # create_engine says so next
        return [url]
    # Options of the query are as good a place for a password as the one made for it.
    values = [value for name, value in parsed.query.items() if name not in OPEN_OPTIONS]
    options = [text for value in values for text in ([value] if isinstance(value, str) else value)]
    for text in (str(parsed.password or ""), *options):
        found |= {text, quote(text), quote(text, ""), quote_plus(text), repr(text)[1:-1]}
    return sorted(found - {""}, key=len, reverse=True)


def redacted(text: object, secrets: list[str]) -> str:
    shown = str(text)
    for secret in secrets:
        shown = shown.replace(secret, "***")
    return shown


def engine_for(url: str) -> sqlalchemy.Engine:
    """Raises Failure with no text of the URL in it."""
    import sqlalchemy
    from sqlalchemy import exc, pool

    form = "driver://user:password@host:port/database, with special characters percent-encoded"
    try:
        return sqlalchemy.create_engine(url, poolclass=pool.NullPool, hide_parameters=True)
    except exc.NoSuchModuleError:
        text = f"sql.connection: the image knows no such kind of database as the URL starts with; it looks like {form}"
        text += ", for PostgreSQL with postgresql+psycopg as the driver. Another image may be named in sql.image"
        raise Failure("UnknownDialect", text) from None
    except ModuleNotFoundError as error:
        package = PACKAGES.get(error.name or "", error.name)
        text = f"sql.connection: the URL asks for the driver {error.name}, which is not installed"
        text += f": name an image with the package {package} in sql.image (locally: install it beside nexus)"
        raise Failure("DriverMissing", text) from None
    except (exc.ArgumentError, ValueError, TypeError):
        text = f"sql.connection: the value is no SQLAlchemy URL, or has options of the wrong type; it looks like {form}"
        raise Failure("InvalidURL", text) from None


def bound(query: sqlalchemy.TextClause, parameters: dict[str, Any]) -> dict[str, Any]:
    """The values of the query's placeholders; lists and objects as compact JSON text."""
    wanted = query.compile().params
    missing = [name for name in wanted if name not in parameters]
    if missing:
        text = f"sql.query has the placeholder :{missing[0]}, but sql.parameters has no {missing[0]}"
        unused = [name for name in parameters if name not in wanted]
        if unused:
            text += f" (it has {', '.join(unused)}, which the query does not use)"
        raise Failure("ParameterMissing", text + "; a colon that starts no placeholder is written \\:")
    return {
        name: compact(value) if isinstance(value, (list, dict)) else value
        for name, value in parameters.items()
        if name in wanted
    }


def json_value(value: Any) -> Any:
    """A column's value as JSON; what is none of these is left to the check of the output, which names its place."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if -INT_LIMIT <= value < INT_LIMIT else str(value)
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, (bytes, bytearray, memoryview)):
        import base64

        return base64.b64encode(value).decode()
    return rarer_value(value)


def rarer_value(value: Any) -> Any:
    import datetime as dt
    import decimal
    import uuid

    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal) and value.is_finite():
        if value == value.to_integral_value():
            return json_value(int(value)) if value.adjusted() < 4000 else str(value)
        # A float where it is written with the same digits; money beyond 15 of them stays exact as text.
        number = float(value)
        return number if decimal.Decimal(repr(number)) == value else str(value)
    if isinstance(value, (uuid.UUID, dt.timedelta)) or type(value).__module__ == "ipaddress":
        return str(value)
    return float(value) if isinstance(value, decimal.Decimal) else value


def result_of(result: sqlalchemy.CursorResult[Any]) -> dict[str, Any]:
    """{rows, rowcount}; rows are read one by one, and no further than an output may be large."""
    rows: list[dict[str, Any]] = []
    size = 0
    if result.returns_rows:
        names = list(result.keys())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            text = f"the query has more than one column named {', '.join(twice)}: give each its own name with AS"
            raise Refusal("InvalidOutput", text)
        for row in result:
            rows.append({name: json_value(value) for name, value in row._asdict().items()})
            size += len(json.dumps(rows[-1], ensure_ascii=False, default=str))  # no more than it will be: bytes, comma
            if size > MOST:
                raise Refusal("OutputTooLarge", f"the first {len(rows)} rows are {size} bytes of JSON")
    return {"rows": rows, "rowcount": None if result.rowcount < 0 else result.rowcount}


def streamed(query: str) -> bool:
    """Whether the rows may be read through a cursor of the server, so that a result without end does no harm."""
    return READS.match(query) is not None and WRITES.search(query) is None


def refuse_more(connection: Any, cursor: Any, *rest: Any) -> None:
    """PostgreSQL runs a text of several statements where nothing is bound; the others' results would be lost."""
    if connection.dialect.driver == "psycopg" and cursor.nextset():
        text = "sql.query holds more than one statement: make them tasks of their own, or one with `with a as (...)`"
        raise Failure("SeveralStatements", text + ". All is rolled back")


def message_of(error: Exception, secrets: list[str], lines_before: int = 0) -> Failure:
    """The driver's own words, without SQLAlchemy's copy of the statement and its link.

    `lines_before`: how many lines the statement got that sql.query does not have.
    """
    original = getattr(error, "orig", None) or error
    kind = type(original).__name__
    text = redacted(original, secrets).strip() or kind
    return Failure(kind, re.sub(r"(?m)^LINE (\d+):", lambda found: f"LINE {int(found[1]) - lines_before}:", text))


def run(spec: dict[str, Any]) -> dict[str, Any]:
    import sqlalchemy

    url = connection_url(spec["connection"])
    secrets = secrets_of(url) if isinstance(spec["connection"], dict) else []
    engine = engine_for(url)
    sqlalchemy.event.listen(engine, "after_cursor_execute", refuse_more)
    stream = streamed(spec["query"])
    # PostgreSQL quotes the line of an error; the DECLARE of a cursor, with a name that nobody wrote, is none of it.
    before = "\n" if stream and engine.dialect.name == "postgresql" else ""
    query = sqlalchemy.text(before + CAST.sub(r"(:\1)", spec["query"]))
    values = bound(query, spec.get("parameters") or {})
    try:
        connection = engine.connect()
    except Exception as error:
        failure = message_of(error, secrets)
        text = f"no connection to the database: {failure} (sql.connection names the Secret with its URL)"
        raise Failure(failure.kind, text) from None
    try:
        with connection, connection.begin():
            # Without the option there is no count of what a RETURNING returns.
            connection = connection.execution_options(preserve_rowcount=True)
            if stream:
                connection = connection.execution_options(stream_results=True, max_row_buffer=100)
            output = result_of(connection.execute(query, values))
            encoded(output)  # what cannot be told is not committed
            return output
    except (Refusal, Failure):
        raise
    except Exception as error:
        raise message_of(error, secrets, len(before)) from None


if __name__ == "__main__":
    settle(run, "sql", "select fewer rows or columns, add a limit, or aggregate in the query")
