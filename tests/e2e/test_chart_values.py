"""What helm makes of the chart: its own values and those in charts/nexus/ci, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.helm import CHART, Helm, cluster
from tests.e2e.rights import RULES

from nexus.app.settings import from_environment

pytestmark = pytest.mark.cluster  # for helm, which is built as the cluster is

CI = sorted((CHART / "ci").glob("*.yaml"))
CLUSTER_WIDE = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def helm() -> Helm:
    """helm, without a cluster."""
    return Helm(cluster("helm").strip())


@pytest.fixture(scope="module")
def rendered(helm: Helm) -> dict[str, Objects]:
    """The objects that the chart makes of each file in ci/, by kind and name."""
    return {path.stem: by_name(helm.template("--values", str(path))) for path in CI}


def by_name(objects: list[dict[str, Any]]) -> Objects:
    found: Objects = {}
    for body in objects:
        key = body["kind"], "/".join(filter(None, (body["metadata"].get("namespace"), body["metadata"]["name"])))
        assert key not in found, f"{key} is there twice"
        found[key] = body
    return found


def container(objects: Objects, name: str = "nexus/nexus") -> dict[str, Any]:
    return dict(objects["Deployment", name]["spec"]["template"]["spec"]["containers"][0])


def environment(objects: Objects, name: str = "nexus/nexus") -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container(objects, name)["env"]}


@pytest.mark.parametrize("path", CI, ids=[path.stem for path in CI])
def test_helm_finds_nothing_wrong_with_the_chart(helm: Helm, path: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--values", str(path))


def test_the_crds_are_those_of_the_repository_to_the_last_brace(rendered: dict[str, Objects]) -> None:
    for path in sorted((CHART.parents[1] / "crds").glob("*.yaml")):
        wanted = yaml.safe_load(path.read_text(encoding="utf-8"))
        made = rendered["default-values"]["CustomResourceDefinition", wanted["metadata"]["name"]]
        assert made["spec"] == wanted["spec"]
        assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_an_operator_for_all_namespaces_has_one_cluster_role(rendered: dict[str, Objects]) -> None:
    objects = rendered["default-values"]
    assert objects["ClusterRole", "nexus"]["rules"] == RULES["work"]
    assert objects["Role", "nexus/nexus-own"]["rules"] == RULES["own"]
    assert environment(objects)["NEXUS_NAMESPACES"] == ""
    assert ("PodDisruptionBudget", "nexus/nexus") not in objects


def test_an_operator_for_some_namespaces_has_a_role_in_each_and_nothing_else(rendered: dict[str, Objects]) -> None:
    objects = rendered["namespaced-values"]
    for namespace in ("team-a", "team-b"):
        assert objects["Role", f"{namespace}/nexus"]["rules"] == RULES["work"]
        assert objects["RoleBinding", f"{namespace}/nexus"]["subjects"] == [
            {"kind": "ServiceAccount", "name": "nexus", "namespace": "nexus"}
        ]
    assert {kind for kind, _ in objects} & CLUSTER_WIDE == set()
    assert environment(objects)["NEXUS_NAMESPACES"] == "team-a,team-b"


def test_no_cluster_wide_objects_and_no_namespaces_is_refused_with_what_to_do(helm: Helm) -> None:
    said = helm("template", "nexus", str(CHART), "--set", "clusterObjects=false", fails=True)
    assert "--set 'namespaces={NAME}'" in said


def test_a_misspelt_value_is_refused(helm: Helm) -> None:
    said = helm("template", "nexus", str(CHART), "--set", "settings.worker=3", fails=True)
    assert "additional properties 'worker' not allowed" in said


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("settings.outputStore=s3://foo", "got string, want object"),
        ("settings.outputStore.url=s3//foo", "does not match pattern"),
        ("settings.outputStore.region=eu", "url"),
        ("settings.podForbidden={foo}", "value must be one of 'resources', 'volumes'"),
        ("image.registry=registry.example.com/", "does not match pattern"),
        ("image.registry=https://registry.example.com", "does not match pattern"),
    ],
)
def test_what_the_operator_or_a_node_would_refuse_is_refused_before(helm: Helm, value: str, words: str) -> None:
    said = helm("template", "nexus", str(CHART), "--set", value, fails=True)
    place = value.partition("=")[0].replace(".", "/")
    assert place in said or place.rpartition("/")[0] in said
    assert words in said


def test_the_operator_of_each_values_file_is_hardened(rendered: dict[str, Objects]) -> None:
    for objects in rendered.values():
        name = next(name for kind, name in objects if kind == "Deployment")
        pod, task = objects["Deployment", name]["spec"]["template"]["spec"], container(objects, name)
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert task["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        accounts = [body for (kind, _), body in objects.items() if kind == "ServiceAccount"]
        assert [body["automountServiceAccountToken"] for body in accounts] == [False]


def test_every_value_of_the_full_file_arrives(rendered: dict[str, Objects]) -> None:
    objects = rendered["full-values"]
    deployment = objects["Deployment", "nexus/workflows"]["spec"]
    pod, given = deployment["template"]["spec"], environment(objects, "nexus/workflows")
    assert deployment["replicas"] == 2
    assert container(objects, "nexus/workflows")["image"].startswith(
        "registry.example.com/platform/nexus-operator@sha256:01"
    )
    assert given["NEXUS_WORKERS"] == "32"
    assert given["NEXUS_TASK_IMAGE_DIGESTS"].startswith("bash=sha256:01")
    assert given["NEXUS_SWEEP_SECONDS"] == "86400"
    assert given["NEXUS_POD_FORBIDDEN"].startswith("serviceAccountName,nodeSelector")
    assert json.loads(given["NEXUS_OUTPUT_STORE"]) == {"url": "s3://runs/nexus", "credentialsSecret": "runs-store"}
    assert given["NEXUS_LEASE"] == "workflows"
    assert given["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert pod["serviceAccountName"] == "workflows"
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["volumes"] == [{"name": "ca", "configMap": {"name": "ca"}}]
    assert objects["PodDisruptionBudget", "nexus/workflows"]["spec"]["maxUnavailable"] == 1
    policy = objects["NetworkPolicy", "nexus/workflows"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"][0]["ports"][0]["port"] == 6443
    assert all(body["metadata"]["labels"]["example.com/owner"] == "platform" for body in made_by_the_chart(objects))


def made_by_the_chart(objects: Objects) -> list[dict[str, Any]]:
    return [body for body in objects.values() if "helm.sh/chart" in body["metadata"].get("labels", {})]


def test_extra_objects_keep_their_expressions_and_extra_texts_are_templates(rendered: dict[str, Objects]) -> None:
    objects = rendered["full-values"]
    beat = objects["Workflow", "default/heartbeat"]["spec"]["tasks"][0]
    assert beat["env"] == [{"name": "WORD", "value": "${{ params.word }}"}]
    assert objects["ConfigMap", "nexus/release"]["data"] == {"name": "nexus"}


def test_what_the_settings_forbid_the_policy_refuses_too(rendered: dict[str, Objects]) -> None:
    name = "nexus-workflows-jobs"
    policy = rendered["full-values"]["ValidatingAdmissionPolicy", name]["spec"]
    said = [rule["message"] for rule in policy["validations"]]
    assert "the operator's settings forbid pod.nodeSelector" in said
    assert "the operator's settings forbid pod.serviceAccountName" in said
    assert "the operator's settings forbid pod.volumes" in said
    text = yaml.safe_dump(policy)
    assert "has(v.csi)" not in text
    assert "a task is not root" not in said


def test_the_operator_takes_the_settings_of_each_values_file(rendered: dict[str, Objects]) -> None:
    for objects in rendered.values():
        name = next(name for kind, name in objects if kind == "Deployment")
        settings = from_environment(environment(objects, name))
        assert settings.http_port == container(objects, name)["ports"][0]["containerPort"]
        assert settings.lease == objects["Deployment", name]["metadata"]["name"]
