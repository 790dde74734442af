"""The operator's settings."""

from __future__ import annotations

import pytest

from nexus.app.setting import SettingsError
from nexus.app.settings import FIELDS, Settings, from_environment, strangers


def test_nothing_set_is_the_default() -> None:
    assert from_environment({}) == Settings()
    assert (Settings().pod_security, Settings().pod_forbidden) == ("restricted", frozenset())


def test_pod_fields_and_sources_of_volumes_can_be_forbidden() -> None:
    found = from_environment(
        {"NEXUS_POD_FORBIDDEN": "serviceAccountName, volumes.csi,", "NEXUS_POD_SECURITY": "Baseline"}
    )

    assert found.pod_forbidden == {"serviceAccountName", "volumes.csi"}
    assert found.pod_security == "baseline"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NEXUS_POD_FORBIDDEN", "serviceAcountName", 'did you mean "serviceAccountName"?'),
        ("NEXUS_POD_FORBIDDEN", "volumes.hostPath", 'unknown field "volumes.hostPath" of pod; '),
        ("NEXUS_POD_SECURITY", "privileged", "expected restricted or baseline"),
        ("NEXUS_WORKERS", "0", "an integer from 1 to 256"),
        ("NEXUS_TASK_IMAGES", "image", "{type}"),
        ("NEXUS_TASK_IMAGE_DIGESTS", "perl=sha256:" + 64 * "0", "python, http, bash, sql or store"),
        ("NEXUS_TASK_IMAGE_DIGESTS", "bash=0123", "TYPE=sha256:..."),
        ("NEXUS_OUTPUT_STORE", "s3://bucket", "Invalid JSON"),
        ("NEXUS_OUTPUT_STORE", "{}", "it has no url"),
        ("NEXUS_OUTPUT_STORE", '{"url": "ftp://x"}', "url: "),
        ("NEXUS_OUTPUT_STORE", '{"url": "file:///x"}', "volumeClaim"),
        ("NEXUS_WORKERS", "4.5", "an integer from 1 to 256"),
        ("NEXUS_WORKERS", "-1", "an integer from 1 to 256"),
        ("NEXUS_POOLS", "Nexus_Pools", "expected"),
        ("NEXUS_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
        ("NEXUS_LOG_FORMAT", "yaml", "text or json"),
        ("NEXUS_NAMESPACES", "team-a,Team_B", "names of namespaces"),
        ("NEXUS_LEASE", "my lease", "the name of a Kubernetes object"),
        ("NEXUS_LEASE_SECONDS", "2", "from 6 to 600"),
        ("NEXUS_TTL_SECONDS_AFTER_FINISHED", "1h", "an integer from 0"),
        ("NEXUS_WORKER", "4", "did you mean NEXUS_WORKERS?"),
        ("NEXUS_LOGFORMAT", "json", "did you mean NEXUS_LOG_FORMAT?"),
        ("NEXUS_MAXPARALLELTASKS", "5", "did you mean NEXUS_MAX_PARALLEL_TASKS?"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment({name: value})

    assert name in str(caught.value)
    assert words in str(caught.value)


def test_what_kubernetes_makes_of_services_is_no_setting() -> None:
    """Of Services named nexus, nexus-http and nexus-lease."""
    environ = {
        "NEXUS_SERVICE_HOST": "10.96.0.7",
        "NEXUS_SERVICE_PORT_METRICS": "8080",
        "NEXUS_PORT": "tcp://10.96.0.7:8080",
        "NEXUS_PORT_8080_TCP_ADDR": "10.96.0.7",
        "NEXUS_HTTP_PORT": "tcp://10.96.0.8:80",
        "NEXUS_HTTP_PORT_80_TCP": "tcp://10.96.0.8:80",
        "NEXUS_LEASE_SERVICE_PORT": "80",
    }
    assert from_environment(environ) == Settings()
    assert strangers(environ) == []


def test_variables_of_others_are_told_of_and_are_no_reason_to_stop() -> None:
    environ = {"NEXUS_AUDIT_LOG": "x", "NEXUS_KWOK_NODES": "3", "NEXUS_OUTPUT": "/tmp/x", "NEXUS_WORKERS": "3"}
    assert from_environment(environ).workers == 3
    assert strangers(environ) == ["NEXUS_AUDIT_LOG", "NEXUS_KWOK_NODES", "NEXUS_OUTPUT"]


def test_what_is_empty_is_not_set() -> None:
    assert from_environment(dict.fromkeys(FIELDS, " ")) == Settings()


def test_numbers_for_every_workflow() -> None:
    found = from_environment(
        {
            "NEXUS_RETRY_LIMIT": "2",
            "NEXUS_MAX_PARALLEL_TASKS": "5",
            "NEXUS_HISTORY_FAILED": "10",
            "NEXUS_TTL_SECONDS_AFTER_FINISHED": "0",
        }
    ).defaults
    assert (found.retry_limit, found.max_parallel_tasks, found.ttl_seconds) == (2, 5, 0)
    assert (found.history_succeeded, found.history_failed) == (3, 10)
