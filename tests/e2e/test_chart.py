"""The operator in the cluster: from its image, installed with helm, with the chart's own rights and nothing more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.helm import Helm, Release, cluster
from tests.e2e.space import Space, phases

pytestmark = pytest.mark.cluster

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def helm(kubeconfig: Path) -> Helm:
    """helm, and the operator's image on the node."""
    if "KUBECONFIG_E2E" not in os.environ or cluster_is_ours():
        cluster("load", "nexus/operator:dev=operator")
    return Helm(cluster("helm").strip(), kubeconfig)


def cluster_is_ours() -> bool:
    """Whether the tests' cluster is one of tests/cluster: elsewhere the image has to be on the nodes already."""
    lines = cluster("env").splitlines()
    return any(os.environ.get("KUBECONFIG_E2E", "") in line for line in lines if "KUBECONFIG" in line)


@pytest.fixture(scope="module")
def release(helm: Helm, new_space: Callable[[str], Space]) -> Iterator[Release]:
    """The chart with its own values: an operator for all namespaces."""
    release = Release(helm, new_space("chart").namespace)
    release.install()
    yield release
    release.uninstall()


def test_the_chart_runs_a_workflow(release: Release, space: Space) -> None:
    space.kubectl("apply", "-f", str(EXAMPLES / "hello.yaml"))
    space.run_of("hello", "hello", {"name": "helm"})
    run = space.finished("hello")
    assert phases(run) == {"greet": "Succeeded", "shout": "Succeeded"}
    restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    assert space.kubectl("get", "pods", "--namespace", release.namespace, "-o", restarts) == "0"
