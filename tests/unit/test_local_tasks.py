"""Each task type as a subprocess: what it gets, what it gives, what its end means."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.builders import definition, task
from tests.unit.local_harness import recording_server, run_here

from nexus.adapters.local.bindings import Bindings
from nexus.api.reasons import Reason, RunPhase, TaskPhase

HOSTILE = "'; \"\n$(TOKEN) $$ ${{ params.x }} $(id) `id` $HOME \\ é 漢 🙂 }} %s #"
PARAMS = [{"name": "x"}]
SECRET = Bindings(secrets={"api": {"token": "s3cret"}})
TOKEN = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}


def python(name: str, code: str, *depends_on: str, **fields: Any) -> Any:
    return task(name, *depends_on, python={"code": code}, **fields)


def bash(name: str, command: str, *depends_on: str, **fields: Any) -> Any:
    return task(name, *depends_on, bash={"command": command}, **fields)


# What each type gives


def test_outputs_go_from_type_to_type() -> None:
    ran = run_here(
        definition(
            python("extract", "output['rows'] = [1, 2, 3]"),
            bash("count", 'echo "n:=3" >> "$NEXUS_OUTPUT"; echo "name=a b" >> "$NEXUS_OUTPUT"', "extract"),
            task(
                "query",
                "count",
                sql={
                    "connection": "sqlite://",
                    "query": "select :n + 1 as more",
                    "parameters": {"n": "${{ tasks.count.output.n }}"},
                },
            ),
            python("sum", "output['sum'] = input['query']['rows'][0]['more'] + len(input['query'])", "query"),
        )
    )
    assert ran.phase is RunPhase.SUCCEEDED, ran.status.message
    assert ran.outputs["count"] == {"n": 3, "name": "a b"}
    assert ran.outputs["query"] == {"rows": [{"more": 4}], "rowcount": None}
    assert ran.outputs["sum"] == {"sum": 6}


def test_http_asks_and_its_result_takes_the_place_of_json() -> None:
    with recording_server() as (address, got):
        ran = run_here(
            definition(
                task("ask", http={"url": f"{address}/a?b=1", "result": "${{ response.json.ok ? 'yes' : 'no' }}"})
            )
        )
    assert ran.outputs["ask"]["json"] == "yes"
    assert ran.outputs["ask"]["status"] == 200
    assert [request.path for request in got] == ["/a?b=1"]


def test_call_finds_its_module_beside_the_manifest_and_gets_values_of_their_type(tmp_path: Path) -> None:
    (tmp_path / "pricing.py").write_text("def price(rows, factor):\n    return {'total': sum(rows) * factor}\n")
    ran = run_here(
        definition(
            task("price", python={"call": "pricing:price", "with": {"rows": "${{ params.rows }}", "factor": 2}}),
            params=[{"name": "rows", "type": "array", "default": [1, 2]}],
        ),
        search_path=tmp_path,
    )
    assert ran.outputs == {"price": {"total": 6}}


# Data stays data


def test_hostile_params_reach_python_and_bash_as_data() -> None:
    ran = run_here(
        definition(
            python("py", "output['x'] = params['x']"),
            bash(
                "sh", 'printf "x:=%s\\n" "$(printf %s "$PARAM_X" | base64 -w0 | sed \'s/.*/"&"/\')" >> "$NEXUS_OUTPUT"'
            ),
            params=PARAMS,
        ),
        params={"x": HOSTILE},
    )
    assert ran.outputs["py"]["x"] == HOSTILE
    assert base64.b64decode(ran.outputs["sh"]["x"]).decode() == HOSTILE


def test_hostile_params_reach_sql_and_env_as_data() -> None:
    ran = run_here(
        definition(
            task(
                "sql",
                sql={"connection": "sqlite://", "query": "select :x as x", "parameters": {"x": "${{ params.x }}"}},
            ),
            python(
                "env",
                "import os; output['plain'] = os.environ['PLAIN']; output['mixed'] = os.environ['MIXED']",
                env=[
                    TOKEN,
                    {"name": "PLAIN", "value": "${{ params.x }}"},
                    {"name": "MIXED", "value": "$(TOKEN) $$(TOKEN) $(NOBODY) ${{ params.x }}"},
                ],
            ),
            params=PARAMS,
        ),
        params={"x": HOSTILE},
        bindings=SECRET,
    )
    assert ran.outputs["sql"]["rows"] == [{"x": HOSTILE}]
    assert ran.outputs["env"]["plain"] == HOSTILE
    assert ran.outputs["env"]["mixed"] == f"s3cret $(TOKEN) $(NOBODY) {HOSTILE}"


def test_hostile_params_reach_http_as_data_and_only_the_authors_references_are_resolved() -> None:
    hostile = HOSTILE.replace("\n", " ")
    with recording_server() as (address, got):
        ran = run_here(
            definition(
                task(
                    "ask",
                    http={
                        "method": "POST",
                        "url": address,
                        "query": [{"name": "q", "value": "${{ params.x }}"}],
                        "headers": [{"name": "Authorization", "value": "Bearer $(TOKEN)"}],
                        "json": {"x": "${{ params.x }}", "token": "$(TOKEN)"},
                    },
                    env=[TOKEN],
                ),
                params=PARAMS,
            ),
            params={"x": hostile},
            bindings=SECRET,
        )
    assert ran.phase is RunPhase.SUCCEEDED, ran.status.message
    (request,) = got
    assert json.loads(request.body) == {"x": hostile, "token": "s3cret"}
    assert parse_qs(urlsplit(request.path).query)["q"] == [hostile]
    assert request.headers["Authorization"] == "Bearer s3cret"


def test_a_variable_of_this_machine_is_no_variable_of_the_task() -> None:
    ran = run_here(
        definition(
            python("env", "import os; output['x'] = os.environ['X']", env=[{"name": "X", "value": "$(PATH) $(HOME)"}])
        )
    )
    assert ran.outputs["env"]["x"] == "$(PATH) $(HOME)"


def test_the_environment_nexus_runs_in_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    ran = run_here(definition(python("look", "import os; output['seen'] = 'AWS_SECRET_ACCESS_KEY' in os.environ")))
    assert ran.outputs["look"] == {"seen": False}


def test_env_from_takes_all_keys_with_their_prefix_and_env_wins() -> None:
    code = "import os; output.update({k: v for k, v in os.environ.items() if k.startswith('DB_')})"
    ran = run_here(
        definition(
            python(
                "look",
                code,
                envFrom=[{"prefix": "DB_", "secretRef": {"name": "db"}}, {"configMapRef": {"name": "common"}}],
                env=[{"name": "DB_USER", "value": "me"}],
            )
        ),
        bindings=Bindings(secrets={"db": {"USER": "you", "HOST": "h"}}, config_maps={"common": {"DB_PORT": "1"}}),
    )
    assert ran.outputs["look"] == {"DB_USER": "me", "DB_HOST": "h", "DB_PORT": "1"}


def test_an_optional_key_that_is_missing_leaves_its_variable_unset() -> None:
    source = {"secretKeyRef": {"name": "api", "key": "nope", "optional": True}}
    ran = run_here(
        definition(
            python("look", "import os; output['set'] = 'T' in os.environ", env=[{"name": "T", "valueFrom": source}])
        )
    )
    assert ran.outputs["look"] == {"set": False}


def test_a_sql_url_comes_from_a_secret(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'db'}"
    connection = {"secretKeyRef": {"name": "warehouse", "key": "url"}}
    ran = run_here(
        definition(
            task("make", sql={"connection": connection, "query": "create table t as select 5 as n"}),
            task("read", "make", sql={"connection": connection, "query": "select n from t"}),
        ),
        bindings=Bindings(secrets={"warehouse": {"url": url}}),
    )
    assert ran.outputs["read"]["rows"] == [{"n": 5}], ran.status.message
    assert url not in json.dumps(ran.status.to_json())


# Sizes


def test_outputs_of_300_kib_travel_between_all_types() -> None:
    size = 300 * 1024
    ran = run_here(
        definition(
            python("big", f"import random; output['text'] = random.Random(1).randbytes({size // 2}).hex()"),
            python("py", "output['n'] = len(input['big']['text'])", "big"),
            bash(
                "sh",
                """cp "$NEXUS_CONTEXT" seen; echo "n:=$(wc -c < seen)" >> "$NEXUS_OUTPUT"
                head -c 307200 /dev/zero | tr '\\0' x | sed 's/^/text=/' >> "$NEXUS_OUTPUT\"""",
                "big",
            ),
            python("end", "output['n'] = len(input['sh']['text'])", "sh", "py"),
        )
    )
    assert ran.phase is RunPhase.SUCCEEDED, ran.status.message
    assert ran.outputs["py"] == {"n": size}
    assert ran.outputs["sh"]["n"] > size
    assert ran.outputs["end"] == {"n": size}
    reference = ran.task("big").output_ref
    assert reference is not None
    assert reference.size > size
    assert not [line for _, line in ran.watcher.written if "NEXUS-OUTPUT" in line]


