"""The cells of the refusal matrix: every write that the operator makes, in a run that needs it, and every refusal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.builders import spec, task
from tests.operators import KEY, Story

from nexus.adapters.fake import FakeApi, Outcome
from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    JOBS,
    PODS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    ApiError,
    Kind,
    Object,
    Unreachable,
    error_from,
)
from nexus.api.workflow import WorkflowSpec
from nexus.core.expressions.templates import Evaluator

SECONDS = 600.0
"""How long each refusal lasts."""
LARGE = "x" * 3_000


@dataclass(frozen=True)
class Refused:
    """One way of the API server to refuse a write; `reason` is what a task or run has that waits for it."""

    name: str
    reason: str
    error: ApiError | None = None
    """None: the right is taken away."""
    takes_effect: bool = False
    admission: bool = False

    def begin(self, api: FakeApi, write: Write) -> None:
        """Refuse the write, from now on."""
        if self.error is None:
            api.revoke(write.verb, write.kind, SECONDS, only=write.only)
        else:
            api.refuse(write.verb, write.kind, self.error, SECONDS, takes_effect=self.takes_effect, only=write.only)


def _status(code: int, reason: str, message: str) -> ApiError:
    return error_from(code, reason, message)


WEBHOOK = 'admission webhook "policy.example" denied the request: not today'
REFUSALS = (
    Refused("400-webhook", "WriteRefused", _status(400, "BadRequest", WEBHOOK), admission=True),
    Refused("403-admission", "WriteRefused", _status(403, "Forbidden", WEBHOOK), admission=True),
    Refused("403-rbac", "MissingRights"),
    Refused("403-quota", "QuotaExceeded", _status(403, "Forbidden", "x is forbidden: exceeded quota: team, used: 5")),
    Refused("404-namespace", "NamespaceTerminating", _status(404, "NotFound", 'namespaces "default" not found')),
    Refused("409", "ApiUnavailable", _status(409, "Conflict", "the object has been modified")),
    Refused("413", "WriteRefused", _status(413, "RequestEntityTooLarge", "Request entity too large")),
    Refused("422", "WriteRefused", _status(422, "Invalid", WEBHOOK), admission=True),
    Refused("429", "ApiUnavailable", _status(429, "TooManyRequests", "too many requests")),
    Refused("500", "ApiUnavailable", _status(500, "InternalError", "failed calling webhook")),
    Refused("no-answer", "ApiUnavailable", Unreachable("no answer in time", outcome_unknown=True)),
    Refused("no-answer-but-done", "", Unreachable("no answer in time", outcome_unknown=True), takes_effect=True),
)


@dataclass(frozen=True)
class Write:
    """One write, and a run that needs it. While it is refused, `shown` says where that stands: on the task `hit`, on
    the run as its reason (`run`), in the condition of the run or Workflow, or in an Event, where the status is what is
    refused."""

    name: str
    verb: str
    kind: Kind
    shown: str = "task"
    spec: Callable[[], WorkflowSpec] = field(default=lambda: flow(task("hit")))
    only: Callable[[str], bool] = lambda _: True
    """Of which objects, by name."""
    script: Mapping[str, tuple[Outcome, ...]] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    """For the Story."""
    before: Callable[[Story], None] = lambda _: None
    """What is done before the operator comes."""
    after: Callable[[Story], None] = lambda _: None
    """What is done once the operator has begun."""
    start: str = ""
    """The reason of a start that admission refuses, which ends the task."""
    look: float = 280
    """After how many seconds it is looked at."""
    free: bool = True
    """Whether tasks that do not need the write go on meanwhile."""
    ends: str = "Succeeded"
    """The phase of the task in the end."""

    def tell(self, evaluator: Evaluator) -> Story:
        """The story, before the operator comes."""
        told = Story(self.spec(), evaluator, **self.given)
        for name, outcomes in self.script.items():
            told.cluster.script(name, *outcomes)
        self.before(told)
        return told


def flow(*tasks: Any, **fields: Any) -> WorkflowSpec:
    """The tasks of a scenario, and two that depend on none of them."""
    return spec(*tasks, task("free"), task("free2", "free"), **fields)


def large(times: int = 1) -> tuple[Outcome, ...]:
    return tuple(Outcome(message=json.dumps({"output": {"x": LARGE}})) for _ in range(times))


def _fan(**fields: Any) -> Any:
    return task("hit", forEach={"items": [1, 2, 3, 4]}, **fields)


def _pool(told: Story) -> None:
    told.cluster.add(CONFIG_MAPS, {"metadata": {"name": "nexus-pools"}, "data": {"db": "1"}})


def _cancel_when_it_runs(told: Story) -> None:
    told.run(until=lambda: bool(told.cluster.objects(PODS)))
    told.steer(cancel="Immediate")


def _cancel_with_a_child(told: Story) -> None:
    told.run(until=lambda: bool(told.witness.children))
    told.steer(cancel="Immediate")


def _change_the_workflow_after_the_run(told: Story) -> None:
    """Make the version that the run pinned one that nobody needs, once it has gone."""
    told.run()
    told.cluster.remove(WORKFLOW_RUNS, KEY.name)
    told.cluster.store.patch(WORKFLOWS, KEY.namespace, "sales", {"spec": {"description": "another"}})


def _is_hit(name: str) -> bool:
    return "-hit-" in name


def _is_output(name: str) -> bool:
    return _is_hit(name) and name.endswith("-output")


def _is_run(name: str) -> bool:
    return name == KEY.name


def _is_other(name: str) -> bool:
    return name != KEY.name


CHILD = {"workflows": {"price": spec(task("work"))}}
SLOW = {"workflows": {"price": spec(task("slow"))}}
REFERENCE = {"by_reference": True}
HANGS = {"hit": (Outcome.hangs(),), "slow": (Outcome.hangs(),)}

WRITES = (
    Write("job", "create", JOBS, only=_is_hit, start="JobRefused"),
    Write(
        "payload",
        "create",
        CONFIG_MAPS,
        spec=lambda: flow(_fan(python={"code": "1"})),
        only=lambda name: _is_hit(name) and not _is_output(name),
        script={"hit": (Outcome(message='{"output":{}}'),)},
        start="JobRefused",
    ),
    Write("item-job", "create", JOBS, spec=lambda: flow(_fan(retry={"delaySeconds": 3})), only=_is_hit, start="*"),
    Write("indexed-job", "create", JOBS, spec=lambda: flow(_fan()), only=_is_hit, start="JobRefused"),
    Write(
        "output",
        "create",
        CONFIG_MAPS,
        spec=lambda: flow(task("hit", python={"code": "1"}), maxParallelTasks=1),
        only=_is_output,
        script={"hit": large()},
    ),
    Write(
        "run-outputs",
        "create",
        CONFIG_MAPS,
        shown="run",
        spec=lambda: flow(task("hit", python={"code": "1"}), outputs={"x": "${{ tasks.hit.output.x }}"}),
        only=lambda name: "-outputs-" in name,
        script={"hit": large()},
    ),
    Write(
        "items",
        "create",
        CONFIG_MAPS,
        spec=lambda: flow(_fan(python={"code": "1"})),
        only=_is_output,
        script={"hit": large()},
    ),
    Write(
        "more-items",
        "patch",
        CONFIG_MAPS,
        spec=lambda: flow(_fan(python={"code": "1"}), maxParallelTasks=2),
        only=_is_output,
        script={"hit": tuple(Outcome(seconds=15, message=outcome.message) for outcome in large(4))},
    ),
    Write(
        "pool",
        "create",
        CONFIG_MAPS,
        spec=lambda: flow(task("hit", pool="db")),
        only=lambda n: "pool" in n,
        before=_pool,
    ),
    Write(
        "pool-line",
        "patch",
        CONFIG_MAPS,
        spec=lambda: flow(task("first", pool="db"), task("hit", "first", pool="db")),
        only=lambda name: "pool" in name,
        before=_pool,
    ),
    Write(
        "child",
        "create",
        WORKFLOW_RUNS,
        spec=lambda: flow(task("hit", workflow={"name": "price"})),
        given=CHILD,
        start="ChildRefused",
    ),
    Write(
        "child-item",
        "create",
        WORKFLOW_RUNS,
        spec=lambda: flow(_fan(workflow={"name": "price"})),
        given=CHILD,
        start="*",
    ),
    Write("revision", "create", CONTROLLER_REVISIONS, shown="run", given=REFERENCE, free=False),
    Write("owner", "patch", WORKFLOW_RUNS, shown="run", given=REFERENCE, free=False),
    Write(
        "admission",
        "patch_status",
        WORKFLOWS,
        shown="run",
        spec=lambda: flow(task("hit"), concurrency={"policy": "Queue"}),
        given=REFERENCE,
        free=False,
    ),
    Write(
        "parallelism",
        "patch",
        JOBS,
        spec=lambda: flow(task("other"), _fan(), maxParallelTasks=2),
        script={"other": (Outcome(seconds=3),), "hit": (Outcome(seconds=40),), "free": (Outcome(seconds=2),)},
        look=25,
    ),
    Write("status", "replace_status", WORKFLOW_RUNS, shown="event"),
    Write("workflow-status", "replace_status", WORKFLOWS, shown="workflow-event", given=REFERENCE),
    Write(
        "stop",
        "delete",
        JOBS,
        shown="condition",
        script=HANGS,
        after=_cancel_when_it_runs,
        free=False,
        ends="Cancelled",
    ),
    Write(
        "cancel-child",
        "patch",
        WORKFLOW_RUNS,
        shown="condition",
        spec=lambda: flow(task("hit", workflow={"name": "price"})),
        only=_is_other,
        script=HANGS,
        given=SLOW,
        after=_cancel_with_a_child,
        free=False,
        ends="Cancelled",
    ),
    Write(
        "prune",
        "delete",
        WORKFLOW_RUNS,
        shown="workflow-condition",
        spec=lambda: flow(task("hit"), ttlSecondsAfterFinished=1),
        given=REFERENCE,
        free=False,
        ends="gone",
    ),
    Write(
        "prune-revision",
        "delete",
        CONTROLLER_REVISIONS,
        shown="workflow-condition",
        spec=lambda: flow(task("hit"), revisionHistoryLimit=0),
        given=REFERENCE,
        after=_change_the_workflow_after_the_run,
        free=False,
    ),
)


def conditions(body: Object | None) -> dict[str, tuple[str, str, str]]:
    """Conditions of an object: type to status, reason, message."""
    found = ((body or {}).get("status") or {}).get("conditions") or ()
    return {one["type"]: (one["status"], one["reason"], one.get("message", "")) for one in found}
