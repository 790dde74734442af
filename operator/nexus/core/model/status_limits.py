"""Bounds: how much of a run's status its texts may take, so that the object of 500 failed tasks fits etcd well."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.api.run import TaskStatus, WorkflowRunStatus

# Bytes of all tasks' messages together; one alone is never longer than a message may be.
MESSAGES_LIMIT = 64 * 1024
MESSAGE_LIMIT = 1_000
# What a message of the largest workflow keeps: the reason in words fits, the end of a stack of wrapped errors does not.
LEAST_MESSAGE_LIMIT = 128
# Bytes of all attempt records together in the largest workflow; each task that one has less leaves its place to them.
RECORDS_LIMIT = 8 * 1024
RECORDS_PER_ABSENT_TASK = 256
# Bytes of each text of one record.
RECORD_TEXT_LIMIT = 256
LARGEST = 500
# Bytes of all outputs together in the status: above, each lies in a ConfigMap of its own. Every task over a hundred
# takes some of the room for its entry.
INLINE_OUTPUTS_LIMIT = 64 * 1024
INLINE_OUTPUTS_PER_TASK = 96
INLINE_OUTPUTS_FROM = 100


def message_limit(tasks: int) -> int:
    """Return the limit of one task's message, in bytes, for a run of `tasks` tasks. A function of the definition alone:
    what is known of a task that has ended never changes again."""
    return max(LEAST_MESSAGE_LIMIT, min(MESSAGE_LIMIT, MESSAGES_LIMIT // max(tasks, 1)))


def inline_outputs_limit(tasks: int) -> int:
    """Return the limit of all outputs in the status, in bytes, for a run of `tasks` tasks."""
    return INLINE_OUTPUTS_LIMIT - INLINE_OUTPUTS_PER_TASK * min(max(tasks - INLINE_OUTPUTS_FROM, 0), LARGEST)


def cut(text: str, limit: int) -> str:
    """Return a string of at most `limit` bytes of UTF-8; an ellipsis shows where it was cut."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return text
    return encoded[: limit - len("…".encode())].decode(errors="ignore") + "…"


def records_limit(tasks: int) -> int:
    """Return the limit of all attempt records, in bytes, for a run of `tasks` tasks."""
    return RECORDS_LIMIT + RECORDS_PER_ABSENT_TASK * max(LARGEST - tasks, 0)


def squeezed(status: WorkflowRunStatus) -> Iterator[WorkflowRunStatus]:
    """Yield the same status in ever fewer bytes, for an object that has no room for more. Of a run that goes on, what
    others read stays: phases and outputs. Of one that has ended, in the end only how it did."""
    tasks = [task.model_copy(update={"attempt_records": None}) for task in status.tasks or ()]
    yield status.model_copy(update={"tasks": tasks or None})
    tasks = [task.model_copy(update={"message": None, "approval": None}) for task in tasks]
    brief = cut(status.message or "", LEAST_MESSAGE_LIMIT) or None
    status = status.model_copy(update={"tasks": tasks or None, "message": brief, "approval": None})
    yield status
    if status.phase.ended:
        tasks = [TaskStatus(name=task.name, phase=task.phase, reason=task.reason) for task in tasks]
        status = status.model_copy(update={"tasks": tasks or None, "outputs": None, "rerun_of": None})
        conditions = [entry.model_copy(update={"message": ""}) for entry in status.conditions or ()]
        yield status.model_copy(update={"conditions": conditions or None})
        conditions = [entry for entry in conditions if entry.type == "Finished"]
        yield status.model_copy(update={"conditions": conditions or None, "tasks": None, "tasks_done": None})
        yield WorkflowRunStatus(phase=status.phase, reason=status.reason, completion_time=status.completion_time)


def listed(names: list[str]) -> str:
    """At most five names, so that a status stays small whatever the width of the DAG."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
