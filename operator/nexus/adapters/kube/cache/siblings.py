"""WorkflowRuns as their Workflow sees them: of each a small record, read without its models."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from nexus.adapters.kube.owners import controller, owner_uid
from nexus.api.base import parse_time
from nexus.api.reasons import RunPhase
from nexus.api.run import Trigger
from nexus.core.names import BACKFILL_ENDS, LABEL_BACKFILL, LABEL_WORKFLOW, label_value
from nexus.core.workflow.facts import RunSummary

Word = TypeVar("Word", bound=StrEnum)


def workflow_of(body: Mapping[str, Any]) -> str:
    """Return the name of the Workflow that a run executes, empty where it has a definition of its own."""
    reference = (body.get("spec") or {}).get("workflowRef") or {}
    return str(reference.get("name") or "")


def sibling(body: Mapping[str, Any]) -> RunSummary:
    """Return the record of a run."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    started, completed = status.get("startTime"), status.get("completionTime")
    owner, labels = controller(body, "Workflow"), metadata.get("labels") or {}
    return RunSummary(
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=parse_time(metadata["creationTimestamp"]),
        # One that names another Workflow than its own as its controller is a run of its own all the same.
        workflow_uid=owner.uid if owner is not None and owner.name == workflow_of(body) else "",
        trigger=_word(spec.get("triggeredBy"), Trigger.MANUAL),
        # A phase that only a newer operator knows is none that a run ends in: it has not ended.
        phase=_word(status.get("phase"), RunPhase.PENDING),
        started_at=parse_time(started) if started else None,
        completed_at=parse_time(completed) if completed else None,
        cancelled="cancel" in spec,
        schedule=str(spec.get("schedule") or ""),
        scheduled_time=_time(spec.get("scheduledTime")),
        revision=str(status.get("revision") or ""),
        backfill=labels.get(LABEL_BACKFILL, ""),
        backfill_ends=(metadata.get("annotations") or {}).get(BACKFILL_ENDS, ""),
        key=status.get("concurrencyKey"),
        parent=owner_uid(body, "WorkflowRun") or "",
        labelled=labels.get(LABEL_WORKFLOW) == label_value(workflow_of(body)),
    )


def _time(text: object) -> datetime | None:
    """Return a time of the spec, which the CRD's schema allows to be any string; None if it is not a time."""
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def _word(text: object, default: Word) -> Word:
    try:
        return type(default)(str(text))
    except ValueError:
        return default
