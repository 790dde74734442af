"""`nexus get` and `nexus logs` of a run with a fan-out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.builders import spec, task
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import Object
from nexus.cli import cluster as commands
from nexus.cli.ending import UsageError
from nexus.cli.logs import print_logs
from nexus.core.expressions.templates import Evaluator


def index_of(pod: Object) -> int:
    labels = pod["metadata"]["labels"]
    return int(labels.get("nexus.dev/index", labels.get("batch.kubernetes.io/job-completion-index")))


def behave(pod: Object) -> Outcome:
    index = index_of(pod)
    return Outcome(exit_code=9 if index == 1 else 0, log=b"item %d\n" % index)


@pytest.fixture(params=[{}, {"retry": {"delaySeconds": 1}}], ids=["one-job", "own-jobs"])
def finished(cel: Evaluator, request: pytest.FixtureRequest) -> Iterator[Story]:
    """A run of which one item failed."""
    fan = task("fan", forEach={"items": ["a", "b", "c"], "maxFailedItems": 1}, **request.param)
    with story(spec(fan, task("alone")), cel) as told:
        told.cluster.script("fan", behave)
        told.cluster.script("alone", Outcome(log=b"alone\n"))
        told.operator()
        told.run()
        yield told


def logs(subject: Story, name: str | None, **options: Any) -> None:
    given = {"following": False, "tail": None, **options}
    asyncio.run(print_logs(subject.cluster, KEY.namespace, KEY.name, name, **given))


def test_logs_say_which_item_wrote_a_line(finished: Story, capsys: pytest.CaptureFixture[str]) -> None:
    logs(finished, "fan")
    assert capsys.readouterr().out.splitlines() == ["fan[0] | item 0", "fan[1] | item 1", "fan[2] | item 2"]


@pytest.mark.parametrize("following", [False, True])
def test_the_log_of_one_item_can_be_asked_for(
    finished: Story, following: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    logs(finished, "fan", item=1, following=following)
    assert capsys.readouterr().out == "item 1\n"


@pytest.mark.parametrize(
    ("name", "item", "words"),
    [
        (None, 0, "--item requires a task"),
        ("alone", 0, "task alone of run .* has no items: it has no forEach$"),
        ("fan", 3, "has 3 items; the last one is --item 2"),
    ],
)
def test_an_item_that_is_not_there_is_refused(finished: Story, name: str | None, item: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        logs(finished, name, item=item)


def test_a_run_in_detail_has_its_items_in_numbers(finished: Story, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(commands.show_run(finished.cluster, KEY.namespace, KEY.name, as_json=False))
    shown = capsys.readouterr().out
    assert "2 of 3 items done, 1 failed (1)" in shown
    assert "Failed items (nexus logs RUN TASK --item N has more)\n  fan  1  TaskError (exit code 9)\n" in shown
