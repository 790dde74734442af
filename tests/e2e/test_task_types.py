"""Each task type in a pod: its contract, and that values reach it as data, byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import IMAGE, Object, Space, bash, phases, python, task

from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    EVENTS,
    JOBS,
    PODS,
    SECRETS,
    WORKFLOW_RUNS,
    WORKFLOWS,
)

pytestmark = pytest.mark.cluster

SECRET = "tr0ub4dor&3-$(HOME)-'quoted'"
HOSTILE = (
    "a'b\"c`id` $(TOKEN) $$(TOKEN) $(id) ${TOKEN} $TOKEN $$ \\ \\n ${{ params.line }} }} {{ "
    "%s %(x)s {0} !! * ? ~ #\t<&>;|\nsecond line\n\n'; drop table t; --\u00e9\u4e16\u754c \U0001f600 \u2028 end \n"
)
LINE = "x'y\"z`$(TOKEN)$$(TOKEN)$TOKEN${{ params.hostile }}\\ end"
TOKEN = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}
PARAMS = [
    {"name": "hostile", "type": "string"},
    {"name": "line", "type": "string"},
    {"name": "numbers", "type": "array", "default": [1, 2.5, None]},
    {"name": "server", "type": "string", "default": "http://127.0.0.1"},
]
HOSTILE_ENV = [
    TOKEN,
    {"name": "H", "value": "${{ params.hostile }}"},
    {"name": "MIXED", "value": "$(TOKEN)|${{ params.line }}"},
]
# Written by a shell in a container: base64, since JSON would need quoting.
TELL = """
printf '{"arg":"%s","env":"%s","mixed":"%s"}' "$(printf %s "$1" | base64 -w0)" "$(printf %s "$H" | base64 -w0)" \
  "$(printf %s "$MIXED" | sha256sum | cut -c-64)" > /dev/termination-log
