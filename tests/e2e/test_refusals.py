"""Refusals of a real API server: a policy that denies, a quota that is used up, a right that is lost; and then none."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import operator_for
from tests.e2e.rights import ACCOUNT
from tests.e2e.space import Object, Space, container, is_finished, phases, python, reasons, task

from nexus.adapters.kube.client.api import Kind

pytestmark = pytest.mark.cluster

QUOTAS = Kind("", "v1", "resourcequotas", "ResourceQuota")
ROLES = Kind("rbac.authorization.k8s.io", "v1", "roles", "Role")
POLICIES = Kind(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
)
BINDINGS = Kind(
    *("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"),
    namespaced=False,
)


def condition(run: Object) -> str | None:
    found = [entry for entry in run["status"].get("conditions") or () if entry["type"] == "WriteRefused"]
    return str(found[0]["status"]) if found else None


@pytest.mark.usefixtures("operator")
def test_an_output_waits_for_a_quota_on_configmaps_and_other_tasks_do_not(space: Space) -> None:
    hard = {"count/configmaps": "1"}  # kube-root-ca.crt
    space.post(QUOTAS, {"metadata": {"name": "maps"}, "spec": {"hard": hard}})
    space.run("stored", python("big", "output['text'] = 'x' * 3000"), container("a"), container("b", after=("a",)))
    run = space.until("stored", lambda run: task(run, "big").get("reason") == "QuotaExceeded")
    run = space.until("stored", lambda run: task(run, "b")["phase"] == "Succeeded")
    assert phases(run)["big"] == "Running"
    assert condition(run) == "True"
    space.remove(QUOTAS, "maps")
    run = space.until("stored", is_finished, 90)
    assert phases(run) == {"big": "Succeeded", "a": "Succeeded", "b": "Succeeded"}
    assert condition(run) == "False"
    assert len(space.output(run, "big")["text"]) == 3000
    assert len(space.jobs("stored")) == 3


@pytest.mark.usefixtures("operator")
def test_a_job_that_a_policy_denies_starts_once_it_is_accepted(space: Space) -> None:
    name = f"deny-{space.namespace}"
    rules = [{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}]
    here: dict[str, Any] = {"matchLabels": {"kubernetes.io/metadata.name": space.namespace}}
    policy = {
        "matchConstraints": {"resourceRules": rules, "namespaceSelector": here},
        "validations": [
            {
                "expression": "!object.metadata.name.startsWith('denied-no-')",
                "message": "not today",
                "reason": "Forbidden",
            }
        ],
    }
    space.post(POLICIES, {"metadata": {"name": name}, "spec": policy})
    try:
        space.post(BINDINGS, {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}})
        time.sleep(5)  # until the API server has taken the policy up
        space.run("denied", container("no"), container("yes"), container("then", after=("yes",)))
        run = space.until("denied", lambda run: task(run, "then")["phase"] == "Succeeded", 90)
        assert reasons(run)["no"] == "JobRefused"
        assert "not today" in task(run, "no")["message"]
    finally:
        space.kubectl("delete", "validatingadmissionpolicybinding", name)
        space.kubectl("delete", "validatingadmissionpolicy", name)
    assert phases(space.until("denied", is_finished, 120))["no"] == "Succeeded"


def test_a_right_that_is_taken_away_is_named_and_made_use_of_when_it_is_back(
    new_space: Callable[[str], Space], tmp_path: Path
) -> None:
    space = new_space("lost-right")
    with operator_for(tmp_path, space, loses_rights=True):
        role = space.get(ROLES, ACCOUNT)
        assert role is not None
        less = [
            rule | {"verbs": [verb for verb in rule["verbs"] if verb != "create"]}
            if "jobs" in rule["resources"]
            else rule
            for rule in role["rules"]
        ]
        space.run("before", container("sleeps", "sleep", "8"), container("next", after=("sleeps",)))
        space.running("before", "sleeps")
        space.patch(ROLES, ACCOUNT, {"rules": less})
        run = space.until("before", lambda run: task(run, "next").get("reason") == "MissingRights")
        assert "the operator is not allowed to create jobs.batch in namespace" in task(run, "next")["message"]
        assert phases(run)["sleeps"] == "Succeeded"
        space.patch(ROLES, ACCOUNT, {"rules": role["rules"]})
        assert phases(space.finished("before")) == {"sleeps": "Succeeded", "next": "Succeeded"}
        assert len(space.jobs("before")) == 2
