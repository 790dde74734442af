"""What Argo CD does with a repository of workflows, done by kubectl: server-side apply by another field manager, its
health checks on living objects, its action."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.argo_cd import FILES, REPOSITORY, acted, health, offered
from tests.e2e.helm import Helm, cluster
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, phases

from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS

pytestmark = pytest.mark.cluster

MANAGER = "argocd-controller"
APPLY = ("apply", "--server-side", "--field-manager", MANAGER)


@pytest.fixture(scope="module")
def manifests(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What kustomize makes of the example, for this namespace."""
    made = space.kubectl("kustomize", str(REPOSITORY / "examples" / "gitops" / "workflows" / "production"))
    path = tmp_path_factory.mktemp("gitops") / "all.yaml"
    path.write_text(made.replace("namespace: shop", f"namespace: {space.namespace}"))
    return path


@pytest.fixture(scope="module")
def synced(space: Space, operator: OperatorProcess, manifests: Path) -> Object:
    """The Workflow of the example after a sync, as the operator has judged it; its hook has run."""
    assert operator.running
    space.kubectl(*APPLY, "-f", str(manifests))
    space.kubectl("wait", "--for=condition=Ready", "--timeout=30s", "workflows.nexus.dev/orders")
    run = space.finished("orders-smoke")
    assert set(phases(run).values()) == {"Succeeded"}
    # The last that the operator has to write about it.
    space.kubectl("wait", "--for=jsonpath={.status.activeCount}=0", "--timeout=20s", "workflows.nexus.dev/orders")
    workflow = space.get(WORKFLOWS, "orders")
    assert workflow is not None
    return workflow


def managers(body: Object) -> dict[tuple[str, str], list[str]]:
    """Who owns what beneath which part of an object: manager and subresource, to the fields at the top."""
    fields = body["metadata"]["managedFields"]
    return {(one["manager"], one.get("subresource", "")): sorted(one["fieldsV1"]) for one in fields}


def test_a_second_sync_finds_nothing_to_do_and_nobody_in_its_way(space: Space, synced: Object, manifests: Path) -> None:
    space.kubectl("diff", "--server-side", "--field-manager", MANAGER, "-f", str(manifests))
    space.kubectl(*APPLY, "-f", str(manifests))
    after = space.get(WORKFLOWS, "orders")
    assert after is not None
    assert after["metadata"]["resourceVersion"] == synced["metadata"]["resourceVersion"]
    assert after["metadata"]["generation"] == 1


def test_the_spec_is_the_appliers_and_the_status_the_operators(space: Space, synced: Object) -> None:
    owned = managers(synced)
    assert owned.pop((MANAGER, "")) == ["f:spec"]
    ((_, subresource),) = owned
    assert (subresource, *owned.values()) == ("status", ["f:status"])
    run = space.get(WORKFLOW_RUNS, "orders-smoke")
    assert run is not None
    assert managers(run)[MANAGER, ""] == ["f:metadata", "f:spec"]


def test_a_change_in_git_arrives_and_takes_a_task_away(space: Space, synced: Object, manifests: Path) -> None:
    changed = json.loads(space.kubectl("get", "workflows.nexus.dev/orders", "-o", "json"))
    spec = changed["spec"] | {"tasks": [changed["spec"]["tasks"][0]], "description": "changed"}
    body = {key: changed[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "orders"}, "spec": spec}
    path = manifests.parent / "changed.json"
    path.write_text(json.dumps(body))
    space.kubectl(*APPLY, "-f", str(path))
    space.kubectl("wait", "--for=jsonpath={.status.taskCount}=1", "--timeout=20s", "workflows.nexus.dev/orders")
    space.kubectl(*APPLY, "-f", str(manifests))
    space.kubectl("wait", "--for=jsonpath={.status.taskCount}=2", "--timeout=20s", "workflows.nexus.dev/orders")
    space.kubectl("diff", "--server-side", "--field-manager", MANAGER, "-f", str(manifests))
    assert synced["metadata"]["generation"] == 1


