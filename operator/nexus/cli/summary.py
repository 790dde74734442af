"""The result of a run: outputs, the critical path and the phase."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nexus.api.packed import unpacked
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.cli.words import seconds_of, seconds_text
from nexus.core.model.graph import critical_path
from nexus.core.text.plain import plain

_WIDEST = 160


def lines(
    name: str,
    status: WorkflowRunStatus,
    outputs: Mapping[str, Mapping[str, Any]],
    depends_on: Mapping[str, tuple[str, ...]],
    *,
    local: bool = False,
) -> Iterator[str]:
    """Yield the summary, a line at a time; the last one is the verdict. The logs of a `local` run cannot be asked
    for."""
    tasks = status.tasks or []
    shown = {task: value for task, value in outputs.items() if value}
    if shown:
        width = min(max(len(task) for task in shown), 40)
        yield ""
        yield "Outputs"
        yield from (f"  {task:{width}}  {compact(value)}" for task, value in shown.items())
    yield from of_workflow(status)
    yield from failed_items(tasks, "" if local else f"nexus logs {name} TASK --item N has more")
    path = critical_path(tasks, depends_on)
    if path:
        now = datetime.now(UTC)
        yield ""
        steps = [f"{task.name} {seconds_text(seconds_of(task, now))}" for task in path]
        if len(steps) > 12:
            steps = [*steps[:6], f"({len(steps) - 11} more)", *steps[-5:]]
        yield f"Critical path  {' → '.join(steps)}"
    yield ""
    yield verdict(name, status)


def failed_items(tasks: Sequence[TaskStatus], more: str) -> Iterator[str]:
    """Yield how the first failed items of fan-outs failed; `more` says where there is more."""
    failures = [(task.name, failure) for task in tasks if task.items for failure in task.items.failures or ()]
    if failures:
        yield ""
        yield f"Failed items ({more})" if more else "Failed items"
    for name, failure in failures:
        code = "" if failure.exit_code is None else f"exit code {failure.exit_code}"
        message = " ".join(plain(failure.message or "").split())
        # The message may be the code's words: each part is shown once.
        code, *words = dict.fromkeys((code, message))
        said = ": ".join((failure.reason.value, *filter(None, words)))
        yield f"  {name}  {failure.index}  {said}" + (f" ({code})" if code else "")


def of_workflow(status: WorkflowRunStatus) -> Iterator[str]:
    """Return the run's outputs, by the `outputs` of its definition."""
    if status.outputs_ref is not None:
        yield ""
        yield f"Outputs of the workflow  {status.outputs_ref.size:,} bytes in ConfigMap {status.outputs_ref.config_map}"
    elif outputs := unpacked(status.outputs):
        width = min(max(map(len, outputs)), 40)
        yield ""
        yield "Outputs of the workflow"
        yield from (f"  {name:{width}}  {compact(value)}" for name, value in outputs.items())


def verdict(name: str, status: WorkflowRunStatus) -> str:
    """Return `sales-x7k2p Succeeded in 1.2s`, and where it did not, why."""
    words = f"{name} {status.phase.value}"
    if status.start_time is not None and status.completion_time is not None:
        words += f" in {seconds_text((status.completion_time - status.start_time).total_seconds())}"
    return f"{words}: {plain(status.message)}" if status.message else words


def param(value: Any) -> str:
    """Return the value of a param as `--param` takes it: a string as it is if it fits a line, others as JSON."""
    if (
        isinstance(value, str)
        and value == plain(value).strip()
        and value
        and "\n" not in value
        and len(value) <= _WIDEST
    ):
        return value
    return compact(value)


def compact(value: Any) -> str:
    """Return a JSON value on one line that a terminal can show."""
    text = plain(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))
    if len(text) <= _WIDEST:
        return text
    return f"{text[:_WIDEST]}… ({len(text.encode()):,} bytes)"
