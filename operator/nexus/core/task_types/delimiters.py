"""Delimiters: of the blocks that a bash task writes to $NEXUS_OUTPUT (see nexus.core.data.output_lines)."""

from __future__ import annotations

import re
from collections.abc import Iterator

# KEY<<DELIMITER within quotes, as in echo "notes<<EOF": without them it is the shell's own here-document. Behind a
# variable or a command substitution the delimiter is another each time.
_FIXED = re.compile(r"""(?:["']|\\n)([A-Za-z_][A-Za-z0-9_.-]*):?<<["'\\]*([^\s"'\\$`]+)(?=[\s"'\\]|$)""")


def fixed_delimiters(command: str) -> Iterator[tuple[str, int]]:
    """Yield why a block of a command can be broken out of, with the offset of its key."""
    if "NEXUS_OUTPUT" not in command:
        return
    for found in _FIXED.finditer(command):
        key, delimiter = found.groups()
        risk = f'fixed delimiter "{delimiter[:40]}": a value with that line ends the block and sets other outputs'
        remedy = f"write {key[:40]}<<$NEXUS_EOF and $NEXUS_EOF, or nexus_output {key[:40]} VALUE"
        yield f"{risk}; {remedy}", found.start(1)
