"""What the operator may do, and no more: the chart's rules, as roles for the operators of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Rule = dict[str, list[str]]

RULES: dict[str, list[Rule]] = yaml.safe_load(
    (Path(__file__).parents[2] / "charts" / "nexus" / "files" / "rules.yaml").read_text(encoding="utf-8")
)
"""`work`: in each namespace that an operator works in. `own`: in the one that its account is in."""

ACCOUNT = "nexus-operator"


def granted(account_namespace: str, namespace: str | None) -> list[dict[str, Any]]:
    """The role and its binding for the operator's account: in one namespace, or with None in all of them."""
    scope = "Role" if namespace else "ClusterRole"
    # Cluster-wide names are everybody's: the account's namespace keeps those of two test sessions apart.
    name = ACCOUNT if namespace else f"{ACCOUNT}-{account_namespace}"
    return _role(scope, name, namespace, RULES["work"], account_namespace)


def granted_lease(account_namespace: str) -> list[dict[str, Any]]:
    """The role and its binding for what is the operator's own, the Lease."""
    return _role("Role", f"{ACCOUNT}-own", account_namespace, RULES["own"], account_namespace)


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
