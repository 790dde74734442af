"""What is known of a Workflow and its runs at one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nexus.api.policies import Concurrency, ConcurrencyPolicy, History
from nexus.api.reasons import Reason, RunPhase
from nexus.api.run import Trigger
from nexus.api.schedule import Schedule
from nexus.api.workflow import Param, WorkflowStatus
from nexus.core.model.operator_defaults import HISTORY, NO_DEFAULTS, OperatorDefaults
from nexus.core.schedule.as_of import AsOf
from nexus.core.schedule.timetable import Timetable
from nexus.core.workflow.schedule_definition import hashes

REVISIONS = 10


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run of a Workflow, as far as the Workflow's other runs are concerned."""

    name: str
    uid: str
    created_at: datetime
    workflow_uid: str = ""
    """UID of the Workflow that owns it, empty where none does (yet)."""
    trigger: Trigger = Trigger.MANUAL
    phase: RunPhase = RunPhase.PENDING
    started_at: datetime | None = None
    completed_at: datetime | None = None
    cancelled: bool = False
    schedule: str = ""
    """The schedule for whose tick it was made."""
    scheduled_time: datetime | None = None
    """The time that it is for: that of the tick."""
    revision: str = ""
    """The ControllerRevision that it names."""
    backfill: str = ""
    """Which backfill it belongs to."""
    backfill_ends: str = ""
    """Name of the last run of that backfill."""
    key: str | None = None
    """The value of concurrency.key that it counts for; None where its status does not say yet."""
    parent: str = ""
    """UID of the run that it names as its controller."""
    child: bool = False
    """Whether it is part of another run, which has made it: it then takes no turn of its own."""
    labelled: bool = True
    """Whether it has the label by which the runs of a Workflow are listed."""

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self.phase.ended

    @property
    def waits(self) -> bool:
        """Whether it has not begun."""
        return not self.ended and self.started_at is None

    def is_of(self, workflow_uid: str, made_at: datetime) -> bool:
        """Return whether it is a run of a Workflow that was made at a time: one whose controller is an earlier Workflow
        of the same name is not, but then it is as old as this one, or older."""
        return self.child or self.workflow_uid in ("", workflow_uid) or self.created_at >= made_at

    @property
    def place(self) -> tuple[datetime, str]:
        """Its place in the line."""
        return self.created_at, self.name


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """What a Workflow says about its runs, defaults filled in."""

    suspend: bool = False
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW
    limit: int = 1
    key: str | None = None
    """The text whose values each have a line of their own."""
    params: tuple[Param, ...] = ()
    """What the key may name; only where there is one."""
    succeeded: int = HISTORY
    failed: int = HISTORY
    ttl_seconds: int | None = None
    revisions: int = REVISIONS

    @property
    def gated(self) -> bool:
        """Whether a run may have to wait before it begins."""
        return self.suspend or self.concurrency.takes_turns


def run_policy(
    *,
    suspend: bool | None = None,
    concurrency: Concurrency | None = None,
    history: History | None = None,
    ttl_seconds_after_finished: int | None = None,
    revision_history_limit: int | None = None,
    params: tuple[Param, ...] = (),
    defaults: OperatorDefaults = NO_DEFAULTS,
) -> RunPolicy:
    """Return the policy of these fields of a WorkflowSpec."""
    history = history or History()
    return RunPolicy(
        suspend=bool(suspend),
        concurrency=concurrency.policy if concurrency else ConcurrencyPolicy.ALLOW,
        limit=(concurrency.limit if concurrency else None) or 1,
        key=concurrency.key if concurrency else None,
        params=params if concurrency and concurrency.key else (),
        succeeded=defaults.history_succeeded if history.succeeded is None else history.succeeded,
        failed=defaults.history_failed if history.failed is None else history.failed,
        ttl_seconds=defaults.ttl_seconds if ttl_seconds_after_finished is None else ttl_seconds_after_finished,
        revisions=REVISIONS if revision_history_limit is None else revision_history_limit,
    )


@dataclass(frozen=True, slots=True)
class ScheduleFact:
    """A schedule that has no errors. `definition` is a hash of all that decides when it ticks; `earlier` are those by
    which earlier versions of the operator recorded the same schedule."""

    timetable: Timetable
    definition: str
    earlier: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name."""
        return self.timetable.schedule.name


def schedule_fact(schedule: Schedule, workflow_uid: str, *, suspended: bool) -> ScheduleFact:
    """Return the facts of a schedule; `suspended` is the Workflow's own suspend. Raises CronInvalid and ZoneUnknown."""
    definition, *earlier = hashes(schedule, suspended=suspended)
    return ScheduleFact(Timetable(schedule, workflow_uid), definition, tuple(earlier))


@dataclass(frozen=True, slots=True)
class RunRefused:
    """Why the run of a tick could not be made; not `final` where it may be later."""

    reason: Reason
    message: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class WorkflowFacts:
    """Everything that `decide_workflow` may look at.

    `confirmed` where status and runs are the API server's answers of this moment, not what the watches have shown.
    `made` are the names of the runs that were made for ticks in this reconcile (and are in `runs`), `refused` those
    that could not be.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    created_at: datetime
    policy: RunPolicy
    status: WorkflowStatus | None = None
    version: int = 0
    """The resourceVersion that the status is of."""
    runs: tuple[RunSummary, ...] = ()
    schedules: tuple[ScheduleFact, ...] = ()
    confirmed: bool = False
    made: frozenset[str] = frozenset()
    refused: Mapping[str, RunRefused] = field(default_factory=dict)
    tick_key: Callable[[AsOf], str | None] = lambda _: ""
    """The value of concurrency.key that the run of a tick would count for, None if it has none that can be evaluated;
    it may take as long as an expression may."""
