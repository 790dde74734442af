"""Files that come in ConfigMaps: held against the hashes in the Job before any user code runs, in every bootstrap."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.bootstrap_harness import CONTEXT, REFUSED, Bench, Ended, compact

MARK = "the user's code ran"
PYTHON = f"print({MARK!r}); output = {{'params': params, 'input': input, 'item': item}}"
BASH = f'echo "{MARK}"; printf \'context:=%s\\n\' "$(cat $NEXUS_CONTEXT)" >>$NEXUS_OUTPUT'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def sums(files: Mapping[str, str]) -> str:
    """As the operator writes them."""
    return "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in sorted(files.items()))


def mounted(bench: Bench, files: Mapping[str, str]) -> None:
    (bench.nexus / "input").mkdir(exist_ok=True)
    for name, text in files.items():
        (bench.nexus / name).write_text(text, encoding="utf-8")


def started(bench: Bench, kind: Any, files: Mapping[str, str], listed: Mapping[str, str], **extra: str) -> Ended:
    """A task whose files are these, with the hashes of `listed`."""
    mounted(bench, files)
    env = {**bench.env(), "NEXUS_SHA256SUMS": sums(listed), **extra}
    for variable, name in (("NEXUS_CONTEXT_JSON", "context.json"), ("NEXUS_TASK_JSON", "task.json")):
        if name in files:
            env.pop(variable, None)
    command = bench.command(kind, None if "command" in files else BASH)
    return bench.ended(bench.start(command, env))


CONTEXT_TEXT = compact({**CONTEXT, "params": {"day": "é\u2028\u0085"}, "input": {}})
INPUT = compact({"rows": ["é", 1, None]})
ITEMS = '"one"\t=one\n"two"\t=two\n'
FILES = {
    "bash": {"context.json": CONTEXT_TEXT, "command": BASH, "items": ITEMS, "input/load.json": INPUT},
    "python": {
        "context.json": CONTEXT_TEXT,
        "task.json": compact({"code": "print()"}),
        "item-fields.json": compact([["code"]]),
        "items": f'"one"\t["1"]\n"two"\t{compact([PYTHON])}\n',
        "input/load.json": INPUT,
    },
}
INDEX = {"JOB_COMPLETION_INDEX": "1"}


@pytest.mark.parametrize("kind", ["bash", "python"])
def test_what_was_stored_reaches_the_task(bench: Bench, kind: str) -> None:
    ended = started(bench, kind, FILES[kind], FILES[kind], **INDEX)
    if kind == "python":
        found = ended.output
    else:
        found = json.loads(ended.lines.decode().partition(":=")[2])
    assert found["params"] == {"day": "é\u2028\u0085"}
    assert found["input"] == {"load": {"rows": ["é", 1, None]}}
    assert found["item"] == "two"


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, files in FILES.items() for name in files])
@pytest.mark.parametrize("evil", ["", "EVIL", "{}", "append", "cut"])
def test_a_file_that_was_changed_ends_the_task_before_its_code(bench: Bench, kind: str, name: str, evil: str) -> None:
    stored = FILES[kind][name]
    text = {"append": stored + "\n", "cut": stored[:-1]}.get(evil, evil)
    ended = started(bench, kind, {**FILES[kind], name: text}, FILES[kind], **INDEX)
    assert ended.exit_code == REFUSED
    assert ended.error["reason"] == "ContentChanged"
    assert name in ended.error["message"]
    assert MARK not in ended.stdout.decode()


@pytest.mark.parametrize(("kind", "task"), [("http", {"url": "http://127.0.0.1:1/"}), ("sql", {"query": "select 1"})])
def test_a_changed_request_or_query_is_not_sent(bench: Bench, kind: Any, task: dict[str, Any]) -> None:
    ended = started(bench, kind, {"task.json": compact({**task, "evil": 1})}, {"task.json": compact(task)})
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "ContentChanged")


@pytest.mark.parametrize("kind", ["bash", "python"])
def test_an_output_that_an_older_version_stored_has_no_hash_and_is_read(bench: Bench, kind: str) -> None:
    listed = {name: text for name, text in FILES[kind].items() if not name.startswith("input/")}
    ended = started(bench, kind, FILES[kind], listed, **INDEX)
    assert MARK in ended.stdout.decode()
    assert ended.exit_code == 0


@pytest.mark.parametrize("kind", ["bash", "python"])
def test_a_listed_file_that_is_not_there_ends_the_task(bench: Bench, kind: str) -> None:
    files = {name: text for name, text in FILES[kind].items() if name != "context.json"}
    ended = started(bench, kind, files, FILES[kind], **INDEX, NEXUS_CONTEXT_JSON="")
    assert ended.exit_code != 0
    assert MARK not in ended.stdout.decode()


def test_a_script_that_changes_while_it_runs_is_the_one_that_was_checked(bench: Bench) -> None:
    # Bash reads a script as it goes on.
    script = 'echo "echo EVIL" >>"$NEXUS_DIR/command"\nsleep 0.1\necho good\n'
    ended = started(bench, "bash", {"command": script}, {"command": script})
    assert ended.exit_code == 0
    assert ended.stdout == b"good\n"


def test_user_code_does_not_see_the_hashes(bench: Bench) -> None:
    files = {"command": 'echo "[${NEXUS_SHA256SUMS-}]"'}
    assert started(bench, "bash", files, files).stdout == b"[]\n"


def test_a_local_run_has_files_and_no_hashes(bench: Bench) -> None:
    mounted(bench, {"command": "echo here"})
    assert bench.ended(bench.start(bench.command("bash"), bench.env())).stdout == b"here\n"
