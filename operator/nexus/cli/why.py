"""`nexus why RUN [TASK]`: what a run, or one of its tasks, waits for or failed of, and what to do about it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from nexus.adapters.kube.client.api import (
    CONTROLLER_REVISIONS,
    EVENTS,
    PODS,
    WORKFLOW_RUNS,
    ApiError,
    KubeApi,
    Object,
)
from nexus.adapters.kube.runs.revisions import ContentChanged, revision_spec
from nexus.api.reasons import Reason, TaskPhase
from nexus.api.remedies import remedy
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.api.workflow import WorkflowSpec
from nexus.cli import follow
from nexus.cli.cluster import found
from nexus.cli.ending import Exit, UsageError
from nexus.cli.terminal import say
from nexus.cli.words import seconds_of, seconds_text
from nexus.core.manifest.begun import read_begun
from nexus.core.manifest.schema_errors import read
from nexus.core.model.definition import waits_for
from nexus.core.model.status_limits import listed
from nexus.core.names import LABEL_RUN, LABEL_TASK, label_value
from nexus.core.text.plain import plain
from nexus.core.validate.dependencies import no_task

EVENTS_SHOWN = 3
# Why is with another task.
_OF_OTHERS = (Reason.DEPENDENCIES, Reason.DEPENDENCY_FAILED, Reason.DEPENDENCY_SKIPPED)
_NOT_WELL = (TaskPhase.PENDING, TaskPhase.RUNNING, TaskPhase.FAILED, TaskPhase.CANCELLED)

Graph = Mapping[str, Sequence[str]]
"""Each task with those whose end it waits for."""


async def print_why(api: KubeApi, namespace: str, name: str, task: str | None) -> Exit:
    """Print it. Raises Refused."""
    run = await found(api, WORKFLOW_RUNS, namespace, name)
    status = read(run.get("status") or {}, WorkflowRunStatus)
    tasks = {entry.name: entry for entry in status.tasks or ()}
    graph = await _graph(api, run, status)
    if task is not None and task not in tasks:
        raise UsageError(no_task(task, list(tasks)) if tasks else f"run {name} has no tasks yet")
    say(_headline(name, status))
    if follow.untouched(run):
        say(follow.nobody_there(run))
    elif not tasks:
        say("\n".join(_todo(status.reason, name, "TASK")))
    explained = _explained(tasks, graph, task)
    events = await asyncio.gather(*(_events(api, namespace, name, entry) for entry in explained))
    for entry, told in zip(explained, events, strict=True):
        say()
        others = (other for other in tasks.values() if other.name != entry.name)
        behind = [other.name for other in others if entry in _causes(other, tasks, graph)]
        say("\n".join(_block(name, entry, told, behind)))
    if task is None and tasks and not explained:
        say("All that there was to do is done: " + _counted(tasks.values()))
    return Exit.SUCCEEDED


def _headline(name: str, status: WorkflowRunStatus) -> str:
    why = f": {status.reason}" if status.reason is not None else ""
    message = f": {plain(status.message)}" if status.message else ""
    done = f" ({status.tasks_done} tasks)" if status.tasks_done else ""
    return f"{name} is {status.phase}{done}{why}{message}"


async def _graph(api: KubeApi, run: Object, status: WorkflowRunStatus) -> Graph:
    """The DAG of the definition that the run executes; empty where that cannot be read."""
    spec = (run.get("spec") or {}).get("workflowSpec")
    if spec is None and status.revision:
        with suppress(ApiError, ContentChanged):
            body = await api.get(CONTROLLER_REVISIONS, run["metadata"]["namespace"], status.revision)
            spec = revision_spec(body, status.revision_hash)
    if spec is None:
        return {}
    with suppress(ValueError):
        return waits_for(read_begun(spec, WorkflowSpec))
    return {}


def _explained(tasks: Mapping[str, TaskStatus], graph: Graph, task: str | None) -> list[TaskStatus]:
    """The tasks that there is something to say of: the one that is asked about and what it comes from, else those that
    everything comes from that is not done or did not go well."""
    if task is not None:
        causes = _causes(tasks[task], tasks, graph)
        return [tasks[name] for name in dict.fromkeys([task, *(cause.name for cause in causes)])]
    open_ = [entry for entry in tasks.values() if entry.phase in _NOT_WELL or entry.reason is Reason.DEPENDENCY_FAILED]
    names = dict.fromkeys(cause.name for entry in open_ for cause in _causes(entry, tasks, graph))
    return [tasks[name] for name in tasks if name in names]


def _causes(entry: TaskStatus, tasks: Mapping[str, TaskStatus], graph: Graph) -> list[TaskStatus]:
    """Where the reason of a task lies: with itself, or with tasks before it."""
    if entry.reason not in _OF_OTHERS:
        return [entry]
    before = [tasks[name] for name in graph.get(entry.name, ()) if name in tasks]
    guilty = [other for other in before if _holds_up(entry.reason, other)]
    found_: dict[str, TaskStatus] = {}
    for other in guilty:
        found_ |= {cause.name: cause for cause in _causes(other, tasks, graph)}
    return list(found_.values()) or [entry]


def _holds_up(reason: Reason | None, other: TaskStatus) -> bool:
    match reason:
        case Reason.DEPENDENCIES:
            return not other.phase.ended
        case Reason.DEPENDENCY_FAILED:
            return other.phase in (TaskPhase.FAILED, TaskPhase.OMITTED, TaskPhase.CANCELLED)
    return other.phase is TaskPhase.SKIPPED


def _block(run: str, entry: TaskStatus, events: Sequence[str], behind: Sequence[str]) -> Iterator[str]:
    """What there is to say of one task."""
    attempts = f", {entry.attempts} attempts" if (entry.attempts or 0) > 1 else ""
    seconds = seconds_of(entry, datetime.now(UTC))
    since = f", {seconds_text(seconds)}" if seconds is not None else ""
    reason = f" {entry.reason}" if entry.reason is not None else ""
    yield f"{entry.name}: {entry.phase}{reason}{attempts}{since}"
    if entry.message:
        yield f"  {plain(entry.message)}"
    yield from (f"  {line}" for line in _todo(entry.reason, run, entry.name))
    yield from (f"  {line}" for line in events)
    if behind:
        yield f"  {'waits' if len(behind) == 1 else 'wait'} for it, or came to nothing with it: {listed(list(behind))}"


def _todo(reason: Reason | None, run: str, task: str) -> Iterator[str]:
    """What to do, as docs/reasons.md has it, with the names put in."""
    if reason is None:
        return
    text = re.sub(r"\[([^]]*)\]\(([^)]*)\)", r"docs/\2", remedy(reason).todo).replace("`", "")
    yield "To do: " + re.sub(r"\bTASK\b", task, re.sub(r"\bRUN\b", run, text))


async def _events(api: KubeApi, namespace: str, run: str, entry: TaskStatus) -> list[str]:
    """The last warnings about the pods and the Job of a task that has not ended; none where they cannot be read."""
    if entry.phase.ended or entry.job is None:
        return []
    uids = {entry.job.uid} if entry.job.uid else set()
    warnings: list[Object] = []
    with suppress(ApiError):
        labels = f"{LABEL_RUN}={label_value(run)},{LABEL_TASK}={entry.name}"
        uids |= {pod["metadata"]["uid"] for pod in await api.list(PODS, namespace, labels)}
        for uid in sorted(uids)[:10]:
            warnings += await api.list(EVENTS, namespace, field_selector=f"involvedObject.uid={uid},type=Warning")
    warnings.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    lines = []
    for event in warnings[-EVENTS_SHOWN:]:
        about = event.get("involvedObject") or {}
        message = " ".join(plain(str(event.get("message") or "")).split())
        lines.append(f"{about.get('kind', '')} {about.get('name', '')}: {event.get('reason')}: {message}")
    return lines


def _counted(tasks: Iterable[TaskStatus]) -> str:
    """3 Succeeded, 1 Skipped."""
    return ", ".join(f"{number} {phase}" for phase, number in Counter(entry.phase.value for entry in tasks).items())