def test_the_health_checks_read_what_the_operator_writes(space: Space, synced: Object) -> None:
    assert health("Workflow", synced) == ("Healthy", "the definition can run")
    run = space.get(WORKFLOW_RUNS, "orders-smoke")
    assert run is not None
    assert health("WorkflowRun", run) == ("Healthy", "Succeeded, 2/2 tasks")
    circle = [{"name": name, "dependsOn": [other], "wait": {"seconds": 1}} for name, other in ("ab", "ba")]
    space.post(WORKFLOWS, {"metadata": {"name": "circle"}, "spec": {"tasks": circle}})
    space.kubectl("wait", "--for=condition=Ready=False", "--timeout=20s", "workflows.nexus.dev/circle")
    broken = space.get(WORKFLOWS, "circle")
    assert broken is not None
    status, message = health("Workflow", broken)
    assert status == "Degraded"
    assert message == broken["status"]["conditions"][0]["message"]


def test_run_now_makes_a_run(space: Space, synced: Object) -> None:
    assert offered(synced)["run-now"]["disabled"] is False
    (impacted,) = acted(synced, "run-now")
    made = space.post(WORKFLOW_RUNS, impacted["resource"])
    run = space.finished(made["metadata"]["name"])
    assert run["status"]["phase"] == "Succeeded"
    assert run["metadata"]["ownerReferences"] == impacted["resource"]["metadata"]["ownerReferences"]


@pytest.fixture(scope="module")
def helm() -> Helm:
    """helm, for what needs no cluster."""
    return Helm(cluster("helm").strip())


@pytest.mark.parametrize("by", ["kubectl", "helm"])
def test_the_customizations_join_what_argocd_cm_has(space: Space, helm: Helm, tmp_path: Path, by: str) -> None:
    # The commands of docs/argo-cd.md, but for names.
    name = f"argocd-cm-{by}"
    space.kubectl("create", "configmap", name, "--from-literal=url=https://argocd.example")
    path = tmp_path / "argocd-cm.yaml"
    if by == "kubectl":
        made = space.kubectl("create", "configmap", name, f"--from-file={FILES}", "--dry-run=client", "-o", "yaml")
        path.write_text(made)
    else:
        words = ("argoCD.customizations=true", f"argoCD.configMap={name}", f"argoCD.namespace={space.namespace}")
        values = [word for one in words for word in ("--set", one)]
        path.write_text(yaml.safe_dump_all(helm.template("--show-only", "templates/argo-cd.yaml", *values)))
    space.kubectl("apply", "--server-side", "--field-manager=nexus", "-f", str(path))
    data = json.loads(space.kubectl("get", "configmap", name, "-o", "json"))["data"]
    assert data == {"url": "https://argocd.example", **{one.name: one.read_text("utf-8") for one in FILES.iterdir()}}


def test_expressions_come_through_helm_as_they_stand(helm: Helm, space: Space, tmp_path: Path) -> None:
    chart = REPOSITORY / "examples" / "gitops" / "chart"
    text = helm("template", "shop", str(chart), "--set", "currency=USD")
    made = {one["metadata"]["name"]: one for one in yaml.safe_load_all(text)}
    (raw,) = (chart / "workflows").glob("*.yaml")
    assert made["prices"] == yaml.safe_load(raw.read_text("utf-8"))
    spec = made["totals"]["spec"]
    assert spec["params"][0]["default"] == "${{ date(run.scheduledTime) }}"
    assert spec["tasks"][0]["env"][0]["value"] == "${{ params.day }} in USD"
    path = tmp_path / "made.yaml"
    path.write_text(text)
    space.kubectl("apply", "-f", str(path))
    space.kubectl(
        "wait", "--for=condition=Ready", "--timeout=20s", "workflows.nexus.dev/prices", "workflows.nexus.dev/totals"
    )
