"""Which runs `nexus get` lists, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nexus.adapters.kube.client.api import WORKFLOW_RUNS, WORKFLOWS, BadRequest, Kind, KubeApi, Object
from nexus.api.base import parse_time
from nexus.api.reasons import RunPhase
from nexus.cli.ending import UsageError
from nexus.core.text.similar_names import closest, did_you_mean

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LONGEST_SECONDS = 36_500 * 86_400
"""A hundred years: farther back there are neither runs nor, at last, dates."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a run must have to be listed; an absent filter takes every run, and all that are given must fit."""

    phases: frozenset[RunPhase] = frozenset()
    category: str | None = None
    """Category of its Workflow."""
    tags: frozenset[str] = frozenset()
    """Tags of its Workflow, each of them."""
    workflow: str | None = None
    since: datetime | None = None
    """Earliest creation."""
    limit: int | None = None
    """Maximum number of runs: the newest of those that fit."""
    sort: str = "created"

    @property
    def of_workflow(self) -> bool:
        """Whether the Workflows must be read to tell."""
        return self.category is not None or bool(self.tags)


def filters(
    now: datetime,
    status: Sequence[str] | None = None,
    category: str | None = None,
    tags: Sequence[str] | None = None,
    workflow: str | None = None,
    since: str | None = None,
    limit: int | None = None,
    sort: str | None = None,
) -> Filters:
    """Return what the options of `nexus get` say. Raises UsageError that names every option that is wrong."""
    problems: list[str] = []

    def read(option: str, text: str | None, reader: Callable[[str], Any]) -> Any:
        try:
            return reader(text) if text is not None else None
        except ValueError as error:
            problems.append(f"{option} {error}")
            return None

    phases = [read("--status:", word, _phase) for text in status or () for word in text.split(",")]
    start = read("--since:", since, lambda text: _start(text, now))
    key = read("--sort:", sort, _sort)
    if limit is not None and limit < 1:
        problems.append(f"--limit: must be at least 1, got {limit}")
    if problems:
        raise UsageError(*problems)
    return Filters(frozenset(phases), category, frozenset(tags or ()), workflow, start, limit, key or "created")


def _phase(text: str) -> RunPhase:
    known = {phase.value.lower(): phase for phase in RunPhase}
    found = known.get(text.strip().lower())
    if found is None:
        close = closest(text.strip().lower(), known)
        hint = did_you_mean([known[close[0]].value]) if close else f"expected one of {', '.join(RunPhase)}"
        raise ValueError(f'unknown status "{text.strip()}"; {hint}')
    return found


def _start(text: str, now: datetime) -> datetime:
    if found := re.fullmatch(r"([0-9]{1,9})([smhdw])", text.strip()):
        return now - timedelta(seconds=min(int(found[1]) * _SECONDS[found[2]], _LONGEST_SECONDS))
    try:
        return parse_time(text)
    except ValueError:
        example = "a duration such as 30m, 24h or 7d, or a time such as 2026-11-23T02:30:00Z"
        raise ValueError(f'invalid time "{text}"; expected {example}') from None


def _sort(text: str) -> str:
    name = text.removeprefix("-")
    if name not in _KEYS:
        close = closest(name, _KEYS)
        hint = did_you_mean(close) if close else f"expected one of {', '.join(_KEYS)}"
        raise ValueError(f'unknown column "{name}"; {hint}')
    return text


async def fitting(api: KubeApi, namespace: str, wanted: Filters, *, in_brief: bool, now: datetime) -> list[Object]:
    """Return the runs of a namespace that fit, in order. What the API server can select by, it does."""
    names = await _workflows(api, namespace, wanted) if wanted.of_workflow else None
    if names is not None and not names:
        return []
    selected: dict[str, str] = {}
    if wanted.workflow is not None:
        selected["spec.workflowRef.name"] = wanted.workflow
    # A run that the operator has not looked at has no phase yet, and is Pending.
    if len(wanted.phases) == 1 and RunPhase.PENDING not in wanted.phases:
        (phase,) = wanted.phases
        selected["status.phase"] = phase.value
    listed = await _selected(api, WORKFLOW_RUNS, namespace, selected, in_brief=in_brief)
    runs = [run for run in listed if _fits(run, wanted, names)]
    runs.sort(key=_created)
    if wanted.limit is not None:
        runs = runs[-wanted.limit :]
    runs.sort(key=lambda run: _KEYS[wanted.sort.removeprefix("-")](run, now), reverse=wanted.sort.startswith("-"))
    return runs


async def _workflows(api: KubeApi, namespace: str, wanted: Filters) -> frozenset[str]:
    """Return the names of the Workflows with the category and the tags."""
    selected = {} if wanted.category is None else {"spec.category": wanted.category}
    found = await _selected(api, WORKFLOWS, namespace, selected, in_brief=True)
    specs = {body["metadata"]["name"]: body.get("spec") or {} for body in found}
    return frozenset(
        name
        for name, spec in specs.items()
        if wanted.category in (None, spec.get("category")) and wanted.tags <= set(spec.get("tags") or ())
    )


async def _selected(
    api: KubeApi, kind: Kind, namespace: str, selected: Mapping[str, str], *, in_brief: bool
) -> Iterable[Object]:
    """Yield all objects with these values, or with any where the CRD in the cluster has no such selectable fields:
    those of an earlier version have none. Who asks looks at each object again."""
    text = ",".join(f"{field}={_escaped(value)}" for field, value in selected.items())
    try:
        return await api.list(kind, namespace, field_selector=text, in_brief=in_brief)
    except BadRequest:
        if not text:
            raise
        return await api.list(kind, namespace, in_brief=in_brief)


def _escaped(value: str) -> str:
    """Return a value as a field selector has it (apimachinery, fields.EscapeValue)."""
    return re.sub(r"([\\,=])", r"\\\1", value)


def _fits(run: Object, wanted: Filters, names: frozenset[str] | None) -> bool:
    workflow = _workflow(run)
    return (
        (not wanted.phases or _status(run) in {phase.value for phase in wanted.phases})
        and (names is None or workflow in names)
        and (wanted.workflow is None or workflow == wanted.workflow)
        and (wanted.since is None or parse_time(_created(run)) >= wanted.since)
    )


def _workflow(run: Object) -> str:
    return str(((run.get("spec") or {}).get("workflowRef") or {}).get("name", ""))


def _status(run: Object) -> str:
    return str((run.get("status") or {}).get("phase") or RunPhase.PENDING.value)


def _created(run: Object) -> str:
    return str(run["metadata"]["creationTimestamp"])


def _seconds(run: Object, now: datetime) -> float:
    """Return the duration, up to now of a run that has not ended; of one that has not begun the shortest."""
    status = run.get("status") or {}
    if not status.get("startTime"):
        return -1.0
    end = parse_time(status["completionTime"]) if status.get("completionTime") else now
    return (end - parse_time(status["startTime"])).total_seconds()


# Runs that are equal stay in the order of their creation.
_KEYS: Mapping[str, Callable[[Object, datetime], Any]] = {
    "created": lambda run, _: _created(run),
    "name": lambda run, _: run["metadata"]["name"],
    "workflow": lambda run, _: _workflow(run),
    "status": lambda run, _: _status(run),
    "duration": _seconds,
}
COLUMNS = tuple(_KEYS)
"""What runs can be sorted by."""
