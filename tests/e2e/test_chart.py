"""The operator in the cluster: from its image, installed with helm, with the chart's own rights and nothing more."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from tests.e2e.audit import AuditLog
from tests.e2e.helm import CHART, CLUSTER, Helm, Release, cluster
from tests.e2e.space import Object, Space, bash, phases, python, task

from nexus.adapters.kube.client.api import PODS, WORKFLOW_RUNS, WORKFLOWS, Kind

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
DEPLOYMENTS = Kind("apps", "v1", "deployments", "Deployment")
ROLES = Kind("rbac.authorization.k8s.io", "v1", "roles", "Role")


@pytest.fixture(scope="module")
def helm(kubeconfig: Path) -> Helm:
    """helm, and the operator's image on the node."""
    if is_ours():
        cluster("load", "nexus/operator:dev=operator")
    return Helm(cluster("helm").strip(), kubeconfig)


def is_ours() -> bool:
    """Whether the tests' cluster is one of tests/cluster; another one has the images on its nodes already."""
    words = [sys.executable, str(CLUSTER), "env"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode == 0 and os.environ.get("KUBECONFIG_E2E", "") in done.stdout


@pytest.fixture(scope="module")
def home(new_space: Callable[[str], Space]) -> Space:
    """The namespace that the chart is installed in."""
    return new_space("chart-home")


@pytest.fixture(scope="module")
def release(helm: Helm, home: Space) -> Release:
    """The chart with its own values: an operator for all namespaces."""
    release = Release(helm, home.namespace)
    release.install()
    return release


@pytest.fixture(scope="module", autouse=True)
def audit(kubeconfig: Path) -> AuditLog | None:
    """What is asked of the API server from here on, where the cluster shows its log."""
    assert kubeconfig.exists()
    return AuditLog() if "NEXUS_AUDIT_LOG" in os.environ else None


@pytest.fixture(scope="module", autouse=True)
def uninstalled(home: Space, helm: Helm) -> Iterator[None]:
    """What the last test uninstalls goes also where one before it fails: it is the whole cluster's."""
    yield
    helm("uninstall", "nexus", "--namespace", home.namespace, "--ignore-not-found")


def operator_pods(home: Space) -> list[Object]:
    return home.list(PODS, "app.kubernetes.io/component=operator")


def logs(home: Space) -> str:
    """The ends of the logs of all operators; a container that is still to start has none."""
    names = [pod["metadata"]["name"] for pod in operator_pods(home)]
    answers = [home.http.get(PODS.path(home.namespace, name, "log"), params={"tailLines": "5"}) for name in names]
    return "\n".join(answer.text for answer in answers if answer.is_success)


def jobs_of(space: Space, run: str) -> list[str]:
    """The task of each Job of a run: none may have two."""
    return sorted(job["metadata"]["labels"]["nexus.dev/task"] for job in space.jobs(run))


def inside(home: Space, code: str) -> str:
    """What Python code prints in the operator's container, which has no need of a shell for it."""
    return home.kubectl("exec", "deployment/nexus", "--", "python3", "-S", "-c", code)


@pytest.mark.usefixtures("release")
def test_the_chart_runs_workflows_and_its_policies_let_all_kinds_of_jobs_pass(home: Space, space: Space) -> None:
    names = ("hello", "pod", "fan-out", "child-runs", "finally")
    for name in names:
        space.kubectl("apply", "-f", str(EXAMPLES / f"{name}.yaml"))
        space.run_of(name, name)
    for name in names:
        status = space.finished(name)["status"]
        assert status["phase"] == "Succeeded", (name, status)
    (pod,) = operator_pods(home)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.usefixtures("release")
def test_nothing_can_be_written_in_the_operator(home: Space) -> None:
    tried = "import os\nfor d in ('/tmp', '/opt/nexus', '/'):\n  print(os.access(d, os.W_OK), os.getuid())"
    assert inside(home, tried).split() == ["False", "65532"] * 3


def test_our_part_of_the_image_stays_below_90_mb(home: Space) -> None:
    code = """
import os
sizes = {}
for folder, _, files in os.walk("/opt/nexus"):
    for name in files:
        known = os.lstat(os.path.join(folder, name))
        sizes[known.st_ino] = known.st_size
print(sum(sizes.values()))
"""
    assert int(inside(home, code)) < 90_000_000


@pytest.mark.usefixtures("release")
def test_a_run_goes_on_through_an_upgrade_without_a_second_job(release: Release, home: Space, space: Space) -> None:
    space.run("upgraded", bash("long", "sleep 8"), bash("after", "true", "long"))
    space.running("upgraded", "long")
    (before,) = operator_pods(home)
    release.install("--set", "settings.workers=4", "--set", "podLabels.upgraded=yes")
    run = space.finished("upgraded")
    assert phases(run) == {"long": "Succeeded", "after": "Succeeded"}
    assert [task(run, name)["attempts"] for name in ("long", "after")] == [1, 1]
    assert jobs_of(space, "upgraded") == ["after", "long"]
    assert before["metadata"]["uid"] not in {
        pod["metadata"]["uid"] for pod in operator_pods(home) if "deletionTimestamp" not in pod["metadata"]
    }


@pytest.mark.usefixtures("release")
def test_the_operator_ends_by_itself_and_leaves_nothing_half_done(home: Space, space: Space) -> None:
    for index in range(4):
        space.run(f"busy-{index}", *(bash(f"t{i}", "true", *([f"t{i - 1}"] if i else [])) for i in range(3)))
    pod = next(pod for pod in operator_pods(home) if "deletionTimestamp" not in pod["metadata"])
    name = pod["metadata"]["name"]
    home.kubectl("delete", "pod", name, "--wait=false")
    ended: Object = {}
    for _, body in home.watch(PODS, 20, fields=f"metadata.name={name}"):
        ended = body["status"]["containerStatuses"][0]["state"].get("terminated") or {}
        if ended:
            asked = when(body["metadata"]["deletionTimestamp"]) - body["metadata"]["deletionGracePeriodSeconds"]
            break
    else:
        pytest.fail("the operator did not end")
    assert ended["exitCode"] == 0
    # The kubelet's times are whole seconds.
    assert when(ended["finishedAt"]) - asked <= 6
    for index in range(4):
        run = space.finished(f"busy-{index}")
        assert run["status"]["phase"] == "Succeeded"
        assert jobs_of(space, f"busy-{index}") == ["t0", "t1", "t2"]


def when(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_bad_setting_stops_the_start_with_a_message(release: Release, home: Space, helm: Helm) -> None:
    words = ["nexus", str(CHART), "--namespace", home.namespace]
    said = helm("upgrade", *words, "--set", "settings.podForbidden={volumes.nfs}", fails=True)
    assert "/settings/podForbidden/0" in said
    # What fields mean together only the operator knows.
    helm("upgrade", *words, "--set", "settings.outputStore.url=file:///a")
    deadline = time.monotonic() + 40
    said = ""
    while "NEXUS_OUTPUT_STORE" not in said and time.monotonic() < deadline:
        time.sleep(0.5)
        said = logs(home)
    assert "file:/// is a folder of the volume of volumeClaim; set both, or neither" in said
    # The old operator works on: the new one is not ready.
    release.install()


@pytest.mark.usefixtures("release")
def test_the_operator_has_asked_for_nothing_beyond_its_rights(home: Space, audit: AuditLog | None) -> None:
    if audit is None:
        pytest.skip("this cluster keeps its audit log to itself")
    asked = list(audit.requests(f"system:serviceaccount:{home.namespace}:nexus"))
    assert {"create jobs", "update workflowruns/status"} <= {str(request) for request in asked}
    assert [str(request) for request in asked if not request.allowed] == []


def test_who_uninstalls_keeps_the_crds_and_all_that_ran(release: Release, home: Space, space: Space) -> None:
    space.workflow("kept", bash("one", "true"))
    space.run_of("kept", "kept")
    space.finished("kept")

    said = release.uninstall()

    assert "[CustomResourceDefinition] workflows.nexus.dev" in said
    assert home.list(DEPLOYMENTS) == []
    assert space.get(WORKFLOWS, "kept") is not None
    assert phases(space.get(WORKFLOW_RUNS, "kept") or {}) == {"one": "Succeeded"}
    assert len(space.jobs("kept")) == 1


def test_an_install_for_one_namespace_needs_nothing_of_the_cluster(
    helm: Helm, new_space: Callable[[str], Space]
) -> None:
    own = new_space("chart-own")
    small = Release(helm, own.namespace)
    small.install("--set", f"namespaces={{{own.namespace}}}", "--set", "clusterObjects=false", "--set", "replicas=2")
    kinds = {"ServiceAccount", "Role", "RoleBinding", "Deployment", "NetworkPolicy", "PodDisruptionBudget"}
    assert {body["kind"] for body in small.manifest()} == kinds
    # Where there is nothing to do: elsewhere it depends on what the other tests have left.
    status = inside(own, "print(open('/proc/1/status').read())")
    (resident,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    assert resident / 1024 <= 128
    own.run("small", python("one", "output['n'] = 1"), bash("two", "true", "one"))
    assert phases(own.finished("small")) == {"one": "Succeeded", "two": "Succeeded"}
    small.uninstall()
    assert own.list(ROLES) == []


def test_make_deploy_installs_the_chart_and_runs_the_sales(helm: Helm, kubeconfig: Path) -> None:
    if not is_ours():
        pytest.skip("make deploy is for the clusters of tests/cluster")
    nexus = f"{sys.executable} -m nexus.cli"
    environment = os.environ | {"PYTHON": sys.executable, "NEXUS": nexus, "PYTHONPATH": str(REPOSITORY / "operator")}
    words = ["sh", str(REPOSITORY / "tests" / "cluster" / "deploy.sh")]
    try:
        done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        last = done.stdout.splitlines()[-2:]
        assert last[0].split()[:3] == ["NAME", "WORKFLOW", "PHASE"]
        assert last[1].split()[1:4] == ["sales", "Succeeded", "8/8"]
    finally:
        helm("uninstall", "nexus", "--namespace", "nexus", "--ignore-not-found")
        kubectl = ["kubectl", "--kubeconfig", str(kubeconfig), "delete", "--ignore-not-found", "--wait=false"]
        subprocess.run([*kubectl, "namespace", "nexus"], check=True)
        subprocess.run(
            [*kubectl, "workflow/sales", "deployment/orders", "service/orders", "configmap/orders"], check=True
        )
