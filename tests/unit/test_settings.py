"""The operator's settings."""

from __future__ import annotations

import pytest

from nexus.app.settings import Settings, SettingsError, from_environment


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
        ("NEXUS_POD_FORBIDDEN", "serviceAcountName", "did you mean serviceAccountName?"),
        ("NEXUS_POD_FORBIDDEN", "volumes.hostPath", "there is no field volumes.hostPath of pod: "),
        ("NEXUS_POD_SECURITY", "privileged", "it takes restricted or baseline"),
        ("NEXUS_WORKERS", "0", "a whole number from 1 to 256"),
        ("NEXUS_TASK_IMAGES", "image", "{type}"),
        ("NEXUS_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment({name: value})

    assert name in str(caught.value)
    assert words in str(caught.value)
