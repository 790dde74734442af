"""The attempts of the tasks that needed more than one, or whose log is kept, for `nexus get`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nexus.api.base import format_time
from nexus.api.run import AttemptRecord, TaskStatus
from nexus.cli.words import seconds_text
from nexus.core.text.plain import plain


def lines(tasks: Iterable[TaskStatus]) -> Iterator[str]:
    """Yield a line for each attempt that is recorded: when, how long, how it ended; below it the end of its log."""
    kept = [task for task in tasks if task.attempt_records]
    if not kept:
        return
    width = max(len(task.name) for task in kept)
    yield ""
    yield "Attempts"
    for task in kept:
        for record in task.attempt_records or ():
            yield f"  {task.name:{width}}  {record.attempt:>2}  {_when(record)}  {_how(record)}".rstrip()
            for line in (record.log_tail or "").splitlines():
                yield f"  {'':{width}}      | {plain(line)}"


def _when(record: AttemptRecord) -> str:
    start, end = record.start_time, record.completion_time
    passed = seconds_text((end - start).total_seconds()) if start is not None and end is not None else ""
    at = start or end
    return f"{format_time(at)[:19]}Z  {passed:>6}" if at is not None else ""


def _how(record: AttemptRecord) -> str:
    code = "" if record.exit_code is None else f"exit code {record.exit_code}"
    if record.reason is None:
        return f"Succeeded  {code}"
    message = " ".join(plain(record.message or "").split())
    # The message may be the code's words: each part is shown once.
    return "  ".join(filter(None, dict.fromkeys((record.reason.value, code, message))))
