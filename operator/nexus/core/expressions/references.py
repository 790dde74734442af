"""Which of its surroundings an expression names: params, tasks, the run, the item of a fan-out."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nexus.core.expressions.tokens import KEYWORDS, Kind, Token, is_identifier

ROOTS = frozenset({"params", "tasks", "run", "item", "index", "response"})
TASK_ATTRIBUTES = ("output", "phase")

# What other engines call them.
_MEANT = {
    **dict.fromkeys(["outputs", "result", "results"], "output"),
    **dict.fromkeys(["status", "state", "conclusion", "outcome"], "phase"),
}

# CEL's macros that bind a variable: inside their parentheses that name is no longer ours.
_BINDING_MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
# Characters of a task's name, a DNS label.
LABEL = 63
_HYPHENATED = re.compile(r"tasks\.([a-z0-9]+(?:-[a-z0-9]+)+)")


@dataclass(frozen=True, slots=True)
class Reference:
    """One use of a name that NEXUS defines.

    `params.day` is ("params", "day"), `tasks.price.output.total` is ("tasks", "price", "output"), `run.name` is
    ("run", "name"), `item` is ("item",); the whole of `params` is ("params",). A task's name is written as CEL
    writes it (`task_identifier`). `offset` counts characters from the start of the expression.
    """

    root: str
    name: str | None = None
    attribute: str | None = None
    offset: int = 0

    @property
    def variable(self) -> str:
        """The variable behind it, dots included: `tasks.price.output`."""
        return ".".join(part for part in (self.root, self.name, self.attribute) if part is not None)


class ReferenceInvalid(Exception):
    """A use of `tasks` or `run` that names no task or field; `offset` as in Reference."""

    def __init__(self, message: str, offset: int) -> None:
        self.offset = offset
        super().__init__(message)


@lru_cache(maxsize=4096)
def task_identifier(task: str) -> str:
    """Return a task's name as CEL can write it after a dot: no hyphen, no digit first, no keyword.

    No two DNS labels share one: they have no underscore of their own.
    """
    name = task.replace("-", "_")
    if name in KEYWORDS:
        return f"{name}_"
    return f"_{name}" if name[:1].isdigit() else name


def explain_hyphen(source: str, task_names: Collection[str]) -> str | None:
    """Return what to write in place of `tasks.per-region`, which CEL reads as a subtraction; None if the source has
    none. `task_names` is looked up often: pass a set, or a dict."""
    for match in _HYPHENATED.finditer(source):
        words = match[1].split("-")
        for count in range(min(len(words), LABEL), 1, -1):
            name = "-".join(words[:count])
            if name in task_names:
                return f'tasks.{name} is a subtraction in CEL; write tasks.{task_identifier(name)}, or tasks["{name}"]'
    return None


@dataclass(frozen=True, slots=True)
class Found:
    """The references of an expression, and its source with every `["name"]` of them written with a dot."""

    references: tuple[Reference, ...]
    source: str


def find(source: str, tokens: Sequence[Token]) -> Found:
    """Find the references in an expression. `tokens` count from the start of `source`. Raises ReferenceInvalid."""
    references: list[Reference] = []
    edits: list[_Selection] = []
    for index in _free_names(tokens):
        chain = _selections(tokens, index)
        found, renamed = _references(tokens, index, chain)
        references += found
        edits += renamed
    return Found(tuple(references), _rewritten(source, edits))


@dataclass(frozen=True, slots=True)
class _Selection:
    """`.name` or `["name"]` after a value: the text from `start` to `end`; `last` is the index of its last token."""

    name: str
    quoted: bool
    start: int
    end: int
    last: int


def _free_names(tokens: Sequence[Token]) -> list[int]:
    """Return the indexes of root names that are neither a field, nor a function, nor bound by a macro around it."""
    found: list[int] = []
    bound: list[tuple[int, str]] = []
    depth = 0
    for index, token in enumerate(tokens):
        if token.text == "(" and token.kind is Kind.OPERATOR:
            depth += 1
            if (name := _bound_by(tokens, index)) is not None:
                bound.append((depth, name))
        elif token.text == ")" and token.kind is Kind.OPERATOR:
            if bound and bound[-1][0] == depth:
                bound.pop()
            depth -= 1
        elif (
            token.kind is Kind.IDENTIFIER
            and token.text in ROOTS
            and _text(tokens, index - 1) != "."
            and _text(tokens, index + 1) != "("
            and all(name != token.text for _, name in bound)
        ):
            found.append(index)
    return found


def _bound_by(tokens: Sequence[Token], opening: int) -> str | None:
    """Return the variable of the macro whose parenthesis opens here: `x` for `.map(x, ...)`."""
    if (
        opening >= 2
        and tokens[opening - 1].text in _BINDING_MACROS
        and tokens[opening - 2].text == "."
        and _text(tokens, opening + 2) == ","
        and tokens[opening + 1].kind is Kind.IDENTIFIER
    ):
        return tokens[opening + 1].text
    return None


def _text(tokens: Sequence[Token], index: int) -> str:
    """Return an operator or identifier at a place that may lie outside; a string literal is never mistaken for one."""
    if 0 <= index < len(tokens) and tokens[index].kind in (Kind.OPERATOR, Kind.IDENTIFIER):
        return tokens[index].text
    return ""


def _selections(tokens: Sequence[Token], root: int) -> list[_Selection]:
    """Return what is selected from a root by names that are known before anything runs."""
    chain: list[_Selection] = []
    index = root + 1
    while index + 1 < len(tokens):
        opening, name = tokens[index], tokens[index + 1]
        if opening.text == "." and name.kind in (Kind.IDENTIFIER, Kind.BACKTICK) and _text(tokens, index + 2) != "(":
            quoted = name.kind is Kind.BACKTICK
            chain.append(_Selection(name.plain_text or name.text, quoted, opening.start, name.end, index + 1))
            index += 2
        elif opening.text == "[" and _text(tokens, index + 2) == "]" and name.plain_text is not None:
            closing = tokens[index + 2]
            chain.append(_Selection(name.plain_text, True, opening.start, closing.end, index + 2))
            index += 3
        else:
            break
    return chain


def _references(
    tokens: Sequence[Token], root: int, chain: Sequence[_Selection]
) -> tuple[list[Reference], list[_Selection]]:
    """Return the references that one use of a root makes, and the selections in it to rewrite."""
    name, offset = tokens[root].text, tokens[root].start
    if name == "params":
        return _param(tokens, root, chain)
    if name == "tasks":
        return _task(tokens, root, chain)
    if name == "run":
        if not chain:
            raise ReferenceInvalid("run alone has no value; name a field, as in run.name or run.scheduledTime", offset)
        _refuse_has(tokens, root, chain[0])
        return [Reference("run", chain[0].name, None, offset)], [chain[0]]
    return [Reference(name, None, None, offset)], []


def _param(tokens: Sequence[Token], root: int, chain: Sequence[_Selection]) -> tuple[list[Reference], list[_Selection]]:
    offset = tokens[root].start
    whole = Reference("params", None, None, offset)
    if not chain:
        return [whole], []
    named = Reference("params", chain[0].name, None, offset)
    if not is_identifier(chain[0].name):
        return [named, whole], []
    # has() requires a field of a map: over a variable called `params.day` it gives that variable's value instead.
    return ([named, whole] if _inside_has(tokens, root, chain[0]) else [named]), [chain[0]]


def _task(tokens: Sequence[Token], root: int, chain: Sequence[_Selection]) -> tuple[list[Reference], list[_Selection]]:
    offset = tokens[root].start
    if not chain:
        raise ReferenceInvalid(
            "name the task, as in tasks.price.output or tasks.price.phase: neither tasks as a whole nor tasks[...] of "
            "a computed name can be read",
            offset,
        )
    task = chain[0]
    name = task_identifier(task.name)
    if len(chain) == 1 and _text(tokens, task.last + 1) == "-":
        # Most likely tasks.per-region.output: explain_hyphen says so where the task names are known.
        return [Reference("tasks", name, None, offset)], []
    wrong = chain[1].name if len(chain) > 1 else None
    if wrong not in TASK_ATTRIBUTES:
        written = f"tasks.{name}" if wrong is None else f"tasks.{name}.{wrong}"
        meant = _MEANT.get(wrong or "", f"output.{wrong}" if wrong else "output")
        instead = f"tasks.{name}.{meant}"
        raise ReferenceInvalid(
            f'unknown attribute "{written}"; tasks have output and phase, did you mean "{instead}"?', offset
        )
    _refuse_has(tokens, root, chain[1])
    renamed = _Selection(name, task.quoted, task.start, task.end, task.last)
    return [Reference("tasks", name, wrong, offset)], [renamed, chain[1]]


def _inside_has(tokens: Sequence[Token], root: int, last: _Selection) -> bool:
    return _text(tokens, root - 1) == "(" and _text(tokens, root - 2) == "has" and _text(tokens, last.last + 1) == ")"


def _refuse_has(tokens: Sequence[Token], root: int, last: _Selection) -> None:
    if _inside_has(tokens, root, last):
        raise ReferenceInvalid(
            "has() is always true of this: it is never absent. Compare it, with null for instance, or ask for a field "
            "inside it",
            tokens[root].start,
        )


def _rewritten(source: str, edits: Sequence[_Selection]) -> str:
    """Return the source with quoted selections dotted, padded so that every column stays where it is."""
    for edit in edits:
        if edit.quoted:
            padded = f".{edit.name}".ljust(edit.end - edit.start)
            source = source[: edit.start] + padded + source[edit.end :]
    return source
