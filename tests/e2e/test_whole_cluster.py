"""An operator for all namespaces; see tests.scheduling.WHOLE_CLUSTER."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import operator_for
from tests.e2e.space import Space, bash, phases, python

from nexus.adapters.kube.client.api import JOBS, PODS

pytestmark = pytest.mark.cluster


def test_an_operator_for_the_whole_cluster_works_in_every_namespace(
    new_space: Callable[[str], Space], tmp_path: Path
) -> None:
    home, elsewhere = new_space("home"), new_space("elsewhere")
    with operator_for(tmp_path, home, everywhere=True):
        for space in (home, elsewhere):
            space.run("r", python("big", "output['text'] = 'x' * 5000"), bash("b", "grep -q xxx $NEXUS_CONTEXT", "big"))
        for space in (home, elsewhere):
            assert phases(space.finished("r")) == {"big": "Succeeded", "b": "Succeeded"}
            assert {len(space.list(kind, "nexus.dev/run=r")) for kind in (JOBS, PODS)} == {2}