@pytest.mark.parametrize(
    "big",
    [
        python("big", "output['text'] = 'x' * (600 * 1024)"),
        bash("big", "head -c 614400 /dev/zero | tr '\\0' x | sed 's/^/text=/' >> \"$NEXUS_OUTPUT\""),
    ],
    ids=["python", "bash"],
)
def test_an_output_over_512_kib_is_refused_with_its_size_and_without_a_retry(big: Any) -> None:
    ran = run_here(definition(big.model_copy(update={"retry": None}), defaults={"retry": {"limit": 3}}))
    assert ran.ending("big") == (TaskPhase.FAILED, Reason.OUTPUT_TOO_LARGE)
    assert "61" in (ran.task("big").message or "")
    assert ran.task("big").attempts == 1


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (bash("bad", 'echo "no form at all" >> "$NEXUS_OUTPUT"'), "no form at all"),
        (bash("bad", 'echo "n:=one" >> "$NEXUS_OUTPUT"'), "n"),
        (python("bad", "output['when'] = {1, 2}"), "when"),
        (python("bad", "output['x'] = float('nan')"), "x"),
    ],
    ids=["line", "json", "set", "nan"],
)
def test_an_output_that_is_not_json_fails_and_names_the_line_or_key(broken: Any, named: str) -> None:
    ran = run_here(definition(broken))
    assert ran.ending("bad") == (TaskPhase.FAILED, Reason.INVALID_OUTPUT)
    assert named in (ran.task("bad").message or "")


