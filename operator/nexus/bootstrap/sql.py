"""The bootstrap of sql tasks: one statement with bound parameters, in one transaction; tells {rows, rowcount}."""

from __future__ import annotations

import json
import os
import re

from nexus.api.numbers import INT_LIMIT
from nexus.bootstrap.common import MOST, Failure, Refusal, compact, encoded, settle
from nexus.bootstrap.redaction import is_plain, redacted
from nexus.core.task_types.sql_text import ESCAPING, PLACEHOLDER, code_of, pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import sqlalchemy

# What to install for a driver whose package is called otherwise than its module, and what the default image has.
PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient", "pymysql": "PyMySQL"}
AT_HAND = {"psycopg2": "postgresql+psycopg", "MySQLdb": "mysql+pymysql"}

# Only what reads and does nothing else is streamed: a cursor of the server can hold nothing else in PostgreSQL.
READS = re.compile(r"[\s(]*(?:select|with)\b", re.IGNORECASE)
WRITES = re.compile(r"\b(?:insert|update|delete|merge|into)\b", re.IGNORECASE)

# User and password of a URL, as SQLAlchemy finds them.
USER = re.compile(r"[\w+]+://([^:/]*)(?::([^@]*))?@")
# A port, a database and an option, in what was taken for the password.
OPTION = re.compile(r"\d*(?:/[^?]*)?\?[^=]*=")

# `PWD={..}` of ODBC's and `password=..` of libpq's own texts of many options, within one of the URL's.
PAIR = re.compile(r"(?:^|[;\s])([^=;\s]+)=(\{[^}]*\}|[^;\s]*)")
SECRET_NAME = re.compile(r"pass|pwd|pw$|secret|token|key|cred|auth|sig", re.IGNORECASE)

# Options of a URL that hold no secret; hiding `10` would leave holes in addresses and numbers of lines.
OPEN_OPTIONS = {"sslmode", "connect_timeout", "application_name", "client_encoding", "charset", "target_session_attrs"}


def connection_url(connection: str | dict[str, str]) -> str:
    """Return the database's URL; a variable that held it is gone afterwards."""
    if isinstance(connection, str):
        return connection
    url = os.environ.pop(connection["env"], "").strip()
    if not url:
        raise Failure("ConnectionMissing", "sql.connection: the key of the Secret is empty; set it to a SQLAlchemy URL")
    return url


def check_url(url: str) -> None:
    """Refuse what SQLAlchemy would split within the password, whose rest then is the host that every message names.

    It takes all up to the first @ for user and password. Raises Failure, whose message has nothing of the URL in it.
    """
    found = USER.match(url)
    if found is None:
        return
    user, password = found.groups()
    behind = password is not None and "@" in url[found.end() :]
    # HOST?password=..@.. and HOST:5432/DB?password=..@..: there the first @ is one of an option's value.
    within = "?" in user or (password is not None and OPTION.match(password) is not None)
    if behind or within:
        text = "sql.connection: ambiguous end of the password in the URL; write an @ in the password as %40"
        raise Failure("InvalidURL", f"{text}, there and in all other parts (and a / %2F, a ? %3F)")


def secrets_of(url: str) -> set[str]:
    """Return the parts of a URL that no message may show."""
    import sqlalchemy

    try:
        parsed = sqlalchemy.make_url(url)
    except Exception:  # create_engine says so next
        return {url}
    found = USER.match(url)
    secrets = {url, str(parsed.password or ""), (found[2] or "") if found else ""}
    # Options of the query are as good a place for a password as the one made for it.
    for name, values in parsed.query.items():
        for value in [values] if isinstance(values, str) else values:
            if name not in OPEN_OPTIONS:
                every = [(name, value), *((key, text.strip("{}")) for key, text in PAIR.findall(value))]
                secrets |= {text for key, text in every if is_secret(key, text)}
    return secrets - {""}


def is_secret(name: str, value: str) -> bool:
    """Return whether an option is to be hidden: by its name, or since nothing but a message about it would hold its
    value."""
    return SECRET_NAME.search(name) is not None or not is_plain(value)


def engine_for(url: str) -> sqlalchemy.Engine:
    """Return the engine for a URL. Raises Failure, whose message has nothing of the URL in it."""
    import sqlalchemy
    from sqlalchemy import exc, pool

    form = "driver://user:password@host:port/database, with special characters percent-encoded"
    try:
        return sqlalchemy.create_engine(url, poolclass=pool.NullPool, hide_parameters=True)
    except exc.NoSuchModuleError:
        text = f"sql.connection: unknown kind of database at the start of the URL (expected {form})"
        text += ", for PostgreSQL with postgresql+psycopg as the driver. Another image may be named in sql.image"
        raise Failure("UnknownDialect", text) from None
    except ModuleNotFoundError as error:
        package = PACKAGES.get(error.name or "", error.name)
        text = f"sql.connection: the URL asks for the driver {error.name}, which is not installed"
        if error.name in AT_HAND:
            text += f": begin the URL with {AT_HAND[error.name]}:// for the driver that the default image has, or"
        else:
            text += ":"
        text += f" name an image with the package {package} in sql.image (locally: install it beside nexus)"
        raise Failure("DriverMissing", text) from None
    except (exc.ArgumentError, ValueError, TypeError):
        text = (
            "sql.connection: the value is not a valid SQLAlchemy URL, or has options of the wrong type (expected "
            f"{form})"
        )
        raise Failure("InvalidURL", text) from None


