"""The ConfigMap with the outputs of a running fan-out: believed as far as the status vouches for it, and no further."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.builders import entry_of, spec, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import CONFIG_MAPS, EVENTS, PODS, WORKFLOW_RUNS, Object
from nexus.adapters.kube.owners import owned_by
from nexus.api.run import TaskStatus
from nexus.core.expressions.templates import Evaluator
from nexus.core.names import job_name, output_name
from nexus.core.text.json_text import dump
from nexus.core.text.sha256 import sha256

COUNT = 4
PAD = "y" * 700
SHOWN = "${{ tasks.each.output.items.map(i, i == null ? 'none' : string(i.n)).join(' ') }}"


def item(pod: Object) -> Outcome:
    """The first two items end soon, the others after a while; each says what it is."""
    metadata = {**pod["metadata"].get("annotations", {}), **pod["metadata"]["labels"]}
    index = int(metadata.get("batch.kubernetes.io/job-completion-index", metadata.get("nexus.dev/index", 0)))
    return Outcome(seconds=3 if index < 2 else 60, message=json.dumps({"n": index, "pad": PAD}))


@contextmanager
def fanned(cel: Evaluator, *, own: bool = False) -> Iterator[Story]:
    """A fan-out over four items, with an Indexed Job or a Job for each, and a task that says what came of it."""
    args = {"container": {"image": "work:1", "args": ["${{ item }}"]}} if own else {}
    each = task("each", forEach={"items": [0, 1, 2, 3]}, **args)
    after = task("after", "each", env=[{"name": "SEEN", "value": SHOWN}], triggerRule="AllDone")
    with story(spec(each, after), cel) as subject:
        subject.cluster.script("each", item)
        subject.operator()
        yield subject


def name(subject: Story) -> str:
    uid = subject.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name)
    assert uid is not None
    return output_name(job_name(KEY.name, uid["metadata"]["uid"], "each", 1))


def entry(subject: Story) -> TaskStatus:
    return entry_of(subject.status, "each")


def stored(subject: Story) -> list[Any]:
    body = subject.cluster.find(CONFIG_MAPS, KEY.namespace, name(subject))
    assert body is not None
    return [one and one["n"] for one in json.loads(body["data"]["output.json"])["items"]]


def checkpointed(subject: Story) -> None:
    """Go on until the first two outputs are stored, and the status says so."""
    subject.run(until=lambda: entry(subject).output_ref is not None)
    assert stored(subject) == [0, 1, None, None]
    assert entry(subject).items is not None
    assert entry(subject).items.stored_indexes == "0,1"  # type: ignore[union-attr]


def tamper(subject: Story, change: Callable[[list[Any]], Any]) -> None:
    """Write other outputs into the ConfigMap, as whoever may patch ConfigMaps can."""

    def edit(body: Object) -> None:
        items = json.loads(body["data"]["output.json"])["items"]
        changed = change(items)
        body["data"] = {"output.json": changed if isinstance(changed, str) else dump({"items": changed})}

    subject.cluster.store.change(CONFIG_MAPS, KEY.namespace, name(subject), edit)


def another_operator(subject: Story) -> None:
    subject.operators[0].die()
    subject.operators.clear()
    subject.operator()


def pods_gone(subject: Story) -> None:
    """The pods that have ended are gone, and their logs with them."""
    for pod in subject.cluster.objects(PODS):
        if any("terminated" in one["state"] for one in pod.get("status", {}).get("containerStatuses", ())):

            def let_go(body: Object) -> None:
                body["metadata"]["finalizers"] = []

            subject.cluster.store.change(PODS, KEY.namespace, pod["metadata"]["name"], let_go)
            subject.cluster.remove(PODS, pod["metadata"]["name"], grace_seconds=0)


def seen(subject: Story) -> str:
    """What the task after it was told."""
    from nexus.adapters.kube.client.api import JOBS

    (job,) = (job for job in subject.cluster.objects(JOBS) if "-after-" in job["metadata"]["name"])
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return str(next(variable["value"] for variable in env if variable["name"] == "SEEN"))


def started(subject: Story) -> int:
    """Pods that the items had."""
    return subject.cluster.kubelet._begun.get((_uid(subject), "each"), 0)


def _uid(subject: Story) -> str:
    body = subject.cluster.find(WORKFLOW_RUNS, KEY.namespace, KEY.name)
    return str(body["metadata"]["uid"]) if body is not None else ""


def events(subject: Story) -> list[str]:
    return [body["message"] for body in subject.cluster.objects(EVENTS) if body["reason"] == "ContentChanged"]


EVIL = {"n": 666, "pad": PAD}
ATTACKS: dict[str, Callable[[list[Any]], Any]] = {
    "a stored one": lambda items: [EVIL, *items[1:]],
    "one that has not run": lambda items: [*items[:3], EVIL],
    "all of them": lambda items: [EVIL] * len(items),
    "true for one": lambda items: [{**items[0], "n": False}, *items[1:]],
    "none left": lambda items: [None] * len(items),
    "too few": lambda items: items[:1],
    "too many": lambda items: [*items, EVIL],
    "no list": lambda _: dump({"items": {"0": EVIL}}),
    "no objects": lambda items: [1, "x", *items[2:]],
    "no JSON": lambda _: "{",
    "another text": lambda items: dump({"items": items}) + "\n",
    "deep": lambda _: '{"items":' + "[" * 50_000 + "]" * 50_000 + "}",
}


@pytest.mark.parametrize("own", [False, True], ids=["indexed", "own-jobs"])
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("failover", [False, True], ids=["same-operator", "failover"])
def test_outputs_that_somebody_wrote_there_are_never_used(
    cel: Evaluator, own: bool, attack: str, failover: bool
) -> None:
    with fanned(cel, own=own) as subject:
        checkpointed(subject)
        tamper(subject, ATTACKS[attack])
        if failover:
            another_operator(subject)

        subject.run()

        assert subject.phases == {"each": "Succeeded", "after": "Succeeded"}
        assert seen(subject) == "0 1 2 3"
        assert stored(subject) == [0, 1, 2, 3]
        reference = entry(subject).output_ref
        assert reference is not None
        body = subject.cluster.find(CONFIG_MAPS, KEY.namespace, name(subject)) or {}
        assert reference.sha256 == sha256(body["data"]["output.json"])
        assert started(subject) == COUNT  # the pods still have what they told


@pytest.mark.parametrize("attack", ["a stored one", "all of them", "none left", "no JSON"])
def test_what_no_pod_can_prove_any_more_runs_again_and_is_said(cel: Evaluator, attack: str) -> None:
    with fanned(cel) as subject:
        checkpointed(subject)
        tamper(subject, ATTACKS[attack])
        pods_gone(subject)
        another_operator(subject)

        subject.run()

        assert seen(subject) == "0 1 2 3"
        assert started(subject) == COUNT + 2
        assert [name(subject) in message for message in events(subject)] == [True]


def test_an_output_beyond_the_recorded_ones_does_not_spoil_those(cel: Evaluator) -> None:
    with fanned(cel) as subject:
        checkpointed(subject)
        tamper(subject, ATTACKS["one that has not run"])
        pods_gone(subject)
        another_operator(subject)

        subject.run()

        assert seen(subject) == "0 1 2 3"
        assert started(subject) == COUNT  # 0 and 1 are proven by the hash, 2 and 3 by their pods
        assert events(subject) == []


def test_a_config_map_made_beforehand_counts_for_nothing(cel: Evaluator) -> None:
    with fanned(cel) as subject:
        subject.run(until=lambda: bool(subject.cluster.objects(PODS)))
        owner = owned_by("WorkflowRun", KEY.name, _uid(subject))
        data = {"output.json": dump({"items": [EVIL] * COUNT})}
        body = {"metadata": {"name": name(subject), "ownerReferences": owner}, "data": data}
        subject.cluster.add(CONFIG_MAPS, body)

        subject.run()

        assert seen(subject) == "0 1 2 3"
        assert stored(subject) == [0, 1, 2, 3]
        assert started(subject) == COUNT


@pytest.mark.parametrize("own", [False, True], ids=["indexed", "own-jobs"])
@pytest.mark.parametrize("gone", [False, True], ids=["pods-there", "pods-gone"])
def test_an_operator_that_dies_between_the_config_map_and_the_status_loses_nothing_that_was_recorded(
    cel: Evaluator, own: bool, gone: bool
) -> None:
    with fanned(cel, own=own) as subject:
        checkpointed(subject)
        recorded = entry(subject)
        subject.run(until=lambda: (subject.cluster.clock.now() - subject.status.start_time).total_seconds() > 55)  # type: ignore[operator]
        # The next write is the ConfigMap, with all four.
        subject.operators[0].api.crash_after(1)
        subject.run(until=lambda: subject.deaths == 1 or stored(subject) == [0, 1, 2, 3])
        assert entry(subject) == recorded or subject.deaths == 1
        if gone:
            pods_gone(subject)

        subject.run()

        assert subject.deaths == 1
        assert seen(subject) == "0 1 2 3"
        assert started(subject) in ((COUNT, COUNT + 2) if gone else (COUNT,))


def test_a_checkpoint_of_an_older_version_has_no_hash_and_is_believed(cel: Evaluator) -> None:
    with fanned(cel) as subject:
        checkpointed(subject)

        def older(body: Object) -> None:
            (each,) = (one for one in body["status"]["tasks"] if one["name"] == "each")
            del each["outputRef"]["sha256"], each["items"]["storedIndexes"]

        subject.cluster.store.change(WORKFLOW_RUNS, KEY.namespace, KEY.name, older)
        pods_gone(subject)
        another_operator(subject)

        subject.run()

        assert seen(subject) == "0 1 2 3"
        assert started(subject) == COUNT
        assert entry(subject).output_ref.sha256 is not None  # type: ignore[union-attr]


def test_the_items_that_a_rerun_reuses_run_again_where_their_copy_was_replaced(cel: Evaluator) -> None:
    def first_time(pod: Object) -> Outcome:
        fails = "again" not in pod["metadata"]["labels"]["nexus.dev/run"] and item(pod).seconds == 60
        return Outcome(exit_code=1) if fails else item(pod)

    each = task("each", forEach={"items": [0, 1, 2, 3]})
    with story(spec(each), cel, by_reference=True) as subject:
        subject.cluster.script("each", first_time)
        subject.operator()
        subject.run()
        again = {"workflowRef": {"name": "sales"}, "rerunOf": {"name": KEY.name}}
        made = subject.cluster.add(WORKFLOW_RUNS, {"metadata": {"name": "again"}, "spec": again})
        subject.quiet(5)
        copy = output_name(job_name("again", made["metadata"]["uid"], "each", 0))
        owner = owned_by("WorkflowRun", "again", made["metadata"]["uid"])
        subject.cluster.remove(CONFIG_MAPS, copy)
        data = {"output.json": dump({"items": [EVIL] * COUNT})}
        subject.cluster.add(CONFIG_MAPS, {"metadata": {"name": copy, "ownerReferences": owner}, "data": data})
        another_operator(subject)
        subject.quiet(300)

        status = subject.status_of("again")
        reference = entry_of(status, "each").output_ref
        assert reference is not None
        body = subject.cluster.find(CONFIG_MAPS, KEY.namespace, reference.config_map)
        assert body is not None
        assert [one["n"] for one in json.loads(body["data"]["output.json"])["items"]] == [0, 1, 2, 3]
        assert [copy in message for message in events(subject)] == [True]
