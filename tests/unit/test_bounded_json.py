"""JSON of the API server within bounds: depth, size, and how long one step takes."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.adapters.kube.cache.records import run_record
from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS
from nexus.adapters.kube.client.bounded_json import (
    MAX_BYTES,
    NotJson,
    TooDeep,
    decode,
    decode_large,
    nests_deeper,
    pruned,
)
from nexus.adapters.kube.client.brief import (
    HELD,
    UNREADABLE,
    Long,
    as_brief,
    brief,
    brief_object,
    read_object,
    unreadable,
)
from nexus.adapters.kube.client.list_reader import ListReader, read_bounded, read_event, read_list
from nexus.api.packed import Packed, unpacked
from nexus.api.run import WorkflowRunStatus

TEXTS = st.text(alphabet='ab"\\[]{},:\u00e9\n\0', max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)
METADATA = {
    "name": "r",
    "namespace": "d",
    "uid": "u",
    "resourceVersion": "7",
    "generation": 2,
    "creationTimestamp": "2026-11-23T09:00:00Z",
    "deletionTimestamp": "2026-11-23T10:00:00Z",
    "labels": {"a": "b"},
    "ownerReferences": [{"kind": "Workflow", "name": "w", "uid": "o", "controller": True}],
}


def depth(value: Any) -> int:
    """The levels of a value."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def nested(levels: int) -> str:
    """A list with so many levels, as JSON."""
    return "[" * levels + "]" * levels


def text_of(*, params: str = "{}", status: str = "{}", managed: str = "[]") -> bytes:
    """A WorkflowRun as the API server writes it."""
    metadata = json.dumps({**METADATA, "managedFields": "@"}).replace('"@"', managed)
    spec = f'{{"params":{params},"suspend":true,"workflowRef":{{"name":"w"}}}}'
    run = f'{{"apiVersion":"nexus.dev/v1alpha1","kind":"WorkflowRun","metadata":{metadata},"spec":{spec},'
    return f'{run}"status":{status}}}'.encode()


