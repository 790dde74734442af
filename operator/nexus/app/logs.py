"""The operator's log: lines of text for people, or one JSON object a line for what collects them.

Which run a line is about, a context variable says: it is set around each look at a run, and threads that decide for it
inherit it, so that a library's record has it too. What is only known where the line is written (task, attempt, job) is
given as `extra`. Nothing but FIELDS is taken over from a record: no object is written out by accident.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from nexus.core.text.plain import json_text, one_line

FIELDS = ("namespace", "workflow", "run", "task", "attempt", "job", "reason", "react_ms", "cause")
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# The objects that kopf's records may be about, and what they are called here.
_OF_KOPF = {"WorkflowRun": "run", "Workflow": "workflow", "Job": "job"}

_subject: ContextVar[Mapping[str, str] | None] = ContextVar("subject", default=None)


@contextmanager
def about(**subject: str) -> Iterator[None]:
    """Have every record of this block, and of what it starts, say what it is about."""
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, then what is known of FIELDS, then exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = {**_from_kopf(record), **(_subject.get() or {}), **vars(record)}
        entry |= {name: given[name] for name in FIELDS if given.get(name) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            entry["exception"] = record.exc_text
        if record.stack_info:
            entry["stack"] = record.stack_info
        return json_text(entry)


class TextFormatter(logging.Formatter):
    """One line a record, and below it, indented, the traceback of an exception.

    A message holds what task code and objects' authors wrote: a line break in it would begin a record of theirs.
    """

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the base class's
        """Return the line without the traceback."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as above
        """Return the traceback; the text of an exception is of the same origins."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - as above
        """Return the stack."""
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join(f"    {one_line(line)}" for line in text.split("\n"))


def _from_kopf(record: logging.LogRecord) -> dict[str, str]:
    """Return the object that a record of one of kopf's loggers is about."""
    reference = getattr(record, "k8s_ref", None)
    name = _OF_KOPF.get(reference.get("kind", "")) if isinstance(reference, Mapping) else None
    if name is None:
        return {}
    assert isinstance(reference, Mapping)
    return {name: reference.get("name", ""), "namespace": reference.get("namespace", "")}


def configure(level: str, form: str) -> None:
    """Set the log up: `form` is text or json. Warnings and uncaught exceptions go there as well."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Kopf tells of each watch that it opens anew.
    logging.getLogger("kopf").setLevel(max(logging.getLevelName(level), logging.WARNING))
    logging.captureWarnings(capture=True)
    if form == "json":
        sys.excepthook = _uncaught


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("nexus").critical("the operator stops: %s", error, exc_info=(kind, error, trace))
