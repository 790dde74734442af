"""Fan-outs on the fake cluster: the whole operator, with one Indexed Job and with a Job for each item."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import replace
from typing import Any

import pytest
from tests.builders import entry_of, spec, task
from tests.operators import story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, PODS, Object
from nexus.core.expressions.templates import Evaluator

# One Indexed Job; a Job for each item, for its delays; the same, for its pods.
MECHANISMS = {
    "one-job": {},
    "own-delays": {"retry": {"limit": 0, "delaySeconds": 3}},
    "own-pods": {"env": [{"name": "WHICH", "value": "${{ item }}"}]},
}


def fan(count: int, **fields: Any) -> Any:
    items = fields.pop("items", list(range(count)))
    return task("fan", forEach={"items": items, **fields.pop("forEach", {})}, **fields)


def index_of(pod: Object) -> int:
    labels = pod["metadata"]["labels"]
    return int(labels.get("nexus.dev/index", labels.get("batch.kubernetes.io/job-completion-index")))


def says_its_index(pod: Object) -> Outcome:
    return Outcome(message=json.dumps({"n": index_of(pod)}))


@pytest.fixture(params=MECHANISMS)
def mechanism(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(MECHANISMS[request.param])


def test_outputs_come_back_in_item_order(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(5, **mechanism), maxParallelTasks=3), cel) as subject:
        subject.cluster.script("fan", says_its_index)
        subject.operator()
        status = subject.run()
    entry = entry_of(status, "fan")
    assert entry.phase == "Succeeded"
    assert entry.output == {"items": [{"n": n} for n in range(5)]}
    assert entry.items is not None
    assert (entry.items.total, entry.items.succeeded, entry.items.failed) == (5, 5, 0)
    assert subject.witness.most_live == 3


def test_failed_items_are_null_and_the_task_fails_when_there_are_too_many(
    cel: Evaluator, mechanism: dict[str, Any]
) -> None:
    after = task("after", "fan", triggerRule="AllDone", python={"code": "1"}, env=[_size_of("fan")])
    with story(spec(fan(6, **mechanism), after), cel) as subject:
        subject.cluster.script("fan", lambda pod: Outcome(exit_code=7 if index_of(pod) in (2, 3) else 0))
        subject.cluster.script("after", Outcome(message='{"output":{}}'))
        subject.operator()
        status = subject.run()
        pod = next(
            pod for pod in subject.cluster.objects(PODS) if pod["metadata"]["labels"]["nexus.dev/task"] == "after"
        )
    entry = entry_of(status, "fan")
    assert (entry.phase, entry.reason) == ("Failed", "ItemsFailed")
    assert (
        entry.message == "2 of 6 items failed (2,3), which exceeds maxFailedItems (0); item 2: TaskError: exit code 7"
    )
    assert entry.output == {"items": [{}, {}, None, None, {}, {}]}
    assert entry.items is not None
    assert entry.items.failed_indexes == "2,3"
    assert [(failure.index, failure.exit_code) for failure in entry.items.failures or ()] == [(2, 7), (3, 7)]
    # Expressions and input of what comes after see the items of a fan-out that failed.
    assert {"name": "SIZE", "value": "6"} in pod["spec"]["containers"][0]["env"]


def _size_of(name: str) -> dict[str, str]:
    return {"name": "SIZE", "value": f"${{{{ tasks.{name}.output.items.size() }}}}"}


def test_so_many_items_may_fail(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(4, forEach={"maxFailedItems": 1}, **mechanism)), cel) as subject:
        subject.cluster.script("fan", lambda pod: Outcome(exit_code=1 if index_of(pod) == 0 else 0))
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert (entry.phase, entry.output) == ("Succeeded", {"items": [None, {}, {}, {}]})
    assert entry.items is not None
    assert entry.items.failed == 1


@pytest.mark.parametrize("delay", [{}, {"delaySeconds": 1}])
def test_an_item_is_retried_by_itself(cel: Evaluator, delay: dict[str, int]) -> None:
    tries: dict[int, int] = {}

    def flaky(pod: Object) -> Outcome:
        tries[index_of(pod)] = tries.get(index_of(pod), 0) + 1
        return Outcome(exit_code=1 if index_of(pod) == 1 and tries[1] < 3 else 0)

    with story(spec(fan(3, retry={"limit": 2, **delay})), cel) as subject:
        subject.cluster.script("fan", flaky)
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert entry.phase == "Succeeded"
    assert tries == {0: 1, 1: 3, 2: 1}


@pytest.mark.parametrize("delay", [{}, {"delaySeconds": 1}])
def test_an_exit_code_can_end_one_item_without_a_retry(cel: Evaluator, delay: dict[str, int]) -> None:
    with story(spec(fan(3, retry={"limit": 2, "failOnExitCodes": [9], **delay})), cel) as subject:
        subject.cluster.script("fan", lambda pod: Outcome(exit_code=9 if index_of(pod) == 1 else 0))
        subject.operator()
        entry = entry_of(subject.run(), "fan")
        pods = [index_of(pod) for pod in subject.cluster.objects(PODS)]
    assert (entry.phase, sorted(pods)) == ("Failed", [0, 1, 2])


def test_each_item_of_an_http_fan_out_waits_as_long_as_its_server_asks(cel: Evaluator) -> None:
    busy = '{"error":{"type":"UnexpectedStatus","message":"answered 429","retryAfter":300}}'
    tries: dict[int, int] = {}

    def answers(pod: Object) -> Outcome:
        index = index_of(pod)
        tries[index] = tries.get(index, 0) + 1
        if index == 1 and tries[1] == 1:
            return Outcome(exit_code=1, message=busy)
        return Outcome(exit_code=241) if index == 2 else Outcome()

    retry = {"limit": 3, "delaySeconds": 1, "retryOn": [429]}
    asked = task("fan", forEach={"items": [0, 1, 2]}, http={"url": "http://orders.example"}, retry=retry)
    with story(spec(asked), cel) as subject:
        subject.cluster.script("fan", answers)
        subject.operator()
        began = subject.cluster.clock.now()
        waiting = entry_of(subject.run(lambda: entry_of(subject.status, "fan").reason == "RetryDelay"), "fan")
        entry = entry_of(subject.run(), "fan")
        jobs = sorted(
            (int(job["metadata"]["labels"]["nexus.dev/index"]), job["spec"]["backoffLimit"])
            for job in subject.cluster.objects(JOBS)
        )
        took = (subject.cluster.clock.now() - began).total_seconds()
    assert (waiting.phase, waiting.reason) == ("Running", "RetryDelay")
    assert "(Retry-After: 300 s); the last one failed: item 1: TaskError: " in (waiting.message or "")
    assert (entry.phase, entry.reason, tries) == ("Failed", "ItemsFailed", {0: 1, 1: 2, 2: 1})
    assert jobs == [(0, 0), (1, 0), (1, 0), (2, 0)]
    assert 300 <= took < 400


def test_fail_fast_stops_the_remaining_items(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(6, **mechanism), failurePolicy="FailFast", maxParallelTasks=2), cel) as subject:
        subject.cluster.script("fan", lambda pod: Outcome(exit_code=1 if index_of(pod) == 1 else 0, seconds=1))
        subject.operator()
        entry = entry_of(subject.run(), "fan")
        subject.quiet()
        pods = {index_of(pod) for pod in subject.cluster.objects(PODS)}
    assert (entry.phase, entry.reason) == ("Failed", "ItemsFailed")
    assert max(pods) < 5
    assert entry.output is not None
    assert entry.output["items"][:2] == [{}, None]


def test_a_run_that_is_out_of_time_keeps_what_has_finished(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(4, **mechanism), deadlineSeconds=20, maxParallelTasks=4), cel) as subject:
        subject.cluster.script("fan", lambda pod: Outcome() if index_of(pod) < 2 else Outcome.hangs())
        subject.operator()
        entry = entry_of(subject.run(), "fan")
        subject.quiet()
        assert not [pod for pod in subject.cluster.objects(PODS) if pod["status"].get("phase") == "Running"]
    assert (entry.phase, entry.reason) == ("Failed", "DeadlineExceeded")
    assert _items(subject, entry) == [{}, {}, None, None]


def test_an_item_over_its_timeout_says_how_long_it_had(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(2, timeoutSeconds=5, **mechanism)), cel) as subject:
        subject.cluster.script("fan", lambda pod: Outcome() if index_of(pod) else Outcome.hangs())
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert (entry.message or "").endswith("item 0: Timeout: the attempt exceeded timeoutSeconds (5)")


def test_the_deadline_of_the_task_is_that_of_the_whole_fan_out(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(4, deadlineSeconds=15, **mechanism)), cel) as subject:
        subject.cluster.script("fan", lambda pod: Outcome() if index_of(pod) < 2 else Outcome.hangs())
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert (entry.phase, entry.reason) == ("Failed", "DeadlineExceeded")
    assert _items(subject, entry) == [{}, {}, None, None]


def test_a_pod_that_cannot_start_ends_the_task(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(3, startTimeoutSeconds=20, **mechanism)), cel) as subject:
        subject.cluster.script("fan", Outcome.image_pull_backoff())
        subject.operator()
        entry = entry_of(subject.run(), "fan")
        subject.quiet()
        assert subject.cluster.objects(PODS) == []
    assert (entry.phase, entry.reason) == ("Failed", "ImagePull")


def test_large_outputs_go_to_a_config_map(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(20, **mechanism), maxParallelTasks=20), cel) as subject:
        subject.cluster.script("fan", lambda pod: Outcome(message=json.dumps({"n": index_of(pod), "text": "x" * 500})))
        subject.operator()
        entry = entry_of(subject.run(), "fan")
        stored = json.loads(_stored(subject.cluster.objects(CONFIG_MAPS), entry.output_ref.config_map))
    assert [item["n"] for item in stored["items"]] == list(range(20))


def _stored(bodies: list[Object], name: str) -> str:
    return str(next(body["data"]["output.json"] for body in bodies if body["metadata"]["name"] == name))


def test_outputs_over_the_limit_together_fail_the_task(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(150, **mechanism), maxParallelTasks=150), cel) as subject:
        subject.cluster.script("fan", Outcome(message=json.dumps({"text": "x" * 3_900})))
        subject.operator()
        entry = entry_of(subject.run(limit=20_000), "fan")
    assert (entry.phase, entry.reason) == ("Failed", "OutputTooLarge")
    assert "limit 524,288" in (entry.message or "")


def test_finished_items_are_stored_while_others_run_and_survive_their_pods(
    cel: Evaluator, mechanism: dict[str, Any]
) -> None:
    begun: list[int] = []

    def slow_last(pod: Object) -> Outcome:
        begun.append(index_of(pod))
        return Outcome(seconds=60 if index_of(pod) == 3 else 1, message=json.dumps({"n": index_of(pod)}))

    with story(spec(fan(4, **mechanism)), cel) as subject:
        subject.cluster.script("fan", slow_last)
        subject.operator()
        subject.run(
            until=lambda: (
                bool((entry_of(subject.status, "fan").items or NONE).succeeded) if subject.status.tasks else False
            )
        )
        entry = entry_of(subject.status, "fan")
        assert entry.items is not None
        assert (entry.phase, entry.items.succeeded) == ("Running", 3)
        # The node is lost with the finished pods, and with it the operator's memory of them.
        subject.operators[0].die()
        subject.operators.clear()
        for pod in subject.cluster.objects(PODS):
            if index_of(pod) < 3:
                subject.cluster.remove(PODS, pod["metadata"]["name"], grace_seconds=0)
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert (entry.phase, sorted(begun)) == ("Succeeded", [0, 1, 2, 3])
    assert _items(subject, entry) == [{"n": n} for n in range(4)]


class _None:
    succeeded = 0


NONE = _None()


def _items(subject: Any, entry: Any) -> Any:
    if entry.output_ref is None:
        return entry.output["items"]
    return json.loads(_stored(subject.cluster.objects(CONFIG_MAPS), entry.output_ref.config_map))["items"]


def test_an_output_that_was_lost_before_it_was_stored_is_made_again(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    begun: list[int] = []

    def behave(pod: Object) -> Outcome:
        begun.append(index_of(pod))
        return Outcome(seconds=30 if index_of(pod) == 1 else 1, message=json.dumps({"n": index_of(pod)}))

    with story(spec(fan(2, **mechanism)), cel) as subject:
        subject.cluster.script("fan", behave)
        subject.operator()
        subject.run(until=lambda: any(p["status"].get("phase") == "Succeeded" for p in subject.cluster.objects(PODS)))
        subject.operators[0].die()
        subject.operators.clear()
        subject.cluster.advance(4)
        done = next(pod for pod in subject.cluster.objects(PODS) if index_of(pod) == 0)
        subject.cluster.remove(PODS, done["metadata"]["name"], grace_seconds=0)
        subject.cluster.advance(1)
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert (entry.phase, sorted(begun)) == ("Succeeded", [0, 0, 1])
    assert _items(subject, entry) == [{"n": 0}, {"n": 1}]


@pytest.mark.parametrize(
    ("for_each", "reason", "words"),
    [
        ({"items": "${{ dyn(run.name) }}"}, "InvalidItems", 'forEach.items must be a list, got "sales-x7k2p"'),
        ({"items": "${{ range(1001) }}"}, "InvalidItems", "forEach.items gives 1,001 items, at most 1,000 are allowed"),
        (
            {"matrix": {"a": "${{ range(1000) }}", "b": "${{ range(100) }}"}},
            "InvalidItems",
            "forEach.matrix (1000 x 100) gives 100,000 items, at most 1,000 are allowed",
        ),
        (
            {"items": ["x" * 1_000] * 600},
            "InputTooLarge",
            "the items exceed the limit (601,801 bytes of JSON together, limit 524,288)",
        ),
        ({"items": "${{ params.nothing }}"}, "ExpressionError", "forEach.items"),
    ],
)
def test_items_that_are_none_end_the_task_before_anything_starts(
    cel: Evaluator, for_each: dict[str, Any], reason: str, words: str
) -> None:
    with story(spec(task("fan", forEach=for_each)), cel) as subject:
        subject.operator()
        if reason == "ExpressionError":
            assert subject.run().reason == "WorkflowInvalid"
            return
        entry = entry_of(subject.run(), "fan")
        assert subject.cluster.objects(JOBS) == []
    assert (entry.phase, entry.reason) == ("Failed", reason)
    assert words in (entry.message or "")


def test_no_items_succeed_at_once(cel: Evaluator) -> None:
    with story(spec(fan(0)), cel) as subject:
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert (entry.phase, entry.output) == ("Succeeded", {"items": []})


def test_a_slot_that_becomes_free_is_used(cel: Evaluator) -> None:
    """The Indexed Job begins with the slots that are free; its parallelism is raised when the other task ends."""
    with story(spec(task("other"), fan(6), maxParallelTasks=3), cel) as subject:
        subject.cluster.script("other", Outcome(seconds=4))
        subject.cluster.script("fan", Outcome(seconds=5))
        subject.operator()
        subject.run()
        job = next(job for job in subject.cluster.objects(JOBS) if job["spec"]["completionMode"] == "Indexed")
    assert job["spec"]["parallelism"] == 3
    assert subject.witness.most_live == 3


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 9))
def test_an_operator_may_die_at_any_write(cel: Evaluator, mechanism: dict[str, Any], when: str, nth: int) -> None:
    with story(spec(fan(3, **mechanism), task("next", "fan"), maxParallelTasks=2), cel) as subject:
        subject.cluster.script("fan", lambda pod: Outcome(message=json.dumps({"n": index_of(pod), "t": "x" * 600})))
        first = subject.operator()
        (first.api.crash_after if when == "after" else first.api.crash_before)(nth)
        status = subject.run()
        entry = entry_of(status, "fan")
        assert status.phase == "Succeeded"
        assert [item["n"] for item in _items(subject, entry)] == [0, 1, 2]
    assert len([name for name, _ in subject.witness.order if name == "fan"]) in (1, 3)


def framed(pod: Object) -> Outcome:
    """A large output, as the bootstraps tell it: one line of the log, its size and hash in the message."""
    text = json.dumps({"n": index_of(pod), "text": "x" * 5_000}).encode()
    frame = {"frame": {"size": len(text), "sha256": hashlib.sha256(text).hexdigest(), "format": "json"}}
    log = b"\nNEXUS-OUTPUT " + base64.b64encode(zlib.compress(text)) + b"\n"
    return Outcome(message=json.dumps(frame), log=log)


def test_large_outputs_of_items_are_read_from_their_logs(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    with story(spec(fan(3, python={"code": "1"}, **mechanism)), cel) as subject:
        subject.cluster.script("fan", framed)
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert [(item["n"], len(item["text"])) for item in _items(subject, entry)] == [(n, 5_000) for n in range(3)]


def test_an_output_that_a_log_has_lost_is_made_again(cel: Evaluator, mechanism: dict[str, Any]) -> None:
    begun: list[int] = []

    def first_log_lost(pod: Object) -> Outcome:
        begun.append(index_of(pod))
        whole = framed(pod)
        return replace(whole, log=b"") if begun.count(1) == 1 and index_of(pod) == 1 else whole

    with story(spec(fan(3, python={"code": "1"}, **mechanism)), cel) as subject:
        subject.cluster.script("fan", first_log_lost)
        subject.operator()
        entry = entry_of(subject.run(), "fan")
    assert (entry.phase, sorted(begun)) == ("Succeeded", [0, 1, 1, 2])
    assert [item["n"] for item in _items(subject, entry)] == [0, 1, 2]
