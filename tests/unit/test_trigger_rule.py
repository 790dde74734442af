"""triggerRule: the whole table, against the rules said once more in other words."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path

import pytest
from tests.builders import sequence, task

from nexus.api.reasons import TaskPhase
from nexus.api.tasks import TriggerRule
from nexus.core.engine.trigger_rule import judge
from nexus.core.model.allow_failure import counted

ENDED = (TaskPhase.SUCCEEDED, TaskPhase.FAILED, TaskPhase.SKIPPED, TaskPhase.OMITTED, TaskPhase.CANCELLED)
COMBINATIONS = [phases for length in (1, 2, 3) for phases in product(ENDED, repeat=length)]


def told_by_the_docs(rule: TriggerRule, phases: tuple[TaskPhase, ...]) -> str:
    """Runs, Skipped or Omitted, counted instead of looked up."""
    count = Counter(phases)
    good, skipped = count[TaskPhase.SUCCEEDED], count[TaskPhase.SKIPPED]
    bad = len(phases) - good - skipped
    if rule is TriggerRule.ALL_DONE:
        return "Runs"
    if rule is TriggerRule.ANY_FAILED:
        return "Runs" if bad else "Skipped"
    if rule is TriggerRule.ALL_FAILED:
        return "Runs" if bad == len(phases) else "Skipped"
    wanted = {
        TriggerRule.ALL_SUCCEEDED: good == len(phases),
        TriggerRule.NONE_FAILED: not bad and good > 0,
        TriggerRule.ANY_SUCCEEDED: good > 0,
    }[rule]
    return "Runs" if wanted else "Omitted" if bad else "Skipped"


@pytest.mark.parametrize("rule", list(TriggerRule))
@pytest.mark.parametrize("phases", COMBINATIONS, ids=sequence)
def test_each_rule_on_each_combination_of_endings(rule: TriggerRule, phases: tuple[TaskPhase, ...]) -> None:
    answer = judge(rule, [(f"d{number}", phase) for number, phase in enumerate(phases)])

    assert (answer.phase if answer else "Runs") == told_by_the_docs(rule, phases)


def tables() -> list[list[list[str]]]:
    """The tables of docs/conditions.md, as rows of cells without backquotes; their heads come first."""
    text = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text("utf-8")
    found = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = [[line for line in table.splitlines() if not line.startswith("| ---")] for table in found]
    return [
        [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in table] for table in rows
    ]


def published() -> tuple[dict[str, set[str]], dict[str, dict[frozenset[str], str]]]:
    """What each ending counts as, and what each rule makes of the kinds of endings that there are."""
    kinds, rules, *_ = tables()
    counts = {name: {entry.strip() for entry in endings.split(",")} for name, endings in kinds[1:]}
    head = [frozenset(word.strip() for word in cell.split(",")) for cell in rules[0][1:]]
    return counts, {row[0]: dict(zip(head, row[1:], strict=True)) for row in rules[1:]}


COUNTS, TABLE = published()
ALLOWED = "Failed with allowFailure"


def test_the_published_tables_are_complete() -> None:
    assert set().union(*COUNTS.values()) == {*map(str, ENDED), ALLOWED}
    kinds = [frozenset(some) for length in (1, 2, 3) for some in combinations(COUNTS, length)]
    assert {rule: set(row) for rule, row in TABLE.items()} == {str(rule): set(kinds) for rule in TriggerRule}


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_the_engine_does_what_the_published_tables_say(rule: TriggerRule) -> None:
    for length in (1, 2, 3, 4):
        for endings in combinations_with_replacement([*ENDED, ALLOWED], length):
            counted_as = frozenset(next(name for name, some in COUNTS.items() if ending in some) for ending in endings)
            subject = [
                counted(task("d", allowFailure=ending == ALLOWED), TaskPhase(ending.split()[0])) for ending in endings
            ]
            answer = judge(rule, [(f"d{number}", phase) for number, phase in enumerate(subject)])
            assert (str(answer.phase) if answer else "runs") == TABLE[rule][counted_as], endings


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_a_task_without_dependencies_runs_under_every_rule(rule: TriggerRule) -> None:
    assert judge(rule, []) is None


def test_the_culprits_are_named_and_many_are_counted() -> None:
    endings = [(f"d{number}", TaskPhase.FAILED) for number in range(8)]

    answer = judge(TriggerRule.ALL_SUCCEEDED, [("fine", TaskPhase.SUCCEEDED), *endings])

    assert answer is not None
    assert answer.message == "d0, d1, d2, d3, d4 and 3 more failed or did not run"
