"""triggerRule: the whole table, against the rules said once more in other words."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from tests.builders import sequence

from nexus.api.reasons import TaskPhase
from nexus.api.tasks import TriggerRule
from nexus.core.trigger_rule import judge

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


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_a_task_without_dependencies_runs_under_every_rule(rule: TriggerRule) -> None:
    assert judge(rule, []) is None


def test_the_culprits_are_named_and_many_are_counted() -> None:
    endings = [(f"d{number}", TaskPhase.FAILED) for number in range(8)]

    answer = judge(TriggerRule.ALL_SUCCEEDED, [("fine", TaskPhase.SUCCEEDED), *endings])

    assert answer is not None
    assert answer.message == "d0, d1, d2, d3, d4 and 3 more failed or did not run"
