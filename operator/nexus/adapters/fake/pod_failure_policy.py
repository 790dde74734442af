"""What a podFailurePolicy makes of a failed pod, after Kubernetes 1.34 `pkg/controller/job/pod_failure_policy.go`."""

from __future__ import annotations

from dataclasses import dataclass

from nexus.adapters.fake import turns
from nexus.adapters.kube.client.api import Object


@dataclass(frozen=True, slots=True)
class PolicyAction:
    """`fails_job` is the message of a FailJob rule that matched, else empty; `fails_index`: a FailIndex rule did;
    `counts`: it uses up backoffLimit."""

    fails_job: str = ""
    counts: bool = True
    fails_index: bool = False


def verdict(policy: Object | None, pod: Object) -> PolicyAction:
    """Return what the first rule that matches says; without one the failure counts."""
    for index, rule in enumerate((policy or {}).get("rules") or []):
        subject = _exit_code(rule["onExitCodes"], pod) if rule.get("onExitCodes") else _condition(rule, pod)
        if not subject:
            continue
        action = rule["action"]
        if action == "FailJob":
            return PolicyAction(f"{subject} matching {action} rule at index {index}")
        return PolicyAction(counts=action != "Ignore", fails_index=action == "FailIndex")
    return PolicyAction()


def _exit_code(requirement: Object, pod: Object) -> str:
    for status in turns.statuses(pod):
        code = status["state"].get("terminated", {}).get("exitCode", 0)
        if not code or requirement.get("containerName") not in (None, status["name"]):
            continue
        if (code in requirement["values"]) == (requirement["operator"] == "In"):
            metadata = pod["metadata"]
            return (
                f"Container {status['name']} for pod {metadata['namespace']}/{metadata['name']} "
                f"failed with exit code {code}"
            )
    return ""


def _condition(rule: Object, pod: Object) -> str:
    patterns = {(pattern["type"], pattern.get("status", "True")) for pattern in rule.get("onPodConditions") or []}
    for entry in pod.get("status", {}).get("conditions") or []:
        if (entry["type"], entry["status"]) in patterns:
            return f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']} has condition {entry['type']}"
    return ""
