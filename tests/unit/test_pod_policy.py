"""What an operator lets tasks ask of their pods."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import at, definition, entry_of, facts, failed, task

from nexus.api.pod import Pod
from nexus.api.reasons import Reason, TaskPhase
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.pods.policy import PodPolicy, judge

MEMORY = {"resources": {"limits": {"memory": "64Mi"}}}
SECRET = {"volumes": [{"name": "s", "secret": {"secretName": "s"}}]}


def policy(*forbidden: str, baseline: bool = False) -> PodPolicy:
    return PodPolicy(frozenset(forbidden), baseline)


@pytest.mark.parametrize(
    ("pod", "operator", "refused"),
    [
        (None, policy("resources"), None),
        ({}, policy("resources"), None),
        (MEMORY, policy(), None),
        (MEMORY, policy("resources"), (Reason.POD_FIELD_FORBIDDEN, "pod.resources")),
        (MEMORY, policy("labels", "volumes.csi"), None),
        (SECRET, policy("volumes"), (Reason.POD_FIELD_FORBIDDEN, "pod.volumes")),
        (SECRET, policy("volumes.secret"), (Reason.POD_FIELD_FORBIDDEN, "pod.volumes.secret")),
        (SECRET, policy("volumes.csi"), None),
        ({"serviceAccountName": "a"}, policy("serviceAccountName"), (Reason.POD_FIELD_FORBIDDEN, "serviceAccountName")),
        ({"runAsUser": 1000, "runAsGroup": 1, "fsGroup": 2}, policy(), None),
        ({"runAsUser": 0}, policy(), (Reason.RUNS_AS_ROOT, "pod.runAsUser: 0 is root")),
        ({"runAsGroup": 0}, policy(), (Reason.RUNS_AS_ROOT, "pod.runAsGroup: 0 is root")),
        ({"runAsUser": 5, "fsGroup": 0}, policy(), (Reason.RUNS_AS_ROOT, "pod.fsGroup: 0 is root")),
        ({"runAsUser": 0, "runAsGroup": 0, "fsGroup": 0}, policy(baseline=True), None),
        ({"runAsUser": 0}, policy("runAsUser", baseline=True), (Reason.POD_FIELD_FORBIDDEN, "pod.runAsUser")),
    ],
)
def test_what_is_refused(pod: dict[str, Any] | None, operator: PodPolicy, refused: tuple[Reason, str] | None) -> None:
    answer = judge(Pod.model_validate(pod) if pod is not None else None, operator)

    if refused is None:
        assert answer is None
    else:
        assert answer is not None
        assert answer.reason is refused[0]
        assert refused[1] in answer.message


@pytest.mark.parametrize("where", ["task", "defaults"])
def test_a_task_that_asks_too_much_fails_before_it_has_a_job(cel: Evaluator, where: str) -> None:
    pod = {"pod": {"runAsUser": 0}}
    subject = definition(
        task("t", **(pod if where == "task" else {})), **({"defaults": pod} if where != "task" else {})
    )

    plan = decide(subject, facts(), at(1), cel)

    assert plan.starts == ()
    entry = entry_of(plan.status, "t")
    assert (entry.phase, entry.reason, entry.attempts) == (TaskPhase.FAILED, Reason.RUNS_AS_ROOT, None)
    assert decide(subject, facts(pod_policy=policy(baseline=True)), at(1), cel).starts[0].payload.pod is not None


def test_a_setting_that_changed_holds_for_the_next_attempt(cel: Evaluator) -> None:
    subject = definition(task("t", pod={"priorityClassName": "high"}, retry={"limit": 3, "delaySeconds": 1}))
    waiting = decide(subject, facts(failed("t")), at(5), cel)
    plan = decide(
        subject, facts(failed("t"), status=waiting.status, pod_policy=policy("priorityClassName")), at(9), cel
    )

    assert plan.starts == ()
    assert entry_of(plan.status, "t").reason is Reason.POD_FIELD_FORBIDDEN
