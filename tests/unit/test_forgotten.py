"""A run that is deleted while it is under way: nothing of it stays in the operator's memory."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest
from tests.builders import spec, task
from tests.operators import KEY, Operator, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import PODS, WORKFLOW_RUNS
from nexus.core.expressions.templates import Evaluator


def held(operator: Operator, uid: str) -> list[str]:
    """Where in the operator's records a run is still named, by the path of attributes."""
    found, seen = list[str](), set[int]()
    open_: list[tuple[str, Any]] = [("operator", operator.reconciler), ("cache", operator.cache)]
    while open_:
        path, value = open_.pop()
        if id(value) in seen or path.count(".") > 8:
            continue
        seen.add(id(value))
        if isinstance(value, str):
            found += [path] if uid in value else []
        elif isinstance(value, dict):
            for key, inner in value.items():
                open_ += [(f"{path}.{key}", inner), (f"{path} (a key)", key)]
        elif isinstance(value, (list, tuple, set, frozenset)):
            open_ += [(f"{path}[]", inner) for inner in value]
        elif type(value).__module__.startswith("nexus.") and "fake" not in type(value).__module__:
            fields = {name: getattr(value, name, None) for name in getattr(type(value), "__slots__", ())}
            for name, inner in {**getattr(value, "__dict__", {}), **fields}.items():
                open_.append((f"{path}.{name}", inner))
    return found


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "by-reference"])
def test_a_run_deleted_in_the_middle_of_a_fan_out_leaves_nothing(cel: Evaluator, inline: bool) -> None:
    message = json.dumps({"x": "y" * 2_000})
    each = task("each", forEach={"items": list(range(12))})
    held_back = task("held", container={"image": "no:1"})
    with story(spec(each, held_back, maxParallelTasks=6), cel, by_reference=not inline) as subject:
        outcomes = [Outcome(seconds=2 + 5 * (n % 6), message=message) for n in range(12)]
        subject.cluster.script("each", *outcomes)
        subject.cluster.script("held", Outcome.unmounted())
        subject.most = 3
        operator = subject.operator()
        entries = lambda: {entry.name: entry for entry in subject.status.tasks or ()}  # noqa: E731
        subject.run(until=lambda: bool(entries()) and entries()["each"].output_ref is not None)
        body = subject.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name)
        assert body is not None
        uid = body["metadata"]["uid"]
        assert any("_items" in path for path in held(operator, uid))

        subject.cluster.remove(WORKFLOW_RUNS, KEY.name)
        subject.quiet(1_000)

        assert subject.cluster.objects(PODS) == []
        gc.collect()
        assert held(operator, uid) == []
