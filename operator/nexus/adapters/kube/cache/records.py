"""Records: WorkflowRuns as they were last seen, each a small frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from nexus.adapters.kube.cache.child_facts import depth
from nexus.adapters.kube.cache.other_version import known_part
from nexus.adapters.kube.client.api import WORKFLOW_RUNS
from nexus.adapters.kube.client.bounded_json import decode, encode
from nexus.adapters.kube.client.brief import HELD, OUTPUT_BYTES, UNREADABLE, as_brief, unreadable
from nexus.adapters.kube.owners import owner_uid
from nexus.api.base import parse_time
from nexus.api.packed import Packed
from nexus.api.run import TaskStatus, Trigger, WorkflowRunSpec, WorkflowRunStatus
from nexus.core.manifest.begun import read_begun
from nexus.core.manifest.schema_errors import read
from nexus.core.model.facts import RunFact
from nexus.runtime.ports import RunKey

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as last seen. Of an ended run only what tells that it has ended is kept."""

    key: RunKey
    uid: str
    resource_version: int
    generation: int
    created_at: datetime
    deleting: bool
    adopted: bool
    spec: WorkflowRunSpec | None
    status: WorkflowRunStatus | None
    invalid: str = ""
    """Why the object cannot be read; the CRD's schema lets no such object in."""
    unreadable: str = ""
    """Why the object was not read: it nests too deep, or its params are too large. Of spec and status only short
    fields are known then."""
    params_text: str = ""
    """The params as JSON text where they are long; the spec is without them."""
    definition_left: int = 0
    """Bytes of a definition of its own that the spec is without, 0 for none: it is large, and read when needed."""
    parent: str = ""
    """UID of the run whose child it is."""
    depth: int = 0
    approved: bool = False
    """Whether a person decided in it."""
    objects: int = 1
    """How many objects it and what it made are, about."""

    @property
    def ended(self) -> bool:
        """True once the run has ended."""
        return self.status is not None and self.status.phase.ended

    @property
    def begun(self) -> bool:
        """True once the run has begun: from then on nothing of its spec is checked anew."""
        return self.status is not None and self.status.start_time is not None

    def fact(self) -> RunFact:
        """Return the run as decisions see it."""
        spec = self.spec or WorkflowRunSpec()
        params = decode(self.params_text.encode()) if self.params_text else spec.params
        return RunFact(
            namespace=self.key.namespace,
            name=self.key.name,
            uid=self.uid,
            created_at=self.created_at,
            workflow=spec.workflow_ref.name if spec.workflow_ref else "",
            generation=self.generation,
            trigger=spec.triggered_by or Trigger.MANUAL,
            params=params or {},
            scheduled_time=spec.scheduled_time,
            interval_start=spec.interval_start,
            interval_end=spec.interval_end,
            time_zone=spec.time_zone or "UTC",
            suspend=bool(spec.suspend),
            cancel=spec.cancel,
            approvals=tuple(spec.approvals or ()),
            depth=self.depth,
        )


def run_record(body: Object, known: RunRecord | None = None) -> RunRecord:
    """Return the record of a WorkflowRun; `known` is an earlier one of the same run, whose spec need not be read
    again."""
    metadata = body["metadata"]
    generation = int(metadata.get("generation") or 1)
    same = known if known is not None and known.generation == generation else None
    if same is None and HELD not in body and UNREADABLE not in body:
        # An answer to a call of ours is whole: of its spec no more is kept than of what the watches tell.
        rest = {name: value for name, value in body.items() if name != "status"}
        body = {**as_brief(WORKFLOW_RUNS, rest), "status": body.get("status")}
    held = body.get(HELD) or {}
    spec = same.spec if same is not None else None
    status: WorkflowRunStatus | None = None
    invalid = ""
    try:
        status = _packed(_status(_with_tasks(body["status"], held)), held) if body.get("status") else None
        begun = status is not None and status.start_time is not None
        spec = spec or (read_begun if begun else read)(body.get("spec") or {}, WorkflowRunSpec)
    except ValueError as error:
        invalid = str(error)[:1_000]
    owners = metadata.get("ownerReferences") or ()
    return RunRecord(
        key=RunKey(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        # Opaque until Kubernetes 1.35 promised that they compare as numbers (KEP-5504); etcd's always did.
        resource_version=int(metadata["resourceVersion"]),
        generation=generation,
        created_at=parse_time(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        # A child goes with its parent: a second controller would be refused.
        adopted=any(owner.get("kind") == "Workflow" or owner.get("controller") for owner in owners),
        spec=spec,
        status=status,
        invalid=invalid,
        unreadable=unreadable(body) or (same.unreadable if same is not None else ""),
        params_text=same.params_text if same is not None else str(held.get("params") or ""),
        definition_left=same.definition_left if same is not None else int(held.get("definition") or 0),
        parent=owner_uid(body, "WorkflowRun") or "",
        depth=depth(metadata),
        approved=bool(spec is not None and spec.approvals),
        objects=1 + sum(map(_objects, status.tasks or () if status is not None else ())),
    )


def _objects(task: TaskStatus) -> int:
    """Return a Job and a pod for each attempt, or each item, and an output. What a child run made is the child's."""
    attempts = (task.attempts or 0) + (task.replacements or 0) if task.job is not None else 0
    items = task.items.total if task.items is not None else 0
    return 2 * max(attempts, items) + (task.output_ref is not None)


def _with_tasks(status: Object, held: Mapping[str, Any]) -> Object:
    return {**status, "tasks": decode(held["tasks"].encode())} if "tasks" in held else status


def _packed(status: WorkflowRunStatus, held: Mapping[str, Any]) -> WorkflowRunStatus:
    """Return the status with its long outputs as text: those that are `held` so, and of a whole one all."""
    texts = held.get("taskOutputs") or {}
    packed = {
        index: task.model_copy(update={"output": output})
        for index, task in enumerate(status.tasks or ())
        if (output := _pack(task.output, texts.get(str(index)))) is not task.output
    }
    outputs = _pack(status.outputs, held.get("outputs"))
    if not packed and outputs is status.outputs:
        return status
    tasks = [packed.get(index, task) for index, task in enumerate(status.tasks or ())]
    return status.model_copy(update={"outputs": outputs, "tasks": tasks or status.tasks})


def _pack(output: dict[str, Any] | Packed | None, held: str | None) -> dict[str, Any] | Packed | None:
    if held is not None:
        return Packed(held.encode())
    if not isinstance(output, dict):
        return output
    text = encode(output)
    return Packed(text) if len(text) > OUTPUT_BYTES else output


def _status(body: Object) -> WorkflowRunStatus:
    try:
        return known_part(dict(body), WorkflowRunStatus)
    except ValidationError:
        return read(body, WorkflowRunStatus)  # which says what does not fit


def without_details(record: RunRecord) -> RunRecord:
    """Trim the record of an ended run, which stays for days with its outputs and messages: keep the phase and each
    task's job or child only, and of the spec how its children are to be cancelled."""
    if not record.ended:
        return record
    assert record.status is not None
    cancel = record.spec.cancel if record.spec is not None else None
    details = ("output", "output_ref", "stored_output", "artifacts", "message", "attempt_records")
    tasks = [task.model_copy(update=dict.fromkeys(details)) for task in record.status.tasks or ()]
    # Conditions and messages belong to the object, not to any decision about it.
    status = WorkflowRunStatus(phase=record.status.phase, start_time=record.status.start_time, tasks=tasks)
    return replace(record, spec=WorkflowRunSpec(cancel=cancel) if cancel else None, status=status, params_text="")
