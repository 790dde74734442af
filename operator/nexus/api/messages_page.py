"""docs/messages.md: what each code means, with an example and the fix. A section each for what reports codes."""

from __future__ import annotations

from collections.abc import Callable

from nexus.api.codes import Code

_INTRO = """# Messages and their codes

<!-- Made by `make crds` from operator/nexus/api/codes.py. -->

    nexus lint -o json sales.yaml

Each message has a code beside its words. Words may become better in any version; a code keeps its meaning. Scripts
read the code.
"""


def _lint() -> str:
    """Return the section on `nexus lint`."""
    head = """
## Problems in definitions

`nexus lint`, `nexus plan`, `nexus run` and the condition `Ready` report these. `-o json` of lint has, for each entry of
`problems` and `warnings`: `code`, `severity` (`error` or `warning`), `file`, `line`, `column` (both from 1), `task` and
`field` (null where the problem has none), and `message`. `-o json` of plan has the same `problems` where it refuses a
file or a `--param`.

`.status.problems` of a Workflow that is not Ready has the first 20, with `code`, `task`, `field` and `message`:

    kubectl get workflows.nexus.dev sales -o jsonpath='{range .status.problems[*]}{.code} {.task} {.field}{"\\n"}{end}'

Scripts must expect unknown codes: newer versions have more.

The status of a run has no such list. Its code is the `reason`, listed in [Reasons](reasons.md): a run of a Workflow
that is not Ready fails with `WorkflowInvalid`, and its message names the first three problems.

| code | meaning | example | fix |
| --- | --- | --- | --- |
"""
    return head + "".join(
        f"| `{code.value}` | {code.meaning} | {_quoted(code.example)} | {_cell(code.fix)} |\n" for code in Code
    )


def _quoted(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


SECTIONS: tuple[Callable[[], str], ...] = (_lint,)
"""What the page is made of, in order: another kind of message adds its section here."""


def messages() -> str:
    """Return the text of docs/messages.md."""
    return _INTRO + "".join(section() for section in SECTIONS)
