"""Checks of the expressions in a definition: their syntax, what they name, and the types of their values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from nexus.api.codes import Code
from nexus.api.tasks import Task
from nexus.api.workflow import WorkflowSpec
from nexus.core.data import scope
from nexus.core.expressions.templates import (
    Evaluator,
    Expression,
    ExpressionError,
    TemplateError,
    UnknownName,
    explain_hyphen,
    parse,
    variables_of,
)
from nexus.core.manifest.problem import Path, Problem, first
from nexus.core.model.definition import Definition
from nexus.core.pods import templated_fields
from nexus.core.task_types import TYPES, types_in
from nexus.core.task_types.record import OwnExpression, Wanted
from nexus.core.validate.dollars import open_dollars
from nexus.core.validate.foreign import foreign
from nexus.core.validate.formats import formats
from nexus.core.validate.items import ItemShape, item_shape
from nexus.core.validate.literals import RUN_VALUES, Allowed, never, of_params
from nexus.core.validate.names import why_unknown


@dataclass(frozen=True, slots=True)
class Sight:
    """What the expressions of a field see: variables with their CEL types, what some of them may be, the shape of the
    items. `task` is whose field it is, `names` are those of all tasks, for who names one that is not seen."""

    variables: Mapping[str, str]
    task: str | None = None
    names: Collection[str] = ()
    allowed: Allowed = field(default_factory=lambda: RUN_VALUES)
    items: ItemShape | None = None

    def declared(self, expression: Expression) -> dict[str, str]:
        """Return the variables of one expression."""
        own = self.items.declared(expression) if self.items is not None else {}
        return {name: self.variables[name] for name in variables_of(expression)} | own


def sight_of_run(spec: WorkflowSpec) -> Sight:
    """Return what fields see that belong to no task, or to tasks anywhere in the DAG: params and run alone."""
    variables = {**scope.param_variables(spec.params or ()), **scope.RUN_VARIABLES}
    return Sight(variables, allowed=of_params(spec.params or ()))


def sight_of(task: Task, definition: Definition, names: Collection[str] = ()) -> Sight:
    """Return what the fields of a task see, those of forEach and `when` aside; `names` are those of all tasks."""
    variables = scope.node_variables(definition, definition.nodes[task.name])
    sight = Sight(variables, task.name, names, of_params(definition.spec.params or ()))
    if task.for_each is None:
        return sight
    shape = item_shape(task.for_each)
    return replace(sight, variables={**variables, **shape.variables}, items=shape)


def expressions(
    path: Path, task: Task, definition: Definition, evaluator: Evaluator, names: Collection[str]
) -> Iterator[Problem]:
    """Yield what is wrong with the expressions of one task; `names` are those of all tasks."""
    every = list(templated_fields.templated(task))
    texts = [(at, text) for at, text in every if "${{" in text]
    sources = [(at, text) for at, text in templated_fields.sources(task) if "${{" in text]
    if task.when is not None or texts or sources:
        # Up to a thousand names: not collected for the many tasks without any expression.
        of_fields = sight_of(task, definition, names)
        sight = of_fields
        if task.for_each is not None:
            variables = {name: kind for name, kind in sight.variables.items() if name not in scope.ITEM_VARIABLES}
            sight = replace(sight, variables=variables, items=None)
        if task.when is not None:
            yield from _when((*path, "when"), task.when, sight, evaluator)
        for at, text in sources:
            # Strings within a literal list of items may give anything.
            is_list = len(at) <= (2 if at[1] == "items" else 3)
            wanted = Wanted(("list",), "a list", "write a list, or an expression that gives one")
            yield from typed((*path, *at), text, wanted if is_list else None, sight, evaluator)
        for at, text in texts:
            yield from typed((*path, *at), text, _wanted(at), of_fields, evaluator)
            if templated_fields.expands(at):
                yield from open_dollars((*path, *at), text, task.name)
    for at, text in every:
        if (told := foreign(text)) is not None:
            yield Problem((*path, *at), Code.FOREIGN_EXPRESSION, told[0], task.name, told[1])
    for record in types_in(task):
        for own in record.own_expressions:
            text = getattr(record.of(task), own.name)
            if text is not None:
                yield from _own((*path, record.name, own.name), text, own, task.name, evaluator)


_CONDITION = Wanted(("bool",), "a boolean", "compare it with something")
_AMOUNT = Wanted(("string", "int", "uint", "double"), "a quantity", "write one such as 500m, 2 or 64Mi")


def _wanted(at: Path) -> Wanted | None:
    """Return what the field at a path below the task must be; None where it may be anything, or becomes text."""
    match at:
        case ("pod", "resources", *_):
            return _AMOUNT
        case (str(kind), str(field)) if kind in TYPES:
            return TYPES[kind].wanted.get(field)
    return None


def _when(path: Path, text: str, sight: Sight, evaluator: Evaluator) -> Iterator[Problem]:
    try:
        whole = parse(text.strip()).whole is not None and text == text.strip()
    except TemplateError:
        whole = True  # told next
    if not whole:
        example = text.strip() if "{" not in text and text.strip() else "tasks.load.output.rows > 0"
        how = "write it as" if "{" not in text and text.strip() else "for instance"
        yield Problem(
            path, Code.NOT_AN_EXPRESSION, f"must be one whole expression; {how} ${{{{ {example} }}}}", sight.task
        )
        return
    yield from typed(path, text, _CONDITION, sight, evaluator)


def _own(path: Path, text: str, own: OwnExpression, task: str, evaluator: Evaluator) -> Iterator[Problem]:
    """Yield an expression that sees variables of its own alone; what they hold is only known where the task runs."""
    try:
        if parse(text).whole is None:
            message = f"must be one whole expression; for instance ${{{{ {own.example} }}}}"
            yield Problem(path, Code.NOT_AN_EXPRESSION, message, task)
            return
    except TemplateError:
        pass  # told next
    yield from template(path, text, Sight(own.variables, task), evaluator)


def typed(path: Path, text: str, wanted: Wanted | None, sight: Sight, evaluator: Evaluator) -> Iterator[Problem]:
    """Yield the problems of a string whose value, if it is one whole expression, must be of certain types."""
    found = first(template(path, text, sight, evaluator))
    yield from found
    whole = None if found or wanted is None else parse(text).whole
    if whole is None or wanted is None:
        return
    kind = evaluator.check(whole.source, sight.declared(whole))
    if kind not in (*wanted.types, "dyn"):
        yield Problem(
            path,
            Code.EXPRESSION_TYPE,
            f"must be {wanted.words}, the expression gives {kind}; {wanted.advice}",
            sight.task,
            whole.offset,
        )


def template(path: Path, text: str, sight: Sight, evaluator: Evaluator) -> Iterator[Problem]:
    """Yield what is wrong with the expressions in one text."""
    try:
        expressions = parse(text).expressions
    except TemplateError as error:
        yield Problem(path, Code.INVALID_EXPRESSION, error.message, sight.task, error.offset)
        return
    for expression in expressions:
        unknown = [name for name in variables_of(expression) if name not in sight.variables]
        hyphen = explain_hyphen(expression, sight.names)
        if hyphen is not None:
            yield Problem(path, Code.UNKNOWN_REFERENCE, hyphen, sight.task, expression.offset)
        elif unknown:
            message = why_unknown(unknown[0], sight.variables, sight.task, sight.names)
            yield Problem(path, Code.UNKNOWN_REFERENCE, message, sight.task, _offset_of(expression, unknown[0]))
        else:
            yield from _of_values(path, expression, sight, evaluator)


def _of_values(path: Path, expression: Expression, sight: Sight, evaluator: Evaluator) -> Iterator[Problem]:
    """Yield what is wrong with an expression all of whose variables there are."""
    if sight.items is not None:
        missing = next(sight.items.missing(expression), None)
        if missing is not None:
            yield Problem(path, Code.UNKNOWN_REFERENCE, missing[0], sight.task, expression.offset + missing[1])
            return
    try:
        evaluator.check(expression.source, sight.declared(expression))
    except UnknownName as error:
        message = why_unknown(error.name, sight.variables, sight.task, sight.names)
        yield Problem(path, Code.UNKNOWN_REFERENCE, message, sight.task, expression.offset + (error.offset or 0))
    except ExpressionError as error:
        yield Problem(path, Code.INVALID_EXPRESSION, error.message, sight.task, expression.offset + (error.offset or 0))
    else:
        for message, offset in never(expression, sight.allowed):
            yield Problem(path, Code.IMPOSSIBLE_VALUE, message, sight.task, expression.offset + offset)
        for message, offset in formats(expression):
            yield Problem(path, Code.INVALID_TIME_FORMAT, message, sight.task, expression.offset + offset)


def _offset_of(expression: Expression, variable: str) -> int:
    found = [reference.offset for reference in expression.references if reference.variable == variable]
    return expression.offset + (found[0] if found else 0)
