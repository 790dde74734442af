"""Fan-outs on a real cluster: every type of task, both mechanisms, failures, losses and what the items leave behind."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.e2e.space import Object, Space, bash, container, phases, python, task

from nexus.adapters.kube.client.api import JOBS, PODS
from nexus.core.expressions.templates import as_text

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

NASTY = [
    "plain",
    "two\nlines",
    'back\\slash \\n "quotes" $(id) $$ ${HOME} é 漢 🙂\ttab',
    "",
    None,
    7,
    [1, {"a": None}],
    {"b": [[]]},
]


def fan(body: Object, items: Any, **fields: Any) -> Object:
    return body | {"forEach": {"items": items, **fields}}


def test_every_item_reaches_its_code_as_it_is(space: Space) -> None:
    """In python as a value, in bash as text and in the context, in sql as a parameter; both mechanisms alike."""
    read = "output['item'] = item\noutput['index'] = index"
    shell = 'echo "text=$(printf %s "$ITEM" | base64 -w0)" >> "$NEXUS_OUTPUT"\n'
    shell += 'echo "index:=$INDEX" >> "$NEXUS_OUTPUT"; echo "context:=$(cat "$NEXUS_CONTEXT")" >> "$NEXUS_OUTPUT"'
    query = {"connection": "sqlite://", "query": "select :v as v", "parameters": {"v": "${{ json(item) }}"}}
    own = {"retry": {"limit": 1, "delaySeconds": 1}}
    space.run(
        "all",
        fan(python("py", read), NASTY),
        fan(python("py-own", read), NASTY) | own,
        fan(bash("sh", shell), NASTY),
        fan(bash("sh-own", shell), NASTY) | own,
        fan({"name": "db", "sql": query}, NASTY),
        fan(container("image", "sh", "-c", 'printf \'{"v":"%s"}\' "$V" > /dev/termination-log'), ["a", "$(V) $$"])
        | {"env": [{"name": "V", "value": "${{ item }}-${{ index }}"}]},
        maxParallelTasks=8,
    )
    run = space.finished("all", 180)
    assert set(phases(run).values()) == {"Succeeded"}, run["status"]
    for name in ("py", "py-own"):
        assert space.output(run, name)["items"] == [{"item": item, "index": i} for i, item in enumerate(NASTY)]
    kept = space.output(run, "sh")["items"]
    assert [entry["context"]["item"] for entry in kept] == NASTY
    assert [entry["index"] for entry in kept] == list(range(len(NASTY)))
    assert [base64.b64decode(entry["text"]).decode() for entry in kept] == [as_text(item) for item in NASTY]
    alone = space.output(run, "sh-own")["items"]
    for name, items in (("sh", kept), ("sh-own", alone)):
        assert [entry["context"].pop("task") for entry in items] == [{"name": name}] * len(NASTY)
    assert kept == alone
    assert [entry["rows"] for entry in space.output(run, "db")["items"]][:1] == [[{"v": '"plain"'}]]
    assert space.output(run, "image")["items"] == [{"v": "a-0"}, {"v": "$(V) $$-1"}]
    assert len(space.jobs("all", "py")) == 1
    assert len(space.jobs("all", "py-own")) == len(NASTY)


def test_items_fail_one_by_one(space: Space) -> None:
    """A failed item is null, its neighbours go on; a dependent under AllDone sees them all."""
    space.run(
        "failing",
        fan(bash("fan", '[ "$INDEX" != 2 ] || exit 9; echo "n:=$INDEX" >> "$NEXUS_OUTPUT"'), "${{ range(5) }}"),
        fan(
            python("once", "import os, sys\nif index == 1: sys.exit(3)\noutput['n'] = item"),
            ["a", "b", "c"],
            maxFailedItems=1,
        ),
        python("sees", "output['got'] = input['fan']['items']", "fan", triggerRule="AllDone"),
    )
    run = space.finished("failing")
    assert phases(run) == {"fan": "Failed", "once": "Succeeded", "sees": "Succeeded"}
    expected = [{"n": 0}, {"n": 1}, None, {"n": 3}, {"n": 4}]
    assert space.output(run, "fan")["items"] == expected
    assert space.output(run, "sees")["got"] == expected
    entry = task(run, "fan")
    assert entry["reason"] == "ItemsFailed"
    assert entry["items"]["failedIndexes"] == "2"
    assert entry["items"]["failures"][0]["exitCode"] == 9
    assert space.output(run, "once")["items"] == [{"n": "a"}, None, {"n": "c"}]


def test_a_pod_that_is_gone_loses_no_finished_item(space: Space) -> None:
    """After a checkpoint its output is stored; before it, the item runs again."""
    code = "import time\nif index == 3: time.sleep(25)\noutput['n'] = index"
    space.run("gone", fan(python("fan", code), [0, 1, 2, 3]))
    run = space.until("gone", lambda run: task(run, "fan").get("items", {}).get("succeeded") == 3, 60)
    assert task(run, "fan")["phase"] == "Running"
    for pod in space.pods("gone", "fan"):
        if pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] != "3":
            space.remove(PODS, pod["metadata"]["name"], gracePeriodSeconds=0)
    run = space.finished("gone")
    assert space.output(run, "fan")["items"] == [{"n": n} for n in range(4)]
    assert len(space.jobs("gone", "fan")) == 1


def test_fail_fast_stops_a_fan_out(space: Space) -> None:
    space.run(
        "fast",
        fan(bash("fan", '[ "$INDEX" != 1 ] || exit 1; sleep 60'), [0, 1, 2], parallelism=3),
        failurePolicy="FailFast",
    )
    run = space.finished("fast")
    assert (task(run, "fan")["phase"], task(run, "fan")["reason"]) == ("Failed", "ItemsFailed")
    assert space.without_jobs("fast", "fan")


def test_no_more_pods_than_slots_and_more_as_they_become_free(space: Space) -> None:
    """The Indexed Job begins with what is free and is given more."""
    space.run(
        "slots",
        bash("other", "sleep 4"),
        fan(bash("fan", "sleep 5"), "${{ range(4) }}"),
        maxParallelTasks=2,
    )
    run = space.finished("slots")
    assert set(phases(run).values()) == {"Succeeded"}
    (job,) = space.jobs("slots", "fan")
    assert job["spec"]["parallelism"] == 2


def test_bad_items_start_nothing(space: Space) -> None:
    space.run("bad", fan(bash("fan", "true"), "${{ range(1001) }}"))
    run = space.finished("bad")
    assert task(run, "fan")["reason"] == "InvalidItems"
    assert space.list(JOBS, "nexus.dev/run=bad") == []
