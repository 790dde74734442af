"""`python -m nexus.api.reference [--check] docs/`: the pages of the docs that are made from the code."""

from __future__ import annotations

import sys
from pathlib import Path

from nexus.api.reasons import Reason

_INTRO = """# Reasons

<!-- Made by `make crds` from operator/nexus/api/reasons.py. -->

    nexus get sales-x7k2p
    kubectl get workflowrun sales-x7k2p -o yaml

A task or a run says in one word why it is where it is, and in `message` the same in a sentence with names. The words
are a public contract: Events, logs and the CLI use the same ones.

| reason | what it means |
| --- | --- |
"""


def reasons() -> str:
    """The text of docs/reasons.md."""
    return _INTRO + "".join(f"| `{reason.value}` | {reason.describe} |\n" for reason in Reason)


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check say whether they are up to date; returns the exit status."""
    check = "--check" in arguments
    folder = Path(next(argument for argument in arguments if not argument.startswith("--")))
    page = folder / "reasons.md"
    if not check:
        page.write_text(reasons(), encoding="utf-8")
        return 0
    if page.exists() and page.read_text(encoding="utf-8") == reasons():
        return 0
    sys.stderr.write(f"{page} is not what the code says: run make crds\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
