"""Frozen outside: names, digests, labels and words that objects in clusters hold already, and that other tools read.

`tests/golden/frozen.json` was written by an earlier version and is only ever added to: what does not equal it orphans
objects, loses ticks or breaks somebody's query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from nexus.api import policies, reasons, run, schedule, tasks, workflow
from nexus.api.numbers import stored_number
from nexus.api.schedule import Exclude, PublicHolidays, Schedule
from nexus.core import names
from nexus.core.data.params import number_text
from nexus.core.schedule.timetable import Tick, Timetable
from nexus.core.tasks.identity import child_content
from nexus.core.text.canonical_json import canonical
from nexus.core.text.json_text import dump
from nexus.core.text.sha256 import sha256, sha256_of
from nexus.core.workflow import schedule_definition
from nexus.core.workflow.schedule_definition import hashes

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "frozen.json").read_text(encoding="utf-8"))

RUN_UID, WORKFLOW_UID = "0d3e5c1a-1111-4222-8333-444455556666", "7b1f0000-aaaa-4bbb-8ccc-ddddeeeeffff"
LONG = "orders-of-the-whole-of-europe-by-day-and-region"
TICK = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
SPEC = {"tasks": [{"name": "a", "container": {"image": "work:1"}}], "params": [{"name": "n", "default": 1.5}]}
ENUMS: tuple[type[StrEnum], ...] = (
    *(reasons.RunPhase, reasons.TaskPhase, reasons.Reason, run.Trigger, run.Cancel, run.Decision),
    *(schedule.Dst, schedule.CatchUp, policies.ConcurrencyPolicy, workflow.ParamType, workflow.FailurePolicy),
    *(tasks.TriggerRule, tasks.Disruptions),
)


def made() -> dict[str, dict[str, object]]:
    """What this version makes of the same."""
    return {
        "names": {
            "job": names.job_name("sales-x7k2p", RUN_UID, "extract", 1),
            "job, long": names.job_name(f"{LONG}.x", RUN_UID, LONG[:40], 12),
            "child": names.child_name("sales-x7k2p", RUN_UID, "call", 2),
            "item's job": names.item_job_name("sales-x7k2p", RUN_UID, "each", 137, 3),
            "item's child": names.item_child_name(f"{LONG}.x", RUN_UID, LONG[:40], 0, 1),
            "scheduled run": names.scheduled_run_name("sales", WORKFLOW_UID, "nightly", TICK),
            "run's outputs": names.outputs_name("sales-x7k2p", RUN_UID),
            "output": names.output_name(names.job_name("sales-x7k2p", RUN_UID, "extract", 1)),
            "revision": names.revision_name("sales", WORKFLOW_UID, dump(SPEC)),
            "label of a long name": names.label_value(f"{LONG}-and-by-the-hour-of-the-day"),
        },
        "labels": {
            name: getattr(names, name) for name in dir(names) if name.startswith("LABEL_") or name == "BACKFILL_ENDS"
        },
        "digests": {
            "parts": names.digest("sales", "nightly", "29923590"),
            "text": sha256('{"total":12.5,"näme":"ü"}'),
            "spec": sha256_of(SPEC),
            "child": child_content("price", {"n": 3.0, "day": "2026-11-23", "on": True}),
            "canonical": canonical({"b": 3.0, "a": [1e21, 0.1, "\ud800"], "c": None}),
            "jitter": Timetable(_schedule(cron="@daily", jitterSeconds=600), WORKFLOW_UID)
            .fire_at(Tick(TICK, TICK))
            .isoformat(),
        },
        "numbers": {
            **{f"bound {value!r}": number_text(value) for value in (10.0, -0.5, 1e15, 2.0**53)},
            **{f"stored {value!r}": dump(stored_number(value)) for value in (3.0, 0.1, 1e21, 123456789.0, -0.0, 5e-7)},
        },
    }


def _schedule(**fields: Any) -> Schedule:
    return Schedule.model_validate({"name": "nightly", "cron": "30 2 * * *", **fields})


@pytest.mark.parametrize("part", ["names", "labels", "digests", "numbers"])
def test_what_clusters_hold_is_made_again(part: str) -> None:
    golden: Mapping[str, object] = GOLDEN[part]
    assert {name: made()[part].get(name) for name in golden} == golden


@pytest.mark.parametrize("enum", ENUMS)
def test_no_word_that_clusters_hold_goes(enum: type[StrEnum]) -> None:
    words = GOLDEN["words"][enum.__name__]
    assert words
    assert set(words) <= {member.value for member in enum}


@pytest.mark.parametrize("case", GOLDEN["schedules"], ids=lambda case: dump(case["schedule"])[:60])
def test_a_schedule_has_the_hash_that_its_status_recorded(case: Mapping[str, Any]) -> None:
    found = hashes(Schedule.model_validate(case["schedule"]), suspended=case["suspended"])
    assert case["recorded"] in found


def test_a_suspend_that_is_false_is_no_change_of_a_schedule() -> None:
    written, absent = (hashes(_schedule(**fields), suspended=False)[0] for fields in ({"suspend": False}, {}))
    assert written == absent
    assert hashes(_schedule(suspend=True), suspended=False)[0] == hashes(_schedule(), suspended=True)[0] != absent


@pytest.mark.parametrize("model", [Schedule, Exclude, PublicHolidays])
def test_each_field_of_a_schedule_is_hashed_or_said_not_to_be(model: type[Any]) -> None:
    hashed = schedule_definition._HASHED[model]
    said = {*hashed, *schedule_definition._NOT_HASHED.get(model, ())}
    assert said == set(model.model_fields)
    assert len(hashed) == len(set(hashed))


@pytest.mark.parametrize("default", [None, "weekly", False, []])
def test_a_new_field_changes_no_schedule_that_does_not_set_it(monkeypatch: pytest.MonkeyPatch, default: object) -> None:
    class Later(Schedule):
        calendar: Any = default

    monkeypatch.setitem(
        schedule_definition._HASHED,  # type: ignore[arg-type]
        Later,
        (*schedule_definition._HASHED[Schedule], "calendar"),
    )
    body = {"name": "nightly", "cron": "30 2 * * *", "exclude": {"weekends": True}}
    before = hashes(Schedule.model_validate(body), suspended=False)
    assert hashes(Later.model_validate(body), suspended=False) == before
    assert hashes(Later.model_validate({**body, "calendar": "lunar"}), suspended=False) != before
