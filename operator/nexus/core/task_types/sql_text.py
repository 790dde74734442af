"""SQL as text: which of its colons start a placeholder, and which belong to quotes, comments and casts.

Lint and the run ask this one tokenizer, so that they agree. The bootstrap of sql tasks carries it along: standard
library only, Python >= 3.9. Every pattern takes what is not closed up to the end, so that a query is read once,
whatever it holds.

Sources: PostgreSQL's "Lexical Structure", MySQL's "Comments" and "String Literals", SQLite's "SQL Comment Syntax" and
"SQLite Keywords", Transact-SQL's "Identifiers", Oracle's "Literals".
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CODE, QUOTED, ESCAPING, COLONS, PLACEHOLDER = "code", "quoted", "escaping", "colons", "placeholder"

# Parts of the patterns. `''` within '...' reads as two texts side by side, which holds the same colons; where a
# backslash escapes, only the first of them would be read with its rules.
_TEXT = r"'[^']*'?"
_ESCAPED = r"(?:[^'\\]|\\.|'')*'?"
_NAME = r'"[^"]*"?'
_ESCAPED_NAME = r'"(?:[^"\\]|\\.|"")*"?'
_BACKTICKS = r"`[^`]*`?"
_COMMENT = r"--[^\n]*"
_BLOCK = r"(?P<block>/\*)"
_DOLLAR = r"(?P<dollar>(?<![\w$])\$(?:[^\W\d]\w*)?\$)"

_QUOTES = {
    "postgresql": [rf"(?P<escaping>(?<![\w$])[eE]'{_ESCAPED})", _TEXT, _NAME, _COMMENT, _BLOCK, _DOLLAR],
    # `5--3` is arithmetic there, and what stands in /*! */ is executed.
    "mysql": [
        rf"(?P<escaping>'{_ESCAPED}|{_ESCAPED_NAME})", _BACKTICKS, r"--(?=\s|$)[^\n]*", r"#[^\n]*",
        r"(?P<block>/\*(?!M?!))",
    ],
    "sqlite": [_TEXT, _NAME, _BACKTICKS, r"\[[^\]]*\]?", _COMMENT, _BLOCK],
    "mssql": [_TEXT, _NAME, r"\[[^\]]*\]?", _COMMENT, _BLOCK],
    "oracle": [r"(?P<alternative>(?<!\w)[nN]?[qQ]'(?P<opening>.))", _TEXT, _NAME, _COMMENT, _BLOCK],
    "other": [_TEXT, _NAME, _BACKTICKS, _COMMENT, _BLOCK],
}  # fmt: skip
_ALIASES = {"mariadb": "mysql", "cockroachdb": "postgresql", "redshift": "postgresql", "duckdb": "postgresql"}
_NESTING = ("postgresql", "mssql")
_CLOSING = {"[": "]", "(": ")", "{": "}", "<": ">"}

# `:day::date` is a placeholder with a cast, `:a:b` is none of ours; `\:` is the documented way to write a colon.
_COLONS = r"(?P<escaped>\\:)|(?<![:\w\\]):(?P<name>\w+)(?!\w)(?!:(?!:))|(?P<colons>:+)"
_PATTERNS = {
    dialect: re.compile("|".join(["(?P<quoted>" + "|".join(quotes) + ")", _COLONS]), re.DOTALL)
    for dialect, quotes in _QUOTES.items()
}

DIALECTS = tuple(_PATTERNS)
"""What the text of a query may mean, by the names that SQLAlchemy gives its dialects; `other` is every other one."""


def pieces(query: str, dialect: str) -> Iterator[tuple[str, str, int]]:
    """Yield (kind, text, offset) of the pieces that a query is made of, in order; joined, their texts are the query.

    QUOTED is a string, a quoted name or a comment, ESCAPING a string in which the database itself reads backslashes;
    COLONS are colons that are text, those that a backslash escapes among them; PLACEHOLDER is `:name`; all else is
    CODE. `dialect` is SQLAlchemy's name for it.
    """
    dialect = _ALIASES.get(dialect, dialect)
    pattern = _PATTERNS.get(dialect, _PATTERNS["other"])
    position = 0
    while True:
        found = pattern.search(query, position)
        start = len(query) if found is None else found.start()
        if start > position:
            yield CODE, query[position:start], position
        if found is None:
            return
        position = found.end()
        if found["quoted"]:
            position = _end_of_quoted(query, found, dialect in _NESTING)
            yield ESCAPING if found.groupdict().get("escaping") else QUOTED, query[start:position], start
        else:
            yield PLACEHOLDER if found["name"] else COLONS, found[0], start


def _end_of_quoted(query: str, found: re.Match[str], nesting: bool) -> int:
    """Return where a quoted piece ends: for those whose end depends on how they begin, else where the pattern says."""
    groups = found.groupdict()
    if groups.get("dollar"):
        closed = query.find(groups["dollar"], found.end())
        return len(query) if closed < 0 else closed + len(groups["dollar"])
    if groups.get("alternative"):
        closed = query.find(_CLOSING.get(groups["opening"], groups["opening"]) + "'", found.end())
        return len(query) if closed < 0 else closed + 2
    return _end_of_comment(query, found.end(), nesting) if groups.get("block") else found.end()


def _end_of_comment(query: str, position: int, nesting: bool) -> int:
    depth = 1
    for mark in re.compile(r"\*/|/\*").finditer(query, position):
        depth += 1 if mark[0] == "/*" and nesting else 0
        depth -= 1 if mark[0] == "*/" else 0
        if depth == 0:
            return mark.end()
    return len(query)


def placeholders(query: str, dialects: Iterable[str]) -> list[tuple[str, int]]:
    """Return (name, offset of its colon) of what is a placeholder in each of these dialects, in order."""
    found = [{(text[1:], at) for kind, text, at in pieces(query, name) if kind == PLACEHOLDER} for name in dialects]
    return sorted(set.intersection(*found), key=lambda pair: pair[1]) if found else []


def code_of(query: str, dialect: str) -> str:
    """Return what of a query is executed: without strings, quoted names and comments, a blank in place of each."""
    return "".join(" " if kind in (QUOTED, ESCAPING) else text for kind, text, _ in pieces(query, dialect))