def test_a_script_larger_than_an_argument_may_be_runs() -> None:
    command = "true # " + "x" * 30_000 + "\n" + 'echo "n:=1" >> "$NEXUS_OUTPUT"'
    many = bash("big", "\n".join([*("# " + "y" * 100 for _ in range(20)), command]))
    assert run_here(definition(many)).outputs["big"] == {"n": 1}


def test_a_secret_that_no_variable_can_hold_is_a_failure_of_the_task_that_takes_it() -> None:
    ran = run_here(
        definition(bash("takes", "true", env=[TOKEN]), bash("other", "true")),
        bindings=Bindings(secrets={"api": {"token": "s3c\0ret"}}),
    )
    assert ran.ending("takes") == (TaskPhase.FAILED, Reason.TASK_ERROR)
    assert "null byte" in (ran.task("takes").message or "")
    assert "s3c" not in (ran.task("takes").message or "")
    assert ran.task("other").phase is TaskPhase.SUCCEEDED


# Ends


def test_the_line_of_the_error_is_named_and_the_log_has_the_traceback() -> None:
    ran = run_here(definition(python("bad", "x = 1\nraise ValueError('no such order')")))
    assert ran.ending("bad") == (TaskPhase.FAILED, Reason.TASK_ERROR)
    assert ran.task("bad").message == "ValueError: no such order (line 2)"
    assert any("raise ValueError" in line for line in ran.lines("bad"))


def test_an_exit_status_is_recorded() -> None:
    ran = run_here(definition(bash("bad", "exit 7")))
    assert ran.task("bad").exit_code == 7


def test_a_command_that_is_not_there_has_its_own_reason() -> None:
    assert run_here(definition(bash("bad", "nosuchcommand --x"))).ending("bad") == (
        TaskPhase.FAILED,
        Reason.COMMAND_NOT_FOUND,
    )


def test_a_process_left_behind_neither_holds_the_task_up_nor_lives_on(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    started = time.monotonic()
    ran = run_here(definition(bash("bg", f"(while sleep 0.1; do date > {alive}; done) & sleep 0.3")))
    assert ran.phase is RunPhase.SUCCEEDED
    assert time.monotonic() - started < 10
    before = alive.read_text()
    time.sleep(1.1)
    assert alive.read_text() == before


def test_lines_come_as_they_are_written_and_without_the_framed_output() -> None:
    ran = run_here(definition(python("say", "print('one\\n'); print('two', end=''); output['x'] = 'y' * 9000")))
    assert ran.lines("say") == ["one", "", "two"]
    assert len(ran.outputs["say"]["x"]) == 9000
