"""CEL's tokens: enough of its grammar to find where an expression ends and which names it uses.

Source: the lexis of the CEL language definition (https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

# CEL's lexer takes these for itself wherever they stand; its other reserved words (for, if, package) may follow a dot.
KEYWORDS = frozenset({"in", "true", "false", "null"})

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# A comment also ends at }}, or a one-line `${{ x // why }}` could not be closed.
_TOKEN = re.compile(
    r"""
      (?P<space> \s+ | //(?:(?!\}\})[^\n])* )
    | (?P<raw> (?:[bB][rR]|[rR][bB]|[rR]) (?: \"{3}(?s:.*?)\"{3} | '{3}(?s:.*?)'{3} | "[^"\n]*" | '[^'\n]*' ) )
    | (?P<string> [bB]? (?: \"{3}(?s:(?:\\.|(?!\"{3}).)*)\"{3} | '{3}(?s:(?:\\.|(?!'{3}).)*)'{3}
                        | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' ) )
    | (?P<identifier> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<backtick> `[^`\n]*` )
    | (?P<number> 0[xX][0-9a-fA-F]+[uU]? | (?:\d+\.\d+|\d+|\.\d+)(?:[eE][+-]?\d+)?[uU]? )
    | (?P<operator> . )
    """,
    re.VERBOSE,
)


class Kind(Enum):
    """What a token is."""

    IDENTIFIER = "identifier"
    STRING = "string"
    BACKTICK = "backtick"
    NUMBER = "number"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `start` and `end` count characters of the text it was read from."""

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def plain_text(self) -> str | None:
        """The content of a string literal or a backtick name that needs no unescaping, else None."""
        if self.kind is Kind.BACKTICK:
            return self.text[1:-1]
        quote = self.text[:1]
        if (
            self.kind is Kind.STRING
            and quote in "\"'"
            and "\\" not in self.text
            and not self.text.startswith(quote * 3)
        ):
            return self.text[1:-1]
        return None


class UnclosedString(Exception):
    """A string literal without its closing quote; `start` is where it opens."""

    def __init__(self, start: int) -> None:
        self.start = start
        super().__init__("this string is not closed: put the same quote at its end, on the same line")


def next_token(text: str, position: int) -> Token | None:
    """Return the first token at or after `position`, past blanks and comments; None at the end. Raises
    UnclosedString."""
    while match := _TOKEN.match(text, position):
        group, position = match.lastgroup, match.end()
        if group == "space":
            continue
        if group == "operator" and match[0] in "\"'`":
            raise UnclosedString(match.start())
        kind = Kind.STRING if group in ("raw", "string") else Kind(group)
        return Token(kind, match[0], match.start(), match.end())
    return None


def tokens_of(source: str) -> list[Token]:
    """Return all tokens of an expression; none if a string in it is not closed, which its parser reports."""
    tokens: list[Token] = []
    position = 0
    try:
        while (token := next_token(source, position)) is not None:
            tokens.append(token)
            position = token.end
    except UnclosedString:
        return []
    return tokens


def is_identifier(name: str) -> bool:
    """Return True for a name that may follow a dot."""
    return _IDENTIFIER.fullmatch(name) is not None and name not in KEYWORDS
