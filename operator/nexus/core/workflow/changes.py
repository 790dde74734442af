"""Changes: what is different between two versions of a definition, in short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What a list holds, by its field: entries are identified by name.
_NAMED = {"tasks": "task", "finally": "finally task", "params": "param", "schedules": "schedule"}


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a few words for each entry of a list that was added, removed or changed, and for every other field; `old`
    and `new` are specs as the API server has them. Empty where nothing but the order of entries is different."""
    found: list[str] = []
    for field in dict.fromkeys([*new, *old]):
        if field in _NAMED:
            found += _entries(_NAMED[field], _by_name(old.get(field)), _by_name(new.get(field)))
        elif field not in old:
            found.append(f"{field} added")
        elif field not in new:
            found.append(f"{field} removed")
        elif old[field] != new[field]:
            found.append(f"{field} changed")
    return found


def _by_name(entries: Any) -> dict[str, Mapping[str, Any]]:
    return {str(entry.get("name")): entry for entry in entries or ()}


def _entries(kind: str, old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, entry in new.items():
        if name not in old:
            yield f"{kind} {name} added"
        elif old[name] != entry:
            fields = [
                field for field in dict.fromkeys([*entry, *old[name]]) if entry.get(field) != old[name].get(field)
            ]
            yield f"{kind} {name} ({', '.join(fields)})"
    yield from (f"{kind} {name} removed" for name in old if name not in new)
