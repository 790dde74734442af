"""What the CRDs' rules accept and refuse: for each rule two definitions that are alike but for what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nexus.api import rules
from nexus.api.base import API_VERSION
from nexus.api.rules import RULES, Rule
from nexus.api.tasks import TASK_TYPES

Object = dict[str, Any]


def workflow(*tasks: Object, name: str = "w", **spec: Any) -> Object:
    meta = {"apiVersion": API_VERSION, "kind": "Workflow", "metadata": {"name": name}}
    return meta | {"spec": {"tasks": list(tasks), **spec}}


def run(name: str = "r", **spec: Any) -> Object:
    return {"apiVersion": API_VERSION, "kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec}


def task(name: str = "a", **fields: Any) -> Object:
    return {"name": name, **({} if TYPES & fields.keys() else {"bash": {"command": "true"}}), **fields}


TYPES = set(TASK_TYPES)
SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
CONFIG = {"configMapKeyRef": {"name": "c", "key": "k"}}


def one(**fields: Any) -> Object:
    """The spec of a workflow with one task."""
    return {"tasks": [task(**fields)]}


def pod(**fields: Any) -> Object:
    return one(pod=fields)


def env(**fields: Any) -> Object:
    return one(env=[{"name": "A", **fields}])


def store(**fields: str) -> Object:
    return {**one(), "outputStore": fields}


@dataclass(frozen=True)
class Case:
    """A rule, with two definitions that are alike but for what it is about."""

    rule: Rule
    good: Object
    bad: Object
    says: str = ""
    """What the message names beyond the rule's own text."""


def at(model: str, field: str | None, index: int = 0) -> Rule:
    return RULES[(model, field)][index]


