"""Why a run, or one of its tasks, waits or failed: the tasks that it comes from, and what to do about each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, EVENTS, PODS, ApiError, KubeApi, Object
from nexus.adapters.kube.runs.revisions import ContentChanged, revision_spec
from nexus.api.reasons import Reason, TaskPhase
from nexus.api.remedies import remedy
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.begun import read_begun
from nexus.core.model.definition import waits_for
from nexus.core.names import LABEL_RUN, LABEL_TASK, label_value
from nexus.core.text.plain import plain

EVENTS_SHOWN = 3
# Why is with another task.
_OF_OTHERS = (Reason.DEPENDENCIES, Reason.DEPENDENCY_FAILED, Reason.DEPENDENCY_SKIPPED)
_NOT_WELL = (TaskPhase.PENDING, TaskPhase.RUNNING, TaskPhase.FAILED, TaskPhase.CANCELLED)

Graph = Mapping[str, Sequence[str]]
"""Each task with those whose end it waits for."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One task that the state of others comes from. `events` are the last warnings about its pods and its Job,
    `behind` the tasks that wait for it, or ended with it."""

    task: TaskStatus
    events: Sequence[str]
    behind: Sequence[str]


async def explain(api: KubeApi, run: Object, status: WorkflowRunStatus, task: str | None) -> list[Explanation]:
    """Return what there is to say of a run, or of one of its tasks, which has to be one; empty where all went well."""
    namespace, name = run["metadata"]["namespace"], run["metadata"]["name"]
    tasks = {entry.name: entry for entry in status.tasks or ()}
    graph = await _graph(api, run, status)
    explained = _explained(tasks, graph, task)
    events = await asyncio.gather(*(_events(api, namespace, name, entry) for entry in explained))
    explanations = []
    for entry, warnings in zip(explained, events, strict=True):
        others = (other for other in tasks.values() if other.name != entry.name)
        behind = [other.name for other in others if entry in _causes(other, tasks, graph)]
        explanations.append(Explanation(entry, warnings, behind))
    return explanations


async def _graph(api: KubeApi, run: Object, status: WorkflowRunStatus) -> Graph:
    """Return the DAG of the definition that the run executes; empty where that cannot be read."""
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
    """Return the tasks that there is something to say of: the one that is asked about and what it comes from, else
    those that everything comes from that is not done or did not go well."""
    if task is not None:
        causes = _causes(tasks[task], tasks, graph)
        return [tasks[name] for name in dict.fromkeys([task, *(cause.name for cause in causes)])]
    open_ = [entry for entry in tasks.values() if entry.phase in _NOT_WELL or entry.reason is Reason.DEPENDENCY_FAILED]
    names = dict.fromkeys(cause.name for entry in open_ for cause in _causes(entry, tasks, graph))
    return [tasks[name] for name in tasks if name in names]


def _causes(entry: TaskStatus, tasks: Mapping[str, TaskStatus], graph: Graph) -> list[TaskStatus]:
    """Return where the reason of a task lies: with itself, or with tasks before it."""
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


def todo(reason: Reason | None, run: str, task: str) -> str:
    """Return what to do, as docs/reasons.md has it, with the names put in; empty where there is nothing to do."""
    if reason is None:
        return ""
    text = re.sub(r"\[([^]]*)\]\(([^)]*)\)", r"docs/\2", remedy(reason).todo).replace("`", "")
    return re.sub(r"\bTASK\b", task, re.sub(r"\bRUN\b", run, text))


async def _events(api: KubeApi, namespace: str, run: str, entry: TaskStatus) -> list[str]:
    """Return the last warnings about the pods and the Job of a task that has not ended; none where they cannot be
    read."""
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
