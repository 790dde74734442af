"""Finds phrases that users and readers of the code should not meet, and prints what to write instead.

    $ python tests/wording.py
    docs/pools.md:22:14: "stands": write is, is defined, is set

It reads docs, examples, the chart, the Makefile, and the strings and docstrings of the package, area by area.
`--count` counts what is in each. Generated text is not read, since its sources are; nor are comments in code.

A phrase is here if it has a definite replacement. What a pattern cannot tell from good English is left to reviewers:

- "so that" and "of X only Y": no words mark an inversion, and "so that" mostly states a purpose, as it should;
- "text", "life", "story" alone: a body is text, an object has a lifetime. "a text" and "whole number" are found;
- "is missing" alone: `missing required field "x"` is the wording for fields, and other things are missing, too.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[1]

PHRASES = {
    r"(?<!there\s)\b(?:is|are|was|were) no (?!longer|more than|less than|fewer than|later than)": "is not a, must be",
    r"there (?:is|are) no (?:field|param|task|key|attribute) \S+ (?:here|there)": 'unknown field "x"',
    r"\b(?:wants|is wanted|are wanted)\b": "requires, expects, must",
    r"\blets? (?:\w+ )?be\b": "leaves unchanged, ignores, allows",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\b(?:comes?|came|coming) to\b(?! an end)": "is, results in",
    r"\btold\b": "given, reported, configured",
    r"\bstands?\b(?!-| by\b|by\b)": "is, is defined, is set",
    r"\b(?:no|some)body(?:'s|'s)?\b": "the actor: a user, an approver, another client; or the passive",
    r"\bsuch an?\b(?! way)": "this, a ... like this",
    r"\b(?:has|have|had) to have\b": "must have, requires",
    r"\bso (?:many|much)\b": "the number of ..., N",
    r"\bwhat (?:opens|begins|stands) (?:in|on|at)\b": 'name it: "the block that starts on line 2"',
    r"\bin lines? (?:\d|N\b|\{)": "on line N",
    r"\bwhole numbers?\b": "integer",
    r"\btrue or false\b": "boolean",
    r"\b(?:a|no) text\b(?! (?:file|body|editor|format|response))": "string",
    r"\bexecutions?\b": "run",
    r"\bin a circle\b": "cycle",
    r"\bwaits? for each other\b": "dependency cycle",
    r"\bwaits? for a person\b": "waits for approval",
    r"\ba person (?:decides|has to decide)\b": "an approver decides, approval",
    r"\btravels? on\b": "is propagated, skipped because its dependency was skipped",
    r"\bseldom\b": "rarely, interval exceeds",
    r"\b(?:goes|go) on (?:without|with|at|from|as|where|in|while|until)\b": "continues",
}
"""What is looked for (a space there is any white space, a comment mark too), and what to write instead."""


@dataclass(frozen=True)
class Allowed:
    """A true use of a phrase."""

    file: str
    line_has: str
    reason: str


ALLOWED: tuple[Allowed, ...] = ()

NOT_YET = frozenset[str]()
"""Areas that are not clean yet; one that becomes clean leaves this set."""


@dataclass(frozen=True, order=True)
class Finding:
    """A phrase, and where it is."""

    file: Path
    line: int
    column: int
    phrase: str
    instead: str

    def __str__(self) -> str:
        """The line that is printed."""
        return f'{self.file}:{self.line}:{self.column}: "{self.phrase}": write {self.instead}'


_GAP = r"(?:\s+(?:#+\s+)?)"
_COMPILED = [(re.compile(pattern.replace(" ", _GAP), re.IGNORECASE), instead) for pattern, instead in PHRASES.items()]


Read = Callable[[Path, str], Iterator[Finding]]
"""Finds the phrases in the source of a file."""


def phrases(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the offset of each phrase in a text, the phrase itself, and what to write instead."""
    for pattern, instead in _COMPILED:
        for match in pattern.finditer(text):
            yield match.start(), re.sub(_GAP, " ", match[0]).strip(), instead


GENERATED = re.compile(r"<!-- made by `make crds`", re.IGNORECASE)
"""Begins what is generated in a page, up to its end."""


def in_text(file: Path, source: str) -> Iterator[Finding]:
    """Yield what is found in a file that is text as a whole, up to what is generated in it."""
    for offset, phrase, instead in phrases(GENERATED.split(source)[0]):
        yield Finding(file, *_place(source, offset), phrase, instead)


