"""A task's `pod` over the defaults."""

from __future__ import annotations

from typing import Any

import pytest

from nexus.api.pod import Pod
from nexus.core.pods.merge import merged


def pod(value: dict[str, Any] | None) -> Pod | None:
    return None if value is None else Pod.model_validate(value)


CACHE = {"name": "cache", "emptyDir": {}}
CLAIM = {"name": "cache", "persistentVolumeClaim": {"claimName": "c"}}
KEYS = {"name": "keys", "secret": {"secretName": "k"}}
GPU = {"key": "gpu", "operator": "Exists"}
SPOT = {"key": "spot", "operator": "Exists"}


@pytest.mark.parametrize(
    ("default", "own", "together"),
    [
        (None, None, None),
        ({"runAsUser": 5}, None, {"runAsUser": 5}),
        (None, {"runAsUser": 5}, {"runAsUser": 5}),
        ({"runAsUser": 5, "fsGroup": 6}, {"runAsUser": 7}, {"runAsUser": 7, "fsGroup": 6}),
        ({"labels": {"a": "1", "b": "1"}}, {"labels": {"b": "2"}}, {"labels": {"a": "1", "b": "2"}}),
        (
            {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}},
            {"resources": {"requests": {"cpu": 2}}},
            {"resources": {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"memory": "2Gi"}}},
        ),
        ({"volumes": [CACHE, KEYS]}, {"volumes": [CLAIM]}, {"volumes": [KEYS, CLAIM]}),
        (
            {"volumeMounts": [{"name": "cache", "mountPath": "/a"}, {"name": "cache", "mountPath": "/b"}]},
            {"volumeMounts": [{"name": "keys", "mountPath": "/b"}]},
            {"volumeMounts": [{"name": "cache", "mountPath": "/a"}, {"name": "keys", "mountPath": "/b"}]},
        ),
        ({"tolerations": [GPU]}, {"tolerations": [SPOT]}, {"tolerations": [SPOT]}),
        ({"tolerations": [GPU]}, {"tolerations": []}, {"tolerations": []}),
        (
            {"imagePullSecrets": [{"name": "a"}]},
            {"imagePullSecrets": [{"name": "b"}]},
            {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]},
        ),
    ],
)
def test_by_field_maps_by_key_lists_by_name_and_the_task_wins(
    default: dict[str, Any] | None, own: dict[str, Any] | None, together: dict[str, Any] | None
) -> None:
    result = merged(pod(default), pod(own))

    assert (result.to_json() if result is not None else None) == together
