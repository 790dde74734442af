"""The chart's admission policies and roles for users, each asked for what it lets pass and for what it refuses."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from tests.e2e.helm import Helm, cluster
from tests.e2e.space import Object, Space, bash

from nexus.adapters.kube.api import JOBS, WORKFLOW_RUNS, Kind

pytestmark = pytest.mark.cluster

GROUP = "rbac.authorization.k8s.io"
BINDINGS = Kind(GROUP, "v1", "rolebindings", "RoleBinding")
ROLES = Kind(GROUP, "v1", "roles", "Role")
EDITOR, ADMIN, APPROVER, STARTER = "erin@example.com", "ada@example.com", "app@example.com", "sam@example.com"


@pytest.fixture(scope="module")
def policies(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    """The chart's policies and roles for the module's namespace alone, and some people."""
    helm = Helm(cluster("helm").strip())
    where = ["--set", f"namespaces={{{space.namespace}}}"]
    shown = [f"--show-only=templates/{name}.yaml" for name in ("policies", "users")]
    objects = helm.template(*where, *shown, namespace=space.namespace)
    manifest = tmp_path_factory.mktemp("chart") / "policies.yaml"
    manifest.write_text(yaml.safe_dump_all(objects))
    space.kubectl("apply", "-f", str(manifest), "--namespace=")
    for user, role in ((EDITOR, "edit"), (ADMIN, "admin"), (APPROVER, f"{space.namespace}-nexus-approver")):
        bind(space, user, "ClusterRole", role)
    rule = {"apiGroups": ["nexus.dev"], "resources": ["workflowruns"], "verbs": ["create", "get"]}
    space.post(ROLES, {"metadata": {"name": "starter"}, "rules": [rule]})
    bind(space, STARTER, "Role", "starter")
    wait_until_in_force(space)
    yield space
    space.kubectl("delete", "-f", str(manifest), "--namespace=", "--wait=false")


def bind(space: Space, user: str, kind: str, role: str) -> None:
    subject = {"kind": "User", "name": user, "apiGroup": GROUP}
    reference = {"apiGroup": GROUP, "kind": kind, "name": role}
    name = user.partition("@")[0]
    space.post(BINDINGS, {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]})


def wait_until_in_force(space: Space) -> None:
    """The API server learns of policies, and of what the roles aggregate to, by watches of its own."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        refused = all(create_job(space, job({"hostPID": True})).status_code == 422 for _ in range(3))
        if refused and inline(space, STARTER).status_code == 403 and inline(space, EDITOR).status_code == 201:
            return
        time.sleep(0.3)
    pytest.fail("the policies are not in force")


# -- Jobs of the operator ---------------------------------------------------------------------------------------------


def job(pod: Object | None = None, task: Object | None = None, metadata: Object | None = None) -> Object:
    """A Job as the operator makes it, with other fields of its pod, its container, or its metadata."""
    container: Object = {
        "name": "task",
        "image": "nexus/task-bash:dev",
        "command": ["true"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": security,
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "containers": [container | (task or {})],
    }
    owner = {"apiVersion": "nexus.dev/v1alpha1", "kind": "WorkflowRun", "name": "r", "uid": "u", "controller": True}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "asked", "ownerReferences": [owner]} | (metadata or {}),
        "spec": {"template": {"spec": spec | (pod or {})}},
    }


def create_job(space: Space, body: Object, user: str | None = None) -> httpx.Response:
    """What the API server says to it, without making it."""
    by = user or f"system:serviceaccount:{space.namespace}:nexus"
    headers = {"Impersonate-User": by, "Impersonate-Group": "system:masters"}
    return space.http.post(JOBS.path(space.namespace), params={"dryRun": "All"}, headers=headers, json=body)


def volume(**source: Any) -> Object:
    return {"volumes": [{"name": "v", **source}]}


def moves(**of_put: Any) -> Object:
    """A Job that fetches before its task and puts after it; other fields of the container `put`."""
    body = job()
    spec: Object = body["spec"]["template"]["spec"]
    fetch, put = ({**spec["containers"][0], "name": name} for name in ("fetch", "put"))
    spec["initContainers"], spec["containers"] = [fetch, spec["containers"][0]], [put | of_put]
    spec["volumes"] += [{"name": "artifacts", "emptyDir": {}}]
    spec["volumes"] += [{"name": "store", "persistentVolumeClaim": {"claimName": "c"}}]
    return body