class Chunks:
    """A body that arrives in chunks."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """See Content."""
        for chunk in self.chunks:
            for start in range(0, len(chunk), n):
                yield chunk[start : start + n]


@given(VALUES, st.booleans())
def test_the_depth_of_a_text_is_that_of_its_value_whatever_its_strings_hold(value: Any, ascii_only: bool) -> None:
    text = json.dumps([value] * 40, ensure_ascii=ascii_only).encode()  # over the threshold of the cheap count
    levels = depth([value])
    assert not nests_deeper(text, levels)
    assert nests_deeper(text, levels - 1)


@given(VALUES)
def test_what_is_decoded_in_steps_is_what_is_decoded_at_once(value: Any) -> None:
    text = json.dumps({"a": [value] * 3, "b": "x" * 70_000, "c": {"d": ["y" * 70_000, value]}}).encode()
    assert decode_large(text) == decode(text) == json.loads(text)


@pytest.mark.parametrize("levels", [111, 900, 5_000, 100_000])
def test_no_depth_is_too_deep_to_be_refused(levels: int) -> None:
    for read in (decode, decode_large):
        with pytest.raises(TooDeep):
            read(nested(levels).encode())
    assert decode(nested(110).encode())


@pytest.mark.parametrize("text", [b"", b"{", b"nul", b'{"a":1}}', b"<html>", b'"\xff"', b"1" * 5_000])
def test_what_is_no_json_says_so(text: bytes) -> None:
    with pytest.raises(NotJson):
        decode(text)


@given(VALUES, st.integers(1, 4))
def test_pruning_leaves_what_is_shallow(value: Any, levels: int) -> None:
    def cut(part: Any, left: int) -> Any:
        if isinstance(part, dict | list) and left == 0:
            return "MARK"
        if isinstance(part, dict):
            return {name: cut(inner, left - 1) for name, inner in part.items()}
        return [cut(inner, left - 1) for inner in part] if isinstance(part, list) else part

    assert json.loads(pruned(json.dumps(value).encode(), levels, "MARK")) == cut(value, levels)


@pytest.mark.parametrize("items_first", [True, False])
@given(st.lists(st.fixed_dictionaries({"metadata": TEXTS, "x": VALUES}), max_size=5), st.integers(0, 2**32))
def test_the_items_of_a_list_come_whole_wherever_its_body_is_cut(
    items_first: bool, items: list[Any], seed: int
) -> None:
    head = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": "9"}}
    whole = head if items_first else {name: head[name] for name in ("kind", "metadata", "items")}
    body = json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
    reader, cuts, found, start = ListReader(), random.Random(seed), [], 0
    while start < len(body):
        end = start + cuts.choice((1, 2, 3, 17, 400))
        found += [json.loads(item) for item in reader.feed(body[start:end])]
        start = end
    assert found == items
    assert json.loads(reader.rest()) == {**whole, "items": []}


def test_a_list_that_is_longer_than_memory_allows_passes_item_by_item() -> None:
    item = b'{"metadata":{"name":"x"},"spec":{"p":[' + b",".join([b"[0]"] * 400_000) + b"]}}"
    body = [b'{"apiVersion":"v1","items":[', *[item, b","] * 3, item, b'],"metadata":{"resourceVersion":"3"}}']
    seen: list[int] = []

    async def take(text: bytes) -> None:
        seen.append(len(text))

    rest = asyncio.run(read_list(Chunks(*body), take))
    assert seen == [len(item)] * 4
    assert rest == {"apiVersion": "v1", "items": [], "metadata": {"resourceVersion": "3"}}


@pytest.mark.parametrize("body", [b'{"items":null,"kind":"L"}', b'{"items":[],"kind":"L"}', b'{"kind":"L"}'])
def test_a_list_of_nothing_has_no_items(body: bytes) -> None:
    async def take(text: bytes) -> None:
        raise AssertionError(text)

    assert asyncio.run(read_list(Chunks(body), take))["kind"] == "L"


@pytest.mark.parametrize("body", [b'{"items":[{"a":1}', b"<html>", b"[]", b'{"items":[{"a":' + b'"x' * MAX_BYTES])
def test_a_list_that_broke_off_is_no_list(body: bytes) -> None:
    async def take(_: bytes) -> None:
        pass

    with pytest.raises(NotJson):
        asyncio.run(read_list(Chunks(body), take))


def test_a_body_has_a_bound() -> None:
    assert asyncio.run(read_bounded(Chunks(b"a", b"b"))) == b"ab"
    with pytest.raises(NotJson, match="16,777,216"):
        asyncio.run(read_bounded(Chunks(*[b"x" * 2**20] * 17)))


def test_the_line_of_a_watch_is_taken_apart_without_reading_its_object() -> None:
    assert read_event(b'{"type":"ADDED","object":{"a":"}"}}\r') == ("ADDED", b'{"a":"}"}')
    for line in (b'{"kind":"Status"}', b'{"type":"ADDED","object":{"a"', b"<html>"):
        with pytest.raises(NotJson):
            read_event(line)


# -- brief forms -----------------------------------------------------------------------------------------------------


def test_a_brief_run_has_all_that_is_short() -> None:
    status = '{"phase":"Running","tasks":[{"name":"a"}]}'
    found = brief_object(WORKFLOW_RUNS, text_of(params='{"a":1}', status=status, managed="[{}]"))
    assert found["metadata"] == METADATA
    assert found["spec"] == {"params": {"a": 1}, "suspend": True, "workflowRef": {"name": "w"}}
    assert found["status"] == {"phase": "Running", "tasks": [{"name": "a"}]}
    assert as_brief(WORKFLOW_RUNS, found) == found


@pytest.mark.parametrize("tasks", [1, 40], ids=["short", "long"])
@pytest.mark.parametrize(
    "value", [[[0]] * 200, {"a": [1, 2.5, True, None, "\u00e9<\U0001f600", "y" * 64]}, "x" * 500, 1]
)
def test_long_outputs_are_kept_as_text_and_written_back_as_they_were(tasks: int, value: Any) -> None:
    entries = [{"name": f"t{n}", "phase": "Succeeded", "output": {"o": value, "n": n}} for n in range(tasks)]
    stored = {"phase": "Running", "tasks": [*entries, {"name": "last"}], "outputs": {"all": value}}
    text = text_of(status=json.dumps(stored))
    by_watch = run_record(brief_object(WORKFLOW_RUNS, text)).status
    by_answer = run_record(read_object(text)).status
    whole = WorkflowRunStatus.model_validate(stored)
    assert by_watch is not None
    assert by_answer is not None
    assert by_watch == by_answer == whole
    assert by_watch.to_json() == by_answer.to_json() == whole.to_json()
    assert [unpacked(task.output) for task in by_watch.tasks or ()] == [*(entry["output"] for entry in entries), {}]
    long = value != 1
    for status in (by_watch, by_answer):
        assert all(isinstance(task.output, Packed) == long for task in (status.tasks or ())[:-1])


def test_packed_values_differ_where_what_they_stand_for_differs() -> None:
    packed = Packed(b'{"a":[1],"b":2}')
    assert packed == Packed(b'{"b": 2, "a": [1]}') == {"a": [1], "b": 2}
    assert packed != Packed(b'{"a":[2],"b":2}')
    assert packed != {"a": [1]}
    assert packed != '{"a":[1],"b":2}'


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"tasks": "x" * 5_000}, "tasks"),
        ({"tasks": ["x" * 5_000]}, "tasks"),
        ({"tasks": [{"name": "a", "output": "x" * 5_000}]}, "output"),
        ({"outputs": ["x" * 5_000]}, "outputs"),
    ],
)
def test_a_long_status_of_another_form_is_told_of_its_run_and_breaks_no_watch(field: Any, told: str) -> None:
    status = json.dumps({"phase": "Running", **field})
    assert told in run_record(brief_object(WORKFLOW_RUNS, text_of(status=status))).invalid


def test_long_params_stay_text_and_params_that_no_run_may_have_are_not_kept() -> None:
    long, too_long = json.dumps({"p": "x" * 5_000}), json.dumps({"p": [[0]] * 30_000})
    found = brief_object(WORKFLOW_RUNS, text_of(params=long))
    assert json.loads(found[HELD]["params"]) == json.loads(long)
    assert "params" not in found["spec"]
    found = brief_object(WORKFLOW_RUNS, text_of(params=too_long, status='{"phase":"Failed"}'))
    assert unreadable(found) == "spec.params is over 65,536 bytes of JSON; pass large data through a task's output"
    assert found["spec"] == {"suspend": True, "workflowRef": {"name": "w"}}
    assert found["status"] == {"phase": "Failed"}
    assert len(json.dumps(found)) < 2_000


def test_what_the_api_server_escapes_counts_as_it_was_written() -> None:
    params = '{"p":"' + "\\u003c" * 60_000 + '"}'
    assert HELD in brief_object(WORKFLOW_RUNS, text_of(params=params))


@pytest.mark.parametrize("levels", [98, 99, 300, 980, 3_000, 100_000])
@pytest.mark.parametrize("where", ["params", "status"])
def test_a_run_that_nests_too_deep_is_a_stub_that_still_says_which_it_is_and_whether_it_has_begun(
    levels: int, where: str
) -> None:
    deep = '{"p":' + nested(levels + 11 * (where == "status")) + ',"phase":"Running","startTime":"t"}'
    text = text_of(params=deep) if where == "params" else text_of(status=deep)
    for found in (brief_object(WORKFLOW_RUNS, text), read_object(text)):
        field, most = ("spec", 100) if where == "params" else ("status", 110)
        assert found[UNREADABLE] == f"{field} is nested deeper than {most} levels; flatten it"
        assert found["metadata"] == METADATA
        given = {} if where == "params" else {"params": {}}
        assert found["spec"] == {**given, "suspend": True, "workflowRef": {"name": "w"}}
        assert found["status"] == ({} if where == "params" else {"phase": "Running", "startTime": "t"})


def test_a_spec_may_have_a_hundred_levels_and_what_is_recorded_of_it_ten_more() -> None:
    deep = '{"p":' + nested(97) + "}"
    assert not unreadable(read_object(text_of(params=deep)))
    assert not unreadable(brief_object(WORKFLOW_RUNS, text_of(params=deep)))
    assert unreadable(read_object(text_of(params='{"p":' + nested(98) + "}")))
    recorded = f'{{"metadata":{{"name":"r"}},"data":{{"spec":{{"p":{nested(98)}}}}}}}'.encode()
    assert not unreadable(read_object(recorded))
    assert not unreadable(read_object(text_of(status='{"tasks":[{"output":{"o":' + nested(99) + "}}]}")))


def test_an_author_cannot_write_what_stands_for_something_too_deep() -> None:
    mark = read_object(text_of(params='{"p":' + nested(5_000) + "}"))
    again = read_object(json.dumps({**mark, "spec": {**mark["spec"], UNREADABLE: "x"}}).encode())
    assert again["spec"][UNREADABLE] == "x"


def test_nobody_reads_the_specs_of_pods_the_templates_of_jobs_or_the_tasks_of_workflows_in_a_watch() -> None:
    body = {
        "metadata": {**METADATA, "annotations": {"short": "s", "long": "x" * 5_000}},
        "spec": {
            "template": {},
            "tasks": [],
            "parallelism": 2,
            "schedules": [{"name": "s", "params": {"p": "x" * 5_000}}],
        },
        "data": {"spec": {}},
        "status": {"phase": "Running"},
    }
    text = json.dumps(body).encode()
    assert "spec" not in brief_object(PODS, text)
    assert "template" not in brief_object(JOBS, text)["spec"]
    assert brief_object(WORKFLOWS, text)["spec"] == {"template": {}, "parallelism": 2, "schedules": [{"name": "s"}]}
    assert "data" not in brief_object(CONTROLLER_REVISIONS, text)
    assert brief_object(PODS, text)["metadata"] == {**METADATA, "annotations": {"short": "s"}}


@pytest.mark.parametrize(
    "params",
    [
        '{"p":[' + ",".join(["[0]"] * 350_000) + "]}",
        '{"p":[' + ",".join([nested(90)] * 7_700) + "]}",
        '{"p":[' + ",".join(['"a"'] * 350_000) + "]}",
        "{" + ",".join(f'"k{number}":{{}}' for number in range(120_000)) + "}",
        '{"p":"' + '\\\\\\"' * 350_000 + '"}',
    ],
)
def test_the_worst_that_the_api_server_accepts_holds_the_event_loop_for_milliseconds(params: str) -> None:
    text = text_of(params=params)
    assert 1_200_000 < len(text) < 1_600_000
    began = time.thread_time()
    assert unreadable(brief_object(WORKFLOW_RUNS, text))
    assert time.thread_time() - began < 0.1


def test_what_takes_longer_is_for_a_thread() -> None:
    with pytest.raises(Long):
        brief(WORKFLOW_RUNS, text_of(params='{"p":' + nested(5_000) + "}"))
