"""What is kept ready: bounded in bytes, the last used last to go."""

from __future__ import annotations

import asyncio

import pytest
from tests.builders import spec, task

from nexus.adapters.fake import FakeCluster
from nexus.adapters.kube.cache.bounded import Kept, footprint
from nexus.adapters.kube.cache.records import run_record
from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS
from nexus.adapters.kube.runs import definitions
from nexus.adapters.kube.runs.definitions import Definitions
from nexus.core.expressions.templates import Evaluator


def test_what_was_not_used_for_longest_goes_when_the_bytes_are_used_up() -> None:
    kept: Kept[str] = Kept(100)
    for name in "abc":
        kept.keep(name, name.upper(), 40 if name != "c" else 20)
    assert (kept.get("a"), kept.size) == ("A", 100)
    kept.keep("d", "D", 30)
    assert [kept.get(name) for name in "abcd"] == ["A", None, "C", "D"]
    assert kept.size == 90


def test_what_is_over_the_limit_alone_is_not_kept_and_drives_nothing_out() -> None:
    kept: Kept[str] = Kept(100)
    kept.keep("a", "A", 60)
    kept.keep("big", "B", 101)
    assert (kept.get("a"), kept.get("big"), kept.size, len(kept)) == ("A", None, 60, 1)


def test_a_value_that_is_replaced_or_dropped_gives_its_bytes_back() -> None:
    kept: Kept[str] = Kept(100)
    kept.keep("a", "A", 60)
    kept.keep("a", "A2", 10)
    kept.drop("never there")
    assert (kept.get("a"), kept.size) == ("A2", 10)
    kept.drop("a")
    assert (kept.get("a"), kept.size, len(kept)) == (None, 0, 0)


def test_a_footprint_counts_what_is_shared_once_and_the_programs_own_not_at_all() -> None:
    text = "x" * 100_000
    assert 100_000 < footprint([text, [text], {"k": text}]) < 101_000
    assert footprint(FakeCluster) == 0
    small, large = (spec(*(task(f"t{n}") for n in range(count))) for count in (5, 50))
    assert 5 * footprint(small) < footprint(large) < 15 * footprint(small)


@pytest.mark.parametrize(("limit", "reads"), [(64 * 1024 * 1024, 0), (0, 70)])
def test_seventy_definitions_in_turn_are_read_once_while_they_fit(
    cel: Evaluator, monkeypatch: pytest.MonkeyPatch, limit: int, reads: int
) -> None:
    async def looks() -> int:
        cluster = FakeCluster()
        ready, records = Definitions(cluster, cel), []
        for number in range(70):
            cluster.add(WORKFLOWS, {"metadata": {"name": f"w{number}"}, "spec": spec(task(f"t{number}")).to_json()})
            body = {"metadata": {"name": f"r{number}"}, "spec": {"workflowRef": {"name": f"w{number}"}}}
            made = cluster.add(WORKFLOW_RUNS, body)
            found, revision = await ready.of(run_record(made), cluster.clock.now())
            assert isinstance(found, definitions.Definition)
            pinned = {"revision": revision, "revisionHash": found.sha256}
            status = {"phase": "Running", "startTime": "2026-11-23T09:00:00Z", **pinned}
            records.append(run_record({**made, "status": status}))
        before = cluster.reads
        for record in records:
            await ready.of(record, cluster.clock.now())
        return cluster.reads - before

    monkeypatch.setattr(definitions, "KEPT_BYTES", limit)
    assert asyncio.run(looks()) == reads
