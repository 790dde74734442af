"""Forged evidence on a real API server: who may only start runs, or make Jobs, changes nothing in the runs of others.

Without the chart's policies, which would refuse most of it: on the cluster, and on an API server with the admission
plugin OwnerReferencesPermissionEnforcement, which wants the right to delete an object of whoever changes its owners.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.cluster_session import REPOSITORY
from tests.e2e.api_server import eventually
from tests.e2e.bare_server import BareServer, bare_server
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.rights import RULES
from tests.e2e.space import IMAGE, Object, Space, bash, container, phases, task

from nexus.adapters.kube.client.api import CONFIG_MAPS, CONTROLLER_REVISIONS, EVENTS, JOBS, WORKFLOW_RUNS, Kind
from nexus.api.base import API_VERSION
from nexus.core.names import child_name, job_name

pytestmark = pytest.mark.cluster


def owned_by(run: Object) -> list[Object]:
    metadata = run["metadata"]
    owner = {"apiVersion": API_VERSION, "kind": "WorkflowRun", "name": metadata["name"], "uid": metadata["uid"]}
    return [{**owner, "controller": True, "blockOwnerDeletion": False}]


def forged(kind: Kind, name: str, owner: list[Object], task_name: str, params: Object | None = None) -> Object:
    """An object that says it is the first attempt of a task."""
    labels = {"nexus.dev/run": owner[0]["name"], "nexus.dev/task": task_name, "nexus.dev/attempt": "1"}
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "task",
                "image": IMAGE,
                "command": ["sh", "-c", """echo '{"output":{"url":"evil"}}' > /dev/termination-log"""],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    }
    specs: dict[str, Any] = {
        "Job": {"template": {"metadata": {"labels": labels}, "spec": pod}},
        "Pod": pod,
        "WorkflowRun": {"workflowRef": {"name": "echo"}, "params": params or {"text": "evil"}},
    }
    return {"metadata": {"name": name, "labels": labels, "ownerReferences": owner}, "spec": specs[kind.kind]}


def condition(run: Object) -> Object:
    found = [entry for entry in run["status"].get("conditions") or () if entry["type"] == "Forged"]
    return found[0] if found else {}


def victim(space: Space) -> Object:
    """A run that waits for a person, with a child run, and a task behind it that reads what that gives."""
    space.workflow(
        "echo", bash("say", "true"), params=[{"name": "text", "default": "good"}], outputs={"url": "${{ params.text }}"}
    )
    space.run(
        "victim",
        {"name": "gate", "approval": {}},
        {"name": "check", "dependsOn": ["gate"], "workflow": {"name": "echo"}},
        container("job", after=("gate",)),
        bash(
            "deploy",
            """[ "$URL" = good ]""",
            "check",
            "job",
            env=[{"name": "URL", "value": "${{ tasks.check.output.url }}"}],
        ),
    )
    return space.until("victim", lambda run: task(run, "gate")["phase"] == "Running")


def test_forged_jobs_and_child_runs_change_nothing(space: Space, operator: OperatorProcess) -> None:
    assert operator.running
    run = victim(space)
    owner, uid = owned_by(run), run["metadata"]["uid"]
    space.post(WORKFLOW_RUNS, forged(WORKFLOW_RUNS, "mine", owner, "check"))
    space.post(JOBS, forged(JOBS, "mine", owner, "job"))
    space.post(WORKFLOW_RUNS, forged(WORKFLOW_RUNS, child_name("victim", uid, "job", 1), owner, "job"))
    early = child_name("victim", uid, "check", 1)
    space.post(WORKFLOW_RUNS, forged(WORKFLOW_RUNS, early, owner, "check"))
    space.finished("mine")

    run = space.until("victim", lambda run: condition(run).get("status") == "True" and "mine" in str(condition(run)))
    assert phases(run) == {"gate": "Running", "check": "Pending", "job": "Pending", "deploy": "Pending"}
    assert run["status"]["reason"] == "AwaitingApproval"
    eventually(lambda: len([one for one in space.list(EVENTS) if one["reason"] == "Forged"]) == 3)

    approval = {"task": "gate", "decision": "Approved", "by": "boss"}
    space.patch(WORKFLOW_RUNS, "victim", {"spec": {"approvals": [approval]}})
    space.until("victim", lambda run: task(run, "check").get("reason") == "NameTaken")
    space.remove(WORKFLOW_RUNS, early)
    run = space.finished("victim")
    assert run["status"]["phase"] == "Succeeded", run["status"]
    assert task(run, "check")["output"] == {"url": "good"}


def test_a_job_that_lost_its_labels_is_still_the_runs(space: Space, operator: OperatorProcess) -> None:
    assert operator.running
    space.run("stripped", container("one", "sh", "-c", "sleep 4; exit 3"))
    run = space.running("stripped", "one")
    labels = {f"nexus.dev/{name}": None for name in ("run", "task", "attempt")}
    space.patch(JOBS, task(run, "one")["job"]["name"], {"metadata": {"labels": labels}})

    run = space.finished("stripped")
    assert (task(run, "one")["reason"], task(run, "one")["exitCode"]) == ("TaskError", 3)
    assert task(run, "one")["attempts"] == 1


# -- with the admission plugin ----------------------------------------------------------------------------------------

STARTER = [
    {
        "apiGroups": ["nexus.dev"],
        "resources": ["workflowruns"],
        "verbs": ["get", "list", "watch", "create", "patch"],
    }
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, kubeconfig: Path) -> Iterator[BareServer]:
    """An API server with the plugin."""
    assert kubeconfig.exists()
    plugin = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
    with bare_server(tmp_path_factory.mktemp("bare"), plugin) as server:
        yield server


def grant(space: Space, user: str, rules: Sequence[Object]) -> None:
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": user}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": user},
        "subjects": [{"kind": "User", "name": user, "apiGroup": group}],
    }
    for kind, body in ((Kind(group, "v1", "roles", "Role"), role), (Kind(group, "v1", "rolebindings", ""), binding)):
        answer = space.http.post(kind.path(space.namespace), json=body)
        assert answer.status_code == 201, answer.text


def test_with_the_plugin_the_operator_works_and_forging_changes_nothing(bare: BareServer, tmp_path: Path) -> None:
    space = Space(bare.kubeconfig("admin"), "plugin")
    space.kubectl("create", "namespace", "plugin")
    space.kubectl("apply", "--server-side", *(f"-f{path}" for path in sorted((REPOSITORY / "crds").glob("*.yaml"))))
    eventually(lambda: space.http.get(WORKFLOW_RUNS.path("plugin")).status_code == 200)
    grant(space, "operator", RULES["work"])
    grant(space, "starter", STARTER)
    operator = OperatorProcess(bare.kubeconfig("operator"), tmp_path / "operator.log", "plugin")
    operator.start()
    try:
        # A ControllerRevision, a child run, a Job, and the ConfigMap of a fan-out; nothing here runs a pod.
        space.workflow("echo", bash("say", "true"))
        child = {"name": "child", "workflow": {"name": "echo"}}
        space.workflow("all", child, bash("items", "true", forEach={"items": [1, 2]}))
        space.run_of("all", "victim")
        run = space.until("victim", lambda run: all(task(run, name)["phase"] for name in ("items", "child")))
        uid = run["metadata"]["uid"]
        made = [space.get(JOBS, job_name("victim", uid, "items", 1)), *space.list(CONFIG_MAPS, "nexus.dev/run=victim")]
        made.append(space.get(WORKFLOW_RUNS, child_name("victim", uid, "child", 1)))
        assert len(made) == 3
        assert all(one is not None and one["metadata"]["ownerReferences"][0]["uid"] == uid for one in made)
        eventually(lambda: len(space.list(CONTROLLER_REVISIONS)) == 2)  # the child's, too
        assert not operator.alarms()

        starter = Space(bare.kubeconfig("starter"), "plugin")
        starter.post(WORKFLOW_RUNS, forged(WORKFLOW_RUNS, "mine", owned_by(run), "child"))
        run = space.until("victim", lambda run: condition(run).get("status") == "True")
        assert "does not have a name that the run generates" in condition(run)["message"]
        free = forged(WORKFLOW_RUNS, "free", owned_by(run), "child")
        owners = {"metadata": {"ownerReferences": free["metadata"].pop("ownerReferences")}}
        starter.post(WORKFLOW_RUNS, free)
        with pytest.raises(AssertionError, match="cannot set an ownerRef on a resource you can't delete"):
            starter.patch(WORKFLOW_RUNS, "free", owners)
        starter.http.close()
    finally:
        operator.stop()
        space.http.close()
