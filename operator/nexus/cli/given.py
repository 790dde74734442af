"""What a user gives on the command line: params and secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus.api.workflow import Param, ParamType
from nexus.cli.ending import UsageError
from nexus.core.data.output_lines import quoted
from nexus.core.manifest.problem import Problem
from nexus.core.text.json_text import load


@dataclass(frozen=True)
class Params:
    """What `--param` gives. What cannot be read stays in `values` as text, so that the check of all params sees it."""

    values: dict[str, Any]
    problems: tuple[str, ...]
    wrong: frozenset[str]
    """The params of which `problems` says what there is to say."""

    def others(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Of the problems that the check of all params found those that are news."""
        return tuple(problem for problem in problems if self.wrong.isdisjoint(problem.path[1:2]))


_FORMS = {
    ParamType.INTEGER: ("an", "3"),
    ParamType.NUMBER: ("a", "2.5"),
    ParamType.BOOLEAN: ("a", "true"),
    ParamType.ARRAY: ("an", """'["eu","us"]'"""),
    ParamType.OBJECT: ("an", """'{"a":1}'"""),
}


def params(given: Iterable[str], declared: Sequence[Param]) -> Params:
    """Return the values of `--param k=v`, read by the declared type: a string as it is, every other as JSON. A name
    that is not declared is left to the check of all params."""
    types = {param.name: param.type or ParamType.STRING for param in declared}
    values: dict[str, Any] = {}
    problems, wrong = [], set()
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name:
            problems.append(f"--param {text}: expected NAME=VALUE")
            wrong.add(name)
            continue
        problem: str | None = f"--param {name}: duplicate; keep one of them"
        if name not in values:
            values[name], problem = _value(name, value, types.get(name, ParamType.STRING))
        if problem:
            problems.append(problem)
            wrong.add(name)
    return Params(values, tuple(problems), frozenset(wrong))


def _value(name: str, text: str, kind: ParamType) -> tuple[Any, str | None]:
    """Return the value of a param, and what is wrong with its text."""
    if kind is ParamType.STRING:
        return text, None
    try:
        return load(text), None
    except ValueError as error:
        article, example = _FORMS[kind]
        got = quoted(text)
        problem = f"must be {article} {kind.value} in JSON, got {got} ({error}); for example {name}={example}"
        return text, f"--param {name}: {problem}"


def secrets(given: Iterable[str], environ: Mapping[str, str] = os.environ) -> dict[str, dict[str, str]]:
    """Return the entries of `--secret NAME/KEY=env:VAR|file:PATH`, by the Secret's name. Raises Refused."""
    found: dict[str, dict[str, str]] = {}
    problems = []
    for text in given:
        reference, _, source = text.partition("=")
        name, _, key = reference.partition("/")
        kind, _, place = source.partition(":")
        if not name or not key or not place or kind not in ("env", "file"):
            # The text may hold the secret itself, by mistake: it is not repeated.
            problems.append(f"--secret {reference}: expected NAME/KEY=env:VARIABLE or NAME/KEY=file:PATH")
            continue
        try:
            # A Secret holds bytes; what is not UTF-8 stays as an environment variable has it (PEP 383).
            value = environ[place] if kind == "env" else os.fsdecode(Path(place).read_bytes())
            found.setdefault(name, {})[key] = value
        except KeyError:
            problems.append(f"--secret {reference}: environment variable {place} is not set")
        except OSError as error:
            problems.append(f"--secret {reference}: cannot read {place}: {error.strerror}")
    if problems:
        raise UsageError(*problems)
    return found
