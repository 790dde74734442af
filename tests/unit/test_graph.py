"""The graph of tasks: networkx's answers, against what follows from the definition of each."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.core.model import graph

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c", "a"]}


@st.composite
def dags(draw: st.DrawFn) -> dict[str, list[str]]:
    """Tasks in an order in which each waits for earlier ones."""
    names = "abcdefgh"[: draw(st.integers(1, 8))]
    return {
        name: draw(st.lists(st.sampled_from(names[:at] or ["-"]), unique=True)) if at else []
        for at, name in enumerate(names)
    }


def before(depends_on: dict[str, list[str]], name: str) -> set[str]:
    return set().union(*({other} | before(depends_on, other) for other in depends_on[name]))


def test_levels_and_what_comes_before_and_after() -> None:
    assert graph.levels(DIAMOND) == {"a": 0, "b": 1, "c": 1, "d": 2}
    assert graph.ancestors(DIAMOND, "d") == {"a", "b", "c"}
    assert graph.descendants(DIAMOND, ["b", "c"]) == {"d"}
    assert graph.redundant(DIAMOND) == [("d", "a")]


@given(dags())
def test_a_dependency_is_redundant_where_another_one_leads_to_it(depends_on: dict[str, list[str]]) -> None:
    expected = [
        (name, dependency)
        for name, dependencies in depends_on.items()
        for dependency in dependencies
        if any(dependency in before(depends_on, other) for other in dependencies)
    ]
    assert graph.redundant(depends_on) == expected
    assert all(graph.ancestors(depends_on, name) == before(depends_on, name) for name in depends_on)
    levels = graph.levels(depends_on)
    assert all(levels[name] == max((levels[other] + 1 for other in depends_on[name]), default=0) for name in depends_on)


@pytest.mark.parametrize(
    ("depends_on", "cycles"),
    [
        (DIAMOND, []),
        ({"a": ["b"], "b": ["a"]}, [["a", "b", "a"]]),
        # The shortest of a group, and one for each group.
        ({"a": ["b"], "b": ["c"], "c": ["a", "b"], "x": ["y"], "y": ["x"]}, [["b", "c", "b"], ["x", "y", "x"]]),
        # What leads to a cycle, or away from it, is no part of it.
        ({"in": ["a"], "a": ["b"], "b": ["a", "out"], "out": []}, [["a", "b", "a"]]),
        ({"c": ["a"], "a": ["b"], "b": ["c"]}, [["c", "a", "b", "c"]]),
    ],
)
def test_the_shortest_cycle_of_each_group(depends_on: dict[str, list[str]], cycles: list[list[str]]) -> None:
    assert graph.shortest_cycles(depends_on) == cycles
    first = graph.first_cycle(depends_on)
    assert (first is None) == (cycles == [])
    if first is not None:
        assert first[0] == first[-1]
        assert all(after in depends_on[name] for name, after in itertools.pairwise(first))


def test_neither_the_engine_nor_lint_of_a_sound_file_loads_networkx() -> None:
    modules = "nexus.app.operator, nexus.core.validate, nexus.cli.main, nexus.cli.lint, nexus.cli.manifests"
    code = f"import {modules}, sys; sys.exit('networkx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