class Query:
    """sql.query as SQLAlchemy gets it: with none of the colons that are text, which it would take for placeholders
    (quotes and comments are unknown to it). They come back when the statement goes to the driver.

    `sent`: for SQLAlchemy's text(); `names`: of the placeholders, in order, each once.
    """

    def __init__(self, query: str, dialect: str, before: str = "") -> None:
        used = set(query)
        # Characters of private use that the query does not have, and that belong to no word: one stands for a colon,
        # one keeps a placeholder apart from what is beside it, as in :day::date.
        free = (chr(code) for code in range(0x100000, 0x10FFFE) if chr(code) not in used)
        self.colon, self.edge = next(free), next(free)
        names: dict[str, None] = {}
        parts = [before]
        for kind, part, _ in pieces(query, dialect):
            if kind == PLACEHOLDER:
                names[part[1:]] = None
                parts.append(self.edge + part + self.edge)
            else:
                plain = part if kind == ESCAPING else part.replace("\\:", ":")
                parts.append(plain.replace(":", self.colon))
        self.sent = "".join(parts)
        self.names = list(names)

    def restore(self, connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> tuple[str, Any]:
        """Return the statement as it is meant, for SQLAlchemy's event before_cursor_execute."""
        return statement.replace(self.edge, "").replace(self.colon, ":"), parameters


def bound(query: Query, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the query's placeholders; lists and objects as compact JSON text."""
    wanted = query.names
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
    """Return a column's value as JSON; what is none of these is left to the check of the output, which names its
    place."""
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


def result_of(result: sqlalchemy.CursorResult[Any], counts_rows: bool = False) -> dict[str, Any]:
    """Return {rows, rowcount}; rows are read one by one, and no further than an output may be large.

    `counts_rows`: the rows are those that were written, and the driver had counted them before it made them.
    """
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
    if result.returns_rows and counts_rows:
        return {"rows": rows, "rowcount": len(rows)}
    return {"rows": rows, "rowcount": None if result.rowcount < 0 else result.rowcount}


def streamed(code: str) -> bool:
    """Return whether the rows may be read through a cursor of the server, so that a result without end does no harm."""
    return READS.match(code) is not None and WRITES.search(code) is None


def refuse_more(connection: Any, cursor: Any, *rest: Any) -> None:
    """Refuse further results: PostgreSQL runs several statements at once if nothing is bound; all but one would be
    lost."""
    if connection.dialect.driver == "psycopg" and cursor.nextset():
        text = "sql.query has more than one statement; split them over tasks, or write one with `with a as (...)`"
        raise Failure("SeveralStatements", text + "; everything was rolled back")


def message_of(error: Exception, secrets: set[str], lines_before: int = 0) -> Failure:
    """Return the driver's own words, without SQLAlchemy's copy of the statement and its link.

    `lines_before`: how many lines the statement got that sql.query does not have.
    """
    original = getattr(error, "orig", None) or error
    kind = type(original).__name__
    text = redacted(str(original), secrets).strip() or kind
    return Failure(kind, re.sub(r"(?m)^LINE (\d+):", lambda found: f"LINE {int(found[1]) - lines_before}:", text))


def run(spec: dict[str, Any]) -> dict[str, Any]:
    import sqlalchemy

    url = connection_url(spec["connection"])
    secrets: set[str] = set()
    if isinstance(spec["connection"], dict):
        check_url(url)
        secrets = secrets_of(url)
    engine = engine_for(url)
    dialect = engine.dialect.name
    code = code_of(spec["query"], dialect)
    stream = streamed(code)
    # PostgreSQL quotes the line of an error; the DECLARE of a cursor, with a name that nobody wrote, is none of it.
    before = "\n" if stream and dialect == "postgresql" else ""
    query = Query(spec["query"], dialect, before)
    sqlalchemy.event.listen(engine, "after_cursor_execute", refuse_more)
    sqlalchemy.event.listen(engine, "before_cursor_execute", query.restore, retval=True)
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
            counts_rows = dialect == "sqlite" and WRITES.search(code) is not None  # RETURNING
            output = result_of(connection.execute(sqlalchemy.text(query.sent), values), counts_rows)
            encoded(output)  # what cannot be reported is not committed
            return output
    except (Refusal, Failure):
        raise
    except Exception as error:
        raise message_of(error, secrets, len(before)) from None


if __name__ == "__main__":
    settle(run, "sql", "select fewer rows or columns, add a limit, or aggregate in the query")
