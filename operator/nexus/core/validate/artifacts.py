"""Checks of artifacts and the output store: where artifacts come from, and what cannot have any."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.api import rules
from nexus.api.codes import Code
from nexus.api.store import OutputStore
from nexus.api.tasks import Task
from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.problem import Path, Problem, duplicates
from nexus.core.task_types import types_in
from nexus.core.text.similar_names import closest, did_you_mean, listed
from nexus.core.validate.dependencies import no_task

MOST_OF_ALL = 500
"""Artifacts that the tasks of a workflow leave together: a run's status names each, with its hash."""


def output_store(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the output store."""
    wrong = store_problem(spec.output_store) if spec.output_store is not None else None
    if wrong is not None:
        yield Problem(("outputStore",), *wrong)


def store_problem(store: OutputStore) -> tuple[Code, str] | None:
    """Return what does not go together in a store."""
    url = store.url or ""
    if ".." in url:
        return Code.INVALID_VALUE, rules.NO_PARENTS_IN_URL.message
    if url.startswith("file://") != (store.volume_claim is not None):
        return Code.EXCLUSIVE_FIELDS, rules.FILE_NEEDS_CLAIM.message
    if (store.endpoint or store.region) and not url.startswith("s3://"):
        return Code.NO_EFFECT, rules.ENDPOINT_IS_FOR_S3.message
    if store.credentials_secret is not None and not url.startswith(("s3://", "gs://", "az://")):
        return Code.NO_EFFECT, rules.CREDENTIALS_NEED_URL.message
    return None


def artifacts(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the artifacts of all tasks."""
    every = spec.every_task()
    left = {task.name: _left(task) for _, task in every}
    direct = _direct(spec)
    for place, task in every:
        if task.artifacts is None:
            continue
        path: Path = (*place, "artifacts")
        if not any(record.model.has_files for record in types_in(task)):
            yield Problem(path, Code.NO_EFFECT, rules.ARTIFACTS_NEED_FILES.message, task.name)
        if task.for_each is not None and task.artifacts.outputs:
            yield Problem((*path, "outputs"), Code.NO_EFFECT, rules.NO_ARTIFACTS_OF_ITEMS.message, task.name)
        yield from _names(path, task)
        before = _before(task.name, direct) if task.artifacts.inputs else frozenset()
        for position, entry in enumerate(task.artifacts.inputs or ()):
            source, _, artifact = entry.from_.partition(".")
            wrong = _source(source, artifact, task, left, before)
            if wrong is not None:
                yield Problem((*path, "inputs", position, "from"), *wrong, task.name)
    if sum(map(len, left.values())) > MOST_OF_ALL:
        yield Problem(
            ("tasks",),
            Code.TOO_MANY,
            f"tasks must leave at most {MOST_OF_ALL} artifacts together; put several files into one folder",
        )


def _left(task: Task) -> list[str]:
    return [entry.name for entry in (task.artifacts.outputs if task.artifacts else None) or ()]


def _names(path: Path, task: Task) -> Iterator[Problem]:
    assert task.artifacts is not None
    inputs = [entry.name for entry in task.artifacts.inputs or ()]
    for field, names in (("inputs", inputs), ("outputs", _left(task))):
        for problem in duplicates((*path, field), names, "artifact"):
            yield Problem(problem.path, Code.DUPLICATE_NAME, problem.message, task.name)
    for position, name in enumerate(_left(task)):
        if name in inputs:
            yield Problem(
                (*path, "outputs", position, "name"),
                Code.DUPLICATE_NAME,
                f"{name}: {rules.INPUTS_APART.message}",
                task.name,
            )


def _source(
    name: str, artifact: str, task: Task, left: dict[str, list[str]], before: frozenset[str]
) -> tuple[Code, str] | None:
    """Return why an artifact cannot come from there."""
    if name not in left:
        return Code.UNKNOWN_TASK, no_task(name, list(left))
    if artifact not in left[name]:
        close = closest(artifact, left[name])
        known = f"its artifacts are {listed(left[name])}" if left[name] else "it has no artifacts.outputs"
        hint = did_you_mean([f"{name}.{close[0]}"]) if close else known
        return Code.UNKNOWN_ARTIFACT, f'unknown artifact "{artifact}" of task "{name}"; {hint}'
    if name == task.name:
        return Code.UNKNOWN_ARTIFACT, "a task cannot take its own artifact"
    if name not in before:
        return Code.UNKNOWN_ARTIFACT, f'task "{name}" is not upstream of this task; add it to dependsOn'
    return None


def _direct(spec: WorkflowSpec) -> dict[str, set[str]]:
    """Map every task to those whose end it waits for; a task of `finally` waits for all others."""
    main = {task.name for task in spec.tasks}
    return {
        task.name: {*(task.depends_on or ()), *(main if place[0] == "finally" else ())}
        for place, task in spec.every_task()
    }


def _before(name: str, direct: dict[str, set[str]]) -> frozenset[str]:
    """Return the tasks that have surely ended before this one. A cycle, reported elsewhere, is walked once."""
    seen: set[str] = set()
    rest = set(direct[name])
    while rest:
        seen |= rest
        rest = set().union(*(direct.get(dependency, set()) for dependency in rest)) - seen
    return frozenset(seen)
