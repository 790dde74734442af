"""Transfers: what goes by way of the output store, when it counts, and what comes of a store that fails."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from tests.builders import at, ended, entry_of, facts, job, pod, spec, task
from tests.effort import sample
from tests.operators import KEY, Story, story

from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import CONFIG_MAPS, JOBS, Object
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import RerunOf, TaskStatus, WorkflowRunStatus
from nexus.api.store import OutputStore
from nexus.api.workflow import WorkflowSpec
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import prepare
from nexus.core.model.facts import Earlier
from nexus.core.model.plan import StartTask
from nexus.core.pods.policy import PodPolicy
from nexus.core.tasks.evidence import Active, Failed, Succeeded, Waiting, judge

STORE = {"url": "s3://bucket/prefix", "endpoint": "http://store:9000", "credentialsSecret": "store"}
LARGE = 600 * 1024
HASH = hashlib.sha256(b"large").hexdigest()
KEPT = json.dumps({"kept": {"size": LARGE, "sha256": HASH}}, separators=(",", ":"))
DOWN = json.dumps({"error": {"reason": "StoreFailed", "message": "the artifact model could not be stored: down"}})
LEFT_OUT = json.dumps({"error": {"reason": "ArtifactMissing", "message": "the artifact model was not written"}})
PYTHON = {"code": "..."}


def files() -> WorkflowSpec:
    """An artifact and a large output, and tasks that take them, an item of a fan-out and a container among them."""
    return spec(
        task("train", python=PYTHON, retry={"limit": 1, "delaySeconds": 0}, artifacts={"outputs": [{"name": "model"}]}),
        task("large", python=PYTHON),
        task("reads", "large", python=PYTHON),
        task("uses", "train", artifacts={"inputs": [{"name": "best", "from": "train.model"}]}),
        task(
            "each",
            "train",
            python=PYTHON,
            forEach={"items": [1, 2]},
            artifacts={"inputs": [{"name": "model", "from": "train.model"}]},
        ),
        outputStore=STORE,
    )


def script(subject: Story) -> None:
    for name in ("train", "reads", "each"):
        subject.cluster.script(name, Outcome(message='{"output":{"n":1}}'))
    subject.cluster.script("large", Outcome(message=KEPT))


def pod_of(subject: Story, name: str) -> Object:
    made = [body for body in subject.cluster.objects(JOBS) if body["metadata"]["labels"]["nexus.dev/task"] == name]
    found: Object = made[-1]["spec"]["template"]["spec"]
    return found


def names(containers: list[Object] | None) -> list[str]:
    return [container["name"] for container in containers or []]


def told(pod_spec: Object, name: str) -> Any:
    every = [*pod_spec.get("initContainers", ()), *pod_spec["containers"]]
    env = next(container for container in every if container["name"] == name)["env"]
    return json.loads(next(entry["value"] for entry in env if entry["name"] == "NEXUS_TRANSFER").replace("$$", "$"))


def assert_all_went_well(subject: Story) -> None:
    assert set(subject.phases.values()) == {"Succeeded"}
    model = entry_of(subject.status, "train").artifacts
    large = entry_of(subject.status, "large").stored_output
    assert model is not None
    assert large is not None
    assert (model[0].name, large.size, large.sha256) == ("model", LARGE, HASH)


def test_what_a_task_left_reaches_those_that_take_it(cel: Evaluator) -> None:
    with story(files(), cel) as subject:
        script(subject)
        subject.operator()
        subject.run()

        assert_all_went_well(subject)
        (model,) = entry_of(subject.status, "train").artifacts or ()
        stored = entry_of(subject.status, "large").stored_output
        assert stored is not None
        assert told(pod_of(subject, "uses"), "fetch")["fetch"] == [
            {**model.to_json(), "path": "best", "what": "the artifact best"}
        ]
        assert told(pod_of(subject, "each"), "fetch")["fetch"][0]["key"] == model.key
        assert told(pod_of(subject, "reads"), "fetch")["fetch"][0]["path"] == ".nexus/input/large.json"
        assert stored.key.startswith(f"{KEY.namespace}/{KEY.name}/")
        assert stored.key.endswith("/output.json")
        # Nothing of it is in the API server but size, key and hash.
        assert subject.cluster.objects(CONFIG_MAPS) == [
            body for body in subject.cluster.objects(CONFIG_MAPS) if "items" in body["data"]
        ]


def test_containers_come_one_after_the_other_and_only_where_something_is_moved(cel: Evaluator) -> None:
    with story(files(), cel) as subject:
        script(subject)
        subject.operator()
        subject.run()
        shapes = {
            name: (names(pod_of(subject, name).get("initContainers")), names(pod_of(subject, name)["containers"]))
            for name in ("train", "large", "reads", "uses", "each")
        }

    assert shapes == {
        "train": (["task"], ["put"]),
        "large": (["task"], ["put"]),
        "reads": (["fetch", "task"], ["put"]),
        "uses": (["fetch"], ["task"]),
        "each": (["fetch"], ["task"]),
    }


def test_the_store_s_secret_is_the_movers_alone_and_they_are_as_restricted_as_the_task(cel: Evaluator) -> None:
    with story(files(), cel) as subject:
        script(subject)
        subject.operator()
        subject.run()
        spec_ = pod_of(subject, "reads")

    by_name = {container["name"]: container for container in (*spec_["initContainers"], *spec_["containers"])}
    assert [name for name, container in by_name.items() if "envFrom" in container] == ["fetch", "put"]
    for name in ("fetch", "put"):
        assert by_name[name]["image"] == "nexus/task-store:dev"
        assert by_name[name]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def test_a_small_output_does_not_wait_for_the_mover(cel: Evaluator) -> None:
    with story(spec(task("small", python=PYTHON), outputStore=STORE), cel) as subject:
        subject.cluster.script("small", Outcome(message='{"output":{"n":1}}', put=DOWN))
        subject.operator()
        subject.run()

        assert subject.phases == {"small": "Succeeded"}
        assert entry_of(subject.status, "small").output == {"n": 1}


def test_a_store_that_is_down_fails_the_attempt_in_its_own_words_and_the_next_one_stores(cel: Evaluator) -> None:
    with story(files(), cel) as subject:
        script(subject)
        good = Outcome(message='{"output":{"n":1}}')
        subject.cluster.script("train", Outcome(message='{"output":{"n":0}}', put=DOWN), good)
        subject.operator()
        subject.run()

        assert_all_went_well(subject)
        train = entry_of(subject.status, "train")
        assert (train.attempts, train.output) == (2, {"n": 1})
        first = (train.attempt_records or [])[0]
        assert (first.reason, first.message) == (Reason.STORE_FAILED, "the artifact model could not be stored: down")
        assert "/train/2-" in (train.artifacts or [])[0].key


def test_inputs_that_cannot_be_read_fail_the_task_before_its_code_runs(cel: Evaluator) -> None:
    with story(files(), cel) as subject:
        script(subject)
        subject.cluster.script("uses", Outcome(fetch=DOWN))
        subject.operator()
        subject.run()

        uses = entry_of(subject.status, "uses")
        assert (uses.phase.value, uses.reason) == ("Failed", Reason.STORE_FAILED)
        assert uses.message == "the artifact model could not be stored: down"


def test_an_artifact_that_was_not_written_is_no_store_s_fault(cel: Evaluator) -> None:
    with story(files(), cel) as subject:
        script(subject)
        subject.cluster.script("train", Outcome(message='{"output":{}}', put=LEFT_OUT))
        subject.operator()
        subject.run()

        assert entry_of(subject.status, "train").reason is Reason.ARTIFACT_MISSING
        assert subject.phases["uses"] == "Omitted"


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_write_the_run_ends_as_if_nothing_had_happened(cel: Evaluator, when: str) -> None:
    with story(files(), cel) as calm:
        script(calm)
        calm.operator()
        calm.run()
        count = calm.writes()
    for number in sample(range(1, count + 1)):
        with story(files(), cel) as subject:
            script(subject)
            api = subject.operator().api
            (api.crash_after if when == "after" else api.crash_before)(number)
            subject.run()
            subject.quiet(5)
            assert_all_went_well(subject)


# What the facts prove


def test_the_code_s_end_is_no_success_before_what_it_left_is_stored() -> None:
    done = ended(0, '{"output":{}}')

    assert judge(job("a", pod(done)), stores=True) == Active()
    assert isinstance(judge(job("a", pod(done))), Succeeded)
    assert isinstance(judge(job("a", pod(done, transfer=ended(0))), stores=True), Succeeded)
    assert judge(job("a", pod(ended(0, KEPT)))) == Active()
    assert isinstance(judge(job("a", pod(ended(0, KEPT), transfer=ended(0)))), Succeeded)


def test_a_mover_that_cannot_start_is_waited_for_with_the_words_of_the_kubelet() -> None:
    held = pod(ended(0, KEPT), waiting_reason="CreateContainerConfigError", waiting_message='secret "s" not found')

    assert judge(job("a", held)) == Waiting(Reason.MISSING_CONFIG, 'secret "s" not found', at(5))


def test_a_mover_that_was_killed_for_its_memory_says_so() -> None:
    failed = pod(ended(0, KEPT), phase="Failed", transfer=ended(137, reason="OOMKilled"))

    seen = judge(job("a", failed, failed=1, failure="BackoffLimitExceeded"))

    assert isinstance(seen, Failed)
    assert (seen.reason, seen.message) == (
        Reason.STORE_FAILED,
        "the data transfer container exceeded its memory limit and was killed",
    )


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "no JSON",
        '{"stored":{"id":"../../other","artifacts":{}}}',
        json.dumps({"stored": {"id": "a" * 32, "output": {"size": 1, "sha256": HASH}}}),
        json.dumps({"stored": {"id": "a" * 32, "output": {"size": LARGE, "sha256": HASH, "key": "other"}}}),
        json.dumps({"stored": {"id": "a" * 32}}),
    ],
)
def test_a_report_that_does_not_fit_what_the_task_said_fails_the_attempt(cel: Evaluator, stored: str) -> None:
    status = _decided(cel, job("a", pod(ended(0, KEPT), transfer=ended(0, stored))))

    assert entry_of(status, "a").reason is Reason.STORE_FAILED


def test_an_expression_over_an_output_in_the_store_says_why_it_cannot_be_read(cel: Evaluator) -> None:
    good = json.dumps({"stored": {"id": "a" * 32, "output": {"size": LARGE, "sha256": HASH}}})
    stored = job("a", pod(ended(0, KEPT), transfer=ended(0, good)))
    definition = prepare(
        spec(
            task("a", python=PYTHON),
            task("b", "a", when="${{ tasks.a.output.n > 1 }}"),
            task("c", "a", when='${{ tasks.a.phase == "Succeeded" }}'),
            outputStore=STORE,
        )
    )

    plan = decide(definition, facts(stored), at(6), cel)

    b = entry_of(plan.status, "b")
    assert (b.phase.value, b.reason) == ("Failed", Reason.EXPRESSION_ERROR)
    assert "the output of task a (614,400 bytes) is in the output store" in (b.message or "")
    assert [start.task for start in plan.starts] == ["c"]


def test_without_a_store_artifacts_are_refused_and_the_operator_s_is_taken_where_the_workflow_names_none(
    cel: Evaluator,
) -> None:
    leaves = prepare(spec(task("a", artifacts={"outputs": [{"name": "model"}]})))

    refused = decide(leaves, facts(), at(0), cel)
    started = decide(leaves, facts(output_store=OutputStore.model_validate(STORE)), at(0), cel)

    assert entry_of(refused.status, "a").reason is Reason.NO_OUTPUT_STORE
    assert [start.task for start in started.starts] == ["a"]


def test_an_optional_artifact_of_a_task_that_failed_is_gone_without(cel: Evaluator) -> None:
    def uses(optional: bool) -> WorkflowRunStatus:
        entry = {"name": "model", "from": "a.model", "optional": optional}
        subject = spec(
            task("a", artifacts={"outputs": [{"name": "model"}]}),
            task("b", "a", triggerRule="AllDone", artifacts={"inputs": [entry]}),
            outputStore=STORE,
        )
        broken = job("a", pod(ended(1)), failed=1, failure="BackoffLimitExceeded", finished_at=at(6))
        return decide(prepare(subject), facts(broken), at(7), cel).status

    assert entry_of(uses(True), "b").phase.value == "Running"
    refused = entry_of(uses(False), "b")
    assert refused.reason is Reason.ARTIFACT_MISSING
    assert '"b"' not in (refused.message or "")
    assert 'no artifact "model": task a did not write a.model (Failed)' in (refused.message or "")


def test_a_rerun_takes_over_what_lies_in_the_store(cel: Evaluator) -> None:
    stored = {"key": "ns/old/uid/a/1-x/artifacts/model", "size": 5, "sha256": HASH}
    kept = TaskStatus.model_validate(
        {"name": "a", "phase": "Succeeded", "artifacts": [{"name": "model", **stored}], "storedOutput": stored}
    )
    subject = spec(
        task("a", python=PYTHON, artifacts={"outputs": [{"name": "model"}]}),
        task("b", "a", python=PYTHON, artifacts={"inputs": [{"name": "model", "from": "a.model"}]}),
        outputStore=STORE,
    )
    status = WorkflowRunStatus(phase=RunPhase.FAILED, tasks=[kept, TaskStatus(name="b", phase=TaskPhase.FAILED)])
    earlier = Earlier(RerunOf(name="old"), uid="old-uid", workflow="sales", status=status, definition=subject)

    plan = decide(prepare(subject), facts(earlier=earlier), at(0), cel)

    (start,) = plan.starts
    assert isinstance(start, StartTask)
    assert start.payload.transfer is not None
    assert start.payload.transfer.artifacts_in["model"].key == stored["key"]
    assert start.payload.transfer.inputs["a"].key == stored["key"]


def test_outputs_of_a_run_do_not_reach_into_the_store(cel: Evaluator) -> None:
    good = json.dumps({"stored": {"id": "a" * 32, "output": {"size": LARGE, "sha256": HASH}}})
    definition = prepare(
        spec(task("a", python=PYTHON), outputStore=STORE, outputs={"n": "${{ tasks.a.output.n }}"}),
    )

    plan = decide(definition, facts(job("a", pod(ended(0, KEPT), transfer=ended(0, good)))), at(6), cel)

    assert (plan.status.phase, plan.status.reason) == (RunPhase.FAILED, Reason.EXPRESSION_ERROR)
    assert "is in the output store" in (plan.status.message or "")


@pytest.mark.parametrize("forbidden", ["volumes", "volumes.persistentVolumeClaim"])
def test_a_store_is_no_way_to_a_volume_that_the_operator_forbids(cel: Evaluator, forbidden: str) -> None:
    claim = OutputStore.model_validate({"url": "file:///x", "volumeClaim": "c"})
    leaves = task("a", artifacts={"outputs": [{"name": "model"}]})
    policy = PodPolicy(frozenset({forbidden}))

    own = decide(prepare(spec(leaves, outputStore=claim)), facts(pod_policy=policy), at(0), cel)
    the_operators = decide(prepare(spec(leaves)), facts(pod_policy=policy, output_store=claim), at(0), cel)

    assert entry_of(own.status, "a").reason is Reason.POD_FIELD_FORBIDDEN
    assert [start.task for start in the_operators.starts] == ["a"]


def _decided(cel: Evaluator, made: Any) -> WorkflowRunStatus:
    return decide(prepare(spec(task("a", python=PYTHON), outputStore=STORE)), facts(made), at(6), cel).status
