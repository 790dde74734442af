"""Observe: Job and Pod objects become the small records that decisions are made from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from nexus.adapters.kube.containers import CONTAINER, FETCH, PUT
from nexus.adapters.kube.owners import Owner, controller
from nexus.api.base import parse_time
from nexus.api.fanout import MAX_ITEMS
from nexus.core.model import indexes
from nexus.core.model.facts import JobFact, PodFact, Terminated
from nexus.core.names import LABEL_ITEMS, LABEL_RUN, LABEL_TASK
from nexus.core.tasks.identity import Slot, slot_of

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""The annotation of an Indexed Job's pods by which the Job controller knows them; also a label, which may change."""
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
"""The annotation with the number of failures before a pod, where its Job has a backoffLimitPerIndex."""
JOB_FINALIZER = "batch.kubernetes.io/job-tracking"


def labelled_slot(metadata: Mapping[str, Any], owner: Owner) -> Slot:
    """Return what an object is for, where its labels name the task; its `task` is empty where they do not fit its
    name."""
    task = str((metadata.get("labels") or {}).get(LABEL_TASK) or "")
    return slot_of(metadata["name"], owner.name, owner.uid, (task,) if task else ()) or Slot("", 0)


def job_fact(body: Mapping[str, Any]) -> JobFact | None:
    """Return the record of a Job that says it is a run's, without its pods; None where it does not."""
    metadata, status, spec = body["metadata"], body.get("status") or {}, body.get("spec") or {}
    owner = controller(body, "WorkflowRun")
    if owner is None:
        return None
    slot = labelled_slot(metadata, owner)
    conditions = {entry["type"]: entry for entry in status.get("conditions") or () if entry.get("status") == "True"}
    failed, complete = conditions.get("Failed"), conditions.get("Complete")
    ended = failed or complete or {}
    return JobFact(
        name=metadata["name"],
        uid=metadata["uid"],
        task=slot.task,
        attempt_number=slot.attempt_number,
        created_at=parse_time(metadata["creationTimestamp"]),
        namespace=metadata["namespace"],
        owner=owner.name,
        unwatched=LABEL_RUN not in (metadata.get("labels") or {}),
        failed=int(status.get("failed") or 0),
        failing="FailureTarget" in conditions,
        complete=complete is not None,
        failure=str(failed.get("reason") or "Failed") if failed else "",
        failure_message=str(failed.get("message") or "") if failed else "",
        finished_at=_time(ended.get("lastTransitionTime")),
        deleting="deletionTimestamp" in metadata,
        items=_items(metadata, spec),
        index=slot.index,
        parallelism=int(spec.get("parallelism") or 1),
        completed_indexes=str(status.get("completedIndexes") or "")[: indexes.LONGEST],
        failed_indexes=str(status.get("failedIndexes") or "")[: indexes.LONGEST],
        suspended=bool(spec.get("suspend")),
    )


def _items(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> int | None:
    """Return the number of items of a fan-out's Indexed Job. One with a single index may be a task's that numbers its
    attempts."""
    if spec.get("completionMode") != "Indexed":
        return None
    found = int(spec.get("completions") or 0)
    return None if found == 1 and LABEL_ITEMS not in (metadata.get("labels") or {}) else min(found, MAX_ITEMS)


def number(text: object, most: int = 1_000_000) -> int | None:
    """Return the number in a label, None where it holds none. Anybody may set labels: one beyond `most` is none of
    ours, and a loop over it would not end."""
    found = int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() else None
    return found if found is None or found <= most else None


def pod_fact(body: Mapping[str, Any]) -> PodFact:
    """Return the record of a pod."""
    metadata, status = body["metadata"], body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions = {entry["type"]: entry for entry in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    disrupted = conditions.get("DisruptionTarget") or {}
    states = _states(status)
    state = states.get(CONTAINER) or {}
    current = _current(states)
    waiting = current.get("waiting") or {}
    return PodFact(
        name=metadata["name"],
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        created_at=_time(metadata.get("creationTimestamp")),
        scheduled_at=_time(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        unschedulable=_unschedulable(scheduled),
        waiting_reason=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        running="running" in current,
        terminated=_terminated(state.get("terminated")),
        transfer=_transfer(states),
        deleted_at=_deletion(metadata),
        withdrawn=_withdrawn(metadata, status),
        disrupted_at=_time(disrupted.get("lastTransitionTime")) if disrupted.get("status") == "True" else None,
        index=number(annotations.get(COMPLETION_INDEX)),
        failures=number(annotations.get(INDEX_FAILURES)),
    )


def has_ended(body: Mapping[str, Any]) -> bool:
    """Return whether all containers of a pod have terminated, which the kubelet says up to a second before the pod's
    phase."""
    status = body.get("status") or {}
    states = [entry.get("state") or {} for entry in status.get("containerStatuses") or ()]
    ended = bool(states) and all("terminated" in state for state in states)
    return ended or status.get("phase") in ("Succeeded", "Failed")


def _states(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return each container's state by its name. What comes before the pod's last container is an init container."""
    entries = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return {entry["name"]: entry.get("state") or {} for entry in entries}


def _current(states: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the state of the container whose turn it is: they come one after the other."""
    turns = [states[name] for name in (FETCH, CONTAINER, PUT) if name in states]
    return next((state for state in turns if "terminated" not in state), turns[-1] if turns else {})


def _transfer(states: Mapping[str, Mapping[str, Any]]) -> Terminated | None:
    fetched = _terminated(states.get(FETCH, {}).get("terminated"))
    if fetched is not None and fetched.exit_code != 0:
        return fetched
    return _terminated(states.get(PUT, {}).get("terminated"))


def _withdrawn(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Return whether the Job controller deleted the pod without counting it, as it does when a Job is suspended: it
    removes its finalizer from them before the deletion (job_controller.go, deleteJobPods), from every other pod once it
    has ended."""
    tracked = JOB_FINALIZER in (metadata.get("finalizers") or ())
    return "deletionTimestamp" in metadata and not tracked and status.get("phase") not in ("Succeeded", "Failed")


def _unschedulable(scheduled: Mapping[str, Any]) -> str:
    if scheduled.get("status") != "False":
        return ""
    return str(scheduled.get("message") or scheduled.get("reason") or "no node fits the pod")


def _terminated(state: Mapping[str, Any] | None) -> Terminated | None:
    if state is None:
        return None
    return Terminated(
        exit_code=int(state.get("exitCode", -1)),
        reason=state.get("reason") or "",
        message=state.get("message") or "",
        finished_at=_time(state.get("finishedAt")),
        started_at=_started(state),
    )


def _started(state: Mapping[str, Any]) -> datetime | None:
    """Return when the container started; the kubelet writes the epoch for one that never did."""
    started = _time(state.get("startedAt"))
    return started if started is not None and started.timestamp() > 0 else None


def _deletion(metadata: Mapping[str, Any]) -> datetime | None:
    """Return when the deletion was asked for: deletionTimestamp is when its grace period ends.

    A second request, as the kubelet's own when all containers have ended, sets the period to 0 and the end to now
    where a finalizer holds the pod (registry/rest/delete.go, markAsDeleting): when the first one came is lost then,
    and may have been at any time since the pod is there.
    """
    end, grace = _time(metadata.get("deletionTimestamp")), int(metadata.get("deletionGracePeriodSeconds") or 0)
    if end is None:
        return None
    return end - timedelta(seconds=grace) if grace else _time(metadata.get("creationTimestamp")) or end


def _time(text: object) -> datetime | None:
    return parse_time(text) if text else None
