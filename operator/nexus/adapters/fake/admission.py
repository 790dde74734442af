"""What the API server does to an object before it stores it: defaults, generated fields, and the refusals that matter.

Only rules our own objects can meet are reproduced; each names its source in Kubernetes 1.34. The contract test asks a
real server the same questions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from nexus.adapters.fake.objects import copied
from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind, Object, error_from

REQUEST_LIMIT = 3 * 1024 * 1024
"""Bytes of a request body the API server reads (apiserver MaxRequestBodyBytes)."""
ETCD_LIMIT = 1536 * 1024
"""Bytes of one object etcd keeps (etcd --max-request-bytes, default 1.5 MiB)."""
CONFIG_MAP_LIMIT = 1024 * 1024
"""Bytes of all values of a ConfigMap together (core/validation MaxSecretSize)."""

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

WITH_STATUS = frozenset({WORKFLOWS, WORKFLOW_RUNS, JOBS, PODS})
"""Kinds with a status subresource: a plain write leaves their status alone, a status write everything else."""
WITH_GENERATION = WITH_STATUS
_LEGACY_JOB_LABELS = ("controller-uid", "job-name")


def defaulted(kind: Kind, body: Object) -> Object:
    """Return the object with the defaults of its kind; metadata.uid is set by then, as a Job's selector is made of
    it."""
    body = copied(body)
    if kind == JOBS:
        _default_job(body)
    elif kind == PODS:
        _default_pod_spec(body["spec"])
        body["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
    return body


def validate(kind: Kind, body: Object, old: Object | None = None) -> None:
    """Raise Invalid or TooLarge where the API server (or etcd behind it) would refuse this object.

    Raises:
        ApiError: `Invalid` (422) or `TooLarge`.
    """
    name = body["metadata"]["name"]
    size = len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())
    if size > REQUEST_LIMIT:
        raise error_from(
            413,
            "RequestEntityTooLarge",
            f"Request entity too large: limit is {REQUEST_LIMIT}",
            kind=kind.kind,
            name=name,
        )
    problems = list(_problems(kind, body, old))
    if problems:
        text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise error_from(422, "Invalid", f'{kind.kind} "{name}" is invalid: {text}', kind=kind.kind, name=name)
    if size > ETCD_LIMIT:
        raise error_from(500, "", "etcdserver: request is too large", kind=kind.kind, name=name)


def _problems(kind: Kind, body: Object, old: Object | None) -> Iterator[str]:
    metadata = body["metadata"]
    name = metadata["name"]
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        yield f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case ...'
    yield from _label_problems("metadata.labels", metadata.get("labels"))
    annotations = metadata.get("annotations") or {}
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > 256 * 1024:
        yield "metadata.annotations: Too long: may not be more than 262144 bytes"
    for owner in metadata.get("ownerReferences") or []:
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield f'metadata.ownerReferences.{field}: Invalid value: "": must not be empty'
    if kind == CONFIG_MAPS:
        yield from _config_map_problems(body, old)
    elif kind == JOBS:
        yield from _job_problems(body, old)


def _label_problems(path: str, labels: dict[str, str] | None) -> Iterator[str]:
    for value in (labels or {}).values():
        if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            yield f'{path}: Invalid value: "{value}": a valid label must be an empty string or consist of ...'


def _config_map_problems(body: Object, old: Object | None) -> Iterator[str]:
    """core/validation ValidateConfigMap and ValidateConfigMapUpdate."""
    values = [*(body.get("data") or {}).values(), *(body.get("binaryData") or {}).values()]
    if sum(len(value.encode()) for value in values) > CONFIG_MAP_LIMIT:
        yield f"[]: Too long: may not be more than {CONFIG_MAP_LIMIT} bytes"
    if old is not None and old.get("immutable"):
        if not body.get("immutable"):
            yield "immutable: Forbidden: field is immutable when `immutable` is set"
        for field in ("data", "binaryData"):
            if body.get(field) != old.get(field):
                yield f"{field}: Forbidden: field is immutable when `immutable` is set"


def _job_problems(body: Object, old: Object | None) -> Iterator[str]:
    """batch/validation ValidateJob, ValidateJobUpdate."""
    name, spec = body["metadata"]["name"], body["spec"]
    template = spec["template"]
    yield from _label_problems("spec.template.labels", template.get("metadata", {}).get("labels"))
    if spec.get("completionMode") == "Indexed" and not _LABEL.fullmatch(f"{name}-{spec['completions'] - 1}"[:64]):
        yield f'metadata.name: Invalid value: "{name}": will not able to create pod with invalid DNS label'
    policy = template["spec"].get("restartPolicy")
    if policy not in ("Never", "OnFailure"):
        yield 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    if spec.get("podFailurePolicy") and policy != "Never":
        yield (
            f'spec.template.spec.restartPolicy: Invalid value: "{policy}": '
            'only "Never" is supported when podFailurePolicy is specified'
        )
    if spec.get("podFailurePolicy") and spec.get("podReplacementPolicy") != "Failed":
        yield (
            f'spec.podReplacementPolicy: Unsupported value: "{spec.get("podReplacementPolicy")}": '
            'supported values: "Failed"'
        )
    if not template["spec"].get("containers"):
        yield "spec.template.spec.containers: Required value"
    if old is not None:
        for field in (
            "template",
            "selector",
            "completionMode",
            "podFailurePolicy",
            "backoffLimitPerIndex",
            "completions",
        ):
            # `completions` of an Indexed Job may change together with parallelism; no object of ours ever does.
            if spec.get(field) != old["spec"].get(field):
                yield f"spec.{field}: Invalid value: field is immutable"


def _default_job(body: Object) -> None:
    """batch/v1 SetDefaults_Job and jobStrategy.PrepareForCreate (the selector)."""
    spec, name, uid = body["spec"], body["metadata"]["name"], body["metadata"]["uid"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or []:
        for pattern in rule.get("onPodConditions") or []:
            pattern.setdefault("status", "True")
    labels = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name}
    legacy = dict(zip(_LEGACY_JOB_LABELS, (uid, name), strict=True))
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    template = spec.setdefault("template", {})
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels, **legacy}
    if not body["metadata"].get("labels"):
        # A Job without labels of its own gets its template's (batch/v1 defaults.go, kept for old clients).
        body["metadata"]["labels"] = dict(metadata["labels"])
    _default_pod_spec(template.setdefault("spec", {}))
    body["status"] = {}


def _default_pod_spec(spec: Object) -> None:
    """core/v1 SetDefaults_PodSpec and SetDefaults_Container, as far as anyone here reads them."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in spec.get("containers") or []:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("resources", {})
