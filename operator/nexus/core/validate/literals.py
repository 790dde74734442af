"""Literals: a phase, a trigger or a value of an enum that an expression compares with, and that is never there.

`tasks.load.phase == "Suceeded"` is a sound expression. It is also false for ever, and nothing at run time says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nexus.api.reasons import RunPhase, TaskPhase
from nexus.api.run import Trigger
from nexus.api.workflow import Param
from nexus.core.expressions.templates import Expression, Reference
from nexus.core.expressions.tokens import Kind, Token, tokens_of
from nexus.core.text.similar_names import closest, did_you_mean, listed

Allowed = Mapping[str, Sequence[str]]
"""The values that a variable may have, by its name."""

_PHASES = tuple(phase.value for phase in TaskPhase)
RUN_VALUES: Allowed = {
    "run.phase": tuple(phase.value for phase in RunPhase),
    "run.trigger": tuple(trigger.value for trigger in Trigger),
}


def of_params(params: Sequence[Param]) -> Allowed:
    """Return what is known of the run and of params with an enum of texts."""
    enums = {f"params.{param.name}": param.enum for param in params if param.enum}
    return {**RUN_VALUES, **{name: enum for name, enum in enums.items() if all(isinstance(v, str) for v in enum)}}


def never(expression: Expression, allowed: Allowed) -> Iterator[tuple[str, int]]:
    """Yield what an expression compares with in vain: (why, place in its source) of each such literal."""
    compared = [
        (reference, values)
        for reference in expression.references
        if (values := _values(reference, allowed)) is not None
    ]
    if not compared:
        return
    tokens = tokens_of(expression.source)
    for reference, values in compared:
        first = next((index for index, token in enumerate(tokens) if token.start == reference.offset), None)
        if first is None:
            continue
        # The root and two tokens for each name behind it: the source has dots where the author wrote brackets.
        last = first + 2 * reference.variable.count(".")
        for token in (*_after(tokens, last + 1), *_before(tokens, first - 1)):
            if token.plain_text is not None and token.plain_text not in values:
                close = closest(token.plain_text, values, cutoff=0.5)
                hint = did_you_mean(close) if close else f"it is one of {listed(values)}"
                yield f"{reference.variable} never equals {token.text}; {hint}", token.start


def _values(reference: Reference, allowed: Allowed) -> Sequence[str] | None:
    return _PHASES if reference.attribute == "phase" else allowed.get(reference.variable)


def _after(tokens: Sequence[Token], index: int) -> list[Token]:
    """Return the text in `== "text"`, the texts in `in ["text", ...]`, from a place on."""
    words = [token.text for token in tokens[index : index + 3]]
    if words[:2] in (["=", "="], ["!", "="]):
        return [token for token in tokens[index + 2 : index + 3] if token.kind is Kind.STRING]
    found: list[Token] = []
    if words[:2] == ["in", "["]:
        for token in tokens[index + 2 :]:
            if token.kind is Kind.STRING:
                found.append(token)
            elif token.text != ",":
                return found if token.text == "]" else []
    return found


def _before(tokens: Sequence[Token], index: int) -> list[Token]:
    """Return the text in `"text" ==`, up to a place."""
    if index < 2 or tokens[index].text != "=" or tokens[index - 1].text not in ("=", "!"):
        return []
    return [token for token in tokens[index - 2 : index - 1] if token.kind is Kind.STRING]
