"""The Job of an attempt: a StartTask as the manifest that the API server gets.

Nothing is injected into a pod but the bootstrap's text in `command`; every pod passes Pod Security `restricted`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nexus import bootstrap
from nexus.adapters.kube.cache.parse import INDEX_FAILURES
from nexus.adapters.kube.containers import PUT
from nexus.adapters.kube.manifests import transfer
from nexus.adapters.kube.manifests.pod import literal, pod_annotations, pod_labels, pod_spec
from nexus.adapters.kube.owners import owned_by
from nexus.core.model.facts import RunFact
from nexus.core.model.plan import Payload, StartTask
from nexus.core.model.retry import OnFailure, PodRule
from nexus.core.names import (
    LABEL_ATTEMPT,
    LABEL_INDEX,
    LABEL_ITEMS,
    LABEL_POOL,
    LABEL_RUN,
    LABEL_TASK,
    LABEL_WORKFLOW,
    label_value,
)
from nexus.core.task_types import TYPES
from nexus.core.task_types.exit_codes import OUTPUT_REFUSED
from nexus.core.task_types.record import Bootstrap
from nexus.core.tasks.payload import FAILED_ATTEMPTS, SPILL_LIMIT
from nexus.core.text.sha256 import sha256, sha256_of

MOUNT = "/nexus"


@dataclass(frozen=True)
class Images:
    """The images of the task types. `pattern` holds `{type}`; of some types the digest is known."""

    pattern: str = "nexus/task-{type}:dev"
    digests: Mapping[str, str] = field(default_factory=dict)

    def of(self, payload: Payload) -> str:
        """Return the image that the task names, else the default of its type."""
        return payload.image or self.named(TYPES[payload.type].image or payload.type)

    def named(self, name: str) -> str:
        """Return the image of a folder of task-images: that of a type of task, or `store`, the one that moves data."""
        digest = self.digests.get(name)
        # Beside a digest a tag is for the eye only.
        return self.pattern.format(type=name) + (f"@{digest}" if digest else "")


@dataclass(frozen=True)
class TaskObjects:
    """What the API server is to make for an attempt: the Job, and before it a ConfigMap where the payload needs one."""

    job: dict[str, Any]
    payload: dict[str, Any] | None = None


@dataclass
class _Pod:
    """The parts of a pod that depend on how the payload travels."""

    env: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    spilled: dict[str, str] = field(default_factory=dict)

    def text(self, variable: str, file: str, text: str | None) -> None:
        """Pass a string to the bootstrap: as an environment variable, or as a file if it is too long."""
        if text is None:
            return
        if len(text.encode()) > SPILL_LIMIT:
            self.spilled[file] = text
        else:
            self.env.append({"name": variable, "value": literal(text)})


def task_objects(start: StartTask, run: RunFact, images: Images, *, name_taken: bool = False) -> TaskObjects:
    """Return the objects of an attempt. Deterministic: made twice, they are the same. `name_taken`: the ConfigMap has
    the hash of what is in it in its name, since the usual name is another's."""
    payload, pod = start.payload, _Pod()
    container: dict[str, Any] = {
        "name": "task",
        "image": images.of(payload),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    pod.env.append({"name": "HOME", "value": "/tmp"})
    script = TYPES[payload.type].bootstrap
    if script is None:
        container.update({"command": payload.command} if payload.command is not None else {})
        container.update({"args": payload.args} if payload.args is not None else {})
    else:
        container["command"] = _command(script, payload, pod)
        if sums := _sums(payload, pod):
            pod.env.append({"name": "NEXUS_SHA256SUMS", "value": sums})
    pod.env += [_variable(start, name, value) for name, value in payload.variables.items()]
    if payload.transfer is not None:
        pod.env += transfer.task_env(payload)
    container["env"] = pod.env + [variable.to_json() for variable in payload.env]
    if payload.env_from:
        container["envFrom"] = [source.to_json() for source in payload.env_from]
    files = f"{start.job_name}-{sha256_of(pod.spilled)}" if name_taken else start.job_name
    volumes, mounts = _volumes(files, pod, payload)
    container["volumeMounts"] = mounts
    labels = _labels(start, run)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": start.job_name,
            "labels": labels,
            "ownerReferences": owned_by("WorkflowRun", run.name, run.uid),
        },
        "spec": _job_spec(start)
        | {
            "template": {
                "metadata": {"labels": labels, **pod_annotations(payload.pod, payload.transfer)},
                "spec": _pod_spec(start, container, volumes, images),
            }
        },
    }
    spilled = None
    if pod.spilled:
        spilled = config_map(files, run, pod.spilled, labels)
    return TaskObjects(job, spilled)


