"""A secret that tasks of every type use is found in no object but its Secret, in no Event, log or metric of ours."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

import httpx
import pytest
from tests.e2e.conftest import operator_for
from tests.e2e.prometheus import free_port
from tests.e2e.space import Object, Space, bash, container, phases, python

from nexus.adapters.kube.client.api import Kind

pytestmark = pytest.mark.cluster

SECRETS = Kind("", "v1", "secrets", "Secret")
# A quote, a slash, a dollar and a space: each is written otherwise in JSON, in a URL or in a shell.
CANARY = 'canary-7f3a/$ 9"kq2'
FORMS = {
    CANARY,
    json.dumps(CANARY)[1:-1],
    json.dumps(json.dumps(CANARY)[1:-1])[1:-1],
    quote(CANARY),
    quote(CANARY, safe=""),
    quote_plus(CANARY),
    base64.b64encode(CANARY.encode()).decode(),
    base64.b64encode(f"svc:{CANARY}".encode()).decode(),
    # What is left of it where somebody cuts or quotes it in another way.
    "7f3a",
    'kq2"',
}
TOKEN = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "canary", "key": "token"}}}
FROM = {"envFrom": [{"prefix": "ALL_", "secretRef": {"name": "canary"}}]}
BASIC = [{"name": "Authorization", "value": "Basic $(ALL_pair)"}]
LENGTH = len(CANARY)


@dataclass
class Left:
    """What a run that used the secret everywhere has left behind."""

    run: Object
    objects: str
    log: str
    metrics: str


def tasks(server: str) -> list[Object]:
    """Tasks of every type, those that succeed and those that fail in ways that quote what they were given."""

    def http(name: str, url: str, **fields: object) -> Object:
        bearer = [{"name": "Authorization", "value": "Bearer $(TOKEN)"}]
        return {"name": name, "http": {"url": url, "headers": bearer, **fields}, "env": [TOKEN]}

    def sql(name: str, key: str) -> Object:
        return {
            "name": name,
            "sql": {"connection": {"secretKeyRef": {"name": "canary", "key": key}}, "query": "select 1"},
        }

    volume = {"volumes": [{"name": "v", "secret": {"secretName": "canary"}}]}
    mounted = {"pod": volume | {"volumeMounts": [{"name": "v", "mountPath": "/canary"}]}}
    return [
        bash("bash", 'echo "length:=${#TOKEN}" >> "$NEXUS_OUTPUT"', env=[TOKEN]),
        bash("bash-fails", 'echo "$ALL_token" >&2; exit 3', **FROM),
        bash("fan", '[ -n "$TOKEN" ] && [ "$ITEM" != 2 ]', forEach={"items": [1, 2]}, env=[TOKEN]),
        python("python", "import os; output['length'] = len(os.environ['TOKEN'])", env=[TOKEN]),
        python("mounted", "output['length'] = len(open('/canary/token').read())", **mounted),
        container("container", "sh", "-c", 'test "$1" = "$TOKEN"', "sh", "$(TOKEN)", env=[TOKEN]),
        container("container-fails", "ls", "/$(TOKEN)", env=[TOKEN]),
        http("http", f"{server}/digest?key=$(TOKEN)"),
        http("http-quotes", f"{server}/echo?key=$(TOKEN)", method="POST", json={"t": "$(TOKEN)"}, expect=[404]),
        {"name": "hook", "http": {"url": "$(ALL_hook)"}, **FROM},
        {"name": "pair", "http": {"url": server.replace("://", "://svc:$(ALL_quoted)@") + "/refuse/x"}, **FROM},
        {"name": "header", "http": {"url": f"{server}/refuse/x", "headers": BASIC}, **FROM},
        {
            "name": "waits",
            "http": {"url": f"{server}/refuse/$(ALL_quoted)"},
            "retry": {"limit": 1, "delaySeconds": 1, "retryOn": [404]},
            **FROM,
        },
        http("http-fails", "http://$(TOKEN)@10.231.0.1:1/$(TOKEN)"),
        sql("sql", "sqlite"),
        sql("sql-fails", "postgres"),
    ]


@pytest.fixture(scope="module")
def left(new_space: Callable[[str], Space], server: str, tmp_path_factory: pytest.TempPathFactory) -> Left:
    """The traces of a run, collected while all of them are there."""
    space = new_space("canary")
    password = quote(CANARY, safe="")
    urls = {"sqlite": "sqlite:////tmp/canary-7f3a.db", "postgres": f"postgresql+psycopg://u:{password}@10.231.0.1:1/db"}
    hook = f"{server}/refuse/{password}/T01?key={password}"
    pair = base64.b64encode(f"svc:{CANARY}".encode()).decode()
    keys = {"token": CANARY, "hook": hook, "quoted": password, "pair": pair, **urls}
    space.post(SECRETS, {"metadata": {"name": "canary"}, "stringData": keys})
    port = free_port()
    settings = {"NEXUS_LOG_LEVEL": "DEBUG", "NEXUS_HTTP_PORT": str(port)}
    with operator_for(tmp_path_factory.mktemp("canary"), space, settings=settings) as operator:
        space.run("canary", *tasks(server), maxParallelTasks=20)
        run = space.finished("canary")
        space.events(run)
        kinds = space.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
        assert {"secrets", "pods", "events", "workflowruns.nexus.dev"} <= set(kinds)
        others = ",".join(kind for kind in kinds if kind != "secrets")
        objects = space.kubectl("get", others, "-o", "json", "--show-managed-fields")
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return Left(run, objects, operator.log(), metrics)


def test_every_task_had_the_secret(left: Left) -> None:
    failing = {"bash-fails", "fan", "container-fails", "http-quotes", "http-fails", "sql-fails"}
    failing |= {"hook", "pair", "header", "waits"}
    wanted = {name: "Failed" if name in failing else "Succeeded" for name in phases(left.run)}
    assert phases(left.run) == wanted, json.dumps(left.run["status"], indent=1)
    messages = {task["name"]: task.get("message", "") for task in left.run["status"]["tasks"]}
    for name in ("hook", "pair", "header", "waits"):
        assert "answered 404, expected 2xx (http.expect): Cannot GET" in messages[name]
    outputs = {task["name"]: task.get("output") for task in left.run["status"]["tasks"]}
    assert outputs["bash"] == outputs["python"] == outputs["mounted"] == {"length": LENGTH}
    digest = hashlib.sha256(f"Bearer {CANARY}".encode()).hexdigest()
    assert outputs["http"]["json"] == {"authorization": digest}


@pytest.mark.parametrize("where", ["objects", "log", "metrics"])
def test_the_secret_is_nowhere_else(left: Left, where: str) -> None:
    text: str = getattr(left, where)
    assert "canary" in text, "the run's name: this is the place where it would be"
    found = {form: text.index(form) for form in FORMS if form in text}
    assert found == {}, [text[max(at - 300, 0) : at + 100] for at in found.values()]
