"""Validate: everything about a definition that can be known before a run, each problem with its place.

The CRD's rules say the same of what CEL can see; here are also cycles, expressions and their types, and names that
are close to the right one.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError

from nexus.api.base import GROUP
from nexus.api.tasks import TASK_TYPES, EnvFrom, EnvVar, Task
from nexus.api.workflow import Param, ParamType, WorkflowSpec
from nexus.core import fields, scope
from nexus.core.board import node_variables
from nexus.core.definition import Definition, ordered, prepare
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
from nexus.core.params import mismatch
from nexus.core.problem import Path, Problem


def problems(spec: WorkflowSpec, evaluator: Evaluator) -> list[Problem]:
    """What is wrong with a definition, in the order of its fields; empty where it can run."""
    found = [*_params(spec, evaluator), *_labels(spec), *_names(spec)]
    if spec.defaults is not None:
        found += _env(("defaults",), spec.defaults.env, spec.defaults.env_from, None)
        found += _default_env(spec, spec.defaults.env or (), evaluator)
    for position, task in enumerate(spec.tasks):
        found += _shape(("tasks", position), task)
    readable = _readable(spec)
    if readable:
        every = [task.name for task in spec.tasks]
        definition = prepare(spec.model_copy(update={"tasks": list(readable.values())}))
        for position, task in readable.items():
            found += _expressions(("tasks", position), task, definition, evaluator, every)
    return [*found, *_dependencies(spec), *_cycle(spec)]


def _readable(spec: WorkflowSpec) -> dict[int, Task]:
    """The tasks, by position, whose expressions can be checked although others have mistakes: those of one name and
    with a type that wait for no cycle and for no unreadable task. Dependencies that do not exist are left out.
    """
    counts = Counter(task.name for task in spec.tasks)
    left = {
        position: task.model_copy(update={"depends_on": [name for name in task.depends_on or () if name in counts]})
        for position, task in enumerate(spec.tasks)
        if counts[task.name] == 1 and _kinds(task)
    }
    waiting = {task.name: set(task.depends_on or ()) for task in left.values()}
    dependents: dict[str, list[str]] = {}
    for name, dependencies in waiting.items():
        for dependency in dependencies:
            dependents.setdefault(dependency, []).append(name)
    reached = [name for name, dependencies in waiting.items() if not dependencies]
    for name in reached:  # grows while it is walked: a task is reached once all that it waits for are
        for dependent in dependents.get(name, ()):
            waiting[dependent].discard(name)
            if not waiting[dependent]:
                reached.append(dependent)
    known = set(reached)
    return {position: task for position, task in left.items() if task.name in known}


def _params(spec: WorkflowSpec, evaluator: Evaluator) -> Iterator[Problem]:
    yield from _duplicates(("params",), [param.name for param in spec.params or ()], "param")
    for position, param in enumerate(spec.params or ()):
        path: Path = ("params", position)
        if param.pattern is not None:
            if param.type not in (None, ParamType.STRING):
                yield Problem((*path, "pattern"), f"params.{param.name} is no string: remove the pattern or the type")
            try:
                evaluator.evaluate("''.matches(pattern)", {"pattern": "string"}, {"pattern": param.pattern})
            except ExpressionError as error:
                yield Problem((*path, "pattern"), f"params.{param.name}: no RE2 expression: {error}")
                continue
        for index, value in enumerate(param.enum or ()):
            wrong = mismatch(param.model_copy(update={"enum": None}), value, evaluator)
            if wrong:
                yield Problem((*path, "enum", index), wrong)
        if "default" in param.model_fields_set:
            yield from _default(path, param, evaluator)


def _default(path: Path, param: Param, evaluator: Evaluator) -> Iterator[Problem]:
    """A default that is rendered is only known at run time; its expressions are checked for what they name."""
    texts = [(at, text) for at, text in fields.deep((*path, "default"), param.default) if "${{" in text]
    for at, text in texts:
        for problem in _template(at, text, scope.RUN_VARIABLES, evaluator, None, ()):
            yield Problem(at, f"params.{param.name}: {problem.message}", offset=problem.offset)
    if not texts:
        wrong = mismatch(param, param.default, evaluator)
        if wrong:
            yield Problem((*path, "default"), wrong)


def _labels(spec: WorkflowSpec) -> Iterator[Problem]:
    for key in spec.labels or {}:
        domain = key.rpartition("/")[0]
        if domain == GROUP or domain.endswith(("kubernetes.io", "k8s.io")):
            yield Problem(("labels", key), f"labels of {domain} are not yours to set: choose another prefix")


def _names(spec: WorkflowSpec) -> Iterator[Problem]:
    yield from _duplicates(("tasks",), [task.name for task in spec.tasks], "task")


def _duplicates(path: Path, names: Sequence[str], what: str) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            last = len(names) - 1 - names[::-1].index(name)
            yield Problem((*path, last, "name"), f"{count} {what}s are named {name}: names are unique")


def _kinds(task: Task) -> list[str]:
    return [kind for kind in TASK_TYPES if getattr(task, kind) is not None]


# What gives code its values, by the field that holds the code.
_INSTEAD = {
    ("bash", "command"): 'params are variables, as in "$PARAM_DAY"; give everything else in env',
    ("python", "code"): 'code reads params["day"] and input["task"]; give everything else in env',
    ("python", "call"): "give values in python.with",
    ("sql", "query"): "write :day in the query and give day in sql.parameters",
}


def _shape(path: Path, task: Task) -> Iterator[Problem]:
    """What one task says that does not go together."""

    def wrong(field: Path, message: str) -> Problem:
        return Problem((*path, *field), message, task.name)

    kinds = _kinds(task)
    if len(kinds) != 1:
        has = f"has {' and '.join(kinds)}" if kinds else "has no type"
        yield wrong((), f"{has}: give exactly one of {', '.join(TASK_TYPES)}")
    if task.python is not None and (task.python.code is None) == (task.python.call is None):
        yield wrong(("python",), "give exactly one of code and call")
    if task.python is not None and task.python.with_ is not None and task.python.call is None:
        yield wrong(("python", "with"), "with goes with call; code gets its values from params and input")
    if task.http is not None and task.http.json_ is not None and task.http.body is not None:
        yield wrong(("http",), "give one of json and body")
    if task.trigger_rule is not None and not task.depends_on:
        yield wrong(("triggerRule",), "a triggerRule without dependsOn has nothing to look at: remove it")
    for field, text in fields.code(task):
        if "${{" in text:
            advice = _INSTEAD.get((str(field[0]), str(field[1])), "write the name itself")
            message = f"${{{{ }}}} is refused here, since a value would become code: {advice}"
            yield Problem((*path, *field), message, task.name, text.index("${{"))
    yield from _missing_parameters(path, task)
    if task.http is not None and not task.http.url.lower().startswith(("http://", "https://", "${{", "$(")):
        yield wrong(
            ("http", "url"), f"{task.http.url[:80]} is no URL of a web server: start it with https:// or http://"
        )
    yield from _env(path, task.env, task.env_from, task.name)


# Text, quoted names and comments come first in it, so that no placeholder is seen inside them. SQLAlchemy sees those
# too, so a query with them fails there; what is told here is certain.
_PLACEHOLDER = re.compile(
    r"""'(?:[^']|'')*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|(?<![:\w\\]):(?P<name>\w+)(?!:(?!:))""",
    re.DOTALL,
)


def _missing_parameters(path: Path, task: Task) -> Iterator[Problem]:
    if task.sql is None or "${{" in task.sql.query:
        return
    told = set(task.sql.parameters or {})
    for found in _PLACEHOLDER.finditer(task.sql.query):
        name = found["name"]
        if name is not None and name not in told:
            told.add(name)
            message = f"the query has the placeholder :{name}, but sql.parameters has no {name}: add it, or write "
            message += "\\: for a colon that starts no placeholder"
            yield Problem((*path, "sql", "query"), message, task.name, found.start())


def _env(path: Path, env: list[EnvVar] | None, env_from: list[EnvFrom] | None, task: str | None) -> Iterator[Problem]:
    for problem in _duplicates((*path, "env"), [variable.name for variable in env or ()], "variable"):
        yield Problem(problem.path, problem.message, task)
    for position, variable in enumerate(env or ()):
        at: Path = (*path, "env", position)
        if variable.name.startswith("NEXUS_"):
            yield Problem((*at, "name"), f"{variable.name}: names with NEXUS_ are reserved", task)
        sources = variable.value_from
        if variable.value is not None and sources is not None:
            yield Problem(at, f"{variable.name}: give one of value and valueFrom", task)
        if sources is not None and (sources.secret_key_ref is None) == (sources.config_map_key_ref is None):
            yield Problem((*at, "valueFrom"), "give exactly one of secretKeyRef and configMapKeyRef", task)
    for position, source in enumerate(env_from or ()):
        if (source.secret_ref is None) == (source.config_map_ref is None):
            yield Problem((*path, "envFrom", position), "give exactly one of secretRef and configMapRef", task)


def _default_env(spec: WorkflowSpec, env: Iterable[EnvVar], evaluator: Evaluator) -> Iterator[Problem]:
    """The defaults are for tasks anywhere in the DAG, so they see params and run alone."""
    variables = {**scope.param_variables(spec.params or ()), **scope.RUN_VARIABLES}
    for position, variable in enumerate(env):
        if variable.value is not None:
            path: Path = ("defaults", "env", position, "value")
            yield from _template(path, variable.value, variables, evaluator, None, ())


def _dependencies(spec: WorkflowSpec) -> Iterator[Problem]:
    names = [task.name for task in spec.tasks]
    known = set(names)
    for position, task in enumerate(spec.tasks):
        dependencies = task.depends_on or []
        for index, dependency in enumerate(dependencies):
            path: Path = ("tasks", position, "dependsOn", index)
            if dependency == task.name:
                yield Problem(path, "a task cannot depend on itself", task.name)
            elif dependency not in known:
                yield Problem(path, _no_task(dependency, names), task.name)
            elif dependency in dependencies[:index]:
                yield Problem(path, f"{dependency} is named twice", task.name)


def _no_task(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"tasks are {', '.join(names[:10])}"
    return f"there is no task {name}: {hint}"


def _cycle(spec: WorkflowSpec) -> Iterator[Problem]:
    known = {task.name for task in spec.tasks}
    graph = {
        task.name: [name for name in task.depends_on or () if name in known and name != task.name]
        for task in spec.tasks
    }
    try:
        ordered(graph)
    except CycleError as error:
        # graphlib names the nodes from a dependency to its dependent; users read dependsOn the other way.
        cycle = list(reversed(error.args[1]))
        first = cycle[0]
        position = next(index for index, task in enumerate(spec.tasks) if task.name == first)
        yield Problem(
            ("tasks", position, "dependsOn"),
            f"the tasks wait for each other: {' -> '.join(cycle)}: remove one dependsOn",
            first,
        )


def _expressions(
    path: Path, task: Task, definition: Definition, evaluator: Evaluator, names: Sequence[str]
) -> Iterator[Problem]:
    texts = [(field, text) for field, text in fields.templated(task) if "${{" in text]
    if task.when is not None or texts:
        # Up to a thousand names: not collected for the many tasks without any expression.
        variables = node_variables(definition, definition.nodes[task.name])
        if task.when is not None:
            yield from _when((*path, "when"), task, variables, evaluator, names)
        for field, text in texts:
            yield from _template((*path, *field), text, variables, evaluator, task.name, names)
    if task.http is not None and task.http.result is not None:
        yield from _result((*path, "http", "result"), task, evaluator)


def _when(
    path: Path, task: Task, variables: Mapping[str, str], evaluator: Evaluator, names: Sequence[str]
) -> Iterator[Problem]:
    text = task.when or ""
    found = list(_template(path, text, variables, evaluator, task.name, names))
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


def _template(
    path: Path,
    text: str,
    variables: Mapping[str, str],
    evaluator: Evaluator,
    task: str | None,
    names: Sequence[str],
) -> Iterator[Problem]:
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
            return _no_task(identifier, names)
    if root in ("item", "index"):
        return f"{name} is not known here"
    return unknown_name(name, list(variables))
