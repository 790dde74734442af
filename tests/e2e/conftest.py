"""The cluster that the end-to-end tests run against."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The kubeconfig of a cluster whose administrator the tests are. It fails, never skips, where there is none."""
    path = Path(os.environ.get("KUBECONFIG_E2E", ""))
    if not path.is_file():
        pytest.fail("the cluster tests need KUBECONFIG_E2E, the path of the local cluster's kubeconfig: `make cluster`")
    return path
