"""The line of a pool: who holds, who waits, in which order, and what is said to whom."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import at, definition, entry_of, facts, failed, job, pod, run_with, task

from nexus.api.reasons import Reason
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.facts import Facts, Refusal, SlotAsked, SlotGrant
from nexus.core.model.plan import AskSlot, Plan, ReturnSlot
from nexus.core.names import job_name
from nexus.core.pools.queue import LONGEST, Entry, PoolQueue, bound, settle, told
from nexus.core.tasks.pool_slots import why


def entry(name: str, by: str = "") -> Entry:
    return Entry(f"run-{name}", f"uid-{name}", "load", name, "then" if by else "", by)


def line(holders: str, waiting: str) -> PoolQueue:
    return PoolQueue(tuple(entry(name, "me") for name in holders), tuple(entry(name) for name in waiting))


def text(found: PoolQueue) -> str:
    return f"{''.join(one.job for one in found.holders)}|{''.join(one.job for one in found.waiting)}"


@pytest.mark.parametrize(
    ("holders", "waiting", "size", "changes", "result"),
    [
        ("", "", 2, {}, "|"),
        ("", "", 2, {"asks": "a"}, "a|"),
        ("", "", 2, {"asks": "abc"}, "ab|c"),
        ("ab", "", 2, {"asks": "c"}, "ab|c"),
        ("ab", "c", 2, {"asks": "d"}, "ab|cd"),
        ("ab", "cd", 2, {"over": "a"}, "bc|d"),
        ("ab", "cd", 2, {"over": "ab"}, "cd|"),
        ("ab", "cd", 2, {"over": "ac"}, "bd|"),
        ("ab", "cd", 2, {"over": "a", "asks": "e"}, "bc|de"),
        ("ab", "cd", 2, {"asks": "ac"}, "ab|cd"),
        ("ab", "cd", 2, {"over": "a", "passed": "c"}, "bd|c"),
        ("ab", "cd", 3, {}, "abc|d"),
        ("abc", "d", 1, {}, "abc|d"),
        ("abc", "d", 1, {"over": "ab"}, "c|d"),
        ("abc", "d", 1, {"over": "abc"}, "d|"),
        ("a", "b", 0, {"over": "a"}, "|b"),
    ],
)
def test_who_holds_after_a_change(holders: str, waiting: str, size: int, changes: dict[str, str], result: str) -> None:
    asks = [entry(name) for name in changes.get("asks", "")]
    after = settle(
        line(holders, waiting),
        size,
        over=set(changes.get("over", "")),
        asks=asks,
        passed=set(changes.get("passed", "")),
        by="me",
        now="then",
    )
    assert text(after) == result
    assert all(one.by == "me" for one in after.holders)
    assert not any(one.by for one in after.waiting)


def test_a_line_has_an_end() -> None:
    full = PoolQueue((entry("h", "me"),), tuple(entry(str(number)) for number in range(LONGEST)))
    after = settle(full, 1, over=(), asks=[entry("late")], by="me", now="then")

    assert len(after.waiting) == LONGEST
    assert after.place("late") == LONGEST + 1
    assert (after.place("0"), after.place("h")) == (1, 0)


@pytest.mark.parametrize(
    ("place", "most"), [(1, 0), (2, 1), (3, 2), (4, 4), (5, 4), (6, 8), (9, 8), (10, 16), (17, 16), (18, 32)]
)
def test_how_many_are_at_most_before_a_place(place: int, most: int) -> None:
    assert bound(place) == most
    assert most >= place - 1


def test_a_change_is_told_to_those_in_front_and_to_few_behind() -> None:
    names = [f"{number:03}" for number in range(100)]
    before = PoolQueue((entry("h", "me"),), tuple(entry(name) for name in names))
    after = settle(before, 1, over={"h"}, by="me", now="then")

    concerned = [one.job for one in told(before, after)]
    assert concerned[0] == "000"
    assert concerned[1:3] == names[1:3]
    assert len(concerned) < 12
    assert told(after, after) == []


@pytest.mark.parametrize(
    ("turn", "reason", "words"),
    [
        (
            SlotGrant(False, 2, 2, ("a/load", "b/load"), 1),
            Reason.POOL,
            'waiting for a slot in pool "w" (2 of 2 in use, 1st in queue); held by a/load, b/load',
        ),
        (
            SlotGrant(False, 5, 5, ("a/load", "b/load", "c/load"), 2),
            Reason.POOL,
            'waiting for a slot in pool "w" (5 of 5 in use, 2nd in queue); held by a/load, b/load, c/load and 2 more',
        ),
        (
            SlotGrant(False, 1, 3, ("a/load",), 2),
            Reason.POOL,
            'waiting for a slot in pool "w" (3 of 1 in use, 2nd in queue); held by a/load and 2 more',
        ),
        (SlotGrant(False, 0, 0, (), 1), Reason.POOL, 'waiting for a slot in pool "w" (0 of 0 in use, 1st in queue)'),
        (
            SlotGrant(False, 5, 5, ("a/load",), 18),
            Reason.POOL,
            'waiting for a slot in pool "w" (5 of 5 in use, at most 32 ahead in the queue)',
        ),
        (
            SlotGrant(False, 5, 5, (), 0),
            Reason.POOL,
            'waiting for a slot in pool "w": another operator holds it, and loses it',
        ),
        (SlotGrant(False, missing="there is none"), Reason.POOL_MISSING, "there is none"),
    ],
)
def test_what_a_waiting_task_says(turn: SlotGrant, reason: Reason, words: str) -> None:
    found = why(turn, "w")
    assert found[0] is reason
    assert found[1].startswith(words)


# -- decisions --------------------------------------------------------------------------------------------------------

RUN = run_with({})
SLOT = SlotAsked("t", "w", job_name(RUN.name, RUN.uid, "t", 1))
GRANTED, WAITS = SlotGrant(True), SlotGrant(False, 1, 1, ("a/load",), 1)


def planned(cel: Evaluator, known: Facts, **fields: Any) -> Plan:
    return decide(definition(task("t", pool="w", **fields)), known, known.run.created_at, cel)


def test_a_task_asks_for_a_slot_last_and_starts_with_one(cel: Evaluator) -> None:
    assert planned(cel, facts()).reads == (AskSlot(SLOT),)
    assert planned(cel, facts(), when="${{ false }}").reads == ()

    plan = planned(cel, facts(turns={SLOT: GRANTED}))
    assert [start.job_name for start in plan.starts] == [SLOT.job_name]
    assert plan.returns == ()

    plan = planned(cel, facts(turns={SLOT: WAITS}))
    assert (plan.starts, plan.returns) == ((), ())
    assert entry_of(plan.status, "t").reason is Reason.POOL
    assert plan.wake_at is not None


def test_each_attempt_asks_anew_and_the_job_controller_makes_none(cel: Evaluator) -> None:
    plan = planned(cel, facts(turns={SLOT: GRANTED}), retry={"limit": 3})
    (start,) = plan.starts
    assert getattr(start, "backoff_limit", None) == 0

    subject = definition(task("t", pool="w", retry={"limit": 3, "delaySeconds": 0}))
    after = decide(subject, facts(failed("t"), status=plan.status), at(10), cel)
    assert after.reads == (AskSlot(SlotAsked("t", "w", job_name(RUN.name, RUN.uid, "t", 2))),)


@pytest.mark.parametrize(
    ("known", "given_back"),
    [
        (facts(granted=(SLOT,), run=run_with({}, suspend=True)), True),
        (facts(granted=(SLOT,), turns={SLOT: GRANTED}), False),
        (facts(job("t", pod()), granted=(SLOT,)), False),
        (
            facts(turns={SLOT: GRANTED}, refusals={SLOT.job_name: Refusal(Reason.QUOTA_EXCEEDED, "full", final=False)}),
            True,
        ),
        (facts(turns={SLOT: GRANTED}, refusals={SLOT.job_name: Refusal(Reason.JOB_REFUSED, "no")}), True),
    ],
)
def test_a_slot_that_is_not_used_is_given_back(cel: Evaluator, known: Facts, given_back: bool) -> None:
    assert planned(cel, known).returns == ((ReturnSlot(SLOT),) if given_back else ())
