"""A module fits in a head, a function on a screen."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
MODULES = sorted((TOP / "operator").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TOP)))
def test_a_module_has_at_most_500_lines_and_its_functions_60(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= 500
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno >= 60} == {}


def test_operator_itself_holds_no_module_for_it_would_shadow_the_standard_library() -> None:
    assert list((TOP / "operator").glob("*.py")) == []
    assert len(MODULES) > 10
