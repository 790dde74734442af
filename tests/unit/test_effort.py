"""What make test-fast tries: of each test something, and other things in the next session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from tests import effort


@dataclass(frozen=True)
class Item:
    nodeid: str


ITEMS: list[Any] = [
    *(Item(f"a.py::table[{n}]") for n in range(100)),
    *(Item(f"a.py::pair[{n}]") for n in range(2)),
    Item("a.py::alone"),
]


@pytest.fixture(params=range(5))
def fast(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(effort, "FAST", True)
    monkeypatch.setenv("NEXUS_SEED", str(request.param))


@pytest.mark.usefixtures("fast")
def test_a_quarter_of_each_table_and_all_others_run() -> None:
    run, left_out = effort.of_each_table(ITEMS)
    assert [item.nodeid.partition("[")[0] for item in run] == ["a.py::table"] * 25 + ["a.py::pair", "a.py::alone"]
    assert (len(run), len(left_out)) == (27, 76)
    assert effort.of_each_table(ITEMS)[0] == run


@pytest.mark.usefixtures("fast")
def test_a_sample_has_the_first_and_the_last() -> None:
    chosen = effort.sample(range(1, 41))
    assert chosen == sorted(set(chosen))
    assert 8 <= len(chosen) <= 10
    assert (chosen[0], chosen[-1]) == (1, 40)
    assert effort.sample([7]) == [7]
    assert effort.effort(1, 2, 3) == 1


def test_another_session_tries_other_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "FAST", True)
    seen = set()
    for seed in range(100):
        monkeypatch.setenv("NEXUS_SEED", str(seed))
        seen |= {item.nodeid for item in effort.of_each_table(ITEMS)[0]}
    assert len(seen) == len(ITEMS)


def test_make_test_tries_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "FAST", False)
    assert effort.of_each_table(ITEMS) == (ITEMS, [])
    assert effort.sample(range(3)) == [0, 1, 2]
