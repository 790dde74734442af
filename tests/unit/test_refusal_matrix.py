"""The refusal matrix: each write, refused in each way for ten minutes of the cluster's time, and then accepted.

Whatever is refused, the run says why and what to do; what does not need it goes on and ends; nothing is done twice; and
once it is accepted the run ends as if nothing had happened, but for a start that admission refuses for longer than
startTimeoutSeconds.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests import refusals
from tests.operators import KEY, Story
from tests.refusals import REFUSALS, WRITES, Refused, Write, conditions

import nexus.adapters.kube as kube
from nexus.adapters.kube.client import api
from nexus.adapters.kube.client.api import (
    CONTROLLER_REVISIONS,
    EVENTS,
    JOBS,
    LEASES,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_REVIEWS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    Kind,
)
from nexus.core.expressions.templates import Evaluator

# Writes that have tests of their own: an Event is never waited for, the Lease is the election's (test_election.py), and
# the status of a run that cannot be read is left alone but for two fields that say so.
ELSEWHERE = {
    ("patch_status", WORKFLOW_RUNS),
    ("create", EVENTS),
    ("create", LEASES),
    ("patch", LEASES),
    ("create", SELF_SUBJECT_ACCESS_REVIEWS),
    ("create", SELF_SUBJECT_REVIEWS),
}
CELLS = {(write.verb, write.kind) for write in WRITES}


def find_writes() -> set[tuple[str, Kind]]:
    """The writes in the source of everything that talks to the API server as the operator does."""
    kinds = {name: kind for name, kind in vars(api).items() if isinstance(kind, Kind)}
    verbs = "create|patch|patch_status|replace_status|delete"
    call = re.compile(rf"\b_?({verbs})\(\s*(?:self\._api, |api, )?([A-Z][A-Z_]+),")
    found = set()
    for path in Path(kube.__file__).parent.rglob("*.py"):
        for verb, name in call.findall(path.read_text("utf-8")):
            found.add((verb, kinds[name]))
    return found


def test_every_write_of_the_operator_is_in_the_matrix() -> None:
    writes = find_writes()
    assert len(writes) >= len(CELLS)
    assert writes - ELSEWHERE == CELLS


def refused_reasons(write: Write, refusal: Refused) -> set[str]:
    if refusal.admission and write.start:
        starts = {"*": "ChildRefused" if write.kind is WORKFLOW_RUNS else "JobRefused"}
        return {starts.get(write.start, write.start)}
    # An object that is not found when it is changed is read again before its namespace is blamed.
    return {refusal.reason} | (
        {"ApiUnavailable"} if refusal.name.startswith("404") and write.verb != "create" else set()
    )


def words_of(told: Story, write: Write) -> tuple[str, str]:
    """Reason and message, from where the write's refusal is to stand."""
    run = told.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name)
    workflow = told.cluster.find(WORKFLOWS, KEY.namespace, "sales")
    if write.shown == "task":
        entry = next(entry for entry in told.status.tasks or () if entry.name == "hit")
        return str(entry.reason or ""), entry.message or ""
    if write.shown == "run":
        return str(told.status.reason or ""), told.status.message or ""
    if write.shown in ("condition", "workflow-condition"):
        body = run if write.shown == "condition" else workflow
        status, reason, message = conditions(body).get("WriteRefused", ("", "", ""))
        return (reason, message) if status == "True" else ("", "")
    kind = "Workflow" if write.shown == "workflow-event" else "WorkflowRun"
    events = [body for body in told.cluster.objects(EVENTS) if body["reason"] == "StatusNotWritten"]
    found = [body["message"] for body in events if body["involvedObject"]["kind"] == kind]
    assert len(found) <= 2, found  # one an episode, not one a try
    return "", found[0] if found else ""


def free_is_done(told: Story) -> bool:
    """Whether the tasks that need nothing that is refused have ended; by their Jobs, where no status can say so."""
    done = [phase for name, phase in told.phases.items() if name.startswith("free")]
    jobs = [body for body in told.cluster.objects(JOBS) if "-free" in body["metadata"]["name"]]
    return done == ["Succeeded"] * 2 or sum("completionTime" in body["status"] for body in jobs) == 2


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
def test_a_refusal_is_told_and_waited_out(cel: Evaluator, write: Write, refusal: Refused) -> None:
    told = write.tell(cel)
    try:
        begin = told.cluster.clock.now()
        operator = told.operator()
        refusal.begin(operator.api, write)
        write.after(told)
        since = (told.cluster.clock.now() - begin).total_seconds()
        told.quiet(write.look - since)
        assert operator.api.attempts.get((write.verb, write.kind), 0) > 0, "the scenario does not need the write"
        if refusal.name != "no-answer-but-done":
            reason, message = words_of(told, write)
            if write.shown not in ("event", "workflow-event"):
                assert reason in refused_reasons(write, refusal)
            assert len(message) > 20, message
        assert not write.free or write.look < 280 or free_is_done(told)
        tries = operator.api.attempts[write.verb, write.kind]
        assert tries < 150, "it is tried without a pause"

        told.quiet(1_000)

        assert_end(told, write, refusal)
    finally:
        told.close()


def assert_end(told: Story, write: Write, refusal: Refused) -> None:
    if write.name == "prune":
        assert told.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name) is None
        return
    if write.name == "prune-revision":
        assert len(told.cluster.objects(CONTROLLER_REVISIONS)) <= 1
        assert (
            conditions(told.cluster.find(WORKFLOWS, KEY.namespace, "sales")).get("WriteRefused", ("False",))[0]
            == "False"
        )
        return
    assert told.status.phase.ended, told.status.to_json()
    phases = told.phases
    hit = next(entry for entry in told.status.tasks or () if entry.name == "hit")
    if write.start and refusal.admission:
        assert phases["hit"] == "Failed"
        assert "not today" in (hit.message or "")
        assert "startTimeoutSeconds (300)" in (hit.message or "")
    else:
        assert phases["hit"] == write.ends, hit
    if write.free:
        assert (phases["free"], phases["free2"]) == ("Succeeded", "Succeeded")
    assert hit.refused_time is None
    condition = conditions(told.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name)).get("WriteRefused")
    assert condition is None or condition[0] == "False"
    live = [body for body in told.cluster.objects(JOBS) if not body["status"].get("conditions")]
    assert live == [], "something still runs"


def test_only_a_refused_item_waits(cel: Evaluator) -> None:
    write = next(write for write in WRITES if write.name == "item-job")
    told = write.tell(cel)
    try:
        error = refusals.REFUSALS[0].error
        assert error is not None
        told.operator().api.refuse("create", JOBS, error, 100, only=lambda name: "-hit-2-" in name)
        told.quiet(60)
        hit = next(entry for entry in told.status.tasks or () if entry.name == "hit")
        assert (hit.phase, hit.reason) == ("Running", "JobRefused")
        assert (hit.message or "").startswith("item 2: ")
        assert len([name for name in told.witness.made if "-hit-" in name]) == 3

        told.run()

        assert told.phases["hit"] == "Succeeded"
    finally:
        told.close()
