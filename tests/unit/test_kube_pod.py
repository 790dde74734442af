"""The Job of a task that asks something of its pod."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import RUN, at, definition, entry_of, facts, run_with, task

from nexus.adapters.kube.manifests.job import Images, task_objects
from nexus.api.reasons import Reason
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.pods.policy import PodPolicy

PARAMS = [{"name": "team", "default": "a"}, {"name": "memory", "default": "64Mi"}, {"name": "cpu", "type": "number"}]


def job(cel: Evaluator, pod: dict[str, Any] | None, /, params: dict[str, Any] | None = None, **fields: Any) -> Any:
    subject = definition(task("t", **({} if pod is None else {"pod": pod})), params=PARAMS, **fields)
    known = facts(run=run_with({"cpu": 1, **(params or {})}), pod_policy=PodPolicy(baseline=True))
    (start,) = decide(subject, known, at(0), cel).starts
    return task_objects(start, RUN, Images()).job


def spec_of(body: Any) -> Any:
    return body["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("fields", "image"),
    [
        ({"bash": {"command": "true"}}, "our/task-bash:1@sha256:ab"),
        ({"bash": {"command": "true", "image": "mine:2"}}, "mine:2"),
        ({"python": {"code": "pass"}}, "our/task-python:1"),
    ],
)
def test_the_image_of_a_type_may_be_pinned_by_its_digest(cel: Evaluator, fields: dict[str, Any], image: str) -> None:
    (start,) = decide(definition(task("t", **fields)), facts(), at(0), cel).starts
    images = Images("our/task-{type}:1", {"bash": "sha256:ab", "store": "sha256:cd"})
    assert images.named("store") == "our/task-store:1@sha256:cd"
    (container,) = spec_of(task_objects(start, RUN, images).job)["containers"]
    assert container["image"] == image


def test_a_pod_that_nothing_is_asked_of_is_restricted_and_has_no_token(cel: Evaluator) -> None:
    spec = spec_of(job(cel, None))

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert "serviceAccountName" not in spec
    assert "resources" not in spec["containers"][0]


def test_what_is_asked_stands_where_kubernetes_looks_for_it(cel: Evaluator) -> None:
    asked: dict[str, Any] = {
        "resources": {"requests": {"cpu": "100m"}, "limits": {"nvidia.com/gpu": 1}},
        "volumes": [{"name": "cache", "emptyDir": {}}],
        "volumeMounts": [{"name": "cache", "mountPath": "/cache", "readOnly": True}],
        "nodeSelector": {"pool": "a"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],
        "serviceAccountName": "publisher",
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
        "runAsUser": 1000,
        "runAsGroup": 1001,
        "fsGroup": 1002,
    }
    spec = spec_of(job(cel, asked))
    container = spec["containers"][0]

    handed_on = {*asked} - {"resources", "volumes", "volumeMounts", "runAsUser", "runAsGroup", "fsGroup"}
    assert {field: spec[field] for field in handed_on} == {field: asked[field] for field in handed_on}
    assert container["resources"] == asked["resources"]
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp", "cache"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp", "/cache"]
    assert spec["automountServiceAccountToken"] is True
    security = spec["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (1000, 1001, 1002)
    assert security["runAsNonRoot"] is True


def test_root_loses_no_more_than_being_no_root(cel: Evaluator) -> None:
    spec = spec_of(job(cel, {"runAsUser": 0}))

    assert "runAsNonRoot" not in spec["securityContext"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_labels_are_on_the_job_and_the_pod_and_those_of_nexus_win(cel: Evaluator) -> None:
    asked = {
        "labels": {"kueue.x-k8s.io/queue-name": "q", "team": "${{ params.team }}"},
        "annotations": {"note": "for ${{ run.name }}"},
    }
    body = job(cel, asked, labels={"team": "everybody", "owner": "me"})
    template = body["spec"]["template"]["metadata"]

    for labels in (body["metadata"]["labels"], template["labels"]):
        assert labels["kueue.x-k8s.io/queue-name"] == "q"
        assert (labels["team"], labels["owner"]) == ("a", "me")
        assert labels["nexus.dev/run"] == RUN.name
    assert template["annotations"] == {"note": f"for {RUN.name}"}
    assert "annotations" not in body["metadata"]


def test_amounts_are_rendered_as_text(cel: Evaluator) -> None:
    asked = {"resources": {"limits": {"memory": "${{ params.memory }}", "cpu": "${{ params.cpu }}"}}}

    limits = spec_of(job(cel, asked, {"cpu": 0.5}))["containers"][0]["resources"]["limits"]

    assert limits == {"memory": "64Mi", "cpu": "0.5"}


def test_an_amount_that_renders_to_none_fails_the_task_and_names_the_field(cel: Evaluator) -> None:
    asked = {"resources": {"limits": {"memory": "${{ params.memory }}"}}}
    subject = definition(task("t", pod=asked), params=[{"name": "memory"}])

    plan = decide(subject, facts(run=run_with({"memory": "lots"})), at(0), cel)

    entry = entry_of(plan.status, "t")
    assert entry.reason is Reason.EXPRESSION_ERROR
    assert entry.message == "pod.resources.limits[memory]: must be a quantity such as 500m, 2 or 64Mi, got 'lots'"


@pytest.mark.parametrize("text", ["$(TOKEN)", "$$", "${HOME}"])
def test_a_rendered_value_is_data(cel: Evaluator, text: str) -> None:
    body = job(cel, {"annotations": {"note": "${{ params.team }}"}}, {"team": text})

    assert body["spec"]["template"]["metadata"]["annotations"] == {"note": text}