CASES = {
    "two task types": Case(
        rules.ONE_TASK_TYPE,
        one(http={"url": "http://x"}),
        one(http={"url": "http://x"}, bash={"command": "true"}),
        says=f'task "a": set exactly one of {", ".join(TASK_TYPES[:-1])} and {TASK_TYPES[-1]}',
    ),
    "no task type": Case(
        rules.ONE_TASK_TYPE,
        one(container={"image": "x"}),
        {"tasks": [{"name": "bare"}]},
        says='task "bare": set exactly one of',
    ),
    "a dependency on itself": Case(
        rules.NO_SELF_DEPENDENCY,
        {"tasks": [task("a"), task("b", dependsOn=["a"])]},
        {"tasks": [task("a"), task("b", dependsOn=["a", "b"])]},
        says="spec.tasks[1].dependsOn: Invalid value",
    ),
    "a triggerRule without dependencies": Case(
        rules.TRIGGER_RULE_NEEDS_DEPENDENCIES,
        {"tasks": [task("a"), task("b", dependsOn=["a"], triggerRule="AllDone")]},
        one(triggerRule="AllDone"),
        says="spec.tasks[0].triggerRule: Forbidden",
    ),
    "a triggerRule with an empty list of dependencies": Case(
        rules.TRIGGER_RULE_NEEDS_DEPENDENCIES, one(dependsOn=[]), one(triggerRule="AllSucceeded", dependsOn=[])
    ),
    "the env of a pod on a workflow task": Case(
        rules.NO_POD_FIELDS,
        one(workflow={"name": "price", "params": {"a": [1, None]}}),
        one(workflow={"name": "price"}, env=[{"name": "A", "value": "x"}]),
        says="spec.tasks[0]: Forbidden",
    ),
    "a hyphen in the name of an output": Case(
        rules.OUTPUT_NAMES,
        {"tasks": [task("a")], "outputs": {"_a1": "${{ tasks.a.output.n }}"}},
        {"tasks": [task("a")], "outputs": {"a-1": "x"}},
        says="spec.outputs: Invalid value",
    ),
    "an approval with the fields of a pod": Case(
        rules.NO_POD, one(approval={}, timeoutSeconds=60), one(approval={}, env=[{"name": "A"}])
    ),
    "a wait that is retried": Case(rules.NO_POD, one(wait={"seconds": 1}), one(wait={"seconds": 1}, retry={})),
    "failures of requests that a shell makes": Case(
        rules.RETRY_ON_IS_FOR_HTTP,
        one(http={"url": "http://h"}, retry={"retryOn": ["5xx", 429, "network"]}),
        one(bash={"command": "x"}, retry={"retryOn": ["5xx"]}),
    ),
    "a wait with a limit": Case(
        rules.WAIT_WITHOUT_LIMITS, one(wait={"seconds": "${{ params.x }}"}), one(wait={"seconds": 1}, timeoutSeconds=5)
    ),
    "a wait for two things": Case(
        rules.SECONDS_OR_UNTIL,
        one(wait={"until": "2026-11-23T10:00:00Z"}),
        one(wait={"seconds": 1, "until": "2026-11-23T10:00:00Z"}),
    ),
    "a wait until a time without an offset": Case(
        rules.TIME_WITH_OFFSET,
        one(wait={"until": "2026-11-23T10:00:00.5+01:00"}),
        one(wait={"until": "2026-11-23T10:00:00"}),
    ),
    "a name in tasks and in finally": Case(
        rules.FINALLY_NAMES,
        {"tasks": [task("a")], "finally": [task("b")]},
        {"tasks": [task("a")], "finally": [task("b"), task("a")]},
        says="spec.finally",
    ),
    "more than 500 tasks together": Case(
        rules.TASKS_TOGETHER,
        {"tasks": [task(f"t{i}") for i in range(250)], "finally": [task(f"f{i}") for i in range(250)]},
        {"tasks": [task(f"t{i}") for i in range(250)], "finally": [task(f"f{i}") for i in range(251)]},
        says="spec.finally",
    ),
    "an unknown dependency": Case(
        rules.KNOWN_DEPENDENCIES,
        {"tasks": [task("a", dependsOn=["b"]), task("b")]},
        {"tasks": [task("a", dependsOn=["c"]), task("b")]},
    ),
    "a tag that comes twice": Case(
        rules.UNIQUE_TAGS,
        {"tasks": [task("a")], "tags": ["daily", "eu"]},
        {"tasks": [task("a")], "tags": ["daily", "daily"]},
        says="spec.tags",
    ),
    "a dependency named twice": Case(
        rules.UNIQUE_DEPENDENCIES,
        {"tasks": [task("a"), task("b"), task("c", dependsOn=["a", "b"])]},
        {"tasks": [task("a"), task("b", dependsOn=["a", "a"])]},
        says="spec.tasks[1].dependsOn",
    ),
    "an expression beside text in when": Case(
        at("Task", "when"), one(when="${{ params.x > {'a': 1}.a }}"), one(when="not ${{ params.x }}")
    ),
    "two expressions in when": Case(at("Task", "when"), one(when="${{ true }}"), one(when="${{ a }} && ${{ b }}")),
    "a line end after when": Case(
        at("Task", "when"), one(when="${{ params.x == {'a': '${{'}.a }}"), one(when="${{ params.x }}\n")
    ),
    "a bare expression in when": Case(at("Task", "when"), one(when="${{ params.x }}"), one(when="params.x")),
    "code and call": Case(
        rules.CODE_OR_CALL, one(python={"code": "1"}), one(python={"code": "1", "call": "m:f"}), says="code and call"
    ),
    "neither code nor call": Case(rules.CODE_OR_CALL, one(python={"call": "m:f"}), one(python={"image": "x"})),
    "with beside code": Case(
        rules.WITH_NEEDS_CALL,
        one(python={"call": "m:f", "with": {"a": [1, {"b": None}]}}),
        one(python={"code": "1", "with": {"a": 1}}),
        says="python.with: Forbidden",
    ),
    "an expression in python": Case(
        at("Python", "code"), one(python={"code": "f'${x}' + '{{}}'"}), one(python={"code": "x = ${{ params.x }}"})
    ),
    "an expression in bash": Case(
        at("Bash", "command"), one(bash={"command": 'echo "${PARAM_X}"'}), one(bash={"command": "echo ${{ params.x }}"})
    ),
    "an expression in sql": Case(
        at("Sql", "query"),
        one(sql={"connection": "sqlite://", "query": "select :x", "parameters": {"x": "${{ params.x }}"}}),
        one(sql={"connection": "sqlite://", "query": "select ${{ params.x }}"}),
    ),
    "text around an http result": Case(
        at("Http", "result"),
        one(http={"url": "http://x", "result": "${{ response.json.total }}"}),
        one(http={"url": "http://x", "result": "response.json.total"}),
    ),
    "value and valueFrom": Case(rules.VALUE_OR_SOURCE, env(value="x"), env(value="x", valueFrom=SECRET)),
    "two sources of a value": Case(
        rules.ONE_VALUE_SOURCE, env(valueFrom=CONFIG), env(valueFrom=SECRET | CONFIG), says="env[0].valueFrom"
    ),
    "no source of a value": Case(rules.ONE_VALUE_SOURCE, env(valueFrom=SECRET), env(valueFrom={})),
    "a reserved variable": Case(
        rules.RESERVED_ENV_NAME, env(name="NEXUS"), env(name="NEXUS_OUTPUT"), says="env[0].name"
    ),
    "a reserved variable in defaults": Case(
        rules.RESERVED_ENV_NAME,
        {**one(), "defaults": {"env": [{"name": "X"}]}},
        {**one(), "defaults": {"env": [{"name": "NEXUS_X"}]}},
        says="spec.defaults.env[0].name",
    ),
    "a reserved prefix": Case(
        at("EnvFrom", "prefix"),
        one(envFrom=[{"prefix": "DB_", "secretRef": {"name": "s"}}]),
        one(envFrom=[{"prefix": "NEXUS_", "secretRef": {"name": "s"}}]),
    ),
    "two objects in an entry of envFrom": Case(
        rules.ONE_ENV_SOURCE,
        one(envFrom=[{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c", "optional": True}}]),
        one(envFrom=[{"secretRef": {"name": "s"}, "configMapRef": {"name": "c"}}]),
    ),
    "no object in an entry of envFrom": Case(
        rules.ONE_ENV_SOURCE, one(envFrom=[{"configMapRef": {"name": "c"}}]), one(envFrom=[{"prefix": "A_"}])
    ),
    "a pattern for a number": Case(
        rules.PATTERN_IS_FOR_TEXT,
        {**one(), "params": [{"name": "x", "pattern": "^a"}]},
        {**one(), "params": [{"name": "x", "type": "integer", "pattern": "^a"}]},
        says="spec.params[0].pattern: Forbidden",
    ),
    "bounds of a text": Case(
        rules.BOUNDS_ARE_FOR_NUMBERS,
        {**one(), "params": [{"name": "x", "type": "number", "minimum": -0.5, "maximum": 10}]},
        {**one(), "params": [{"name": "x", "minimum": 1}]},
        says="spec.params[0]: Forbidden",
    ),
    "bounds the wrong way round": Case(
        rules.MINIMUM_UP_TO_MAXIMUM,
        {**one(), "params": [{"name": "x", "type": "integer", "minimum": 3, "maximum": 3}]},
        {**one(), "params": [{"name": "x", "type": "integer", "minimum": 3, "maximum": 2}]},
        says="spec.params[0].minimum: Invalid value",
    ),
    "a volume of every pod's": Case(
        rules.RESERVED_VOLUME,
        pod(volumes=[{"name": "temp", "emptyDir": {}}]),
        pod(volumes=[{"name": "tmp", "emptyDir": {}}]),
        says="spec.tasks[0].pod.volumes[0].name: Forbidden",
    ),
    "a mount over the task contract's": Case(
        rules.MOUNT_PATH,
        pod(volumeMounts=[{"name": "a", "mountPath": "/nexus-data"}, {"name": "a", "mountPath": "/tmp/a"}]),
        pod(volumeMounts=[{"name": "a", "mountPath": "/nexus/input"}]),
        says="spec.tasks[0].pod.volumeMounts[0].mountPath",
    ),
    "items and a matrix": Case(
        rules.ITEMS_OR_MATRIX,
        one(forEach={"items": "${{ params.x }}"}),
        one(forEach={"items": [1], "matrix": {"a": [1]}}),
        says="spec.tasks[0].forEach",
    ),
    "neither items nor a matrix": Case(
        rules.ITEMS_OR_MATRIX, one(forEach={"matrix": {"a": [1]}}), one(forEach={"parallelism": 2})
    ),
    "two bodies": Case(
        rules.JSON_OR_BODY,
        one(http={"url": "http://x", "json": []}),
        one(http={"url": "http://x", "json": [], "body": "x"}),
        says="spec.tasks[0].http",
    ),
    "artifacts of a query": Case(
        rules.ARTIFACTS_NEED_FILES,
        one(container={"image": "x"}, artifacts={"outputs": [{"name": "a"}]}),
        one(sql={"connection": "sqlite://", "query": "select 1"}, artifacts={"outputs": [{"name": "a"}]}),
    ),
    "artifacts of items": Case(
        rules.NO_ARTIFACTS_OF_ITEMS,
        one(forEach={"items": [1]}, artifacts={"inputs": [{"name": "a", "from": "b.a"}]}),
        one(forEach={"items": [1]}, artifacts={"outputs": [{"name": "a"}]}),
    ),
    "an artifact that is taken twice": Case(
        rules.UNIQUE_INPUTS,
        one(artifacts={"inputs": [{"name": "a", "from": "b.a"}, {"name": "c", "from": "b.a"}]}),
        one(artifacts={"inputs": [{"name": "a", "from": "b.a"}, {"name": "a", "from": "b.c"}]}),
        says="artifacts.inputs",
    ),
    "an artifact that is left twice": Case(
        rules.UNIQUE_OUTPUTS,
        one(artifacts={"outputs": [{"name": "a"}, {"name": "b"}]}),
        one(artifacts={"outputs": [{"name": "a"}, {"name": "a"}]}),
        says="artifacts.outputs",
    ),
    "an artifact that is taken and left in one place": Case(
        rules.INPUTS_APART,
        one(artifacts={"inputs": [{"name": "a", "from": "b.a"}], "outputs": [{"name": "b"}]}),
        one(artifacts={"inputs": [{"name": "a", "from": "b.a"}], "outputs": [{"name": "a"}]}),
    ),
    "a store in a folder of no volume": Case(
        rules.FILE_NEEDS_CLAIM, store(url="file:///a", volumeClaim="shared"), store(url="file:///a")
    ),
    "an endpoint of another store than S3": Case(
        rules.ENDPOINT_IS_FOR_S3,
        store(url="s3://bucket", endpoint="https://minio.example:9000"),
        store(url="gs://bucket", endpoint="https://minio.example:9000"),
    ),
    "credentials of a volume": Case(
        rules.CREDENTIALS_NEED_URL,
        store(url="gs://bucket", credentialsSecret="s"),
        store(url="file:///a", volumeClaim="shared", credentialsSecret="s"),
    ),
    "a way out of a store": Case(
        rules.NO_PARENTS_IN_URL, store(url="s3://bucket/a.b"), store(url="s3://bucket/a/../b"), says="outputStore.url"
    ),
    "a label that Kubernetes refuses": Case(
        rules.LABEL_KEYS, {**one(), "labels": {"acme.example/team": "a"}}, {**one(), "labels": {"my team": "a"}}
    ),
    "a label of the operator's": Case(
        rules.RESERVED_LABELS, {**one(), "labels": {"nexus": "a"}}, {**one(), "labels": {"nexus.dev/run": "a"}}
    ),
}


def wrapped(kind: str, spec: Object) -> Object:
    """The definition as a Workflow, or inline in a run."""
    return {"Workflow": workflow(**spec), "WorkflowRun": run(workflowSpec=spec)}[kind]
