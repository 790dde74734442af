"""Checks of the expressions in a definition: their syntax, what they name, and the types of their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nexus.api.tasks import Task
from nexus.core import fields
from nexus.core.board import node_variables
from nexus.core.definition import Definition
from nexus.core.expressions import (
    Evaluator,
    Expression,
    ExpressionError,
    TemplateError,
    explain_hyphen,
    parse,
    task_identifier,
    unknown_name,
    variables_of,
)
from nexus.core.problem import Path, Problem
from nexus.core.scope import ITEM_VARIABLES
from nexus.core.validate.dependencies import no_task


def expressions(
    path: Path, task: Task, definition: Definition, evaluator: Evaluator, names: Sequence[str]
) -> Iterator[Problem]:
    """What is wrong with the expressions of one task; `names` are those of all tasks."""
    texts = [(field, text) for field, text in fields.templated(task) if "${{" in text]
    sources = [(field, text) for field, text in fields.sources(task) if "${{" in text]
    if task.when is not None or texts or sources:
        # Up to a thousand names: not collected for the many tasks without any expression.
        variables = node_variables(definition, definition.nodes[task.name])
        if task.when is not None:
            yield from _when((*path, "when"), task, variables, evaluator, names)
        for field, text in sources:
            found = list(template((*path, *field), text, variables, evaluator, task.name, names))
            yield from found or _no_list(path, field, text, task, variables, evaluator)
        if task.for_each is not None:
            variables = {**variables, **ITEM_VARIABLES}
        for field, text in texts:
            yield from template((*path, *field), text, variables, evaluator, task.name, names)
    if task.http is not None and task.http.result is not None:
        yield from _result((*path, "http", "result"), task, evaluator)


def _when(
    path: Path, task: Task, variables: Mapping[str, str], evaluator: Evaluator, names: Sequence[str]
) -> Iterator[Problem]:
    text = task.when or ""
    found = list(template(path, text, variables, evaluator, task.name, names))
    yield from found
    if found:
        return
    whole = parse(text.strip()).whole
    if whole is None or text != text.strip():
        yield Problem(path, "write when as one whole ${{ }}, for instance ${{ params.day != '' }}", task.name)
        return
    kind = evaluator.check(whole.source, {name: variables[name] for name in variables_of(whole)})
    if kind not in ("bool", "dyn"):
        yield Problem(
            path, f"when wants true or false, this gives {kind}: compare it with something", task.name, whole.offset
        )


def _no_list(
    path: Path, field: Path, text: str, task: Task, variables: Mapping[str, str], evaluator: Evaluator
) -> Iterator[Problem]:
    """A source of items that is known to be no list. Strings within a literal list of items may give anything."""
    whole = parse(text).whole
    if whole is None or len(field) > (2 if field[1] == "items" else 3):
        return
    kind = evaluator.check(whole.source, {name: variables[name] for name in variables_of(whole)})
    if kind not in ("list", "dyn"):
        message = f"{field[-1]} wants a list, this gives {kind}: write a list, or an expression that gives one"
        yield Problem((*path, *field), message, task.name, whole.offset)


def _result(path: Path, task: Task, evaluator: Evaluator) -> Iterator[Problem]:
    """`result` sees the response alone; which fields that has is only known when it is there."""
    assert task.http is not None
    text = task.http.result or ""
    try:
        whole = parse(text).whole
        if whole is None:
            yield Problem(path, "write result as one whole ${{ }}, for instance ${{ response.json.total }}", task.name)
            return
        evaluator.check(whole.source, {"response": "map"})
    except TemplateError as error:
        yield Problem(path, error.message, task.name, error.offset)
    except ExpressionError as error:
        yield Problem(path, error.message, task.name, error.offset)


def template(
    path: Path,
    text: str,
    variables: Mapping[str, str],
    evaluator: Evaluator,
    task: str | None,
    names: Sequence[str],
) -> Iterator[Problem]:
    """What is wrong with the expressions in one text, of which only `variables` are known."""
    try:
        expressions = parse(text).expressions
    except TemplateError as error:
        yield Problem(path, error.message, task, error.offset)
        return
    for expression in expressions:
        unknown = [name for name in variables_of(expression) if name not in variables]
        hyphen = explain_hyphen(expression, names)
        if hyphen is not None:
            yield Problem(path, hyphen, task, expression.offset)
        elif unknown:
            message = _why_unknown(unknown[0], variables, task, names)
            yield Problem(path, message, task, _offset_of(expression, unknown[0]))
        else:
            yield from _type_error(path, expression, variables, evaluator, task)


def _type_error(
    path: Path, expression: Expression, variables: Mapping[str, str], evaluator: Evaluator, task: str | None
) -> Iterator[Problem]:
    try:
        evaluator.check(expression.source, {name: variables[name] for name in variables_of(expression)})
    except ExpressionError as error:
        yield Problem(path, error.message, task, expression.offset + (error.offset or 0))


def _offset_of(expression: Expression, variable: str) -> int:
    found = [reference.offset for reference in expression.references if reference.variable == variable]
    return expression.offset + (found[0] if found else 0)


def _why_unknown(name: str, variables: Mapping[str, str], task: str | None, names: Sequence[str]) -> str:
    """A task that exists but is not an ancestor is the usual mistake: it wants a dependsOn."""
    root, _, rest = name.partition(".")
    if root == "tasks":
        identifier = rest.partition(".")[0]
        for other in names:
            if task_identifier(other) == identifier and f"tasks.{identifier}.phase" not in variables:
                if other == task:
                    return f"{name}: a task cannot see its own output"
                return f"{name}: {task} does not depend on {other}: add {other} to its dependsOn"
        if identifier not in {task_identifier(other) for other in names} and names:
            return no_task(identifier, names)
    if root in ("item", "index"):
        return f"{name} is only known in the fields of a task with forEach: not in forEach itself, and not in when"
    return unknown_name(name, list(variables))
