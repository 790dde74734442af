"""The policies of a fan-out by themselves: which items, which mechanism, how each item stands, what is stored when."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from tests.builders import at, definition, ended, pod, task, waiting

from nexus.api.fanout import ForEach
from nexus.core.expressions.render import Renderer
from nexus.core.model import indexes
from nexus.core.model.definition import Node
from nexus.core.model.facts import JobFact
from nexus.core.names import item_job_name
from nexus.core.tasks.evidence import Waiting
from nexus.core.tasks.fanout.items import ItemsInvalid, combine, resolve
from nexus.core.tasks.item_mechanism import is_indexed
from nexus.core.tasks.item_tally import Due, Tally, TallyInput, is_idle, take


def node(**fields: Any) -> Node:
    return definition(task("fan", forEach={"items": []}, **fields)).nodes["fan"]


# -- indexes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("3", [3]),
        ("0,2,3", [0, 2, 3]),
        ("0-4,7", [0, 1, 2, 3, 4, 7]),
        ("7-9,12,13", [7, 8, 9, 12, 13]),
    ],
)
def test_the_notation_of_indexes_is_that_of_jobs(text: str, found: list[int]) -> None:
    assert indexes.parse(text, 20) == frozenset(found)
    assert indexes.text(reversed(found)) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0-99999999", [0, 1, 2, 3, 4]),
        ("3-99999999999999999999", [3, 4]),
        ("7-9,2", [2]),
        ("99999999-0,1", [1]),
        ("-3,x,1-2-3,,4,1-,²", [4]),
        ("9" * 5_000 + ",1", []),
        ("1," * 1_000_000, [1]),
    ],
)
def test_indexes_that_no_item_has_are_passed_over(text: str, found: list[int]) -> None:
    assert indexes.parse(text, 5) == frozenset(found)


def test_the_sets_that_are_remembered_are_few_megabytes() -> None:
    indexes.parse.cache_clear()
    tracemalloc.start()
    try:
        for last in range(0, 1_000, 2):
            indexes.parse(",".join(map(str, range(last, 1_000))), 1_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3 * 2**20


def test_many_scattered_indexes_are_cut() -> None:
    text = indexes.text(range(0, 1_000, 2), limit=100)
    assert len(text) <= 101
    assert text.startswith("0,2,4,")
    assert text.endswith(",…")


# -- items ------------------------------------------------------------------------------------------------------------


def test_the_last_name_of_a_matrix_varies_fastest() -> None:
    assert combine({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_a_matrix_is_counted_before_it_is_built() -> None:
    huge = {name: list(range(100)) for name in "abcdefghij"}
    with pytest.raises(ItemsInvalid, match="gives 100,000,000,000,000,000,000 items"):
        combine(huge)


def test_a_matrix_is_in_the_order_of_the_alphabet(renderer: Renderer) -> None:
    """Kubernetes sorts the keys of an object that it stores: the same must come out of a file."""
    items = resolve(ForEach(matrix={"b": [1, 2], "a": [3, 4]}), renderer)
    assert items == [{"a": 3, "b": 1}, {"a": 3, "b": 2}, {"a": 4, "b": 1}, {"a": 4, "b": 2}]


@pytest.fixture
def renderer() -> Renderer:
    return Renderer(None, {}, lambda name: name)  # type: ignore[arg-type]  # nothing is evaluated


def test_items_may_be_null_or_nested(renderer: Renderer) -> None:
    nested: Any = 1
    for _ in range(10):
        nested = [nested]
    assert resolve(ForEach(items=[None, nested, {"a": None}]), renderer) == [None, nested, {"a": None}]


# -- mechanism --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "indexed"),
    [
        ({}, True),
        ({"retry": {"limit": 3}}, True),
        ({"retry": {"limit": 3, "delaySeconds": 1}}, False),
        ({"retry": {"jitter": 0.5}}, False),
        ({"env": [{"name": "A", "value": "${{ params.day }}"}]}, True),
        ({"env": [{"name": "A", "value": "x-${{ item }}"}]}, False),
        ({"container": {"image": "x", "args": ["${{ index }}"]}}, False),
        ({"container": {"image": "x", "args": ["$(JOB_COMPLETION_INDEX)"]}}, True),
        ({"http": {"url": "http://x/${{ item }}"}}, True),
        ({"python": {"call": "m:f", "with": {"x": ["${{ item }}"]}}}, True),
    ],
)
def test_one_job_runs_all_items_unless_pods_or_delays_differ(fields: dict[str, Any], indexed: bool) -> None:
    assert is_indexed(node(**fields), native_backoff=True) is indexed
    assert not is_indexed(node(**fields), native_backoff=False)


def test_the_names_of_item_jobs_fit() -> None:
    name = item_job_name("r" * 63, "uid", "t" * 40, 999, 101)
    assert len(name) <= 57
    assert len({item_job_name("r", "u", "t", 1, 23), item_job_name("r", "u", "t", 12, 3)}) == 2


# -- tally ------------------------------------------------------------------------------------------------------------


def whole(*pods: Any, completed: str = "", failed: str = "", **fields: Any) -> JobFact:
    return JobFact(
        "whole",
        "whole-uid",
        "fan",
        1,
        at(0),
        items=3,
        completed_indexes=completed,
        failed_indexes=failed,
        **{"parallelism": 3, "pods": tuple(pods), **fields},
    )


def own(index: int, attempt_number: int, *pods: Any, **fields: Any) -> JobFact:
    return JobFact(
        f"own-{index}-{attempt_number}",
        f"uid-{index}-{attempt_number}",
        "fan",
        attempt_number,
        at(0),
        items=3,
        index=index,
        pods=tuple(pods),
        **fields,
    )


def tally(*jobs: JobFact, fields: dict[str, Any] | None = None, **known: Any) -> Tally:
    evidence = TallyInput(node(**(fields or {})), 3, jobs, known.pop("recorded", None), None, frozenset(), {}, "w")
    return take(replace(evidence, **known))


def of(index: int, *args: Any, **fields: Any) -> Any:
    return replace(pod(*args, uid=f"pod-{index}", **fields), index=index)


OK, BAD = ended(0), ended(7)


def test_every_item_stands_somewhere() -> None:
    """Done by its container, before the Job knows; given up by the Job; running or to come."""
    found = tally(whole(of(0, OK), of(1, BAD), of(2), failed="1"))
    assert (set(found.done), set(found.failed), found.running, found.due) == ({0}, {1}, {2}, {})
    assert found.failed[1].exit_code == 7
    assert (found.held, found.over) == (1, False)


def test_a_failed_pod_of_an_item_that_is_not_given_up_is_no_failure() -> None:
    found = tally(whole(of(0, OK), of(1, BAD), of(2, OK)))
    assert (found.running, found.failed, found.over) == ({1}, {}, False)


def test_the_slots_of_an_indexed_job_shrink_with_what_is_left() -> None:
    assert tally(whole(parallelism=2)).held == 2
    assert tally(whole(of(0, OK), of(1, OK), of(2), parallelism=2)).held == 1
    assert tally(whole(of(0, OK), of(1, OK), of(2, OK))).held == 0


def test_an_item_without_a_pod_that_proves_it_is_looked_for_before_it_is_lost() -> None:
    job = whole(of(1, OK), of(2, OK), completed="0-2", complete=True)
    found = tally(job)
    assert (found.unproven, found.due) == ({"whole-uid"}, {})
    assert tally(job, listed=frozenset({"whole-uid"})).due == {0: Due(2, None)}
    stored = [{"n": 1}, None, None]
    found = tally(job, stored=stored)
    assert (found.done[0], found.unproven, found.over) == (None, set(), True)


def test_a_lost_output_is_made_again_three_times() -> None:
    listed = frozenset({"whole-uid", *(f"uid-0-{attempt_number}" for attempt_number in range(9))})
    job = whole(of(1, OK), of(2, OK), completed="0-2", complete=True)
    jobs = [job]
    for attempt_number in (2, 3, 4):
        assert tally(*jobs, listed=listed).due == {0: Due(attempt_number, None)}
        jobs.append(own(0, attempt_number, complete=True))
    found = tally(*jobs, listed=listed)
    assert (found.due, found.failed[0].reason) == ({}, "OutputLost")


def test_a_frame_that_the_log_has_lost_is_a_lost_output() -> None:
    found = tally(whole(of(0, OK), of(1, OK), of(2, OK)), frames={"pod-0": None, "pod-1": "x"})
    assert (found.due, set(found.done)) == ({0: Due(2, None)}, {1, 2})


def test_a_job_of_its_own_is_newer_than_the_indexed_one() -> None:
    all_done = whole(of(0, OK), of(1, OK), of(2, OK), completed="0-2", complete=True)
    found = tally(all_done, own(0, 2, pod()), frames={"pod-0": None})
    assert (found.running, found.held) == ({0}, 1)


@pytest.mark.parametrize(
    ("before", "frames", "counts"),
    [
        (whole(of(0, OK), completed="0"), {}, False),
        (whole(of(0, OK), completed="0"), {"pod-0": None}, True),
        (whole(of(0)), {}, False),
        (whole(of(0, BAD), failed="0"), {}, False),
        (whole(of(0, BAD), failed="0", failure="FailedIndexes"), {}, False),
        (whole(completed="0"), {}, True),
        (whole(failure="DeadlineExceeded"), {}, True),
        (own(0, 1, pod()), {}, False),
        (own(0, 1, pod(BAD), failure="BackoffLimitExceeded", failed=1), {}, True),
        (own(0, 1, pod(OK)), {}, False),
        (own(0, 1, pod(OK)), {"pod-uid": None}, True),
        (own(0, 1, complete=True), {}, True),
        (own(1, 1, pod()), {}, True),
    ],
)
def test_a_further_job_of_an_item_counts_once_what_was_before_it_has_ended(
    before: JobFact, frames: dict[str, Any], counts: bool
) -> None:
    further = own(0, 2, pod(phase="Running", uid="further"))
    found = tally(before, further, frames=frames, fields={"retry": {"limit": 3}})
    alone = tally(before, frames=frames, fields={"retry": {"limit": 3}})

    assert (found != alone) is counts


@pytest.mark.parametrize(
    ("retry", "jobs", "expected"),
    [
        ({"limit": 1, "delaySeconds": 4}, [1], Due(2, at(9))),
        ({"limit": 1, "delaySeconds": 4}, [1, 2], None),
        ({"limit": 2, "delaySeconds": 4, "factor": 3}, [1, 2], Due(3, at(17))),
        ({"limit": 2, "delaySeconds": 4, "failOnExitCodes": [7]}, [1], None),
        ({"delaySeconds": 4}, [1], None),
    ],
)
def test_attempts_of_an_item_are_counted_from_its_jobs(
    retry: dict[str, Any], jobs: list[int], expected: Due | None
) -> None:
    made = [own(0, n, pod(BAD), failure="BackoffLimitExceeded", failed=1, finished_at=at(6)) for n in jobs]
    found = tally(*made, fields={"retry": retry})
    assert found.due.get(0) == expected
    assert (0 in found.failed) is (expected is None)
    assert (found.due[1], found.due[2]) == (Due(1, None), Due(1, None))


def test_items_of_a_deleted_job_have_failed_once() -> None:
    found = tally(recorded="whole")
    assert {failure.reason for failure in found.failed.values()} == {"JobDeleted"}
    assert tally(recorded="whole", fields={"retry": {"limit": 1}}).due == {n: Due(2, None) for n in range(3)}


def test_a_job_that_ended_leaves_items_that_never_ran() -> None:
    found = tally(whole(of(0, BAD), failed="0", failure="MaxFailedIndexesExceeded"))
    assert (found.running, set(found.failed), found.over) == ({1, 2}, {0}, True)


def test_what_pods_wait_for_is_known() -> None:
    found = tally(whole(waiting("ImagePullBackOff", "no such image", uid="x")))
    assert not found.waiting
    found = tally(whole(replace(waiting("ImagePullBackOff", "no such image"), index=0)))
    assert isinstance(found.waiting[0], Waiting)
    assert (found.waiting[0].reason, found.started) == ("ImagePull", False)
    assert [entry.reason for entry in tally(whole()).waiting] == ["Starting"]


@pytest.mark.parametrize(
    ("job", "idle"),
    [
        (whole(of(0, OK), of(1), of(2, OK)), False),
        (whole(of(0, OK), of(1, BAD), of(2, OK)), False),
        (whole(of(0, OK), of(1, BAD), of(2, OK), failed="1"), True),
        (whole(of(0, OK), of(1, BAD), failing=True), True),
        (own(0, 1, pod(OK)), True),
        (own(0, 1, pod()), False),
        (own(0, 1), False),
    ],
)
def test_a_job_is_only_stopped_where_it_runs_something_or_would(job: JobFact, idle: bool) -> None:
    assert is_idle(job) is idle
