"""What a run costs the API server: the operator's writes, by verb and kind."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.builders import spec, task
from tests.operators import story

from nexus.adapters.fake import Outcome
from nexus.api.reasons import RunPhase
from nexus.core.expressions.templates import Evaluator

FIRST_OF_A_WORKFLOW = {("create", "controllerrevisions"): 1, ("patch", "workflowruns"): 1}


@pytest.mark.parametrize(("by_reference", "more"), [(False, {}), (True, FIRST_OF_A_WORKFLOW)])
def test_the_writes_of_a_run_with_one_task(
    cel: Evaluator, by_reference: bool, more: dict[tuple[str, str], int]
) -> None:
    """Its Job, its status as it begins and as it ends, and an Event for its task and one for itself. The first run of a
    Workflow pins its definition, and one that was created without an owner gets its Workflow for one."""
    with story(spec(task("only")), cel, by_reference=by_reference) as told:
        told.cluster.script("only", Outcome(seconds=2))
        told.operator()
        told.run()
        writes = Counter((write.verb, write.kind.plural) for write in told.operators[0].api.writes)
        assert told.status.phase is RunPhase.SUCCEEDED
        found = {what: count for what, count in writes.items() if what[1] != "workflows"}
        assert found == {
            ("create", "jobs"): 1,
            ("replace_status", "workflowruns"): 2,
            ("create", "events"): 2,
            **more,
        }
