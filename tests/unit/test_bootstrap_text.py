"""The text of a bootstrap: parts that were written apart, in one namespace."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from nexus.bootstrap import text


@pytest.mark.parametrize("kind", ["python", "http", "sql", "transfer"])
def test_no_part_takes_a_name_that_another_has(kind: str) -> None:
    names: Counter[str] = Counter()
    for node in ast.parse(text(kind)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] += 1
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    del names["TYPE_CHECKING"]
    assert [name for name, count in names.items() if count > 1] == []