def in_literals(file: Path, source: str) -> Iterator[Finding]:
    """Yield what is found in the strings of a module that have a space in them and are no docstrings."""
    tree = ast.parse(source)
    docstrings = {id(node) for node in _docstrings(tree)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | parts:
            text = node.value
        else:
            continue
        if " " in text:
            yield from _in_node(file, source, node, text)


def in_docstrings(file: Path, source: str) -> Iterator[Finding]:
    """Yield what is found in the docstrings of a module, those below fields and constants included."""
    for node in _docstrings(ast.parse(source)):
        yield from _in_node(file, source, node, str(node.value))


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the strings that are statements: they describe what is above them, or the whole that they begin."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def _in_node(file: Path, source: str, node: ast.expr, text: str) -> Iterator[Finding]:
    assert node.end_lineno is not None
    lines = source.splitlines(keepends=True)
    begin = sum(map(len, lines[: node.lineno - 1]))
    segment = "".join(lines[node.lineno - 1 : node.end_lineno])
    after: dict[str, int] = {}
    for _, phrase, instead in phrases(text):
        # In the source a phrase may be split by quotes and line ends: "is " "no".
        split = r"""[\s"'fr\\]+""".join(re.escape(word).replace(r"\{\}", r"\{[^{}]*\}") for word in phrase.split())
        found = re.compile(split).search(segment, after.get(phrase, 0))
        after[phrase] = found.end() if found else 0
        offset = begin + found.start() if found else begin + node.col_offset
        yield Finding(file, *_place(source, offset), phrase, instead)


def _place(source: str, offset: int) -> tuple[int, int]:
    line = source.count("\n", 0, offset) + 1
    return line, offset - (source.rfind("\n", 0, offset) + 1) + 1


@dataclass(frozen=True)
class Area:
    """Files, and what is read of them."""

    globs: tuple[str, ...]
    read: Read = in_text
    without: tuple[str, ...] = ()


def _areas() -> dict[str, Area]:
    areas = {
        "docs": Area(
            ("docs/*.md", "README.md", "task-images/*.md", "tests/cluster/*.md", "charts/nexus/README.md"),
            without=("docs/validation.md",),
        ),
        "docs of lint": Area(("docs/validation.md",)),  # it shows messages of lint
        "examples": Area(("examples/**/*.yaml", "examples/**/*.md", "examples/**/*.py")),
        "chart": Area(("charts/nexus/**/*",), without=("charts/nexus/files/crds/", "charts/nexus/README.md")),
        "make": Area(("Makefile", "kind-config.yaml")),
    }
    for package in ("api", "app", "cli", "services", "core", "adapters", "runtime", "bootstrap"):
        globs = (f"operator/nexus/{package}/**/*.py",)
        areas[f"{package} texts"] = Area(globs, in_literals)
        areas[f"{package} docstrings"] = Area(globs, in_docstrings)
    return areas


AREAS = _areas()


def check(top: Path, area: Area) -> list[Finding]:
    """Return what is found in an area of the repository at `top`, in the order of files and lines."""
    found: set[Finding] = set()
    for pattern in area.globs:
        for path in top.glob(pattern):
            file = path.relative_to(top)
            if path.is_file() and not str(file).startswith(area.without or ("\0",)):
                found.update(area.read(file, path.read_text("utf-8")))
    return sorted(found)


def refused(findings: Sequence[Finding], top: Path, allowed: Sequence[Allowed]) -> list[Finding]:
    """Return the findings that no allowance is for."""

    def is_allowed(finding: Finding) -> bool:
        line = (top / finding.file).read_text("utf-8").splitlines()[finding.line - 1]
        return any(str(finding.file) == one.file and one.line_has in line for one in allowed)

    return [finding for finding in findings if not is_allowed(finding)]


def unused(findings: Sequence[Finding], top: Path, allowed: Sequence[Allowed]) -> list[Allowed]:
    """Return the allowances that none of the findings needs."""
    return [one for one in allowed if refused(findings, top, [one]) == list(findings)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is found and return the exit status: 1 for a phrase, or for an allowance that nothing needs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--count", action="store_true", help="Print the number of findings in each area, and nothing else."
    )
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"Areas to check, held or not: {', '.join(AREAS)}.")
    options = parser.parse_args(arguments)
    found = {name: check(TOP, area) for name, area in AREAS.items()}
    if options.count:
        for name, findings in found.items():
            print(f"{len(refused(findings, TOP, ALLOWED)):5d}  {name}{'  (not held yet)' if name in NOT_YET else ''}")
        return 0
    names = options.areas or [name for name in AREAS if name not in NOT_YET]
    wrong = [str(finding) for name in names for finding in refused(found[name], TOP, ALLOWED)]
    everything = [finding for findings in found.values() for finding in findings]
    wrong += [
        f'tests/wording.py: nothing needs the allowance for "{one.line_has}" in {one.file}: remove it'
        for one in unused(everything, TOP, ALLOWED)
    ]
    sys.stdout.writelines(line + "\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
