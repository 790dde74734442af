"""Transfers: what an attempt takes from the output store and leaves there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from nexus.api.reasons import Reason
from nexus.api.store import OutputStore, StoredArtifact, StoredObject
from nexus.api.tasks import Task
from nexus.core.data.outputs import Kept
from nexus.core.model.definition import Node
from nexus.core.model.facts import RunFact, Terminated
from nexus.core.model.plan import Transfer
from nexus.core.task_types.limits import PayloadError
from nexus.core.tasks.draft import PlanDraft
from nexus.core.text.json_text import dump, load

SHARED = "/artifacts"
"""Where all containers of a pod have the same folder."""

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Report:
    """What the transfer after a task has stored. The `id` in the keys is its own, so that no two attempts share one."""

    id: str
    output: Mapping[str, Any] | None = None
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def of_task(draft: PlanDraft, node: Node, number: int) -> Transfer | None:
    """Return what an attempt moves, None where it moves nothing. `number` tells attempts apart. Raises PayloadError."""
    found = Transfer(
        store=OutputStore(),
        prefix=prefix_of(draft.facts.run, node.name, number),
        inputs=_inputs(draft, node),
        artifacts_in=_artifacts_in(draft, node),
        artifacts_out=_artifacts_out(node.task),
        keeps_output=_keeps_output(draft, node),
    )
    if not (found.fetches or found.puts):
        return None
    store = store_of(draft)
    if store is None:
        if not (found.fetches or found.artifacts_out):
            return None
        words = "no output store for the artifacts; set outputStore in the workflow (the operator has no default store)"
        raise PayloadError(Reason.NO_OUTPUT_STORE, words)
    _refuse_claim(draft, store)
    return Transfer(store, found.prefix, found.inputs, found.artifacts_in, found.artifacts_out, found.keeps_output)


def prefix_of(run: RunFact, task: str, number: int) -> str:
    """Start of an attempt's keys. By namespace, run and task, so that people and lifecycle rules find them."""
    return f"{run.namespace}/{run.name}/{run.uid}/{task}/{number}"


def store_of(draft: PlanDraft) -> OutputStore | None:
    """Return the store of a run: its workflow's own, or the operator's."""
    own = draft.definition.spec.output_store
    return own if own is not None and own.url is not None else draft.facts.output_store


def _refuse_claim(draft: PlanDraft, store: OutputStore) -> None:
    """Refuse a workflow's own store on a volume that tasks may not mount."""
    forbidden = {"volumes", "volumes.persistentVolumeClaim"} & draft.facts.pod_policy.forbidden
    if store.volume_claim is not None and store is not draft.facts.output_store and forbidden:
        words = f"outputStore.volumeClaim: this operator forbids {min(forbidden)} (NEXUS_POD_FORBIDDEN); use its store"
        raise PayloadError(Reason.POD_FIELD_FORBIDDEN, f"{words}, or a bucket")


def awaited(node: Node) -> bool:
    """Return whether a success is one only when what the task left is stored, whatever its output is."""
    return bool(_artifacts_out(node.task))


def _keeps_output(draft: PlanDraft, node: Node) -> bool:
    asked = draft.definition.spec.output_store is not None
    bootstrap = node.record.bootstrap
    return asked and bootstrap is not None and bootstrap.keeps_output and node.task.for_each is None


def _inputs(draft: PlanDraft, node: Node) -> dict[str, StoredObject]:
    if node.record.is_bare:  # has no `input`
        return {}
    stored = {name: draft.tasks[name].stored_output for name in node.depends_on if draft.is_readable(name)}
    return {name: reference for name, reference in stored.items() if reference is not None}


def _artifacts_in(draft: PlanDraft, node: Node) -> dict[str, StoredArtifact]:
    found: dict[str, StoredArtifact] = {}
    for entry in (node.task.artifacts.inputs if node.task.artifacts else None) or ():
        task, _, artifact = entry.from_.partition(".")
        left = {stored.name: stored for stored in draft.tasks[task].artifacts or ()}
        if artifact in left:
            found[entry.name] = left[artifact]
        elif not entry.optional:
            words = f'artifacts.inputs: no artifact "{entry.name}": task {task} did not write {entry.from_}'
            phase = draft.tasks[task].phase.value
            hint = "set optional: true to continue without it"
            raise PayloadError(Reason.ARTIFACT_MISSING, f"{words} ({phase}); {hint}")
    return found


def _artifacts_out(task: Task) -> dict[str, bool]:
    outputs = task.artifacts.outputs if task.artifacts else None
    return {entry.name: bool(entry.optional) for entry in outputs or ()}


def report(ended: Terminated | None) -> Report | None:
    """Return the report of a transfer, None if it left none that can be read."""
    try:
        told = load(ended.message) if ended is not None else None
    except ValueError:
        return None
    match told:
        case {"stored": {"id": str(identity), **rest}} if _ID.fullmatch(identity):
            output, artifacts = rest.get("output"), rest.get("artifacts") or {}
            if isinstance(artifacts, dict) and (output is None or isinstance(output, dict)):
                return Report(identity, output, artifacts)
    return None


def stored_fields(node: Node, run: RunFact, number: int, told: Report, kept: Kept | None) -> dict[str, Any] | None:
    """Return the fields of a task's status that say what it left in the store; None where that is not what it
    declares."""
    prefix = f"{prefix_of(run, node.name, number)}-{told.id}"
    declared = _artifacts_out(node.task)
    try:
        artifacts = [
            StoredArtifact(name=name, key=f"{prefix}/artifacts/{name}", **told.artifacts[name])
            for name in declared
            if name in told.artifacts
        ]
        output = StoredObject(key=f"{prefix}/output.json", **(told.output or {})) if kept is not None else None
    except (ValidationError, TypeError):
        return None
    if {name for name, optional in declared.items() if not optional} - {artifact.name for artifact in artifacts}:
        return None
    if output is not None and kept is not None and (output.size, output.sha256) != (kept.size, kept.sha256):
        return None
    return {"artifacts": artifacts or None, "stored_output": output}


def variable(artifact: str) -> str:
    """Return the environment variable that holds the path of an artifact."""
    return f"ARTIFACT_{artifact.upper().replace('-', '_')}"


def instructions(transfer: Transfer, store: dict[str, Any]) -> str:
    """Return the instructions for the transfer script, as JSON: no secret is in it."""
    fetch: list[dict[str, Any]] = [
        {"path": f".nexus/input/{task}.json", "what": f"the output of task {task}", **stored.to_json()}
        for task, stored in transfer.inputs.items()
    ]
    fetch += [
        {**stored.to_json(), "path": name, "what": f"the artifact {name}"}
        for name, stored in transfer.artifacts_in.items()
    ]
    put = [{"name": name, "optional": optional} for name, optional in transfer.artifacts_out.items()]
    return dump({"store": store, "prefix": transfer.prefix, "fetch": fetch, "put": put})
