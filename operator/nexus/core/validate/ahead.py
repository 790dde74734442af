"""Ahead: the types of all expressions of a definition, asked for at once.

A definition of 500 tasks has some two thousand expressions. Asked about one by one, each with variables of its own, CEL
makes an environment for each, which takes thirty times as long as the expression itself. So the checks run twice: once
to note what they ask, then, all of that answered in a few requests, for their answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nexus.core.expressions.templates import Evaluator, ExpressionError

_Asked = tuple[str, frozenset[tuple[str, str]]]

# Variables whose fields may be variables of their own (params and params.day): which of both are declared decides what
# an expression means. Those of `response` and of items are of a different type for each task.
_SHARED_BY_NONE = ("item", "params", "response")


class Noting:
    """An Evaluator that notes what is asked and says that it may be anything."""

    def __init__(self) -> None:
        self.asked: dict[_Asked, None] = {}

    def check(self, source: str, variables: Mapping[str, str]) -> str:
        """See Evaluator."""
        self.asked[(source, frozenset(variables.items()))] = None
        return "dyn"

    def check_all(self, sources: Sequence[str], variables: Mapping[str, str]) -> list[str | ExpressionError]:
        """See Evaluator."""
        return [self.check(source, variables) for source in sources]

    def evaluate(
        self,
        source: str,
        variables: Mapping[str, str],
        values: Mapping[str, Any],  # noqa: ARG002
        *,
        zone: str = "UTC",  # noqa: ARG002
    ) -> Any:
        """See Evaluator; the value is null."""
        self.check(source, variables)


class Answered:
    """An Evaluator that knows the answers to what was asked ahead, and hands on everything else."""

    def __init__(self, evaluator: Evaluator, asked: Iterable[_Asked]) -> None:
        self._evaluator = evaluator
        self._answers: dict[_Asked, str | ExpressionError] = {}
        together: dict[frozenset[tuple[str, str]], list[_Asked]] = {}
        for entry in asked:
            together.setdefault(_apart(entry[1]), []).append(entry)
        for entries in together.values():
            variables = dict(sorted({pair for _, declared in entries for pair in declared}))
            answers = evaluator.check_all([source for source, _ in entries], variables)
            self._answers |= zip(entries, answers, strict=True)

    def check(self, source: str, variables: Mapping[str, str]) -> str:
        """See Evaluator."""
        answer = self._answers.get((source, frozenset(variables.items())))
        if answer is None:
            return self._evaluator.check(source, variables)
        if isinstance(answer, ExpressionError):
            raise answer
        return answer

    def check_all(self, sources: Sequence[str], variables: Mapping[str, str]) -> list[str | ExpressionError]:
        """See Evaluator."""
        return self._evaluator.check_all(sources, variables)

    def evaluate(
        self, source: str, variables: Mapping[str, str], values: Mapping[str, Any], *, zone: str = "UTC"
    ) -> Any:
        """See Evaluator."""
        return self._evaluator.evaluate(source, variables, values, zone=zone)


def _apart(variables: frozenset[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Return the variables that only expressions with the very same ones may share an environment with."""
    return frozenset(pair for pair in variables if pair[0] in _SHARED_BY_NONE or pair[0].startswith("item."))
