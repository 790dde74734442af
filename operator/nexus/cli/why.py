"""`nexus why RUN [TASK]`: print what a run, or one of its tasks, waits for or failed of, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from nexus.adapters.kube.client.api import WORKFLOW_RUNS, KubeApi
from nexus.api.reasons import Reason
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.cli import follow
from nexus.cli.cluster import found
from nexus.cli.ending import Exit, UsageError
from nexus.cli.terminal import say, say_json
from nexus.cli.words import seconds_of, seconds_text
from nexus.core.manifest.schema_errors import DoesNotFit
from nexus.core.model.status_limits import listed
from nexus.core.text.plain import plain
from nexus.core.validate.dependencies import no_task
from nexus.services.why import Explanation, explain, todo


async def print_why(api: KubeApi, namespace: str, name: str, task: str | None, *, as_json: bool = False) -> Exit:
    """Print it, with `as_json` as one object of codes and words. Raises UsageError."""
    run = await found(api, WORKFLOW_RUNS, namespace, name)
    try:
        status = follow.status_of(run)
    except ValidationError as error:
        wrong = DoesNotFit.of(error, run["status"], WorkflowRunStatus)
        raise UsageError(f"the status of run {name} was written by another version of nexus: {wrong}") from error
    tasks = {entry.name: entry for entry in status.tasks or ()}
    if task is not None and task not in tasks:
        raise UsageError(no_task(task, list(tasks)) if tasks else f"run {name} has no tasks yet")
    if as_json:
        say_json(_document(name, status, await explain(api, run, status, task)))
        return Exit.SUCCEEDED
    say(_headline(name, status))
    if follow.untouched(run):
        say(follow.nobody_there(run))
    elif not tasks:
        say("\n".join(_todo(status.reason, name, "TASK")))
    explanations = await explain(api, run, status, task)
    for explanation in explanations:
        say()
        say("\n".join(_block(name, explanation)))
    if task is None and tasks and not explanations:
        say("All tasks are done: " + _counted(tasks.values()))
    return Exit.SUCCEEDED


def _document(name: str, status: WorkflowRunStatus, explanations: Iterable[Explanation]) -> dict[str, Any]:
    """Return the status fields of the run and of each task that explains it, the code `reason` among them, and what to
    do."""
    run = status.model_copy(update={"tasks": None, "outputs": None}).to_json()
    entries = [
        {
            **one.task.model_copy(update={"output": None}).to_json(),
            "todo": todo(one.task.reason, name, one.task.name),
            "events": list(one.events),
            "blocks": list(one.behind),
        }
        for one in explanations
    ]
    return {"name": name, **run, "todo": todo(status.reason, name, "TASK"), "tasks": entries}


def _headline(name: str, status: WorkflowRunStatus) -> str:
    why = f": {status.reason}" if status.reason is not None else ""
    message = f": {plain(status.message)}" if status.message else ""
    done = f" ({status.tasks_done} tasks)" if status.tasks_done else ""
    return f"{name} is {status.phase}{done}{why}{message}"


def _block(run: str, explanation: Explanation) -> Iterator[str]:
    """Yield what there is to say of one task."""
    entry, behind = explanation.task, list(explanation.behind)
    attempts = f", {entry.attempts} attempts" if (entry.attempts or 0) > 1 else ""
    seconds = seconds_of(entry, datetime.now(UTC))
    since = f", {seconds_text(seconds)}" if seconds is not None else ""
    reason = f" {entry.reason}" if entry.reason is not None else ""
    yield f"{entry.name}: {entry.phase}{reason}{attempts}{since}"
    if entry.message:
        yield f"  {plain(entry.message)}"
    yield from (f"  {line}" for line in _todo(entry.reason, run, entry.name))
    yield from (f"  {line}" for line in explanation.events)
    if behind:
        yield f"  {'waits' if len(behind) == 1 else 'wait'} for it, or ended because of it: {listed(behind)}"


def _todo(reason: Reason | None, run: str, task: str) -> Iterator[str]:
    text = todo(reason, run, task)
    if text:
        yield f"To do: {text}"


def _counted(tasks: Iterable[TaskStatus]) -> str:
    """3 Succeeded, 1 Skipped."""
    return ", ".join(f"{number} {phase}" for phase, number in Counter(entry.phase.value for entry in tasks).items())