GOOD = {
    "plain": job(),
    "with transfers": moves(),
    "with a Secret": job(volume(secret={"secretName": "s"})),
    "with a claim": job(volume(persistentVolumeClaim={"claimName": "c"})),
    "with an account of its own": job({"serviceAccountName": "publisher", "automountServiceAccountToken": True}),
}
REFUSED = {
    "of nobody": (job(metadata={"ownerReferences": []}), "belongs to one WorkflowRun"),
    "with another beside": (moves(name="other"), "one container"),
    "with a sidecar": (
        job({"initContainers": [{"name": "put", "image": "i", "restartPolicy": "Always"}]}),
        "one container",
    ),
    "with a privileged mover": (moves(securityContext={"allowPrivilegeEscalation": True}), "no privileges"),
    "with an init container": (job({"initContainers": [{"name": "i", "image": "i"}]}), "one container"),
    "with a port": (job(task={"ports": [{"containerPort": 80, "hostPort": 80}]}), "one container"),
    "in the node's network": (job({"hostNetwork": True}), "shares nothing with its node"),
    "with a node's folder": (job(volume(hostPath={"path": "/"})), "volume of this kind"),
    "with a share": (job(volume(nfs={"server": "s", "path": "/"})), "volume of this kind"),
    "with a projected token": (
        job(volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]})),
        "and no token",
    ),
    "with privileges to gain": (
        job(task={"securityContext": {"allowPrivilegeEscalation": True, "capabilities": {"drop": ["ALL"]}}}),
        "no privileges",
    ),
    "with capabilities": (
        job(
            task={
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]},
                }
            }
        ),
        "no capabilities",
    ),
    "as root": (job({"securityContext": {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}}), "not root"),
    "with the default token": (job({"automountServiceAccountToken": True}), "names a service account"),
    "as the operator": (job({"serviceAccountName": "nexus"}), "never the operator's"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_job_that_a_task_may_be_passes(policies: Space, name: str) -> None:
    answer = create_job(policies, GOOD[name])
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("name", REFUSED)
def test_a_job_that_no_task_may_be_is_refused_with_the_reason(policies: Space, name: str) -> None:
    body, reason = REFUSED[name]
    answer = create_job(policies, body)
    assert answer.status_code == 422
    assert reason in answer.json()["message"]


def test_jobs_of_others_are_their_own_business(policies: Space) -> None:
    body = copy.deepcopy(REFUSED["with an init container"][0])
    assert create_job(policies, body, EDITOR).status_code == 201


# -- runs of users ----------------------------------------------------------------------------------------------------


def ask(space: Space, user: str, method: str, name: str = "", **arguments: Any) -> httpx.Response:
    headers = {"Impersonate-User": user, **arguments.pop("headers", {})}
    return space.http.request(method, WORKFLOW_RUNS.path(space.namespace, name), headers=headers, **arguments)


def start(space: Space, user: str, spec: Object) -> httpx.Response:
    body = {"apiVersion": "nexus.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"generateName": "asked-"}}
    return ask(space, user, "POST", params={"dryRun": "All"}, json=body | {"spec": spec})


def inline(space: Space, user: str) -> httpx.Response:
    return start(space, user, {"workflowSpec": {"tasks": [bash("t", "true")]}})


def approval(by: str) -> Object:
    return {"task": "go-ahead", "decision": "Approved", "by": by}


def approve(space: Space, user: str, by: str) -> httpx.Response:
    return ask(
        space,
        user,
        "PATCH",
        "waits",
        params={"dryRun": "All"},
        headers={"Content-Type": "application/merge-patch+json"},
        json={"spec": {"approvals": [approval(by)]}},
    )


@pytest.fixture(scope="module")
def waits(policies: Space) -> Space:
    """With a run that waits for an approval; no operator is needed to decide about it."""
    policies.run("waits", {"name": "go-ahead", "approval": {}})
    return policies


def test_a_run_with_tasks_of_its_own_takes_the_right_to_create_workflows(policies: Space) -> None:
    assert inline(policies, EDITOR).status_code == 201
    refused = inline(policies, STARTER)
    assert refused.status_code == 403
    assert "takes the right to create workflows" in refused.json()["message"]
    assert start(policies, STARTER, {"workflowRef": {"name": "sales"}}).status_code == 201


@pytest.mark.parametrize("user", [ADMIN, APPROVER])
def test_who_may_approve_does_so_in_his_own_name(waits: Space, user: str) -> None:
    assert approve(waits, user, user).status_code == 200


def test_who_may_only_edit_does_not_approve(waits: Space) -> None:
    refused = approve(waits, EDITOR, EDITOR)
    assert refused.status_code == 403
    assert f"{EDITOR} needs the verb approve on the WorkflowRun waits" in refused.json()["message"]


def test_nobody_approves_in_the_name_of_another(waits: Space) -> None:
    refused = approve(waits, APPROVER, ADMIN)
    assert refused.status_code == 403
    assert f"approvals[].by of a new entry is who makes it: {APPROVER}" in refused.json()["message"]


def test_nobody_starts_a_run_that_is_approved_already(policies: Space) -> None:
    spec = {"workflowRef": {"name": "sales"}, "approvals": [approval(EDITOR)]}
    assert start(policies, EDITOR, spec).status_code == 403
    assert start(policies, ADMIN, spec | {"approvals": [approval(ADMIN)]}).status_code == 201


def test_others_change_a_run_that_somebody_has_approved(waits: Space) -> None:
    waits.run("approved", {"name": "go-ahead", "approval": {}})
    admin = {"headers": {"Content-Type": "application/merge-patch+json"}}
    assert ask(waits, ADMIN, "PATCH", "approved", json={"spec": {"approvals": [approval(ADMIN)]}}, **admin).is_success
    assert ask(waits, EDITOR, "PATCH", "approved", json={"spec": {"suspend": True}}, **admin).is_success
