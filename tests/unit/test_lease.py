"""What a candidate makes of the Lease it sees."""

from __future__ import annotations

import pytest

from nexus.core.lease import LONGEST_SECONDS, LeaseRecord, Sighting, Step, Terms, leads, look_again, sighted, step

ME, OTHER = "pod-a_1", "pod-b_2"
TERMS = Terms(12)


def record(holder: str, seconds: int = 12, renewed: str = "09:00:00") -> LeaseRecord:
    return LeaseRecord(holder, seconds, renewed)


@pytest.mark.parametrize(
    ("seen", "since", "now", "expected"),
    [
        (None, 0, 0, Step.CREATE),
        (record(""), 0, 0, Step.TAKE),  # given back: nobody waits
        (record(ME), 0, 0, Step.RENEW),
        (record(ME), 0, 1_000, Step.RENEW),
        (record(OTHER), 0, 0, Step.WAIT),
        (record(OTHER), 0, 11.9, Step.WAIT),
        (record(OTHER), 0, 12, Step.TAKE),
        (record(OTHER), 100, 111.9, Step.WAIT),  # seen first by a candidate that has just started
        (record(OTHER, seconds=30), 0, 29.9, Step.WAIT),  # the holder's word counts, not the candidate's setting
        (record(OTHER, seconds=30), 0, 30, Step.TAKE),
        (record(OTHER, seconds=0), 0, 0.5, Step.WAIT),
        (record(OTHER, seconds=0), 0, 1, Step.TAKE),
        (record(OTHER, seconds=10**6), 0, LONGEST_SECONDS, Step.TAKE),
        (record(OTHER, renewed="23:59:59 in the year 2099"), 0, 12, Step.TAKE),  # a clock that is wrong
        (record(OTHER, renewed=""), 0, 5, Step.WAIT),
    ],
)
def test_step(seen: LeaseRecord | None, since: float, now: float, expected: Step) -> None:
    assert step(Sighting(seen, since), ME, now) is expected


@pytest.mark.parametrize(
    ("before", "seen", "since"),
    [
        (None, record(OTHER), 50),
        (Sighting(record(OTHER), 40), record(OTHER), 40),
        (Sighting(record(OTHER), 40), record(OTHER, renewed="09:00:02"), 50),
        (Sighting(record(OTHER), 40), record(ME), 50),
        (Sighting(record(OTHER), 40), None, 50),
        (Sighting(None, 40), None, 40),
        (Sighting(None, 40), record(OTHER), 50),
    ],
)
def test_a_lease_is_as_old_as_its_last_change_that_was_seen(
    before: Sighting | None, seen: LeaseRecord | None, since: float
) -> None:
    assert sighted(before, seen, 50) == Sighting(seen, since)


@pytest.mark.parametrize(
    ("renewed_at", "now", "expected"),
    [(None, 0, False), (0, 0, True), (0, 7.9, True), (0, 8, False), (100, 107, True), (100, 10_000, False)],
)
def test_a_leader_trusts_its_lease_for_two_thirds_of_the_time(
    renewed_at: float | None, now: float, expected: bool
) -> None:
    assert leads(renewed_at, now, TERMS) is expected


@pytest.mark.parametrize(
    ("sighting", "now", "expected"),
    [
        (None, 0, 2),  # the API server did not answer yet
        (Sighting(None, 0), 0, 2),
        (Sighting(record(OTHER), 0), 1, 2),
        (Sighting(record(OTHER), 0), 11.5, 0.5),  # not a moment longer than it has to
        (Sighting(record(OTHER), 0), 12, 0.5),  # and another one was faster, or the API server is away
        (Sighting(record(OTHER, seconds=3600), 0), 5, 2),
    ],
)
def test_look_again(sighting: Sighting | None, now: float, expected: float) -> None:
    assert look_again(sighting, now, TERMS) == expected


@pytest.mark.parametrize("seconds", [6, 12, 15, 600])
def test_a_leader_tries_at_least_twice_before_it_stops_and_stops_before_another_one_starts(seconds: int) -> None:
    terms = Terms(seconds)
    assert terms.retry_every + terms.try_for <= terms.renew_within
    assert 2 * terms.try_for <= terms.renew_within
    assert terms.renew_within <= terms.seconds * 0.7
