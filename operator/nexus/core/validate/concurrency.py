"""Checks of `concurrency`: a key that can be evaluated, and fields that have an effect."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.api.codes import Code
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.problem import Path, Problem
from nexus.core.validate.expressions import sight_of_run, template


def concurrency(spec: WorkflowSpec, evaluator: Evaluator) -> Iterator[Problem]:
    """Yield what is wrong with how the runs of a definition take turns."""
    given = spec.concurrency
    if given is None:
        return
    path: Path = ("concurrency",)
    for field in ("limit", "key"):
        if getattr(given, field) is not None and not given.policy.takes_turns:
            message = f"{field} has no effect with policy Allow; use Forbid, Replace or Queue"
            yield Problem((*path, field), Code.NO_EFFECT, message)
    if given.key is None:
        return
    if "${{" not in given.key:
        message = "key is the same for every run; use an expression such as ${{ params.env }}, or remove it"
        yield Problem((*path, "key"), Code.NO_EFFECT, message)
    yield from template((*path, "key"), given.key, sight_of_run(spec), evaluator)