"""


def contract(server: str) -> list[Object]:
    """One task of each form."""
    return [
        python(
            "code",
            "import os\n"
            "home = os.environ['HOME']\n"
            "output['seen'] = {'params': params['numbers'], 'run': run['name'], 'input': input, 'home': home}\n"
            "output['left'] = sorted(name for name in os.environ if name.startswith('NEXUS_'))\n"
            "print('a line for the log')",
        ),
        {"name": "call", "python": {"call": "json:loads", "with": {"s": "${{ json({'n': params.numbers[0]}) }}"}}},
        {
            "name": "get",
            "http": {"url": f"{server}/echo?a=1", "query": [{"name": "b c", "value": "${{ params.numbers }}"}]},
        },
        {
            "name": "post",
            "http": {
                "method": "POST",
                "url": f"{server}/echo",
                "headers": [{"name": "X-Kind", "value": "test"}],
                "json": {"list": "${{ params.numbers }}"},
                "expect": [200, "4xx"],
            },
        },
        {"name": "text", "http": {"url": f"{server}/text"}},
        {"name": "members", "http": {"url": f"{server}/members"}},
        {"name": "bytes", "http": {"url": f"{server}/text", "responseType": "base64"}},
        {"name": "missing", "http": {"url": f"{server}/status/404", "expect": [404]}},
        bash(
            "shell",
            'echo "who=$(id -u)"  >> "$NEXUS_OUTPUT"; echo "numbers:=$PARAM_NUMBERS" >> "$NEXUS_OUTPUT"; '
            'echo "home=$HOME" >> "$NEXUS_OUTPUT"; false || true; '
            'grep -q \'"input":{"code":{\' "$NEXUS_CONTEXT" && echo "context=ok" >> "$NEXUS_OUTPUT"',
            "code",
        ),
        {
            "name": "sql",
            "sql": {
                "connection": "sqlite://",
                "query": "select :n as n, json_array_length(:list) as length, null as nil",
                "parameters": {"n": "${{ params.numbers[1] }}", "list": "${{ params.numbers }}"},
            },
        },
        {
            "name": "sql-secret",
            "sql": {"connection": {"secretKeyRef": {"name": "keys", "key": "url"}}, "query": "select 7 as seven"},
        },
        {"name": "silent", "container": {"image": IMAGE, "command": ["true"]}},
        {
            "name": "words",
            "container": {"image": IMAGE, "command": ["sh", "-c", "echo no JSON > /dev/termination-log"]},
        },
        {
            "name": "speaking",
            "container": {
                "image": IMAGE,
                "command": ["sh", "-c", 'printf \'{"n": %s, "token": "%s"}\' "$1" "${#TOKEN}" > /dev/termination-log'],
                "args": ["sh", "${{ params.numbers[0] + 41 }}"],
            },
            "envFrom": [{"secretRef": {"name": "token"}}, {"configMapRef": {"name": "absent", "optional": True}}],
        },
        python(
            "last",
            "output['inputs'] = {name: value if name != 'get' else None for name, value in input.items()}",
            *("get", "call", "silent", "speaking"),
        ),
    ]


def hostile(server: str) -> list[Object]:
    """The same two texts through every door."""
    return [
        {
            **python(
                "py",
                "import os\noutput |= {'param': params['hostile'], 'env': os.environ['H']}\n"
                "output['mixed'] = __import__('hashlib').sha256(os.environ['MIXED'].encode()).hexdigest()",
            ),
            "env": HOSTILE_ENV,
        },
        {"name": "call", "python": {"call": "json:loads", "with": {"s": "${{ json({'param': params.hostile}) }}"}}},
        {
            **bash(
                "sh",
                'for pair in "param:$PARAM_HOSTILE" "env:$H"; do\n'
                '  echo "${pair%%:*}=$(printf %s "${pair#*:}" | base64 -w0)" >> "$NEXUS_OUTPUT"\ndone\n'
                'echo "mixed=$(printf %s "$MIXED" | sha256sum | cut -c-64)" >> "$NEXUS_OUTPUT"',
            ),
            "env": HOSTILE_ENV,
        },
        {
            "name": "sql",
            "sql": {
                "connection": "sqlite://",
                "query": "select :hostile as param, :line as line",
                "parameters": {"hostile": "${{ params.hostile }}", "line": "${{ params.line }}"},
            },
            "env": [TOKEN],
        },
        {
            "name": "http",
            "http": {
                "method": "POST",
                "url": f"{server}/echo",
                "headers": [{"name": "X-Line", "value": "${{ params.line }}"}],
                "query": [{"name": "q", "value": "${{ params.hostile }}"}],
                "json": {"param": "${{ params.hostile }}", "text": "<${{ params.line }}>"},
            },
            "env": [TOKEN],
        },
        {
            "name": "body",
            "http": {"method": "PUT", "url": f"{server}/echo", "body": "${{ params.hostile }}"},
            "env": [TOKEN],
        },
        {
            "name": "container",
            "container": {"image": IMAGE, "command": ["bash", "-c", TELL, "tell"], "args": ["${{ params.hostile }}"]},
            "env": HOSTILE_ENV,
        },
        {
            "name": "command",
            "container": {"image": IMAGE, "command": ["bash", "-c", TELL, "tell", "${{ params.hostile }}"]},
            "env": HOSTILE_ENV,
        },
    ]


def secret(server: str) -> list[Object]:
    """A Secret used in every way, in failures too."""
    authorized = {"headers": [{"name": "Authorization", "value": "Bearer $(TOKEN)"}]}
    return [
        {"name": "header", "http": {"url": f"{server}/digest", **authorized}, "env": [TOKEN]},
        {"name": "refused", "http": {"url": f"{server}/status/500?key=$(TOKEN)", **authorized}, "env": [TOKEN]},
        {
            **bash("digest", 'echo "token=$(printf %s "$P_token" | sha256sum | cut -c-64)" >> "$NEXUS_OUTPUT"'),
            "envFrom": [{"prefix": "P_", "secretRef": {"name": "keys"}}],
        },
        {"name": "sql", "sql": {"connection": {"secretKeyRef": {"name": "keys", "key": "bad"}}, "query": "select 1"}},
    ]


@pytest.fixture(scope="module", autouse=True)
def started(space: Space, operator: OperatorProcess, server: str) -> None:
    """All runs of this module, at once."""
    assert operator.running
    texts = {"token": SECRET, "url": "sqlite:////tmp/file.db", "bad": f"sqlite:////{SECRET}/none.db"}
    space.post(SECRETS, {"metadata": {"name": "keys"}, "stringData": texts})
    space.post(SECRETS, {"metadata": {"name": "token"}, "stringData": {"TOKEN": SECRET}})
    values = {"hostile": HOSTILE, "line": LINE}
    space.workflow("hostile", *hostile(server), params=PARAMS)
    space.workflow("contract", *contract(server), params=PARAMS)
    space.run_of("contract", "contract", values)
    space.run_of("hostile", "hostile", values)
    space.run("secret", *secret(server))


def unpacked(text: str) -> str:
    return base64.b64decode(text).decode()


def test_each_task_type_keeps_its_contract(space: Space) -> None:
    run = space.finished("contract")
    assert set(phases(run).values()) == {"Succeeded"}, json.dumps(run["status"], indent=1)
    outputs: dict[str, Any] = {name: space.output(run, name) for name in phases(run)}
    seen = {"params": [1, 2.5, None], "run": "contract", "input": {}, "home": "/tmp"}
    assert outputs["code"]["seen"] == seen
    assert not {"NEXUS_CONTEXT_JSON", "NEXUS_TASK_JSON"} & set(outputs["code"]["left"])
    assert outputs["call"] == {"n": 1}
    assert outputs["get"]["json"]["query"] == [["a", "1"], ["b c", "[1,2.5,null]"]]
    assert outputs["get"]["headers"]["content-type"] == "application/json"
    post = outputs["post"]["json"]
    assert (post["method"], post["headers"]["x-kind"]) == ("POST", "test")
    assert json.loads(post["body"]) == {"list": [1, 2.5, None]}
    assert outputs["text"]["text"] == "plain text"
    assert outputs["members"]["text"] == "first second"
    assert outputs["bytes"]["base64"] == base64.b64encode(b"plain text").decode()
    assert (outputs["missing"]["status"], outputs["missing"]["json"]) == (404, {"code": 404})
    assert outputs["shell"] == {"who": "65532", "numbers": [1, 2.5, None], "home": "/tmp", "context": "ok"}
    assert outputs["sql"] == {"rows": [{"n": 2.5, "length": 3, "nil": None}], "rowcount": None}
    assert outputs["sql-secret"]["rows"] == [{"seven": 7}]
    assert outputs["silent"] == outputs["words"] == {}
    assert outputs["speaking"] == {"n": 42, "token": str(len(SECRET))}
    inputs = {"get": None, "call": {"n": 1}, "silent": {}, "speaking": outputs["speaking"]}
    assert outputs["last"]["inputs"] == inputs


def test_params_reach_every_task_type_as_data(space: Space) -> None:
    run = space.finished("hostile")
    assert set(phases(run).values()) == {"Succeeded"}, json.dumps(run["status"], indent=1)
    outputs: dict[str, Any] = {name: space.output(run, name) for name in phases(run)}
    # What the author of the manifest wrote is expanded, what came from a param beside it is not.
    mixed = hashlib.sha256(f"{SECRET}|{LINE}".encode()).hexdigest()
    assert outputs["py"] == {"param": HOSTILE, "env": HOSTILE, "mixed": mixed}
    assert outputs["call"] == {"param": HOSTILE}
    assert {name: unpacked(outputs["sh"][name]) for name in ("param", "env")} == {"param": HOSTILE, "env": HOSTILE}
    assert outputs["sh"]["mixed"] == mixed
    assert outputs["sql"]["rows"] == [{"param": HOSTILE, "line": LINE}]
    told = outputs["http"]["json"]
    assert told["headers"]["x-line"] == LINE
    assert told["query"] == [["q", HOSTILE]]
    assert json.loads(told["body"]) == {"param": HOSTILE, "text": f"<{LINE}>"}
    assert outputs["body"]["json"]["body"] == HOSTILE
    for name in ("container", "command"):
        assert unpacked(outputs[name]["arg"]) == HOSTILE
        assert unpacked(outputs[name]["env"]) == HOSTILE
        assert outputs[name]["mixed"] == mixed


def test_a_secret_is_used_and_appears_nowhere(space: Space, operator: OperatorProcess) -> None:
    run = space.finished("secret")
    bearer = hashlib.sha256(f"Bearer {SECRET}".encode()).hexdigest()
    assert space.output(run, "header")["json"] == {"authorization": bearer}
    assert space.output(run, "digest") == {"token": hashlib.sha256(SECRET.encode()).hexdigest()}
    assert phases(run) == {"header": "Succeeded", "refused": "Failed", "digest": "Succeeded", "sql": "Failed"}
    assert "/status/500" in task(run, "refused")["message"]
    space.finished("contract")
    space.finished("hostile")
    kinds = (WORKFLOWS, WORKFLOW_RUNS, JOBS, PODS, CONFIG_MAPS, CONTROLLER_REVISIONS, EVENTS)
    told = space.everything(*kinds) + operator.log()
    for form in (SECRET, json.dumps(SECRET)[1:-1], base64.b64encode(SECRET.encode()).decode(), "tr0ub4dor"):
        assert form not in told
