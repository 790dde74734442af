"""Foreign: expressions of other engines, which are text like any other here, and never meant as such."""

from __future__ import annotations

import re

from nexus.core.expressions.templates import TemplateError, parse

_NAME = r"[A-Za-z_][\w-]*"
_FOREIGN = re.compile(
    rf"""
    (?<!\$)\{{\{{-?\s*(?P<braces>
          (?:inputs|workflow)\.parameters\.{_NAME}
        | tasks\.{_NAME}\.outputs?(?:\.[\w.-]+)?
        | (?:params|run)\.{_NAME}(?:\.[\w.-]+)?
    )\s*-?\}}\}}
    | \$\{{\s*(?P<shell>(?:params|tasks|run)\.[\w.-]+)\s*\}}
    | \$\((?P<tekton>(?:params|tasks)\.[\w.-]+)\)
    """,
    re.VERBOSE,
)


def foreign(text: str) -> tuple[str, int] | None:
    """Return the first expression of another engine in a field that is rendered: how it is written here, and its
    place."""
    if "{" not in text and "$(" not in text:
        return None
    try:
        literals = [part for part in parse(text).parts if isinstance(part, str)]
    except TemplateError:
        return None  # reported where expressions are checked
    for literal in literals:
        found = _FOREIGN.search(literal)
        if found is not None:
            inside = next(group for group in found.groups() if group is not None)
            message = f"{found[0]} is not an expression here; write ${{{{ {_ours(inside)} }}}}"
            return message, text.index(found[0])
    return None


def _ours(inside: str) -> str:
    """Return a reference of another engine as NEXUS writes it."""
    inside = re.sub(r"^(?:inputs|workflow)\.parameters\.", "params.", inside)
    task = re.match(rf"tasks\.({_NAME})\.(?:outputs|results|output)(?:\.(?:parameters|result))?(.*)$", inside)
    if task is None:
        return inside
    name = f".{task[1]}" if "-" not in task[1] else f'["{task[1]}"]'
    return f"tasks{name}.output{task[2]}"