def config_map(
    name: str, run: RunFact, data: Mapping[str, str], labels: Mapping[str, str], *, immutable: bool = True
) -> dict[str, Any]:
    """Return a ConfigMap of the run."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": dict(labels),
            "ownerReferences": owned_by("WorkflowRun", run.name, run.uid),
        },
        "data": dict(data),
        "immutable": immutable,
    }


def run_labels(run: RunFact) -> dict[str, str]:
    """Return the labels by which everything of a run is found."""
    labels = {LABEL_RUN: label_value(run.name)}
    if run.workflow:
        labels[LABEL_WORKFLOW] = label_value(run.workflow)
    return labels


def _labels(start: StartTask, run: RunFact) -> dict[str, str]:
    own = {**start.labels, **pod_labels(start.payload.pod)}
    labels = {**own, **run_labels(run), LABEL_TASK: start.task, LABEL_ATTEMPT: str(start.attempt_number)}
    if start.items is not None:
        labels[LABEL_ITEMS] = str(start.items)
    if start.index is not None:
        labels[LABEL_INDEX] = str(start.index)
    if start.pool is not None:
        labels[LABEL_POOL] = start.pool
    return labels


def _variable(start: StartTask, name: str, value: str) -> dict[str, Any]:
    counted = start.numbered or (start.indexed is not None and start.backoff_limit > 0)
    if name == FAILED_ATTEMPTS and counted:
        path = f"metadata.annotations['{INDEX_FAILURES}']"
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    return {"name": name, "value": literal(value)}


def _command(script: Bootstrap, payload: Payload, pod: _Pod) -> list[str]:
    pod.text("NEXUS_CONTEXT_JSON", "context.json", payload.context_json)
    pod.text("NEXUS_TASK_JSON", "task.json", payload.task_json)
    pod.text("NEXUS_ITEM_FIELDS", "item-fields.json", payload.item_fields)
    if payload.items is not None:
        pod.spilled["items"] = payload.items
    if script.interpreter == "python3":
        return ["python3", "-c", literal(bootstrap.packed(script.name))]
    command = ["bash", "-c", literal(bootstrap.text(script.name)), "nexus"]
    own = payload.script or ""
    if len(own.encode()) > SPILL_LIMIT:
        pod.spilled["command"] = own
        return command
    return [*command, literal(own)]


def _sums(payload: Payload, pod: _Pod) -> str:
    """Return what the files of a pod must hold, as sha256sum writes it. It comes in the Job, which cannot be changed,
    and the files in ConfigMaps, which others may change. Outputs that an older version stored have no hash, and no
    line."""
    files = {file: sha256(text) for file, text in pod.spilled.items()}
    files |= {f"input/{task}.json": stored.sha256 for task, stored in payload.inputs.items() if stored.sha256}
    return "".join(f"{digest}  {file}\n" for file, digest in sorted(files.items()))


def _volumes(name: str, pod: _Pod, payload: Payload) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
    sources: list[dict[str, Any]] = []
    if pod.spilled:
        # By name: other keys that a client may add there appear in no pod.
        items = [{"key": key, "path": key} for key in pod.spilled]
        sources.append({"configMap": {"name": name, "items": items}})
    for task, stored in payload.inputs.items():
        items = [{"key": "output.json", "path": f"input/{task}.json"}]
        sources.append({"configMap": {"name": stored.config_map, "items": items}})
    if sources:
        volumes.append({"name": "nexus", "projected": {"sources": sources}})
        mounts.append({"name": "nexus", "mountPath": MOUNT, "readOnly": True})
    return volumes, mounts


def _pod_spec(
    start: StartTask, container: dict[str, Any], volumes: list[dict[str, Any]], images: Images
) -> dict[str, Any]:
    spec = pod_spec(start.payload.pod, container, volumes)
    if start.payload.transfer is not None:
        transfer.add_containers(spec, start.payload.transfer, images.named("store"))
    if start.timeout_seconds is not None:
        spec["activeDeadlineSeconds"] = start.timeout_seconds
    return spec


def _failure_rule(rule: PodRule, *, indexed: bool) -> dict[str, Any]:
    """Return a rule of the retry policy as an entry of podFailurePolicy, whose Ignore makes another pod."""
    ends = "FailIndex" if indexed else "FailJob"
    entry: dict[str, Any] = {"action": "Ignore" if rule.action is OnFailure.REPLACE else ends}
    if rule.disrupted:
        entry["onPodConditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    if rule.exit_codes:
        entry["onExitCodes"] = {"containerName": "task", "operator": "In", "values": list(rule.exit_codes)}
    return entry


def _job_spec(start: StartTask) -> dict[str, Any]:
    rules = [_failure_rule(rule, indexed=start.indexed is not None) for rule in start.retry.pod_rules]
    if start.payload.transfer is not None and start.payload.transfer.puts:
        left_out = {"containerName": PUT, "operator": "In", "values": [OUTPUT_REFUSED]}
        rules.append({"action": "FailJob", "onExitCodes": left_out})
    spec: dict[str, Any] = {"podReplacementPolicy": "Failed"}
    if start.numbered:
        # Only a pod of an index is told how many failed before it. A rule of FailJob ends the one index, too.
        one = {"completionMode": "Indexed", "completions": 1, "parallelism": 1}
        spec |= {**one, "backoffLimitPerIndex": start.backoff_limit}
    elif start.indexed is None:
        spec["backoffLimit"] = start.backoff_limit
    else:
        # Without a backoffLimit of its own, which would count the failures of all items together.
        spec |= {
            "completionMode": "Indexed",
            "completions": start.items,
            "parallelism": start.indexed.parallelism,
            "backoffLimitPerIndex": start.backoff_limit,
        }
        if start.indexed.max_failed is not None:
            spec["maxFailedIndexes"] = start.indexed.max_failed
    if rules:
        spec["podFailurePolicy"] = {"rules": rules}
    if start.deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = start.deadline_seconds
    return spec
