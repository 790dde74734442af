"""What the operator may do, and no more: the rules of the Role (or, for the whole cluster, of the ClusterRole)."""

from __future__ import annotations

from typing import Any

Rule = dict[str, list[str]]

RULES: list[Rule] = [
    # The definitions, and whether they can run.
    {"apiGroups": ["nexus.dev"], "resources": ["workflows"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["nexus.dev"], "resources": ["workflows/status"], "verbs": ["patch", "update"]},
    # Runs. `create` is for child runs; `patch` of the object itself is for their cancel, and for the owner reference
    # of a run that came without one.
    # `delete` is for those that have ended and are over their stay, as with old versions of a definition below.
    {
        "apiGroups": ["nexus.dev"],
        "resources": ["workflowruns"],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    },
    {"apiGroups": ["nexus.dev"], "resources": ["workflowruns/status"], "verbs": ["update"]},
    # `patch`: the parallelism of a fan-out is raised when slots become free.
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    # Outputs above 4 KiB come through the log.
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    # `patch`: the outputs of a fan-out's items are stored while others still run.
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"]},
    # Why a Job has no pod stands in an Event only.
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "create"]},
    {"apiGroups": ["apps"], "resources": ["controllerrevisions"], "verbs": ["get", "list", "create", "delete"]},
]

# In the operator's own namespace, wherever it works: who of several leads. Nobody deletes it.
LEASE_RULES: list[Rule] = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]},
]

ACCOUNT = "nexus-operator"


def granted(account_namespace: str, namespace: str | None) -> list[dict[str, Any]]:
    """The role and its binding for the operator's account: in one namespace, or with None in all of them."""
    scope = "Role" if namespace else "ClusterRole"
    # Cluster-wide names are everybody's: the account's namespace keeps those of two test sessions apart.
    name = ACCOUNT if namespace else f"{ACCOUNT}-{account_namespace}"
    return _role(scope, name, namespace, RULES, account_namespace)


def granted_lease(account_namespace: str) -> list[dict[str, Any]]:
    """The role and its binding for the Lease."""
    return _role("Role", f"{ACCOUNT}-lease", account_namespace, LEASE_RULES, account_namespace)


def _role(
    scope: str, name: str, namespace: str | None, rules: list[Rule], account_namespace: str
) -> list[dict[str, Any]]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{group}/v1", "kind": scope, "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": f"{scope}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": scope, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": account_namespace}],
        },
    ]
