"""What the watches have shown of Workflows and of which runs are whose, as small frozen records.

Of a definition only what concerns its runs as a whole is kept: thousands of Workflows cost little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from nexus.adapters.kube.cache.other_version import known_part
from nexus.adapters.kube.cache.siblings import sibling, workflow_of
from nexus.adapters.kube.client.api import WORKFLOWS
from nexus.adapters.kube.client.brief import HELD, as_brief
from nexus.adapters.kube.client.large_reads import LargeReads
from nexus.api.base import parse_time
from nexus.api.policies import Concurrency, History
from nexus.api.schedule import Schedule
from nexus.api.workflow import Param, WorkflowStatus
from nexus.core.model.operator_defaults import NO_DEFAULTS, OperatorDefaults
from nexus.core.workflow.facts import RunPolicy, RunSummary, ScheduleFact, WorkflowFacts, run_policy, schedule_fact
from nexus.runtime.ports import RunKey

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WorkflowRecord:
    """A Workflow as last seen."""

    key: RunKey
    uid: str
    resource_version: int
    generation: int
    created_at: datetime
    policy: RunPolicy
    schedules: tuple[ScheduleFact, ...]
    status: WorkflowStatus | None
    size: int = 0
    """Bytes of its JSON, if the watch has shown them."""

    def facts(self, runs: tuple[RunSummary, ...]) -> WorkflowFacts:
        """Return the Workflow as decisions see it."""
        return WorkflowFacts(
            namespace=self.key.namespace,
            name=self.key.name,
            uid=self.uid,
            generation=self.generation,
            created_at=self.created_at,
            policy=self.policy,
            status=self.status,
            version=self.resource_version,
            runs=runs,
            schedules=self.schedules,
        )


def workflow_record(
    body: Object, known: WorkflowRecord | None = None, defaults: OperatorDefaults = NO_DEFAULTS
) -> WorkflowRecord:
    """Return the record of a Workflow; `known` is an earlier one of the same, whose spec need not be read again. Fields
    that cannot be read count as absent: the check of the definition names them."""
    metadata, spec = body["metadata"], body.get("spec") or {}
    generation = int(metadata.get("generation") or 1)
    if known is not None and known.generation == generation:
        policy, schedules = known.policy, known.schedules
    else:
        policy = _policy(spec, defaults)
        schedules = _schedules(spec, metadata["uid"], policy)
    return WorkflowRecord(
        key=RunKey(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        generation=generation,
        created_at=parse_time(metadata["creationTimestamp"]),
        policy=policy,
        schedules=schedules,
        status=known_status(body.get("status") or {}),
        size=int((body.get(HELD) or {}).get("bytes") or (known.size if known is not None else 0)),
    )


def _policy(spec: Object, defaults: OperatorDefaults) -> RunPolicy:
    try:
        concurrency = Concurrency.model_validate(spec["concurrency"]) if "concurrency" in spec else None
        keyed = concurrency is not None and concurrency.key is not None
        return run_policy(
            defaults=defaults,
            params=tuple(Param.model_validate(entry) for entry in spec.get("params") or ()) if keyed else (),
            suspend=spec.get("suspend"),
            concurrency=concurrency,
            history=History.model_validate(spec["history"]) if "history" in spec else None,
            ttl_seconds_after_finished=spec.get("ttlSecondsAfterFinished"),
            revision_history_limit=spec.get("revisionHistoryLimit"),
        )
    except ValueError:
        return RunPolicy()


def _schedules(spec: Object, uid: str, policy: RunPolicy) -> tuple[ScheduleFact, ...]:
    try:
        schedules = [Schedule.model_validate(entry) for entry in spec.get("schedules") or ()]
        return tuple(schedule_fact(schedule, uid, suspended=policy.suspend) for schedule in schedules)
    except ValueError:
        return ()


def known_status(status: Object) -> WorkflowStatus | None:
    """Return a status, without fields that another version of the operator wrote; None where there is none."""
    if not status:
        return None
    try:
        return known_part(dict(status), WorkflowStatus)
    except ValidationError:
        return None


class WorkflowCache:
    """Workflows, and the runs of each. Each `see_…` takes a watch event's object and returns the Workflows to look at,
    none where nothing changed that concerns one."""

    def __init__(self, defaults: OperatorDefaults = NO_DEFAULTS) -> None:
        self._defaults = defaults
        self.workflows: dict[RunKey, WorkflowRecord] = {}
        self._runs: dict[RunKey, dict[str, RunSummary]] = {}
        self._versions: dict[str, int] = {}
        self._homes: dict[str, RunKey] = {}
        self.is_child: Callable[[str, str, str], bool] = lambda _namespace, _parent, _uid: False
        """Whether the run that names another one as its controller, in a namespace, was made by that one. Whoever knows
        the runs says so."""
        self.reads = LargeReads()

    def size(self, key: RunKey) -> int:
        """Return the bytes of a Workflow's JSON, 0 for one that is not known."""
        return self.workflows[key].size if key in self.workflows else 0

    def record(self, body: Object, known: WorkflowRecord | None = None) -> WorkflowRecord:
        """Return what is kept of a Workflow."""
        return workflow_record(body, known, self._defaults)

    def see_workflow(self, body: Object, *, gone: bool = False) -> tuple[RunKey, ...]:
        """Take in a Workflow that was listed, changed or deleted, or came back as the answer to a write of ours."""
        metadata = body["metadata"]
        key = RunKey(metadata["namespace"], metadata["name"])
        known = self.workflows.get(key)
        if known is not None and known.uid != metadata["uid"]:
            known = None  # another one of that name
        if gone:
            if known is not None:
                del self.workflows[key]
            return ()
        if known is not None and int(metadata["resourceVersion"]) <= known.resource_version:
            return ()
        if known is None or known.generation != int(metadata.get("generation") or 1):
            # An answer to a call of ours is whole: no more is kept of it than of what the watches tell.
            body = as_brief(WORKFLOWS, dict(body))
        self.workflows[key] = self.record(body, known)
        return (key,)

    def see_run(self, body: Object, *, gone: bool = False) -> tuple[RunKey, ...]:
        """Take in a WorkflowRun that was listed, changed or deleted, or came back as the answer to a write of ours."""
        name = workflow_of(body)
        if not name:
            return ()
        key = RunKey(body["metadata"]["namespace"], name)
        fact, version = sibling(body), int(body["metadata"]["resourceVersion"])
        known = self._runs.get(key, {}).get(fact.uid)
        if gone:
            self._forget(fact.uid)
            return (key,)
        if known is not None and version <= self._versions[fact.uid]:
            return ()
        self._runs.setdefault(key, {})[fact.uid] = fact
        self._versions[fact.uid] = version
        self._homes[fact.uid] = key
        return (key,) if fact != known else ()

    def runs(self, workflow: WorkflowRecord) -> tuple[RunSummary, ...]:
        """Return the runs of a Workflow: its own, and those without an owner yet."""
        return self._of(workflow, self._runs.get(workflow.key, {}).values())

    def all_runs(self, workflow: WorkflowRecord, listed: Iterable[RunSummary]) -> tuple[RunSummary, ...]:
        """Return the runs of a Workflow that were just listed by its label, with those that are known and lost the
        label."""
        listed = tuple(listed)
        uids = {run.uid for run in listed}
        known = self._runs.get(workflow.key, {}).values()
        return self._of(workflow, (*listed, *(run for run in known if not run.labelled and run.uid not in uids)))

    def _of(self, workflow: WorkflowRecord, runs: Iterable[RunSummary]) -> tuple[RunSummary, ...]:
        namespace = workflow.key.namespace
        told = (
            replace(run, child=self.is_child(namespace, run.parent, run.uid)) if run.parent else run for run in runs
        )
        return tuple(run for run in told if run.is_of(workflow.uid, workflow.created_at))

    def known(self) -> frozenset[str]:
        """Return the UIDs of all that is here now: to be taken before the LISTs of a sweep."""
        return frozenset((*self._versions, *(record.uid for record in self.workflows.values())))

    def sweep(self, known: frozenset[str], runs: set[str], workflows: set[str]) -> list[RunKey]:
        """Drop what full LISTs did not hold, but for what was not `known` before them; returns the Workflows to look
        at."""
        touched = {key for uid in (known - runs) & self._homes.keys() for key in self._forget(uid)}
        for record in [record for record in self.workflows.values() if record.uid in known - workflows]:
            del self.workflows[record.key]
        return sorted(touched, key=str)

    def _forget(self, uid: str) -> tuple[RunKey, ...]:
        key = self._homes.pop(uid, None)
        self._versions.pop(uid, None)
        if key is None:
            return ()
        runs = self._runs[key]
        del runs[uid]
        if not runs:
            del self._runs[key]
        return (key,)
