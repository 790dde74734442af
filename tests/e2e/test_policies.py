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

from nexus.adapters.kube.client.api import CONFIG_MAPS, CONTROLLER_REVISIONS, JOBS, PODS, WORKFLOW_RUNS, Kind

pytestmark = pytest.mark.cluster

GROUP = "rbac.authorization.k8s.io"
BINDINGS = Kind(GROUP, "v1", "rolebindings", "RoleBinding")
ROLES = Kind(GROUP, "v1", "roles", "Role")
EDITOR, ADMIN, APPROVER, STARTER = "erin@example.com", "ada@example.com", "app@example.com", "sam@example.com"
RESTORER = "backup@example.com"


@pytest.fixture(scope="module")
def policies(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    """The chart's policies and roles for the module's namespace alone, and some people."""
    helm = Helm(cluster("helm").strip())
    where = [
        "--set",
        f"namespaces={{{space.namespace},kube-public}},policies.trusted={{{RESTORER},{everywhere(space)}}}",
    ]
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


def everywhere(space: Space) -> str:
    """The account of a second operator, which works in all namespaces."""
    return f"system:serviceaccount:{space.namespace}:everywhere"


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
        refused = refused and create(space, CONFIG_MAPS, made({}), EDITOR).status_code == 403
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


def secured(**fields: Any) -> Object:
    """A Job with other fields of its pod's securityContext."""
    body = job()
    body["spec"]["template"]["spec"]["securityContext"] |= fields
    return body


def contained(**fields: Any) -> Object:
    """A Job with other fields of its container's securityContext."""
    body = job()
    body["spec"]["template"]["spec"]["containers"][0]["securityContext"] |= fields
    return body


def annotated(key: str, value: str = "unconfined") -> Object:
    """A Job with an annotation of its pod."""
    body = job()
    body["spec"]["template"]["metadata"] = {"annotations": {key: value}}
    return body


GOOD = {
    "plain": job(),
    "with an annotation": annotated("example.com/team"),
    "with transfers": moves(),
    "with a Secret": job(volume(secret={"secretName": "s"})),
    "with a claim": job(volume(persistentVolumeClaim={"claimName": "c"})),
    "with an account of its own": job({"serviceAccountName": "publisher", "automountServiceAccountToken": True}),
}
REFUSED = {
    "of nobody": (job(metadata={"ownerReferences": []}), "belongs to a WorkflowRun"),
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
    "with a SELinux type": (secured(seLinuxOptions={"type": "spc_t"}), "no privileges"),
    "with a SELinux type of its container": (contained(seLinuxOptions={"type": "spc_t"}), "no privileges"),
    "with an AppArmor profile": (secured(appArmorProfile={"type": "Unconfined"}), "no privileges"),
    "with sysctls": (secured(sysctls=[{"name": "kernel.msgmax", "value": "1"}]), "no privileges"),
    "with other groups": (secured(supplementalGroups=[0]), "no privileges"),
    "with a seccomp profile of its container": (contained(seccompProfile={"type": "Unconfined"}), "no privileges"),
    "in the group of root": (secured(runAsGroup=0), "not root"),
    "with a profile in an annotation": (annotated("container.apparmor.security.beta.kubernetes.io/task"), "profile"),
    "with an older profile in an annotation": (
        annotated("seccomp.security.alpha.kubernetes.io/pod", "runtime/default"),
        "profile",
    ),
    "with claimed devices": (
        job({"resourceClaims": [{"name": "gpu", "resourceClaimName": "admin"}]}),
        "no task has: resourceClaims",
    ),
    "with names of its own": (
        job({"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["kubernetes.default.svc"]}]}),
        "no task has: hostAliases",
    ),
    "with one process space": (job({"shareProcessNamespace": True}), "no task has: shareProcessNamespace"),
    "with a terminal": (job(task={"tty": True, "stdin": True}), "no task has: "),
    "with mounts that spread": (
        job(task={"volumeMounts": [{"name": "tmp", "mountPath": "/t", "mountPropagation": "HostToContainer"}]}),
        "spreads mounts",
    ),
    "that is started again": (job({"restartPolicy": "OnFailure"}), "never started again"),
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
    body["metadata"]["ownerReferences"] = []
    assert create_job(policies, body, EDITOR).status_code == 201


# -- what else the operator writes -------------------------------------------------------------------------------------


OPERATOR = "operator"
"""Stands for the operator's account, whose name depends on the namespace."""
RUN_OWNER = {"apiVersion": "nexus.dev/v1alpha1", "kind": "WorkflowRun", "name": "r", "uid": "u", "controller": True}
WORKFLOW_OWNER = {**RUN_OWNER, "kind": "Workflow", "name": "w"}
OTHER_OWNER = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "u", "controller": True}


def made(metadata: Object, **fields: Any) -> Object:
    """An object of a run, with other metadata."""
    return {"metadata": {"name": "asked", "ownerReferences": [RUN_OWNER]} | metadata} | fields


def acting(space: Space, user: str) -> dict[str, str]:
    """Headers of a request in somebody's name, with all rights: what is refused is refused by a policy."""
    by = f"system:serviceaccount:{space.namespace}:nexus" if user == OPERATOR else user
    return {"Impersonate-User": by, "Impersonate-Group": "system:masters"}


def create(space: Space, kind: Kind, body: Object, user: str, namespace: str = "") -> httpx.Response:
    """What the API server says to an object, without making it."""
    head = {"apiVersion": kind.api_version, "kind": kind.kind}
    address = kind.path(namespace or space.namespace)
    return space.http.post(address, params={"dryRun": "All"}, headers=acting(space, user), json=head | body)


def patch(space: Space, kind: Kind, name: str, body: Object, user: str) -> httpx.Response:
    """What the API server says to a merge patch, without carrying it out."""
    headers = {**acting(space, user), "Content-Type": "application/merge-patch+json"}
    return space.http.patch(kind.path(space.namespace, name), params={"dryRun": "All"}, headers=headers, json=body)


def delete(space: Space, kind: Kind, name: str, user: str) -> httpx.Response:
    """What the API server says to a deletion, without carrying it out."""
    address = kind.path(space.namespace, name)
    return space.http.delete(address, params={"dryRun": "All"}, headers=acting(space, user))


def test_the_operator_writes_config_maps_of_runs_and_the_lines_of_pools(policies: Space) -> None:
    pool = {"metadata": {"name": "nexus-pool-db", "labels": {"nexus.dev/pool": "db"}}}
    assert create(policies, CONFIG_MAPS, made({}), OPERATOR).status_code == 201
    assert create(policies, CONFIG_MAPS, pool, OPERATOR).status_code == 201
    assert (
        create(
            policies, CONTROLLER_REVISIONS, made({"ownerReferences": [WORKFLOW_OWNER]}, revision=1, data={}), OPERATOR
        ).status_code
        == 201
    )


@pytest.mark.parametrize(
    ("kind", "metadata"),
    [
        (CONFIG_MAPS, {"ownerReferences": []}),
        (CONFIG_MAPS, {"ownerReferences": [OTHER_OWNER]}),
        (CONFIG_MAPS, {"ownerReferences": [WORKFLOW_OWNER]}),
        (CONFIG_MAPS, {"ownerReferences": [], "name": "nexus-pool-db"}),
        (CONTROLLER_REVISIONS, {}),
        (CONTROLLER_REVISIONS, {"ownerReferences": [OTHER_OWNER]}),
    ],
)
def test_the_operator_writes_nothing_that_is_not_of_a_run_or_a_workflow(
    policies: Space, kind: Kind, metadata: Object
) -> None:
    fields = {"revision": 1, "data": {}} if kind is CONTROLLER_REVISIONS else {}
    answer = create(policies, kind, made(metadata, **fields), OPERATOR)
    assert answer.status_code == 422
    assert "belongs to a WorkflowRun or a Workflow" in answer.json()["message"]


def test_the_operator_neither_takes_over_nor_deletes_what_others_have_made(policies: Space) -> None:
    policies.post(CONFIG_MAPS, {"metadata": {"name": "settings"}, "data": {"a": "b"}})
    policies.post(CONTROLLER_REVISIONS, {"metadata": {"name": "theirs"}, "revision": 1, "data": {}})
    policies.post(
        JOBS, job(metadata={"name": "theirs", "ownerReferences": []}) | {"spec": job()["spec"] | {"suspend": True}}
    )
    ours = {"metadata": {"ownerReferences": [RUN_OWNER]}}
    asked = [
        patch(policies, CONFIG_MAPS, "settings", {"data": {"a": "evil"}}, OPERATOR),
        patch(policies, CONFIG_MAPS, "settings", ours | {"data": {"a": "evil"}}, OPERATOR),
        patch(policies, JOBS, "theirs", {"spec": {"suspend": False}}, OPERATOR),
        delete(policies, JOBS, "theirs", OPERATOR),
        delete(policies, CONTROLLER_REVISIONS, "theirs", OPERATOR),
    ]
    assert [answer.status_code for answer in asked] == [422] * 5
    assert delete(policies, CONTROLLER_REVISIONS, "theirs", EDITOR).is_success


def test_the_operator_makes_nothing_in_the_namespaces_of_kubernetes(policies: Space) -> None:
    for kind, body in ((JOBS, job()), (CONFIG_MAPS, made({}))):
        answer = create(policies, kind, body, OPERATOR, "kube-public")
        assert answer.status_code == 422
        assert "namespaces of Kubernetes itself" in answer.json()["message"]


def test_the_operator_of_all_namespaces_makes_nothing_in_its_own(
    policies: Space, tmp_path_factory: pytest.TempPathFactory
) -> None:
    helm = Helm(cluster("helm").strip())
    named = ["--set", "fullnameOverride=everywhere", "--show-only=templates/policies.yaml"]
    objects = [
        body
        for body in helm.template(*named, namespace=policies.namespace)
        if body["metadata"]["name"].endswith("-writes")
    ]
    for body in objects:
        if body["kind"] == "ValidatingAdmissionPolicyBinding":
            here = {"matchLabels": {"kubernetes.io/metadata.name": policies.namespace}}
            body["spec"]["matchResources"] = {"namespaceSelector": here}
    manifest = tmp_path_factory.mktemp("chart") / "everywhere.yaml"
    manifest.write_text(yaml.safe_dump_all(objects))
    policies.kubectl("apply", "-f", str(manifest), "--namespace=")
    try:
        account = everywhere(policies)
        deadline = time.monotonic() + 30
        while create(policies, JOBS, job(), account).status_code == 201 and time.monotonic() < deadline:
            time.sleep(0.3)
        answer = create(policies, JOBS, job(), account)
        assert answer.status_code == 422
        assert "the operator's own namespace" in answer.json()["message"]
    finally:
        policies.kubectl("delete", "-f", str(manifest), "--namespace=", "--wait=false")


# -- what others write that the operator goes by -----------------------------------------------------------------------


LABELS = ("task", "attempt", "items", "index", "depth", "parent-run")


def run_body(metadata: Object, **spec: Any) -> Object:
    """A run of a Workflow, with other metadata."""
    return {"metadata": {"name": "asked"} | metadata, "spec": {"workflowRef": {"name": "sales"}} | spec}


@pytest.mark.parametrize("kind", [JOBS, CONFIG_MAPS, WORKFLOW_RUNS], ids=lambda kind: kind.plural)
def test_nobody_else_makes_what_belongs_to_a_run(policies: Space, kind: Kind) -> None:
    bodies = {JOBS: job(), CONFIG_MAPS: made({}), WORKFLOW_RUNS: run_body({"ownerReferences": [RUN_OWNER]})}
    for user in (EDITOR, ADMIN):
        answer = create(policies, kind, bodies[kind], user)
        assert answer.status_code == 403
        assert "makes a WorkflowRun the owner" in answer.json()["message"]
    uncontrolled = copy.deepcopy(bodies[kind])
    uncontrolled["metadata"]["ownerReferences"] = [RUN_OWNER | {"controller": False}]
    assert create(policies, kind, uncontrolled, EDITOR).status_code == 403
    assert create(policies, kind, bodies[kind], RESTORER).status_code == 201


@pytest.mark.parametrize("kind", [JOBS, CONFIG_MAPS, WORKFLOW_RUNS], ids=lambda kind: kind.plural)
@pytest.mark.parametrize("label", LABELS)
def test_nobody_else_sets_the_labels_of_tasks_and_children(policies: Space, kind: Kind, label: str) -> None:
    metadata = {"labels": {f"nexus.dev/{label}": "1"}, "ownerReferences": []}
    bodies = {JOBS: job(metadata=metadata), CONFIG_MAPS: made(metadata), WORKFLOW_RUNS: run_body(metadata)}
    answer = create(policies, kind, bodies[kind], EDITOR)
    assert answer.status_code == 403
    assert f"sets the labels nexus.dev/{label}" in answer.json()["message"]


@pytest.mark.parametrize(("trigger", "code"), [("workflow", 403), ("schedule", 403), ("backfill", 201), ("api", 201)])
def test_nobody_else_starts_a_run_as_a_child_or_a_tick(policies: Space, trigger: str, code: int) -> None:
    assert create(policies, WORKFLOW_RUNS, run_body({}, triggeredBy=trigger), EDITOR).status_code == code


@pytest.fixture(scope="module")
def kept(policies: Space) -> Space:
    """With an object of each kind that belongs to a run, as the operator has made it."""
    labels = {"nexus.dev/task": "t", "nexus.dev/attempt": "1"}
    by_operator = acting(policies, OPERATOR)
    bodies = {
        JOBS: job(metadata={"name": "kept", "labels": labels}),
        CONFIG_MAPS: made({"name": "kept", "labels": labels}, data={"a": "b"}),
        WORKFLOW_RUNS: run_body({"name": "kept", "labels": labels, "ownerReferences": [RUN_OWNER]}),
    }
    bodies[JOBS]["spec"]["suspend"] = True
    for kind, body in bodies.items():
        # Their owner is not there: the garbage collector would take them, but for an owner in whose way they are not.
        body["metadata"]["ownerReferences"] = [RUN_OWNER | {"uid": owner(policies)}]
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        answer = policies.http.post(kind.path(policies.namespace), headers=by_operator, json=head | body)
        assert answer.status_code == 201, answer.text
    return policies


def owner(space: Space) -> str:
    """UID of a run that is there."""
    found = space.get(WORKFLOW_RUNS, "r") or space.run_of("sales", "r")
    return str(found["metadata"]["uid"])


@pytest.mark.parametrize("kind", [JOBS, CONFIG_MAPS, WORKFLOW_RUNS], ids=lambda kind: kind.plural)
def test_others_take_labels_and_owners_away_and_change_neither(kept: Space, kind: Kind) -> None:
    relabelled = {"metadata": {"labels": {"nexus.dev/attempt": "2"}}}
    relabelled_new = {"metadata": {"labels": {"nexus.dev/index": "0"}}}
    adopted = {"metadata": {"ownerReferences": [RUN_OWNER | {"uid": "other"}]}}
    for change in (relabelled, relabelled_new, adopted):
        assert patch(kept, kind, "kept", change, EDITOR).status_code == 403, change
    orphaned = {"metadata": {"ownerReferences": None}}
    unlabelled = {"metadata": {"labels": {"nexus.dev/task": None}}}
    other = {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}}
    for change in (orphaned, unlabelled, other):
        assert patch(kept, kind, "kept", change, EDITOR).status_code == 200, change


def test_others_label_and_adopt_no_job_by_its_status(kept: Space) -> None:
    """The API server takes metadata with the status of a Job."""
    for metadata in ({"labels": {"nexus.dev/attempt": "2"}}, {"ownerReferences": [RUN_OWNER | {"uid": "other"}]}):
        headers = {**acting(kept, EDITOR), "Content-Type": "application/merge-patch+json"}
        address = f"{JOBS.path(kept.namespace, 'kept')}/status"
        answer = kept.http.patch(address, params={"dryRun": "All"}, headers=headers, json={"metadata": metadata})
        assert answer.status_code == 403, answer.text
        assert "only the operator" in answer.json()["message"]


@pytest.mark.parametrize("kind", [JOBS, CONFIG_MAPS, WORKFLOW_RUNS], ids=lambda kind: kind.plural)
def test_the_garbage_collector_unblocks_an_owner_and_nobody_changes_its_controller(kept: Space, kind: Kind) -> None:
    known = RUN_OWNER | {"uid": owner(kept)}
    collector = "system:serviceaccount:kube-system:generic-garbage-collector"
    unblocked = {"metadata": {"ownerReferences": [known | {"blockOwnerDeletion": False}]}}
    assert patch(kept, kind, "kept", unblocked, collector).status_code == 200
    uncontrolled = {"metadata": {"ownerReferences": [known | {"controller": False}]}}
    assert patch(kept, kind, "kept", uncontrolled, collector).status_code == 403


@pytest.mark.parametrize("kind", [JOBS, CONFIG_MAPS], ids=lambda kind: kind.plural)
def test_the_operator_writes_what_has_one_more_owner(kept: Space, kind: Kind) -> None:
    known = RUN_OWNER | {"uid": owner(kept)}
    shared = {"metadata": {"ownerReferences": [known, OTHER_OWNER | {"controller": False}], "labels": {"a": "b"}}}
    assert patch(kept, kind, "kept", shared, OPERATOR).status_code == 200
    theirs = {"metadata": {"ownerReferences": [known | {"controller": False}, OTHER_OWNER]}}
    assert patch(kept, kind, "kept", theirs, OPERATOR).status_code == 422


def test_others_do_not_change_the_data_of_a_run(kept: Space) -> None:
    for change in ({"data": {"a": "evil"}}, {"binaryData": {"b": "ZXZpbA=="}}, {"data": None}):
        answer = patch(kept, CONFIG_MAPS, "kept", change, EDITOR)
        assert answer.status_code == 403
        assert "changes the data" in answer.json()["message"]
    assert patch(kept, CONFIG_MAPS, "kept", {"data": {"a": "c"}}, OPERATOR).status_code == 200
    assert delete(kept, CONFIG_MAPS, "kept", EDITOR).is_success


def test_others_keep_what_has_nothing_to_do_with_runs(policies: Space) -> None:
    plain = {"metadata": {"name": "asked", "ownerReferences": [OTHER_OWNER], "labels": {"task": "t"}}}
    assert create(policies, CONFIG_MAPS, plain, EDITOR).status_code == 201
    assert create(policies, CONFIG_MAPS, {"metadata": {"name": "nexus-pools"}}, EDITOR).status_code == 201


def test_only_who_keeps_the_status_of_jobs_makes_their_pods(policies: Space) -> None:
    owner_of_pod = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": True}
    metadata = {"labels": {"nexus.dev/run": "r"}, "ownerReferences": [owner_of_pod]}
    spec = job()["spec"]["template"]["spec"]

    def asked(metadata: Object, user: str, **groups: str) -> int:
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asked"} | metadata, "spec": spec}
        headers = {"Impersonate-User": user, **groups}
        path = PODS.path(policies.namespace)
        return policies.http.post(path, params={"dryRun": "All"}, headers=headers, json=body).status_code

    assert asked(metadata, EDITOR) == 403
    assert asked({"labels": {"nexus.dev/run": "r"}}, EDITOR) == 201
    assert asked({"ownerReferences": [owner_of_pod]}, EDITOR) == 201
    assert asked(metadata, "system:serviceaccount:kube-system:job-controller") == 201


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
