"""What a regular expression costs, for RE2: linear in the text, times the size of what it is compiled to.

A pattern is compiled at each match. `x{1000}` is a thousand copies of x, and a class of Unicode (`\\pL`) is hundreds of
ranges of bytes.
"""

from __future__ import annotations

import re

# Nanoseconds, measured with cel-expr-python 0.1.3: at the least, for each copy of a character in the pattern, and for
# each of them at each character of the text, which RE2 needs if its cache of states is too small.
_MATCH, _COPY, _STATE, _CHARACTER = 3_000.0, 250.0, 2.0, 2.0
# RE2 gives up on patterns that would take more memory than it allows itself.
_MOST_COMPILING, _MOST_A_CHARACTER = 100_000_000.0, 6_000.0
_CLASS, _WIDE = 4_000.0, 10.0
# A count over 1,000 is refused by RE2, that of nested repetitions too.
_MOST_COPIES = 1_000
_TOKEN = re.compile(r"\\[pP](?:\{[^}]*(?:\}|$)|.)|\\.|\[(?:\\.|[^\]\\])+(?:\]|$)|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)


def cost(characters: float, pattern: str) -> float:
    """Return the cost of a match of this pattern with a string of this many characters."""
    copies = _copies(pattern)
    compiling = min(copies * _COPY, _MOST_COMPILING)
    return _MATCH + compiling + characters * min(_CHARACTER + copies * _STATE, _MOST_A_CHARACTER)


def unknown(characters: float, pattern: float) -> float:
    """Return the cost of a match with a pattern of which no more is known than how long it is."""
    return _MATCH + min(pattern * _CLASS * _COPY, _MOST_COMPILING) + characters * _MOST_A_CHARACTER


def _copies(pattern: str) -> float:
    """Return the characters of the pattern with its repetitions written out."""
    groups: list[float] = [0.0]
    last = 0.0
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text == "(":
            groups.append(0.0)
            last = 0.0
        elif text == ")" and len(groups) > 1:
            last = groups.pop() + 2
            groups[-1] += last
        elif token[1] is not None:
            copies = min(int(token[2] or token[1]), _MOST_COPIES)
            groups[-1] += last * max(0, copies - 1)
            last *= max(1, copies)
        else:
            last = _weight(text)
            groups[-1] += last
    insensitive = 3 if "(?i" in pattern or "(?si" in pattern or "(?mi" in pattern else 1
    return sum(groups) * insensitive


def _weight(token: str) -> float:
    if token[:2] in ("\\p", "\\P"):
        return _CLASS
    if token[0] == "[" and len(token) > 1:
        # A class that leaves out reaches over all of Unicode.
        wide = token[1] == "^" or not token.isascii() or re.search(r"\\[DWS]", token) is not None
        return 1 + len(token) / 3 + _WIDE * wide + _CLASS * (token.count("\\p") + token.count("\\P"))
    if token in (".", "\\D", "\\W", "\\S", "\\C", "\\X"):
        return _WIDE
    return 1.0 if token.isascii() and token != "\\w" else 4.0
