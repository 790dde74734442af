"""Checks of `workflow` tasks: cycles of calls, unknown Workflows, invalid params.

A definition alone shows only that it calls itself. A file shows what the Workflows in it do to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from nexus.api.codes import Code
from nexus.api.tasks import Task
from nexus.api.workflow import Param, WorkflowSpec
from nexus.core.data.params import mismatch, unknown
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.problem import Path, Problem
from nexus.core.model.definition import Definition, prepare
from nexus.core.model.graph import first_cycle
from nexus.core.pods import templated_fields
from nexus.core.text.similar_names import closest, did_you_mean, listed
from nexus.core.validate.expressions import sight_of
from nexus.core.validate.params import rendered


def callees(spec: WorkflowSpec) -> Iterator[tuple[Path, str, str]]:
    """Yield (path to the name, task, name) of every Workflow that a definition calls."""
    for place, task in spec.every_task():
        if task.workflow is not None:
            yield (*place, "workflow", "name"), task.name, task.workflow.name


def calls_itself(name: str, spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield the tasks of the Workflow `name` that call it again."""
    for path, task, callee in callees(spec):
        if callee == name:
            yield Problem(
                path,
                Code.CALL_CYCLE,
                f"workflow call cycle: {name} -> {name}; call another Workflow",
                task,
            )


def circle(workflows: Mapping[str, WorkflowSpec]) -> tuple[str, Problem] | None:
    """Return the first cycle of Workflows that call each other; the problem is with the one that is named."""
    graph = {
        name: [callee for _, _, callee in callees(spec) if callee in workflows and callee != name]
        for name, spec in workflows.items()
    }
    names = first_cycle(graph)
    if names is not None:
        path, task, _ = next(call for call in callees(workflows[names[0]]) if call[2] == names[1])
        words = f"workflow call cycle: {' -> '.join(names)}; remove one of these calls"
        return names[0], Problem(path, Code.CALL_CYCLE, words, task)
    return None


def reachable(name: str, workflows: Mapping[str, WorkflowSpec]) -> list[str]:
    """Return the Workflows that runs of one may start, itself first; those that are not there are left out."""
    found = [name] if name in workflows else []
    for caller in found:  # grows while it is walked
        found += dict.fromkeys(
            callee for _, _, callee in callees(workflows[caller]) if callee in workflows and callee not in found
        )
    return found


def missing(spec: WorkflowSpec, workflows: Mapping[str, object]) -> Iterator[Problem]:
    """Yield the Workflows that a definition calls and that are not among these."""
    for path, task, callee in callees(spec):
        if callee not in workflows:
            close = closest(callee, workflows)
            known = listed(workflows) or "none"
            hint = did_you_mean(close) if close else f"this file has {known}"
            yield Problem(path, Code.UNKNOWN_WORKFLOW, f'unknown Workflow "{callee}"; {hint}', task)


def unfit(spec: WorkflowSpec, workflows: Mapping[str, WorkflowSpec], evaluator: Evaluator) -> Iterator[Problem]:
    """Yield the params of calls that the called Workflow, where it is known, does not take. Both definitions are
    sound."""
    definition = prepare(spec)
    for place, task in spec.every_task():
        callee = workflows.get(task.workflow.name) if task.workflow is not None else None
        if task.workflow is None or callee is None:
            continue
        path: Path = (*place, "workflow")
        given, declared = task.workflow.params or {}, {param.name: param for param in callee.params or ()}
        for name, value in given.items():
            at: Path = (*path, "params", name)
            for problem in _wrong(at, name, value, declared, definition, task, evaluator):
                yield replace(problem, message=f"{problem.message} (Workflow {task.workflow.name})")
        lacking = [param.name for param in declared.values() if param.name not in given and _must_be_given(param)]
        if lacking:
            words = (
                f'missing required params of Workflow "{task.workflow.name}": {", ".join(lacking)}; set them in params'
            )
            yield Problem(path, Code.MISSING_PARAM, words, task.name)


def _must_be_given(param: Param) -> bool:
    return param.required is True or not (param.has_default or param.nullable)


def _wrong(
    path: Path,
    name: str,
    value: object,
    declared: Mapping[str, Param],
    definition: Definition,
    task: Task,
    evaluator: Evaluator,
) -> Iterator[Problem]:
    if name not in declared:
        yield Problem(path, Code.UNKNOWN_PARAM, unknown(name, list(declared.values())), task.name)
    elif any("${{" in text for _, text in templated_fields.deep((), value)):
        yield from rendered(path, declared[name], value, sight_of(task, definition), evaluator)
    elif wrong := mismatch(declared[name], value, evaluator):
        yield Problem(path, Code.INVALID_PARAM, wrong, task.name)
