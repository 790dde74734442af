"""Every message of lint has a code, every code a use, and nothing of ours reads the words."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.builders import spec, task
from typer.testing import CliRunner

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api.codes import Code
from nexus.api.messages_page import messages
from nexus.cli.main import app
from nexus.cli.manifests import load
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.model.facts import RunFact

PACKAGE = Path(__file__).parents[2] / "operator" / "nexus"


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in PACKAGE.rglob("*.py"):
        yield path, ast.parse(path.read_text("utf-8"))


def test_every_code_is_used_and_explained() -> None:
    used = {
        node.attr
        for path, tree in trees()
        if "from nexus.api.codes import Code" in path.read_text("utf-8")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code"
    }
    assert used == {code.name for code in Code}
    page = messages()
    for code in Code:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code.value)
        assert code.value == code.name.lower().replace("_", "-")
        assert code.meaning
        assert code.fix
        assert f"| `{code.value}` |" in page


def test_no_message_is_compared_or_taken_apart() -> None:
    """What a message shows and our code needs is a field of the problem. Where the words are Kubernetes' own, or a
    bound of an API, they may be read: those modules are not among these."""
    wrong = []
    for path, tree in trees():
        if path.parent.name not in ("validate", "manifest", "cli", "services", "task_types"):
            continue
        for node in ast.walk(tree):
            operands: list[ast.expr] = []
            if isinstance(node, ast.Compare) and not isinstance(node.ops[0], ast.Is | ast.IsNot):
                operands = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                methods = (
                    "startswith",
                    "endswith",
                    "partition",
                    "split",
                    "removeprefix",
                    "removesuffix",
                    "index",
                    "find",
                )
                operands = [node.func.value] if node.func.attr in methods else []
            for operand in operands:
                if isinstance(operand, ast.Attribute) and operand.attr == "message":
                    wrong.append(f"{path.name}:{node.lineno}")  # noqa: PERF401
    assert wrong == []


def test_json_of_lint_has_the_code_and_the_place(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "apiVersion: nexus.dev/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  tasks:\n"
        "  - name: one\n    dependsOn: [two]\n    bash: {command: 'true'}\n"
        "  schedules: [{name: s, cron: 0 6 1-7 * MON}]\n"
    )
    result = json.loads(CliRunner().invoke(app, ["lint", "-o", "json", str(file)]).stdout)
    (problem,), (warning,) = result["problems"], result["warnings"]
    place = {"file": str(file), "line": 7, "column": 17, "task": "one", "field": "dependsOn[0]"}
    assert {**problem, "message": ""} == {**place, "code": "unknown-task", "severity": "error", "message": ""}
    assert (warning["code"], warning["severity"], warning["task"]) == ("either-day", "warning", None)
    assert warning["field"] == "cron"


def test_codes_of_a_file_that_cannot_be_read(cel: CelEvaluator) -> None:
    texts = {
        "a: {": Code.INVALID_YAML,
        "a: 1\na: 2": Code.DUPLICATE_KEY,
        "- a": Code.NOT_AN_OBJECT,
        "a: !x y": Code.UNSUPPORTED_TAG,
        "a: !!int y": Code.UNSUPPORTED_TAG,
        "a: .inf": Code.INVALID_VALUE,
        "a: *b": Code.INVALID_ALIAS,
        "{a: 1}: 2": Code.INVALID_KEY,
        '{"a": 1,': Code.INVALID_JSON,
    }
    assert {text: load(text, "f", cel).problems[0].code for text in texts} == texts


def test_problems_of_params_are_data(cel: CelEvaluator) -> None:
    params = spec(task("a"), params=[{"name": "n", "type": "integer"}, {"name": "m"}]).params or []
    fact = RunFact("default", "r", "u", datetime.now(UTC), params={"n": "x", "o": 1})
    with pytest.raises(ParamsInvalid) as caught:
        resolve(params, fact.params, fact, cel)
    assert [(problem.path, problem.code) for problem in caught.value.problems] == [
        (("params", "o"), Code.UNKNOWN_PARAM),
        (("params", "n"), Code.INVALID_PARAM),
        (("params", "m"), Code.MISSING_PARAM),
    ]
