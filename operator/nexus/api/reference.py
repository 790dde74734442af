"""`python -m nexus.api.reference [--check] docs/`: the pages of the docs that are made from the code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from nexus.api.field_reference import fields
from nexus.api.messages_page import messages
from nexus.api.reasons import Reason
from nexus.api.remedies import SECTIONS, Remedy, without_remedy

_INTRO = """# Reasons

<!-- Made by `make crds` from operator/nexus/api/reasons.py and remedies.py. -->

    nexus get sales-x7k2p
    kubectl get workflowrun sales-x7k2p -o yaml

The `reason` of a run, task, attempt, item, condition or Event is the code of the `message` beside it, and a public
contract: Events, logs, metrics and the CLI use the same codes, and `nexus get`, `why` and `run` print them with
`-o json`. Scripts read the reason, never the message, whose words may change. Each entry has the meaning, an example
of the message, and what to do. [Troubleshooting](troubleshooting.md) starts from what you see instead.
"""


def reasons() -> str:
    """Return the text of docs/reasons.md.

    Raises SystemExit where a reason has no entry: whoever adds one says what to do about it.
    """
    if missing := without_remedy():
        names = ", ".join(missing)
        raise SystemExit(f"{names}: say in nexus/api/remedies.py what it looks like and what to do about it")
    sections = [
        f"\n## {title}\n" + "".join(map(_entry, *zip(*entries.items(), strict=True)))
        for title, entries in SECTIONS.items()
    ]
    return _INTRO + "".join(sections)


def _entry(reason: Reason, remedy: Remedy) -> str:
    looks = f"    {remedy.looks}\n\n" if remedy.looks else ""
    return f"\n### {reason.value}\n\n{reason.describe}\n\n{looks}{remedy.todo}\n"


def pages() -> dict[str, str]:
    """Return the name and text of each page."""
    return {"reasons.md": reasons(), "reference.md": fields(), "messages.md": messages()}


def write(arguments: list[str], texts: Mapping[str, str]) -> int:
    """Write pages, given by their names, or with --check say whether they are up to date; returns the exit status."""
    check = "--check" in arguments
    folder = Path(next(argument for argument in arguments if not argument.startswith("--")))
    stale = []
    for name, text in texts.items():
        page = folder / name
        if not check:
            page.write_text(text, encoding="utf-8")
        elif not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(page)
    for page in stale:
        sys.stderr.write(f"{page} is not what the code says: run make crds\n")
    return 1 if stale else 0


def main(arguments: list[str]) -> int:
    """Write or check the pages of this module; return the exit status."""
    return write(arguments, pages())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
