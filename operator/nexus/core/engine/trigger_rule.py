"""triggerRule: what the endings of its dependencies mean for a task.

All dependencies have ended before a rule is looked at, whatever the rule. A dependency that failed with its failure
allowed counts as Succeeded (the caller says so); an Omitted one counts as failed, so that a handler behind the last
task of a chain sees a break at its start. A rule that is not met because of a failure ends the task Omitted, any
other ends it Skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nexus.api.reasons import Reason, TaskPhase
from nexus.api.tasks import TriggerRule
from nexus.core.model.status_limits import listed

SUCCEEDED = frozenset({TaskPhase.SUCCEEDED})
SKIPPED = frozenset({TaskPhase.SKIPPED})
# A task of a cancelled run never gets to be looked at; counted as a failure, it could not be mistaken for a success.
BROKEN = frozenset({TaskPhase.FAILED, TaskPhase.OMITTED, TaskPhase.CANCELLED})


@dataclass(frozen=True, slots=True)
class NotMet:
    """How a task ends whose rule is not met."""

    phase: TaskPhase
    reason: Reason
    message: str


def judge(rule: TriggerRule, endings: Sequence[tuple[str, TaskPhase]]) -> NotMet | None:
    """None where the task may run; otherwise how it ends.

    `endings` are (dependency, ended phase) pairs; an empty sequence lets every task run.
    """
    if not endings:
        return None
    succeeded = [name for name, phase in endings if phase in SUCCEEDED]
    broken = [name for name, phase in endings if phase in BROKEN]
    skipped = [name for name, phase in endings if phase in SKIPPED]
    match rule:
        case TriggerRule.ALL_DONE:
            return None
        case TriggerRule.ALL_SUCCEEDED:
            return _omitted(broken) or (_skipped(skipped) if skipped else None)
        case TriggerRule.NONE_FAILED:
            return _omitted(broken) or (None if succeeded else _skipped(skipped))
        case TriggerRule.ANY_SUCCEEDED:
            return None if succeeded else _omitted(broken) or _skipped(skipped)
        case TriggerRule.ANY_FAILED:
            return None if broken else _unmet(rule, "no dependency failed")
        case TriggerRule.ALL_FAILED:
            if len(broken) == len(endings):
                return None
            return _unmet(rule, f"{listed(succeeded + skipped)} did not fail")


def _omitted(broken: list[str]) -> NotMet | None:
    if not broken:
        return None
    return NotMet(TaskPhase.OMITTED, Reason.DEPENDENCY_FAILED, f"{listed(broken)} failed or did not run")


def _skipped(skipped: list[str]) -> NotMet:
    return NotMet(TaskPhase.SKIPPED, Reason.DEPENDENCY_SKIPPED, f"{listed(skipped)} was skipped")


def _unmet(rule: TriggerRule, why: str) -> NotMet:
    return NotMet(TaskPhase.SKIPPED, Reason.RULE_NOT_MET, f"triggerRule {rule} is not met: {why}")
