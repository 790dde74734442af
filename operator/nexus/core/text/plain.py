"""Plain text: the one place that cleans what task code or an object's author wrote before a terminal or a log shows it.

A terminal obeys escape sequences: they clear the screen, set the clipboard, or write over what another line said. A log
has one record a line: a line break within one begins a forged record.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Escape sequences of terminals: CSI, OSC and the other strings, those of two characters (ECMA-48).
_SEQUENCES = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P_^X][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]"
# C0 and C1, tabs and line feeds aside, and what turns the direction of text around (Unicode UAX #9).
_OBEYED = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(f"{_SEQUENCES}|[{_OBEYED}]")
# In one line the line separators too; surrogates cannot be written at all.
_UNSHOWN = re.compile(f"[{_OBEYED}\n\u2028\u2029\ud800-\udfff]")
# JSON escapes the other half of C0 by itself, and its own line feeds stay.
_RAW = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> str:
    """Return the text without anything that moves a cursor, changes a colour or turns the direction of text around."""
    return _CONTROL.sub("", text)


def coloured(text: str) -> str:
    """Return the text as `plain` does, but with its colours (`ESC [ … m`), for who draws them."""
    kept = iter([*_COLOUR.findall(text), ""])
    return "".join(plain(part) + next(kept) for part in _COLOUR.split(text))


def one_line(text: str) -> str:
    r"""Return the text in one line, with `\n`, `\x1b` and the like written in place of what a terminal obeys."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def json_text(value: Any, indent: int | None = None, *, ascii_only: bool = False) -> str:
    """Return JSON that is as safe to show as plain text, and means `value` still: what is not is escaped."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, default=str)
    return _RAW.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
