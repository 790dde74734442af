"""Names: short enough, unique, and the same again after a crash."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from nexus.core.names import digest, job_name, label_value, output_name, revision_name, scheduled_run_name

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

RUNS = [
    "a",
    "sales-x7k2p",
    "1-begins-with-a-digit",
    "with.dots.in.it",
    "r" * 63,
    "a-hyphen-at-place-20-x",
    "v1.2-" * 12,
]
TASKS = ["t", "per-region", "0", "a-hyphen-at-the-20-th", "n" * 40, "x-" * 19 + "y"]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("attempt_number", [1, 12, 9_999])
def test_a_jobs_name_is_a_label_that_leaves_room_for_an_index(run: str, task: str, attempt_number: int) -> None:
    name = job_name(run, "some-uid", task, attempt_number)

    assert len(name) <= 57
    assert DNS_LABEL.fullmatch(name), name
    assert name == job_name(run, "some-uid", task, attempt_number)


def test_names_differ_by_run_uid_task_and_attempt() -> None:
    variations = [
        ("sales", "uid-1", "load", 1),
        ("sales", "uid-2", "load", 1),  # deleted and made again under the same name
        ("sales", "uid-1", "load", 2),
        ("sales", "uid-1", "load-all", 1),
        ("sales", "uid-1", "load-of-the-whole-day-a", 1),
        ("sales", "uid-1", "load-of-the-whole-day-b", 1),  # alike in the part that is shown
        ("sales", "uid-1", "load-1", 1),
    ]
    assert len({job_name(*variation) for variation in variations}) == len(variations)


def test_a_name_shows_run_task_and_attempt() -> None:
    assert job_name("sales-x7k2p", "uid", "per-region", 3).startswith("sales-x7k2p-per-region-3-")


def test_the_parts_of_a_digest_do_not_run_into_each_other() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert re.fullmatch(r"[bcdfghjklmnpqrstvwxz2456789]{10}", digest("ab", "c"))


def test_an_output_is_named_after_the_attempt_that_wrote_it() -> None:
    first, second = (output_name(job_name("sales", "uid", "load", number)) for number in (1, 2))

    assert first != second
    assert DNS_LABEL.fullmatch(first)


def test_a_tick_names_its_run_whoever_makes_it() -> None:
    tick = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)
    name = scheduled_run_name("sales", "uid", "nightly", tick)
    assert name.startswith("sales-nightly-29924730-")
    assert name == scheduled_run_name("sales", "uid", "nightly", tick.astimezone(ZoneInfo("Europe/Berlin")))
    others = [("uid2", "nightly", tick), ("uid", "weekly", tick), ("uid", "nightly", tick + timedelta(minutes=1))]
    assert name not in {scheduled_run_name("sales", *other) for other in others}
    assert len({scheduled_run_name("s" * 63, "uid", "n" * 39 + end, tick) for end in "ab"}) == 2
    assert DNS_LABEL.fullmatch(scheduled_run_name("s" * 63, "uid", "n" * 40, datetime(9999, 1, 1, tzinfo=UTC)))


def test_a_revision_has_the_name_of_its_content() -> None:
    assert revision_name("sales", "uid", "{}") == revision_name("sales", "uid", "{}")
    assert len({revision_name("sales", uid, text) for uid in ("1", "2") for text in ("{}", "[]")}) == 4
    assert len(revision_name("w" * 253, "uid", "{}")) <= 253


@pytest.mark.parametrize("name", ["sales", "a" * 63, "a" * 64, "b" * 51 + "." + "c" * 100])
def test_a_label_keeps_what_fits_and_tells_long_names_apart(name: str) -> None:
    value = label_value(name)

    assert len(value) <= 63
    assert LABEL_VALUE.fullmatch(value)
    assert (value == name) is (len(name) <= 63)
    assert label_value(name + "x" * 70) != label_value(name + "y" * 70)
