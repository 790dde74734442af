"""The hash of what decides when a schedule ticks, by which its status knows it again.

A schedule whose hash changes begins anew, and ticks that were due until then never run. So the hash is part of what is
frozen: another version of the operator must find the one that this version recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from nexus.api.schedule import Exclude, PublicHolidays, Schedule
from nexus.core.names import digest
from nexus.core.text.json_text import dump

# In the order in which they are hashed. Append a new field at the end; never reorder, rename or remove one. A field
# that is absent, or has its default, is not hashed, so that a new field changes no schedule that does not set it.
_HASHED: Mapping[type[BaseModel], tuple[str, ...]] = {
    Schedule: (
        *("name", "cron", "time_zone", "starting_deadline_seconds", "from_", "until", "exclude", "dst"),
        *("jitter_seconds", "catch_up", "catch_up_limit"),
    ),
    Exclude: ("weekends", "holidays", "dates"),
    PublicHolidays: ("country", "region"),
}
# What decides nothing about when it ticks, and what is hashed in its own way.
_NOT_HASHED: Mapping[type[BaseModel], tuple[str, ...]] = {Schedule: ("params", "suspend")}


def hashes(schedule: Schedule, *, suspended: bool) -> tuple[str, ...]:
    """Return the hash of a schedule, then the others that earlier versions recorded for the same schedule.

    `suspended` is the Workflow's own `suspend`. Resuming changes the hash, so that what passed meanwhile does not count
    as backlog.
    """
    fields, suspend = list(_fields(schedule)), ("suspend", suspended or bool(schedule.suspend))
    found = [digest(dump(dict([*fields, suspend])))]
    if schedule.suspend is not None:
        # Earlier versions hashed a `suspend` that the schedule sets, be it false, in the place of that field.
        place = sum(name in ("name", "cron", "timeZone") for name, _ in fields)
        found.append(digest(dump(dict([*fields[:place], suspend, *fields[place:]]))))
    return tuple(found)


def _fields(model: BaseModel) -> Iterator[tuple[str, object]]:
    """Yield the fields that are hashed and set, by their JSON names, as the API server stores them."""
    stored = model.model_dump(mode="json", include=set(_HASHED[type(model)]))
    fields = type(model).model_fields
    for name in _HASHED[type(model)]:
        value = getattr(model, name)
        if value is not None and value != fields[name].default:
            yield fields[name].alias or name, _json(value, stored[name])


def _json(value: object, stored: object) -> object:
    if isinstance(value, BaseModel):
        return dict(_fields(value))
    if isinstance(value, list) and isinstance(stored, list):
        return [_json(entry, text) for entry, text in zip(value, stored, strict=True)]
    return stored
