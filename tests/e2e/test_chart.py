"""The operator in the cluster: from its image, installed with helm, with the chart's own rights and nothing more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from tests.e2e.helm import Helm, Release, cluster
from tests.e2e.space import Object, Space, bash, phases, python, task

from nexus.adapters.kube.api import PODS, WORKFLOW_RUNS, WORKFLOWS, Kind

pytestmark = pytest.mark.cluster

EXAMPLES = Path(__file__).parents[2] / "examples"
DEPLOYMENTS = Kind("apps", "v1", "deployments", "Deployment")
ROLES = Kind("rbac.authorization.k8s.io", "v1", "roles", "Role")


@pytest.fixture(scope="module")
def helm(kubeconfig: Path) -> Helm:
    """helm, and the operator's image on the node."""
    # Another cluster than that of tests/cluster has the image on its nodes.
    if os.environ.get("KUBECONFIG_E2E", "") in cluster("env"):
        cluster("load", "nexus/operator:dev=operator")
    return Helm(cluster("helm").strip(), kubeconfig)


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
def uninstalled(home: Space, helm: Helm) -> Iterator[None]:
    """What the last test uninstalls goes also where one before it fails: it is the whole cluster's."""
    yield
    helm("uninstall", "nexus", "--namespace", home.namespace, "--ignore-not-found")


def operator_pods(home: Space) -> list[Object]:
    return home.list(PODS, "app.kubernetes.io/component=operator")


def jobs_of(space: Space, run: str) -> list[str]:
    """The task of each Job of a run: none may have two."""
    return sorted(job["metadata"]["labels"]["nexus.dev/task"] for job in space.jobs(run))


def inside(home: Space, code: str) -> str:
    """What Python code prints in the operator's container, which has no need of a shell for it."""
    return home.kubectl("exec", "deployment/nexus", "--", "python3", "-S", "-c", code)


@pytest.mark.usefixtures("release")
def test_the_chart_runs_workflows_and_its_policies_let_all_kinds_of_jobs_pass(space: Space) -> None:
    names = ("hello", "pod", "fan-out", "child-runs", "finally")
    for name in names:
        space.kubectl("apply", "-f", str(EXAMPLES / f"{name}.yaml"))
        space.run_of(name, name)
    for name in names:
        status = space.finished(name)["status"]
        assert status["phase"] == "Succeeded", (name, status)


@pytest.mark.usefixtures("release")
def test_an_idle_operator_stays_below_128_mib_and_has_not_been_restarted(home: Space) -> None:
    status = inside(home, "print(open('/proc/1/status').read())")
    (resident,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    assert resident / 1024 <= 128
    (pod,) = operator_pods(home)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.usefixtures("release")
def test_nothing_can_be_written_in_the_operator(home: Space) -> None:
    tried = "import os\nfor d in ('/tmp', '/opt/nexus', '/'):\n  print(os.access(d, os.W_OK), os.getuid())"
    assert inside(home, tried).split() == ["False", "65532"] * 3


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


@pytest.mark.usefixtures("release")
def test_a_bad_setting_stops_the_start_with_a_message(home: Space, helm: Helm) -> None:
    words = ["nexus", str(EXAMPLES.parent / "charts" / "nexus"), "--namespace", home.namespace]
    helm("upgrade", *words, "--set", "settings.podForbidden={volumes.nfs}")
    deadline = time.monotonic() + 40
    said = ""
    while "volumes.nfs" not in said and time.monotonic() < deadline:
        time.sleep(0.5)
        said = home.kubectl("logs", "--selector=app.kubernetes.io/component=operator", "--prefix", "--tail=5")
    assert "there is no field volumes.nfs of pod" in said
    # The old operator works on: the new one is not ready.
    release.install()


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
    own.run("small", python("one", "output['n'] = 1"), bash("two", "true", "one"))
    assert phases(own.finished("small")) == {"one": "Succeeded", "two": "Succeeded"}
    small.uninstall()
    assert own.list(ROLES) == []
