"""The operator's rights: what it asks of the API server is what it may ask, and there is nothing that it never asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.api_server import eventually
from tests.e2e.audit import AuditLog, Request
from tests.e2e.conftest import operator_for
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.rights import RULES
from tests.e2e.space import Space, bash, container, is_finished, python, reasons, task

from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, JOBS, WORKFLOW_RUNS, WORKFLOWS, Kind

pytestmark = pytest.mark.cluster

QUOTAS = Kind("", "v1", "resourcequotas", "ResourceQuota")
GRANTED = {
    (group, resource, verb)
    for rule in (*RULES["work"], *RULES["own"])
    for group in rule["apiGroups"]
    for resource in rule["resources"]
    for verb in rule["verbs"]
}
# Anybody who is authenticated may ask these (system:basic-user).
EVERYBODYS = {
    ("authentication.k8s.io", "selfsubjectreviews", "create"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "create"),
}


@pytest.fixture(scope="module")
def asked(new_space: Callable[[str], Space], tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    """All that an operator asks while it does everything that it can do, from its start to its end."""
    space, full = new_space("rights"), new_space("rights-full")
    log = AuditLog()
    lease = {"NEXUS_LEASE": "nexus", "NEXUS_LEASE_NAMESPACE": space.namespace, "NEXUS_LEASE_SECONDS": "6"}
    with operator_for(tmp_path_factory.mktemp("rights"), space, full, settings=lease) as operator:
        full.post(QUOTAS, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
        full.run("kept-out", container("one"))
        space.workflow(
            "leaf", container("one"), concurrency={"policy": "Queue"}, ttlSecondsAfterFinished=1, revisionHistoryLimit=0
        )
        space.run_of("leaf", "pruned")
        space.workflow("sleeper", bash("one", "sleep 60"))
        space.run("cancelled", {"name": "child", "workflow": {"name": "sleeper"}}, bash("two", "sleep 60"))
        large = python("one", "output['text'] = 'x' * 20_000")
        reader = bash("two", '[ "$SIZE" = 20000 ]', "one")
        size = {"name": "SIZE", "value": "${{ tasks.one.output.text.size() }}"}
        space.run("large", large, reader | {"env": [size]})
        # The slot of `other` comes free, and the fan-out gets it. What its first items leave is stored while others
        # run: more than the status takes.
        leave = """sleep 5; printf 'text=%03000d\\n' 1 >> "$NEXUS_OUTPUT\""""
        space.run(
            "fan", bash("other", "sleep 3"), bash("fan", leave, forEach={"items": [1, 2, 3, 4]}), maxParallelTasks=2
        )
        child = space.running("cancelled", "two")["status"]["tasks"][0]["childRun"]["name"]
        space.patch(WORKFLOW_RUNS, "cancelled", {"spec": {"cancel": "Graceful"}})
        assert space.finished(child)["status"]["phase"] == "Cancelled"
        assert space.finished("large")["status"]["phase"] == "Succeeded"
        full.until("kept-out", lambda run: reasons(run) == {"one": "QuotaExceeded"})
        outgrow(space, operator)
        prune(space)
        lose(space, operator)
        assert space.finished("fan")["status"]["phase"] == "Succeeded"
    return log.by_operator(space.namespace)


def prune(space: Space) -> None:
    """A run is over its stay, and with it the version of the definition that it ran."""
    eventually(lambda: space.get(WORKFLOW_RUNS, "pruned") is None)
    (first,) = revisions(space)
    space.patch(WORKFLOWS, "leaf", {"spec": {"description": "another version"}})
    space.run_of("leaf", "next")
    space.until("next", is_finished)
    eventually(lambda: first not in revisions(space))


def outgrow(space: Space, operator: OperatorProcess) -> None:
    """A run that is under way cannot be read any more, as where another operator has let it begin."""
    deep: Any = 1
    for _ in range(120):
        deep = [deep]
    operator.kill()
    space.run("deep", bash("one", "true"), params={"a": deep})
    space.patch(WORKFLOW_RUNS, "deep", {"status": {"phase": "Running", "startTime": "2026-11-23T09:00:00Z"}}, "status")
    operator.start()
    space.until("deep", lambda run: run["status"].get("reason") == "Unreadable")


def revisions(space: Space) -> list[str]:
    return [one["metadata"]["name"] for one in space.list(CONTROLLER_REVISIONS, "nexus.dev/workflow=leaf")]


def lose(space: Space, operator: OperatorProcess) -> None:
    """A Job that is on record is gone when the operator comes back, and so is a child run."""
    space.run("lost", bash("one", "sleep 60"), {"name": "two", "workflow": {"name": "sleeper"}})
    space.running("lost", "one")
    run = space.until("lost", lambda run: task(run, "two").get("childRun") is not None)
    operator.kill()
    space.remove(JOBS, task(run, "one")["job"]["name"])
    space.remove(WORKFLOW_RUNS, task(run, "two")["childRun"]["name"])
    operator.start()
    assert reasons(space.finished("lost")) == {"one": "JobDeleted", "two": "ChildDeleted"}


def test_nothing_is_asked_that_the_rights_do_not_give(asked: list[Request]) -> None:
    assert [str(request) for request in asked if not request.allowed] == []
    used = {(request.group, request.resource, request.verb) for request in asked}
    assert used - GRANTED - EVERYBODYS == set()


def test_no_right_is_there_for_nothing(asked: list[Request]) -> None:
    used = {(request.group, request.resource, request.verb) for request in asked}
    if not any(verb in ("get", "list", "watch") for _, _, verb in used):
        pytest.fail(
            "the cluster logs no reads: it is older than audit-policy.yaml; bring it down and up", pytrace=False
        )
    assert GRANTED - used == set()
