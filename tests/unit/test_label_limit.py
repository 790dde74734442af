"""How many names metrics may have."""

from __future__ import annotations

import pytest

from nexus.runtime.label_limit import LabelLimit


def labels(*values: str) -> dict[str, str]:
    return dict(zip(("namespace", "workflow", "task"), values, strict=False))


@pytest.mark.parametrize(
    ("seen", "asked", "shown"),
    [
        ((), labels("a", "w1", "t"), labels("a", "w1", "t")),
        ([labels("a", "w1")], labels("a", "w2"), labels("a", "w2")),
        ([labels("a", "w1"), labels("a", "w2")], labels("a", "w3", "t"), labels("a", "other", "other")),
        # The first ones keep their names.
        ([labels("a", "w1"), labels("a", "w2"), labels("a", "w3")], labels("a", "w1"), labels("a", "w1")),
        # A Workflow of the same name elsewhere is another one.
        ([labels("a", "w1"), labels("a", "w2")], labels("b", "w1"), labels("b", "other")),
        ([labels("a"), labels("b")], labels("c", "w1"), labels("other", "w1")),
        ([labels("a", "w1", f"t{n}") for n in range(3)], labels("a", "w1", "t3"), labels("a", "w1", "other")),
        ([labels("a", "w1", f"t{n}") for n in range(3)], labels("a", "w1", "t2"), labels("a", "w1", "t2")),
        # Of definitions in runs themselves neither names nor tasks have an end.
        ((), labels("a", "", "t"), labels("a", "inline", "other")),
        ((), {"verb": "get"}, {"verb": "get"}),
        ((), {"reason": "TaskError", "namespace": "a"}, {"reason": "TaskError", "namespace": "a"}),
    ],
)
def test_the_first_ones_keep_their_names(
    seen: list[dict[str, str]], asked: dict[str, str], shown: dict[str, str]
) -> None:
    limit = LabelLimit(workflows=2, parts=3)
    for each in seen:
        limit.bounded(each)
    assert limit.bounded(asked) == shown


def test_ten_thousand_workflows_are_a_hundred_series_and_their_rest() -> None:
    limit = LabelLimit()
    shown = {
        tuple(limit.bounded(labels(f"n{n % 500}", f"w{n}", f"t{n}-{task}")).values())
        for n in range(10_000)
        for task in range(3)
    }
    # A hundred with their three tasks; `other` of each of a hundred namespaces; `other` of all further ones.
    assert len(shown) == 300 + 100 + 1


def test_a_limit_of_none_names_nobody() -> None:
    assert LabelLimit(0, 0).bounded(labels("a", "w", "t")) == labels("other", "other", "other")
