"""Runs as tables and one run in detail, for `nexus get`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from nexus.api.base import format_time, parse_time
from nexus.api.packed import unpacked
from nexus.api.run import TaskStatus
from nexus.cli import attempts, summary
from nexus.cli.follow import status_of
from nexus.cli.summary import compact
from nexus.cli.words import seconds_of, seconds_text, why
from nexus.core.model.duration import duration
from nexus.core.names import LABEL_INDEX, LABEL_TASK
from nexus.core.text.plain import one_line, plain

_COLUMNS = ("NAME", "WORKFLOW", "PHASE", "TASKS", "REASON", "DURATION", "AGE")


def table_of_runs(runs: Iterable[dict[str, Any]], now: datetime) -> list[str]:
    """Return the columns that kubectl prints for runs (crds/workflowruns.nexus.dev.yaml has them). Of a run under way
    the duration is the time until now: the status has it as of its last change."""
    rows = []
    for run in runs:
        status = run.get("status") or {}
        name = ((run.get("spec") or {}).get("workflowRef") or {}).get("name", "")
        took = duration(status_of(run), now) if status else None
        words = [status.get("phase"), status.get("tasksDone"), status.get("reason"), took]
        created = age(now, run["metadata"]["creationTimestamp"])
        rows.append([run["metadata"]["name"], name, *(str(word or "") for word in words), created])
    return table(_COLUMNS, rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table, its columns as wide as they need to be, three blanks apart, as kubectl's."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def age(now: datetime, created: str) -> str:
    """Return the time since a creation, as kubectl shortens it: 41s, 5m, 3h, 12d."""
    seconds = max(int((now - parse_time(created)).total_seconds()), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def of_run(run: dict[str, Any], now: datetime) -> Iterator[str]:
    """Yield one run: what it is, its params, its tasks, their outputs."""
    metadata, spec = run["metadata"], run["spec"]
    status = status_of(run)
    workflow = (spec.get("workflowRef") or {}).get("name", "(its own definition)")
    facts = {
        "Name": metadata["name"],
        "Namespace": metadata["namespace"],
        "Workflow": workflow,
        "Revision": status.revision or "",
        "Phase": status.phase.value + (f" ({status.tasks_done} tasks)" if status.tasks_done else ""),
        "Cancel": spec.get("cancel", ""),
        "Reason": status.reason.value if status.reason else "",
        "Message": plain(status.message or ""),
        "Started": format_time(status.start_time) if status.start_time else "not yet",
        "Duration": duration(status, now) or "",
        "Parent": _parent(metadata),
        "Triggered by": spec.get("triggeredBy", "manual"),
        "As of": _as_of(spec),
    }
    yield from (f"{name + ':':14}{value}" for name, value in facts.items() if value)
    if spec.get("params"):
        yield "Params:"
        yield from (f"  {one_line(name)} = {summary.param(value)}" for name, value in spec["params"].items())
    tasks = status.tasks or []
    if tasks:
        yield ""
        yield from table(("TASK", "PHASE", "ATTEMPTS", "DURATION", "WHY"), [_task(task, now) for task in tasks])
    yield from summary.failed_items(tasks, "nexus logs RUN TASK --item N has more")
    yield from attempts.lines(tasks)
    outputs = [(task.name, _output(task)) for task in tasks]
    if any(text for _, text in outputs):
        width = max(len(name) for name, text in outputs if text)
        yield ""
        yield "Outputs"
        yield from (f"  {name:{width}}  {text}" for name, text in outputs if text)
    left = [(task.name, artifact) for task in tasks for artifact in task.artifacts or ()]
    if left:
        yield ""
        yield "Artifacts"
        yield from (f"  {name}.{artifact.name}  {artifact.size:,} bytes: {artifact.key}" for name, artifact in left)
    yield from summary.of_workflow(status)


def _parent(metadata: dict[str, Any]) -> str:
    """Return the run, and the task of it, that a child run is for."""
    owners = metadata.get("ownerReferences") or ()
    run = next(
        (owner["name"] for owner in owners if owner.get("kind") == "WorkflowRun" and owner.get("controller")), ""
    )
    labels = metadata.get("labels") or {}
    index = f", item {labels[LABEL_INDEX]}" if LABEL_INDEX in labels else ""
    return f"{run} (task {labels.get(LABEL_TASK, '')}{index})" if run else ""


def _as_of(spec: dict[str, Any]) -> str:
    """Return the time that a run is for, where it is not its creation."""
    named = f" (schedule {spec['schedule']})" if spec.get("schedule") else ""
    return f"{spec.get('scheduledTime') or ''}{named}"


def _task(task: TaskStatus, now: datetime) -> list[str]:
    attempts = str(task.attempts) if task.attempts else ""
    return [task.name, task.phase.value, attempts, seconds_text(seconds_of(task, now)), why(task, attempts=False)]


def _output(task: TaskStatus) -> str:
    if task.output_ref is not None:
        return f"{task.output_ref.size:,} bytes in ConfigMap {task.output_ref.config_map}"
    if task.stored_output is not None:
        return f"{task.stored_output.size:,} bytes in the output store: {task.stored_output.key}"
    return compact(unpacked(task.output)) if task.output else ""
