"""An operator that cannot work says so in one sentence, before anything else starts."""

from __future__ import annotations

import asyncio

import pytest

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.client.api import LEASES, WORKFLOW_RUNS, Forbidden, NotFound, Unreachable
from nexus.app.serve import StartRefused, check_lease, check_start
from nexus.app.settings import Settings


@pytest.mark.parametrize(
    ("error", "namespaces", "words"),
    [
        (NotFound("the server could not find the requested resource", status=404), (), "kubectl apply -f crds/"),
        (Forbidden("cannot list resource", status=403), (), "select some with --namespace"),
        (Forbidden("cannot list resource", status=403), ("team-a",), "namespace team-a: cannot list resource"),
        (Unreachable("cannot reach https://127.0.0.1:9: connection refused"), (), "cannot reach https://127.0.0.1:9"),
    ],
)
def test_what_is_in_the_way_is_one_sentence(error: Exception, namespaces: tuple[str, ...], words: str) -> None:
    cluster = FakeCluster()
    cluster.fail_next("list", WORKFLOW_RUNS, error)

    with pytest.raises(StartRefused, match=words):
        asyncio.run(check_start(cluster, Settings(namespaces=namespaces)))


def test_a_cluster_that_answers_is_no_obstacle() -> None:
    cluster = FakeCluster()
    asyncio.run(check_start(cluster, Settings(namespaces=("a", "b"))))
    assert cluster.reads == 4


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            Forbidden("cannot get leases", status=403),
            "not allowed to read Leases in namespace nexus-system: cannot get",
        ),
        (Unreachable("cannot reach https://127.0.0.1:9: connection refused"), "cannot reach"),
    ],
)
def test_a_lease_that_cannot_be_read_is_one_sentence(error: Exception, words: str) -> None:
    cluster = FakeCluster()
    cluster.fail_next("get", LEASES, error)

    with pytest.raises(StartRefused, match=words):
        asyncio.run(check_lease(cluster, "nexus-system", "nexus"))
    asyncio.run(check_lease(cluster, "nexus-system", "nexus"))
