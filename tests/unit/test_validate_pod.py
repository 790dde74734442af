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
        ({"labels": {"nexus.dev/run": "x"}}, '"nexus.dev" is reserved for NEXUS and Kubernetes; choose another key'),
        ({"labels": {"batch.kubernetes.io/job-name": "x"}}, "choose another key"),
        ({"labels": {"job-name": "x"}}, '"job-name" is reserved for NEXUS and Kubernetes; choose another key'),
        (
            {"labels": {"my team": "x"}},
            "task t, pod.labels.my team: invalid key; use a name of at most 63 characters, or domain/name",
        ),
        (
            {"labels": {"team": "my team"}},
            (
                'invalid label value "my team"; at most 63 letters, digits, -, _ and ., the first and the last a '
                "letter or digit"
            ),
        ),
        (
            {"nodeSelector": {"pool": "-a"}},
            (
                'invalid label value "-a"; at most 63 letters, digits, -, _ and ., the first and the last a letter '
                "or digit"
            ),
        ),
        (
            {"nodeSelector": {"kubernetes.io/hostname": "n1"}, "labels": {"a b": "x"}},
            "task t, pod.labels.a b: invalid key; use a name of at most 63 characters, or domain/name",
        ),
        (
            {"annotations": {"nexus.dev/depth": "1"}},
            '"nexus.dev" is reserved for NEXUS and Kubernetes; choose another key',
        ),
        (
            {"annotations": {"container.apparmor.security.beta.kubernetes.io/task": "unconfined"}},
            "the pod's security profile is always RuntimeDefault; remove this annotation",
        ),
        ({"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "x"}}, "security profile"),
        ({"resources": {"limits": {"memory": "1GB"}}}, 'invalid quantity "1GB"; write it as 500m, 2, 64Mi or 1.5Gi'),
        ({"resources": {"limits": {"cpu": -1}}}, 'invalid quantity "-1"; write it as 500m, 2, 64Mi or 1.5Gi'),
        ({"resources": {"limits": {"nvidia.com/gpu": "500m"}}}, 'nvidia.com/gpu must be an integer, got "500m"'),
        (
            {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}}},
            "request 2Gi exceeds limit 1024Mi; raise the limit",
        ),
        (
            {"volumes": [{"name": "a"}]},
            (
                "volume a has no source; set exactly one of emptyDir, configMap, secret, persistentVolumeClaim, "
                "ephemeral, projected, csi"
            ),
        ),
        ({"volumes": [{"name": "a", "emptyDir": {}, "csi": {"driver": "d"}}]}, "has emptyDir and csi"),
        (
            {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "big"}}]},
            'invalid quantity "big"; write it as 64Mi or 1Gi',
        ),
        ({"volumes": [{"name": "tmp", "emptyDir": {}}]}, 'volume name "tmp" is reserved; choose another name'),
        ({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]}, 'duplicate volume name "a"'),
        ({"volumes": [{"name": "a", "projected": {"sources": [{}]}}]}, "set exactly one of configMap and secret"),
    ],
)
def test_what_does_not_go_together_is_told(cel: Evaluator, pod: dict[str, Any], message: str) -> None:
    (found,) = told(cel, pod)

    assert found.startswith("task t, pod.")
    assert message in found


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"mountPath": "/tmp"}, 'path "/tmp" is reserved; mount it elsewhere, as at /data'),
        ({"mountPath": "/nexus/input"}, 'path "/nexus/input" is reserved; mount it elsewhere, as at /data'),
        ({"mountPath": "/proc/1"}, 'path "/proc/1" is reserved; mount it elsewhere, as at /data'),
        (
            {"mountPath": "/dev/termination-log"},
            'path "/dev/termination-log" is reserved; mount it elsewhere, as at /data',
        ),
        ({"mountPath": "//nexus/"}, 'path "//nexus/" is reserved; mount it elsewhere, as at /data'),
        ({"mountPath": "data"}, "start it with /"),
        ({"mountPath": "/a/../nexus"}, "without .."),
        ({"mountPath": "/a", "subPath": "../b"}, "leads out of the volume"),
        (
            {"mountPath": "/a", "subPath": "${{ params.pool }}"},
            (
                "${{ }} is not supported here: the author chooses account, images, volumes and nodes; write the "
                "value itself"
            ),
        ),
    ],
)
def test_a_mount_has_a_place_of_its_own(cel: Evaluator, mount: dict[str, Any], message: str) -> None:
    (found,) = told(cel, {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", **mount}]})

    assert found.startswith("task t, pod.volumeMounts[0].")
    assert message in found


def test_two_volumes_at_one_place(cel: Evaluator) -> None:
    mounts = [{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/a/"}]

    (found,) = told(cel, {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": mounts})

    assert 'duplicate mount path "/a"; choose another one' in found


def test_a_mount_may_be_of_a_volume_of_the_defaults(cel: Evaluator) -> None:
    own = {"volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}

    assert told(cel, own, volumes=[{"name": "cache", "emptyDir": {}}]) == []
    assert told(cel, own, volumes=[{"name": "caches", "emptyDir": {}}]) == [
        'task t, pod.volumeMounts[0].name: unknown volume "cache"; did you mean "caches"?'
    ]
    assert told(cel, own) == ['task t, pod.volumeMounts[0].name: unknown volume "cache"; add it to pod.volumes']


def test_expressions_are_checked_with_their_place(cel: Evaluator) -> None:
    assert told(cel, {"labels": {"team": "${{ params.poool }}"}}) == [
        'task t, pod.labels.team: unknown reference "params.poool"; did you mean "params.pool"?'
    ]
    (found,) = told(cel, {}, labels={"team": "${{ tasks.t.phase }}"})
    assert found.startswith('defaults.pod.labels.team: unknown reference "tasks.t.phase"')


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        (
            {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]},
            (
                'unknown field "hostPath"; expected one of name, emptyDir, configMap, secret, '
                "persistentVolumeClaim, ephemeral, projected, csi"
            ),
        ),
        (
            {"hostNetwork": True},
            (
                'unknown field "hostNetwork"; expected one of resources, volumes, volumeMounts, nodeSelector, '
                "tolerations, affinity, topologySpreadConstraints, serviceAccountName, imagePullSecrets, "
                "priorityClassName, runtimeClassName, runAsUser and 4 more"
            ),
        ),
        (
            {"securityContext": {}},
            (
                'unknown field "securityContext"; the operator sets it, apart from pod.runAsUser, pod.runAsGroup '
                "and pod.fsGroup"
            ),
        ),
        ({"nodeselector": {}}, 'unknown field "nodeselector"; did you mean "nodeSelector"?'),
        ({"affinity": {"nodeAfinity": {}}}, 'unknown field "nodeAfinity"; did you mean "nodeAffinity"?'),
        (
            {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "Never"}]},
            'unsupported value "Never"; must be one of DoNotSchedule, ScheduleAnyway',
        ),
        (
            {"volumes": [{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            'unknown field "serviceAccountToken"; expected one of configMap, secret',
        ),
        (
            {"volumes": [{"name": "a", "configMap": {"name": "${{ params.pool }}"}}]},
            '${{ }} is not supported here, got "${{ params.pool }}"; write the value itself',
        ),
        (
            {"serviceAccountName": "${{ params.pool }}"},
            '${{ }} is not supported here, got "${{ params.pool }}"; write the value itself',
        ),
        ({"runAsUser": -1}, "must be at least 0, got -1"),
    ],
)
def test_what_is_not_on_the_list_is_refused_by_its_name(pod: dict[str, Any], message: str) -> None:
    body = {"name": "t", "bash": {"command": "true"}, "pod": pod}
    with pytest.raises(ValueError) as caught:
        Task.model_validate(body)

    (found,) = misfits(caught.value.errors(include_url=False), body, Task)  # type: ignore[attr-defined]
    assert message in str(found)
