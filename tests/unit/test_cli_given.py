"""--param: JSON is read as outputs are, and what cannot be read is told in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli_harness import bash, nexus, workflow, write

from nexus.api.workflow import Param
from nexus.cli.given import params

KINDS = ["string", "integer", "number", "boolean", "array", "object"]
DECLARED = [Param.model_validate({"name": kind, "type": kind}) for kind in KINDS]
DEEP = "[" * 3_000 + "]" * 3_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("string=1e999", "1e999"),
        ("string=a=b\n", "a=b\n"),
        ("integer=3.0", 3),
        ("number=1e1", 10),
        ("number=-0.0", 0),
        ("number=2.50", 2.5),
        ("array=[1.0, 1e16, {}]", [1, 10**16, {}]),
        ('object={"a":{"b":3.0}}', {"a": {"b": 3}}),
        ("boolean=true", True),
    ],
)
def test_a_value_is_read_by_its_declared_type_with_the_numbers_of_the_cluster(text: str, value: object) -> None:
    read = params([text], DECLARED)
    assert read.problems == ()
    assert repr(read.values) == repr({text.partition("=")[0]: value})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("number=1e999", "1e999 is too large for a number"),
        ("array=[-1e999]", "too large"),
        ("number=NaN", "NaN is not JSON"),
        ("number=-Infinity", "-Infinity is not JSON"),
        ("integer=18446744073709551615", "does not fit into 64 bits"),
        ("integer=" + "9" * 10_000, "does not fit into 64 bits"),
        (f"array={DEEP}", "more than 100 levels deep"),
        ('object={"a":1,"a":2}', 'duplicate key "a"'),
        ('object={"a":"\\ud83d"}', "half a surrogate pair"),
        ("object=", "Expecting value"),
        ("array=\udcff", "Expecting value"),
    ],
)
def test_what_json_cannot_hold_is_told_with_the_reason(text: str, why: str) -> None:
    (problem,) = params([text], DECLARED).problems
    kind = text.partition("=")[0]
    assert problem.startswith(f"--param {kind}: must be a")
    assert why in problem
    assert len(problem) < 350


@pytest.mark.parametrize("command", [["run", "--local", "-f"], ["plan"]])
@pytest.mark.parametrize("text", ["number=1e999", f"array={DEEP}"])
def test_no_command_answers_with_a_traceback(tmp_path: Path, command: list[str], text: str) -> None:
    declared = [{"name": "number", "type": "number", "default": 1}, {"name": "array", "type": "array", "default": []}]
    answer = nexus(*command, write(tmp_path, workflow(bash("one"), params=declared)), "--param", text)
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"--param {text.partition('=')[0]}: must be a")
    assert answer.stderr.count("\n") == 1
