"""What lint and Ready say of a `pod`."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import spec, task

from nexus.api.tasks import Task
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.schema_errors import misfits
from nexus.core.validate import problems

FULL: dict[str, Any] = {
    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": 1}},
    "volumes": [
        {"name": "cache", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
        {"name": "settings", "configMap": {"name": "c", "items": [{"key": "a", "path": "b"}]}},
        {"name": "keys", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "d"}},
        {
            "name": "work",
            "ephemeral": {
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
                }
            },
        },
        {"name": "both", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}]}},
        {"name": "vault", "csi": {"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"a": "b"}}},
    ],
    "volumeMounts": [
        {"name": "cache", "mountPath": "/cache"},
        {"name": "cache", "mountPath": "/tmp/cache", "subPath": "a/b"},
        {"name": "keys", "mountPath": "/etc/keys", "readOnly": True},
        {"name": "work", "mountPath": "/dev/shm"},
    ],
    "nodeSelector": {"kubernetes.io/arch": "amd64", "pool": "${{ params.pool }}"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
            }
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"app": "x"}},
                    },
                }
            ]
        },
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "serviceAccountName": "publisher",
    "imagePullSecrets": [{"name": "registry"}],
    "priorityClassName": "high",
    "runtimeClassName": "gvisor",
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "labels": {"kueue.x-k8s.io/queue-name": "team", "team": "${{ params.pool }}", "app.kubernetes.io/part-of": "x"},
    "annotations": {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "note": "for ${{ run.name }}: any text!",
    },
}
PARAMS = [{"name": "pool", "default": "a"}]


def told(cel: Evaluator, pod: dict[str, Any], **defaults: Any) -> list[str]:
    fields = {"defaults": {"pod": defaults}} if defaults else {}
    return [str(problem) for problem in problems(spec(task("t", pod=pod), params=PARAMS, **fields), cel)]


def test_everything_that_may_be_asked_is_taken(cel: Evaluator) -> None:
    assert told(cel, FULL) == []
    assert told(cel, {}, **FULL) == []


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        ({"labels": {"nexus.dev/run": "x"}}, "labels.nexus.dev/run: nexus.dev is set by NEXUS or Kubernetes itself"),
        ({"labels": {"batch.kubernetes.io/job-name": "x"}}, "choose another key"),
        ({"labels": {"job-name": "x"}}, "job-name is set by NEXUS or Kubernetes itself"),
        ({"labels": {"my team": "x"}}, "is no key"),
        ({"labels": {"team": "my team"}}, "'my team' is no label value"),
        ({"nodeSelector": {"pool": "-a"}}, "'-a' is no label value"),
        ({"nodeSelector": {"kubernetes.io/hostname": "n1"}, "labels": {"a b": "x"}}, "labels.a b: is no key"),
        ({"annotations": {"nexus.dev/depth": "1"}}, "nexus.dev is set by NEXUS"),
        (
            {"annotations": {"container.apparmor.security.beta.kubernetes.io/task": "unconfined"}},
            "it would choose the pod's security profile",
        ),
        ({"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "x"}}, "security profile"),
        ({"resources": {"limits": {"memory": "1GB"}}}, "resources.limits.memory: '1GB' is no amount: write it as 500m"),
        ({"resources": {"limits": {"cpu": -1}}}, "-1 is no amount"),
        ({"resources": {"limits": {"nvidia.com/gpu": "500m"}}}, "nvidia.com/gpu is counted in whole numbers, not 500m"),
        (
            {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}}},
            "resources.requests.memory: 2Gi is more than the limit, 1024Mi",
        ),
        ({"volumes": [{"name": "a"}]}, "volume a has no source: give exactly one of emptyDir, configMap, secret"),
        ({"volumes": [{"name": "a", "emptyDir": {}, "csi": {"driver": "d"}}]}, "has emptyDir and csi"),
        ({"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "big"}}]}, "emptyDir.sizeLimit: 'big' is no amount"),
        ({"volumes": [{"name": "tmp", "emptyDir": {}}]}, "every pod has a volume tmp by itself"),
        ({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]}, "2 volumes are named a"),
        ({"volumes": [{"name": "a", "projected": {"sources": [{}]}}]}, "give exactly one of configMap and secret"),
    ],
)
def test_what_does_not_go_together_is_told(cel: Evaluator, pod: dict[str, Any], message: str) -> None:
    (found,) = told(cel, pod)

    assert found.startswith("task t, pod.")
    assert message in found


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"mountPath": "/tmp"}, "/tmp is taken: mount it elsewhere"),
        ({"mountPath": "/nexus/input"}, "/nexus/input is taken"),
        ({"mountPath": "/proc/1"}, "is taken"),
        ({"mountPath": "/dev/termination-log"}, "is taken"),
        ({"mountPath": "//nexus/"}, "is taken"),
        ({"mountPath": "data"}, "start it with /"),
        ({"mountPath": "/a/../nexus"}, "without .."),
        ({"mountPath": "/a", "subPath": "../b"}, "leads out of the volume"),
        ({"mountPath": "/a", "subPath": "${{ params.pool }}"}, "no ${{ }} here: which account, images, volumes"),
    ],
)
def test_a_mount_has_a_place_of_its_own(cel: Evaluator, mount: dict[str, Any], message: str) -> None:
    (found,) = told(cel, {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", **mount}]})

    assert found.startswith("task t, pod.volumeMounts[0].")
    assert message in found


def test_two_volumes_at_one_place(cel: Evaluator) -> None:
    mounts = [{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/a/"}]

    (found,) = told(cel, {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": mounts})

    assert "two volumes are mounted at /a" in found


def test_a_mount_may_be_of_a_volume_of_the_defaults(cel: Evaluator) -> None:
    own = {"volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}

    assert told(cel, own, volumes=[{"name": "cache", "emptyDir": {}}]) == []
    assert told(cel, own, volumes=[{"name": "caches", "emptyDir": {}}]) == [
        "task t, pod.volumeMounts[0].name: there is no volume cache: did you mean caches?"
    ]
    assert told(cel, own) == ["task t, pod.volumeMounts[0].name: there is no volume cache: add it to pod.volumes"]


def test_expressions_are_checked_with_their_place(cel: Evaluator) -> None:
    assert told(cel, {"labels": {"team": "${{ params.poool }}"}}) == [
        "task t, pod.labels.team: params.poool is not known here: did you mean params.pool?"
    ]
    (found,) = told(cel, {}, labels={"team": "${{ tasks.t.phase }}"})
    assert found.startswith("defaults.pod.labels.team: tasks.t.phase is not known here: ")


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        ({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}, "there is no field hostPath here: fields are name, "),
        ({"hostNetwork": True}, "there is no field hostNetwork here"),
        ({"securityContext": {}}, "there is no field securityContext here"),
        ({"nodeselector": {}}, "did you mean nodeSelector?"),
        ({"affinity": {"nodeAfinity": {}}}, "there is no field nodeAfinity here: did you mean nodeAffinity?"),
        (
            {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "Never"}]},
            '"Never" is not allowed here: allowed are DoNotSchedule, ScheduleAnyway',
        ),
        (
            {"volumes": [{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            "there is no field serviceAccountToken here",
        ),
        ({"volumes": [{"name": "a", "configMap": {"name": "${{ params.pool }}"}}]}, "${{ }} is not allowed here"),
        ({"serviceAccountName": "${{ params.pool }}"}, "is not rendered: ${{ }} is not allowed here, write it out"),
        ({"runAsUser": -1}, "-1 is out of range: at least 0"),
    ],
)
def test_what_is_not_on_the_list_is_refused_by_its_name(pod: dict[str, Any], message: str) -> None:
    body = {"name": "t", "bash": {"command": "true"}, "pod": pod}
    with pytest.raises(ValueError) as caught:
        Task.model_validate(body)

    (found,) = misfits(caught.value.errors(include_url=False), body, Task)  # type: ignore[attr-defined]
    assert message in str(found)
